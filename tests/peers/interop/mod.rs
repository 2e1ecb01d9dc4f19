//! Clients in other languages, a terminal, a sidecar, a cryptographic module, and
//! other implementations of RSA-OAEP and SM2. The clients are written as their
//! users would write them, in the folders beside this file.

mod audit_note;
pub mod clients;
mod envoy;
mod grpcurl;
mod openssl;
mod openssl_pairs;
mod receipts;
mod recipients;
mod sm2;
mod softhsm;
