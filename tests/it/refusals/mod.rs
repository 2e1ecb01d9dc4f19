//! Requests that are refused over gRPC, with every detail of the refusal, and the
//! nearest that are not: data keys, fields, limits, key pairs, re-encryption, lists
//! and their filters.

mod asymmetric;
mod data_keys;
mod fields;
mod filters;
mod limits;
mod lists;
mod re_encryption;
mod world;
