//! What is refused over gRPC, with every detail of the refusal, and what is not
//! quite: fields, limits, key pairs, re-encryption, lists and their filters.

mod asymmetric;
mod data_keys;
mod fields;
mod filters;
mod limits;
mod lists;
mod re_encryption;
mod world;
