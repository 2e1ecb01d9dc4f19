//! Room on the disk that is kept for the changes that take a permission away.
//!
//! A disk that is full stops no such change: a file of some size lies beside the
//! database, and another in the audit log's directory. It is given up once, for the first of them that finds no room. From
//! then on what is left is for such changes alone, until there is room for the file
//! again. A file that was given up stays, empty: so a restart knows of it.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, OFlags};

use crate::durable;

/// The pause between two tries to keep room that was not there from the start.
const RETRY_PAUSE: Duration = Duration::from_secs(60);

/// Whether the room is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReserveState {
    /// The file is there.
    Kept,
    /// It was there, and was given up.
    GivenUp,
    /// There was no room for it yet, or the file system cannot keep it.
    Wanting { retry_at: Instant },
}

/// The room, which is a file.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// Whose disk it is on, for the log.
    whose: &'static str,
    state: ReserveState,
}

impl Reserve {
    /// Takes the file that is there, or makes it where there is room for it, and as
    /// much again. `whose` disk it is on is for the log.
    #[must_use]
    pub fn keep(path: PathBuf, bytes: u64, whose: &'static str) -> Self {
        let is_empty = |found: Metadata| found.is_file() && found.len() == 0;
        let state = if path.symlink_metadata().is_ok_and(is_empty) {
            ReserveState::GivenUp
        } else {
            ReserveState::Wanting { retry_at: Instant::now() }
        };
        let mut reserve = Self { path, bytes, whose, state };
        match (reserve.make(), state) {
            (Ok(()), _) => {}
            (Err(_), ReserveState::GivenUp) => tracing::error!(
                alarm = "disk",
                "the disk of {whose} is still full, and the room that was kept is given up: make room now"
            ),
            (Err(error), _) => tracing::warn!(
                %error,
                "no room is kept on the disk of {whose}: once it is full, no key can be disabled"
            ),
        }
        reserve
    }

    /// Gives the room up; whether there was some.
    pub fn give_up(&mut self) -> bool {
        if self.state != ReserveState::Kept {
            return false;
        }
        tracing::error!(
            alarm = "disk",
            "the disk of {} takes no more, and the room that was kept is given up: make room now",
            self.whose
        );
        let emptied = self.open().and_then(|file| {
            file.set_len(0)?;
            // The blocks are free once the file system has noted it.
            let _ = file.sync_all();
            Ok(())
        });
        self.state = ReserveState::GivenUp;
        emptied.is_ok()
    }

    /// Whether the room that is left is for urgent changes alone: the file was given
    /// up, and cannot be made again yet.
    pub fn is_in_use(&mut self) -> bool {
        match self.state {
            ReserveState::Kept => return false,
            ReserveState::Wanting { retry_at } if Instant::now() < retry_at => return false,
            ReserveState::GivenUp | ReserveState::Wanting { .. } => {}
        }
        if self.make().is_ok() {
            tracing::info!("room is kept on the disk of {} again", self.whose);
        }
        self.state == ReserveState::GivenUp
    }

    /// Makes the file, or completes it. Where it cannot, nothing is taken.
    fn make(&mut self) -> io::Result<()> {
        let made = self.try_make();
        match (&made, self.state) {
            (Ok(()), _) => self.state = ReserveState::Kept,
            (Err(_), ReserveState::Wanting { .. }) => {
                self.state = ReserveState::Wanting { retry_at: Instant::now() + RETRY_PAUSE };
            }
            (Err(_), _) => {}
        }
        made
    }

    fn try_make(&self) -> io::Result<()> {
        if self.path.symlink_metadata().is_ok_and(|found| self.is_whole(&found)) {
            return Ok(());
        }
        let disk = rustix::fs::statvfs(durable::parent(&self.path))?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < 2 * self.bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = self.open()?;
        self.allocate(&file).inspect_err(|_| {
            let _ = file.set_len(0);
        })
    }

    /// Takes the blocks themselves: a file with holes keeps nothing, and some file
    /// systems take none before they are written.
    fn allocate(&self, file: &File) -> io::Result<()> {
        rustix::fs::fallocate(file, FallocateFlags::empty(), 0, self.bytes)?;
        file.sync_all()?;
        durable::sync_parent(&self.path)?;
        if self.is_whole(&file.metadata()?) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::Unsupported, "the file system keeps no room for a file"))
    }

    fn open(&self) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags)
            .open(&self.path)?;
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        Err(io::Error::other(format!("{} is not a regular file", self.path.display())))
    }

    /// Whether a file is of the size of the room and has its blocks (of 512 bytes,
    /// `stat(3type)`).
    fn is_whole(&self, file: &Metadata) -> bool {
        file.is_file() && file.len() >= self.bytes && file.blocks() * 512 >= self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 1 << 20;

    fn kept(prepare: impl FnOnce(&std::path::Path)) -> (tempfile::TempDir, Reserve) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("reserve");
        prepare(&path);
        (home, Reserve::keep(path, BYTES, "a test"))
    }

    #[test]
    fn a_file_that_keeps_no_room_does_not_pass_for_one_that_does() {
        let hole = |path: &std::path::Path| {
            File::create(path).unwrap().set_len(BYTES).unwrap();
        };
        let short = |path: &std::path::Path| std::fs::write(path, [7; 4096]).unwrap();
        for prepare in [hole, short] {
            let (_home, reserve) = kept(prepare);
            assert_eq!(reserve.state, ReserveState::Kept);
            assert!(reserve.is_whole(&reserve.path.metadata().unwrap()));
        }
        let link = |path: &std::path::Path| std::os::unix::fs::symlink("/dev/null", path).unwrap();
        let (_home, mut reserve) = kept(link);
        assert!(matches!(reserve.state, ReserveState::Wanting { .. }));
        assert!(!reserve.give_up() && !reserve.is_in_use());
    }

    #[test]
    fn room_that_is_wanting_is_looked_for_again() {
        let link = |path: &std::path::Path| std::os::unix::fs::symlink("/dev/null", path).unwrap();
        let (_home, mut reserve) = kept(link);
        std::fs::remove_file(&reserve.path).unwrap();
        assert!(!reserve.is_in_use() && !reserve.path.exists(), "not before the pause");
        reserve.state = ReserveState::Wanting { retry_at: Instant::now() };
        assert!(!reserve.is_in_use());
        assert_eq!(reserve.state, ReserveState::Kept);
    }

    #[test]
    fn room_that_was_given_up_is_known_after_a_restart() {
        let (_home, reserve) = kept(|path| std::fs::write(path, b"").unwrap());
        // There is room here: so it is kept again, from the start.
        assert_eq!(reserve.state, ReserveState::Kept);
        let (_home, mut reserve) = kept(|_| ());
        assert!(reserve.give_up());
        assert_eq!(reserve.path.metadata().unwrap().len(), 0);
        assert!(!reserve.give_up(), "once");
    }
}
