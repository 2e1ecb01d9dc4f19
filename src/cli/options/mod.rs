//! Options that several command families share.

pub mod algorithms;
pub mod key_value;
pub mod receipt;
