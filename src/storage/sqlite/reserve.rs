//! Room on the disk that is kept for the changes that take a permission away.
//!
//! A disk that is full stops no such change: a file of some size lies beside the
//! database, and is given up once, for the first of them that finds no room. From
//! then on what is left is for such changes alone, until there is room for the file
//! again.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, OFlags};

use super::directory::Directory;
use crate::durable;

/// The size of the file: some thousand changes, each in the log and in the
/// database.
const RESERVE_BYTES: u64 = 16 << 20;

/// Whether the room is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReserveState {
    /// The file is there.
    Kept,
    /// It was there, and was given up.
    GivenUp,
    /// There never was room for it, or the file system cannot keep it.
    Wanting,
}

pub(super) struct Reserve {
    path: PathBuf,
    state: ReserveState,
}

impl Reserve {
    /// Makes the file where it is absent and there is room for it, and as much
    /// again.
    pub(super) fn keep(directory: &Directory) -> Self {
        let mut reserve = Self { path: directory.reserve(), state: ReserveState::Wanting };
        if reserve.path.symlink_metadata().is_ok() {
            reserve.state = ReserveState::Kept;
        } else if let Err(error) = reserve.make() {
            tracing::warn!(
                %error,
                "no room is kept on the store's disk: once it is full, no key can be disabled"
            );
        }
        reserve
    }

    /// Gives the file up; whether there was one.
    pub(super) fn give_up(&mut self) -> bool {
        if self.state != ReserveState::Kept {
            return false;
        }
        self.state = ReserveState::GivenUp;
        tracing::error!(
            alarm = "disk",
            "the store's disk is full, and the room that was kept is given up: make room now"
        );
        std::fs::remove_file(&self.path).is_ok()
    }

    /// Whether what room there is, is for urgent changes alone: the file was given
    /// up, and cannot be made again yet.
    pub(super) fn is_in_use(&mut self) -> bool {
        if self.state == ReserveState::GivenUp && self.make().is_ok() {
            tracing::info!("there is room on the store's disk again");
        }
        self.state == ReserveState::GivenUp
    }

    fn make(&mut self) -> io::Result<()> {
        let disk = rustix::fs::statvfs(durable::parent(&self.path))?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < 2 * RESERVE_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Err(error) = self.allocate() {
            let _ = std::fs::remove_file(&self.path);
            return Err(error);
        }
        self.state = ReserveState::Kept;
        Ok(())
    }

    /// Takes the blocks themselves: a file with holes keeps nothing.
    fn allocate(&self) -> io::Result<()> {
        let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(nofollow)
            .open(&self.path)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES)?;
        file.sync_all()?;
        durable::sync_parent(&self.path)
    }
}
