//! Input and output of the commands.
//!
//! ```text
//! input.rs          files and standard input
//! output_target.rs  raw bytes into files, whole or not at all, and into streams
//! out_file.rs       `--out FILE`
//! output.rs         text or JSON on standard output, failures on standard error
//! progress.rs       how far a command is
//! response.rs       responses of the contract as JSON
//! text.rs           text for people
//! stream.rs         standard streams without a buffer
//! ```

pub mod input;
pub mod out_file;
pub mod output;
pub mod output_target;
pub mod progress;
pub mod response;
pub mod stream;
pub mod text;
