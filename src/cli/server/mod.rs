//! Commands that start a server or prepare one.
//!
//! ```text
//! serve.rs            a configuration becomes a server
//! init.rs             a new instance; instance_files.rs has its texts
//! listening.rs        an address and names become certificates and a profile
//! client.rs           another client of such an instance
//! client_folder.rs    all that one client needs
//! quickstart.rs       a data key's way, shown; tour.rs has the steps
//! ```

pub mod client;
mod client_folder;
pub mod init;
mod instance_files;
mod listening;
pub mod quickstart;
pub mod serve;
mod tour;
