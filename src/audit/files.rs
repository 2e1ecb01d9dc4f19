//! The files of an audit log: numbered, each begun once, only ever appended to.
//!
//! ```text
//! begin_next   open(F, O_CREAT|O_EXCL|O_APPEND)   fsync(directory)
//! append       write(F)   fdatasync(F)
//! ```
//!
//! A process never goes on with a file that it did not begin, nor with a descriptor on
//! which something failed: what the kernel holds of it may never reach the disk. It reads
//! what is there after the last byte that it knows to be durable, writes that once more
//! by another descriptor, and begins the next file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::durable;

/// Programs that ship the log may be in its group.
const DIRECTORY_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// The name of a file of the log.
#[must_use]
pub fn name(number: u64) -> String {
    format!("audit-{number:08}.jsonl")
}

/// The number of a file of that name, if it is one of a log.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
    let number = digits.parse().ok()?;
    (self::name(number) == name).then_some(number)
}

/// The numbers of the files in a directory, in order.
pub fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        numbers.extend(entry?.file_name().to_str().and_then(number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Why a file is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The process began.
    Start,
    /// The file before it was as large as files may be.
    Size,
    /// The file before it was as old as files may be.
    Age,
    /// An operator asked, by SIGHUP.
    Asked,
    /// The file before it is no longer where it was.
    Deleted,
    /// The file before it was cut short.
    Truncated,
    /// The file before it could not be written.
    Failure,
}

impl Reason {
    /// Whether the file is begun though there is nothing to write.
    pub(super) const fn cannot_wait(self) -> bool {
        !matches!(self, Self::Size | Self::Age)
    }

    /// As the first line of a file has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Size => "size",
            Self::Age => "age",
            Self::Asked => "asked",
            Self::Deleted => "deleted",
            Self::Truncated => "truncated",
            Self::Failure => "failure",
        }
    }
}

/// How long files grow, and how long they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A file of this size is followed by another.
    pub max_bytes: u64,
    /// A file of this age is followed by another.
    pub max_age: Duration,
    /// Files that were written last so long ago are deleted; none: files are kept.
    pub keep: Option<Duration>,
}

impl Default for Rotation {
    fn default() -> Self {
        let max_age = Duration::from_secs(24 * 60 * 60);
        Self { max_bytes: 256 << 20, max_age, keep: None }
    }
}

/// The directory, and the file in it that is written.
pub(super) struct LogFiles {
    directory: PathBuf,
    /// Held as long as this process writes.
    _lock: File,
    newest: u64,
    current: Option<Current>,
}

struct Current {
    file: File,
    path: PathBuf,
    inode: u64,
    /// Bytes that are in the file, and bytes that are on the disk.
    written: u64,
    durable: u64,
    begun: Instant,
    /// Something failed on it.
    broken: bool,
}

impl LogFiles {
    /// Opens the directory for this process alone; makes it where it is absent.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        durable::create_directories(directory, DIRECTORY_MODE)?;
        let lock = File::open(directory)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let newest = numbers(directory)?.last().copied().unwrap_or_default();
        Ok(Self { directory: directory.to_owned(), _lock: lock, newest, current: None })
    }

    /// Begins the next file, with these first bytes, and gives its number. Where that
    /// fails, there is no such file.
    pub(super) fn begin_next(&mut self, first: impl FnOnce(u64) -> Vec<u8>) -> io::Result<u64> {
        durable::create_directories(&self.directory, DIRECTORY_MODE)?;
        let newest = numbers(&self.directory)?.last().copied().unwrap_or_default();
        let number = newest.max(self.newest) + 1;
        let path = self.directory.join(name(number));
        let file = OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(&path)?;
        let inode = file.metadata()?.ino();
        let begun = Instant::now();
        let mut next = Current { file, path, inode, written: 0, durable: 0, begun, broken: false };
        let first = first(number);
        let begun = next.append(&first, true).and_then(|()| durable::sync_parent(&next.path));
        if let Err(error) = begun {
            let _ = fs::remove_file(&next.path);
            return Err(error);
        }
        self.newest = number;
        self.current = Some(next);
        Ok(number)
    }

    /// Appends these bytes, whole lines, and makes them durable where that is asked for.
    pub(super) fn append(&mut self, lines: &[u8], sync: bool) -> io::Result<()> {
        self.current()?.append(lines, sync)
    }

    /// Makes durable what was appended.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.current()?.sync()
    }

    fn current(&mut self) -> io::Result<&mut Current> {
        let current = self.current.as_mut().filter(|current| !current.broken);
        current.ok_or_else(|| io::Error::other("there is no file that can be written"))
    }

    /// Why another file is due, if one is.
    pub(super) fn due(&self, rotation: &Rotation) -> Option<Reason> {
        let Some(current) = self.current.as_ref().filter(|current| !current.broken) else {
            return Some(Reason::Failure);
        };
        match fs::symlink_metadata(&current.path) {
            Ok(found) if found.ino() != current.inode => Some(Reason::Deleted),
            Ok(found) if found.len() < current.written => Some(Reason::Truncated),
            // Somebody has been at it, or at the directory.
            Err(_) => Some(Reason::Deleted),
            _ if current.written >= rotation.max_bytes => Some(Reason::Size),
            _ if current.begun.elapsed() >= rotation.max_age => Some(Reason::Age),
            _ => None,
        }
    }

    /// The whole lines after the last byte that is known to be durable, made durable by
    /// another descriptor; the file is not written any more.
    pub(super) fn take_left(&mut self) -> io::Result<Vec<u8>> {
        let Some(current) = &self.current else { return Ok(Vec::new()) };
        let is_gone = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        };
        let left = match current.read_left() {
            Err(error) if is_gone(&error) => Vec::new(),
            left => left?,
        };
        self.current = None;
        Ok(left)
    }

    /// Deletes the files that were written last before that time; the newest stays.
    pub(super) fn delete_older_than(&self, keep: Duration) -> io::Result<Vec<u64>> {
        let mut deleted = Vec::new();
        for number in numbers(&self.directory)?.into_iter().filter(|it| *it < self.newest) {
            let path = self.directory.join(name(number));
            let age = SystemTime::now().duration_since(fs::symlink_metadata(&path)?.modified()?);
            // Those after it are younger.
            if age.unwrap_or_default() < keep {
                break;
            }
            fs::remove_file(&path)?;
            deleted.push(number);
        }
        Ok(deleted)
    }
}

impl Current {
    fn append(&mut self, lines: &[u8], sync: bool) -> io::Result<()> {
        self.broken = true;
        self.file.write_all(lines)?;
        self.broken = false;
        self.written += lines.len() as u64;
        if sync { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.broken = true;
        self.file.sync_data()?;
        self.broken = false;
        self.durable = self.written;
        Ok(())
    }

    fn read_left(&self) -> io::Result<Vec<u8>> {
        let file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        let found = file.metadata()?;
        if found.ino() != self.inode || found.len() <= self.durable {
            return Ok(Vec::new());
        }
        let mut left = vec![0; usize::try_from(found.len() - self.durable).unwrap_or_default()];
        file.read_exact_at(&mut left, self.durable)?;
        left.truncate(left.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
        if !left.is_empty() {
            // The kernel takes pages that it failed to write for written; these are new.
            file.write_all_at(&left, self.durable)?;
            file.sync_data()?;
        }
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROTATION: Rotation =
        Rotation { max_bytes: 100, max_age: Duration::from_secs(3600), keep: None };

    fn begun() -> (tempfile::TempDir, LogFiles) {
        let home = tempfile::tempdir().unwrap();
        let mut files = LogFiles::open(&home.path().join("audit")).unwrap();
        files.begin_next(|number| format!("file {number}\n").into_bytes()).unwrap();
        (home, files)
    }

    fn read(files: &LogFiles, number: u64) -> String {
        fs::read_to_string(files.directory.join(name(number))).unwrap()
    }

    #[test]
    fn names_are_of_one_form() {
        assert_eq!(number(&name(7)), Some(7));
        assert_eq!(name(7), "audit-00000007.jsonl");
        assert_eq!(number(&name(123_456_789)), Some(123_456_789));
        for other in
            ["audit-7.jsonl", "audit-00000007.json", "audit-+0000007.jsonl", "audit-.jsonl"]
        {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn a_directory_is_one_processs() {
        let (_home, files) = begun();
        assert!(LogFiles::open(&files.directory).is_err());
        let directory = files.directory.clone();
        drop(files);
        let mut again = LogFiles::open(&directory).unwrap();
        assert_eq!(again.begin_next(|_| b"two\n".to_vec()).unwrap(), 2);
        assert_eq!(numbers(&directory).unwrap(), [1, 2]);
        assert_eq!(read(&again, 1), "file 1\n");
    }

    #[test]
    fn another_file_is_due_by_size_and_where_somebody_has_been() {
        let (_home, mut files) = begun();
        assert_eq!(files.due(&ROTATION), None);
        let old = Rotation { max_age: Duration::ZERO, ..ROTATION };
        assert_eq!(files.due(&old), Some(Reason::Age));
        let path = files.directory.join(name(1));
        OpenOptions::new().write(true).open(&path).unwrap().set_len(3).unwrap();
        assert_eq!(files.due(&ROTATION), Some(Reason::Truncated));
        fs::rename(&path, files.directory.join("elsewhere")).unwrap();
        assert_eq!(files.due(&ROTATION), Some(Reason::Deleted));
        fs::write(&path, "foreign").unwrap();
        assert_eq!(files.due(&ROTATION), Some(Reason::Deleted));
        files.begin_next(|_| b"next\n".to_vec()).unwrap();
        assert_eq!(files.due(&ROTATION), None);
        files.append(&[b'x'; 100], true).unwrap();
        assert_eq!(files.due(&ROTATION), Some(Reason::Size));
    }

    #[test]
    fn whole_lines_that_were_left_are_taken_and_a_torn_one_is_not() {
        let (_home, mut files) = begun();
        files.append(b"synced\n", true).unwrap();
        files.append(b"one\ntwo\ntor", false).unwrap();
        assert_eq!(files.take_left().unwrap(), b"one\ntwo\n");
        assert_eq!(read(&files, 1), "file 1\nsynced\none\ntwo\ntor");
        assert_eq!(files.due(&ROTATION), Some(Reason::Failure));
        assert!(files.append(b"more\n", true).is_err(), "no file is written meanwhile");
        assert_eq!(files.begin_next(|_| b"next\n".to_vec()).unwrap(), 2);
        fs::remove_file(files.directory.join(name(2))).unwrap();
        assert_eq!(files.take_left().unwrap(), b"");
    }

    #[test]
    fn a_directory_that_was_removed_is_made_again() {
        let (_home, mut files) = begun();
        fs::remove_dir_all(&files.directory).unwrap();
        assert_eq!(files.due(&ROTATION), Some(Reason::Deleted));
        assert_eq!(files.begin_next(|_| b"next\n".to_vec()).unwrap(), 2, "no number is used twice");
    }

    #[test]
    fn old_files_are_deleted_and_the_newest_stays() {
        let (_home, mut files) = begun();
        for _ in 0..3 {
            files.begin_next(|_| b"x\n".to_vec()).unwrap();
        }
        let long_ago = SystemTime::now() - Duration::from_secs(1000);
        for number in [1, 2, 4] {
            let file = File::options().append(true).open(files.directory.join(name(number)));
            file.unwrap().set_modified(long_ago).unwrap();
        }
        assert_eq!(files.delete_older_than(Duration::from_secs(500)).unwrap(), [1, 2]);
        assert_eq!(numbers(&files.directory).unwrap(), [3, 4]);
        assert_eq!(files.delete_older_than(Duration::ZERO).unwrap(), [3]);
        assert_eq!(numbers(&files.directory).unwrap(), [4]);
    }
}
