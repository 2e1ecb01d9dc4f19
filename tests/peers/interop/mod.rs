//! Clients in other languages, a terminal, a sidecar, a cryptographic module,
//! other implementations of RSA-OAEP and SM2, and a log shipper. The clients are written as their
//! users would write them, in the folders beside this file.

mod audit_note;
pub mod clients;
mod envoy;
mod grpcurl;
mod openssl;
mod openssl_pairs;
mod receipts;
mod recipients;
mod shipping;
mod sm2;
mod softhsm;
