//! Commands that start a server or prepare one.

pub mod init;
pub mod quickstart;
pub mod serve;
mod tour;
