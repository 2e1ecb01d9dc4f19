//! Who a caller is, and whether they may.

pub mod principal;
