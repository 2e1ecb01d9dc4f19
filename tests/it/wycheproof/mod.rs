//! Project Wycheproof's vectors.

mod rsa_oaep;
mod signatures;
