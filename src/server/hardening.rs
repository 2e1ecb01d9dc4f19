//! The process: no core dumps, no debugger, no swap where that is allowed.
//!
//! None of it keeps out root. It keeps keys out of core files, crash reporters,
//! swap, and the reach of other processes of the same user.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Which protections are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardening {
    /// `RLIMIT_CORE` is 0: no core file.
    pub no_core_files: bool,
    /// Not dumpable: no core by pipe either, no ptrace by the same user.
    pub not_dumpable: bool,
    /// All memory stays out of swap.
    pub locked_in_memory: bool,
}

/// Hardens this process, before any key is in it. Logs which protection failed.
#[must_use]
pub fn harden() -> Hardening {
    let found = Hardening {
        no_core_files: no_core_files(),
        not_dumpable: not_dumpable(),
        locked_in_memory: locked_in_memory(),
    };
    open_files();
    found
}

fn no_core_files() -> bool {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)
        .inspect_err(|error| tracing::warn!(%error, "core files stay possible"))
        .is_ok()
}

fn not_dumpable() -> bool {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .inspect_err(|error| tracing::warn!(%error, "the process stays dumpable"))
        .is_ok()
}

/// Only where `RLIMIT_MEMLOCK` is unlimited: under a limit, `MCL_FUTURE` makes
/// later allocations fail. ONFAULT locks what is used, not what is mapped.
fn locked_in_memory() -> bool {
    if getrlimit(Resource::Memlock).current.is_some() {
        tracing::info!(
            "memory is not locked and may be swapped: raise RLIMIT_MEMLOCK to unlimited (systemd: LimitMEMLOCK=infinity), or encrypt swap"
        );
        return false;
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
        .inspect_err(|error| tracing::warn!(%error, "memory is not locked and may be swapped"))
        .is_ok()
}

/// Raises the soft limit of open files to the hard one: 1,024 are too few for the
/// connections that the server accepts, and meant for programs that use `select`.
fn open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}
