//! Streams that bytes are read from and written to.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};

/// A standard stream without std's buffer, which would keep a copy of a key for
/// the life of the process.
pub fn unbuffered(stream: impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

/// The early exit of a command that cannot write. A reader that went away is not a
/// failure.
pub fn cannot_write(target: &dyn fmt::Display, error: &io::Error) -> EarlyExit {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return EarlyExit::ReaderGone;
    }
    Failure::new(
        Exit::InUse,
        format!("{target} cannot be written: {error}."),
        "Check that there is space left and that you may write there.",
    )
    .into()
}
