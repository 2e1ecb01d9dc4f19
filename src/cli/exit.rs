//! Exit codes: the one list, from section 3 of the contract. The numbers are
//! those of BSD's `sysexits.h`, so that scripts know them.

use std::process::{ExitCode, Termination};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or a dry run that would have worked.
    Done = 0,
    /// The server refused, or a check failed.
    Refused = 1,
    /// The command line is wrong.
    Usage = 64,
    /// Input cannot be read or is not what it should be.
    Input = 65,
    /// The server cannot be reached.
    Unreachable = 69,
    /// A store or a socket is in use, or an output file cannot be made.
    InUse = 73,
    /// The server does not know the caller or does not permit the call.
    NotPermitted = 77,
    /// The configuration, the root key or the policy is wrong.
    Configuration = 78,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.number())
    }
}
