//! Who calls (principal) and whether they may (policy): the room that alone
//! makes a `Grant`.

pub mod decisions;
pub mod policy;
pub mod principal;
pub mod service_account;
