//! The files of a log and their lines, read in order and in bounded memory.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The longest line that is read. No request makes one of a tenth of that.
pub const LINE_BYTES_MAX: usize = 1 << 20;
const BUFFER_BYTES: usize = 1 << 18;

/// A file of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// The number that its name bears, if it is named as files of a log are.
    pub number: Option<u64>,
}

impl LogFile {
    /// The file at this path.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        let number = path.file_name().and_then(|name| number(name.to_str()?));
        Self { path: path.to_owned(), number }
    }

    /// Its lines, from the first one on.
    pub fn lines(&self) -> io::Result<Lines<BufReader<File>>> {
        let file = File::open(&self.path)?;
        Ok(Lines::new(BufReader::with_capacity(BUFFER_BYTES, file)))
    }
}

/// The number in the name of a log's file: `audit-<8 digits>.jsonl`.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
    let number = digits.parse().ok()?;
    (format!("{number:08}") == digits).then_some(number)
}

/// The files of a log in a directory, by number.
pub fn files_in(directory: &Path) -> io::Result<Vec<LogFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        files.push(LogFile::at(&entry?.path()));
    }
    files.retain(|file| file.number.is_some());
    files.sort_unstable_by_key(|file| file.number);
    Ok(files)
}

/// The files that these paths name, a directory those that are in it. Files of one log
/// are taken by their numbers; with any that has none, all are taken as they are given.
pub fn files_of(paths: &[PathBuf]) -> Result<Vec<LogFile>, (PathBuf, io::Error)> {
    let mut files = Vec::new();
    for path in paths {
        let unreadable = |error| (path.clone(), error);
        if fs::metadata(path).map_err(unreadable)?.is_dir() {
            files.extend(files_in(path).map_err(unreadable)?);
        } else {
            files.push(LogFile::at(path));
        }
    }
    if files.iter().all(|file| file.number.is_some()) {
        files.sort_by_key(|file| file.number);
    }
    Ok(files)
}

/// A line, without its line feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawLine<'a> {
    /// One with its line feed.
    Whole(&'a [u8]),
    /// What a crash left of one, or what is not written yet: the end of a file.
    Torn(&'a [u8]),
    /// One that is longer than any line of a log, left out.
    TooLong,
}

/// The lines of a file, one after the other, in one buffer.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    number: u64,
    offset: u64,
}

impl<R: BufRead> Lines<R> {
    /// From where the reader stands.
    pub const fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), number: 0, offset: 0 }
    }

    /// The number of the line that was read last; they begin at 1.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes were read.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        self.line.clear();
        self.read_on()
    }

    /// What has been added to a line that was torn, and this line with it; a line if
    /// there is no torn one. Where nothing more is there, it is torn still.
    pub fn read_on(&mut self) -> io::Result<Option<RawLine<'_>>> {
        if self.line.ends_with(b"\n") {
            self.line.clear();
        }
        let begun = self.line.len();
        let room = (LINE_BYTES_MAX + 1).saturating_sub(begun) as u64;
        let read = self.reader.by_ref().take(room).read_until(b'\n', &mut self.line)?;
        self.offset += read as u64;
        self.number += u64::from(begun == 0 && read > 0);
        if self.line.is_empty() {
            return Ok(None);
        }
        if self.line.len() > LINE_BYTES_MAX && !self.line.ends_with(b"\n") {
            self.offset += self.reader.skip_until(b'\n')? as u64;
            self.line.clear();
            return Ok(Some(RawLine::TooLong));
        }
        Ok(Some(match self.line.strip_suffix(b"\n") {
            Some(line) => RawLine::Whole(line),
            None => RawLine::Torn(&self.line),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_taken_by_their_numbers() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        for name in ["audit-00000010.jsonl", "audit-00000009.jsonl", "audit-9.jsonl", "other"] {
            fs::write(path(name), "").unwrap();
        }
        let numbers = |paths: &[PathBuf]| {
            let files = files_of(paths).unwrap();
            files.iter().map(|file| file.number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&[home.path().to_owned()]), [Some(9), Some(10)]);
        let [nine, ten] = ["audit-00000009.jsonl", "audit-00000010.jsonl"].map(path);
        assert_eq!(numbers(&[ten.clone(), nine.clone()]), [Some(9), Some(10)]);
        assert_eq!(numbers(&[ten, path("other"), nine]), [Some(10), None, Some(9)]);
        assert!(files_of(&[path("absent")]).is_err());
        assert_eq!(number("audit-123456789.jsonl"), Some(123_456_789));
        assert_eq!(number("audit-+0000001.jsonl"), None);
    }

    #[test]
    fn lines_are_whole_torn_or_too_long() {
        let mut lines = Lines::new(b"one\n\ntwo".as_slice());
        for expected in [RawLine::Whole(b"one"), RawLine::Whole(b""), RawLine::Torn(b"two")] {
            assert_eq!(lines.next().unwrap(), Some(expected));
        }
        assert_eq!((lines.number(), lines.offset()), (3, 8));
        assert_eq!(lines.next().unwrap(), None);

        let longest = vec![b'x'; LINE_BYTES_MAX];
        let long = [&longest, b"\n".as_slice(), &longest, b"x\nnext\n"].concat();
        let mut lines = Lines::new(long.as_slice());
        assert_eq!(lines.next().unwrap(), Some(RawLine::Whole(&longest)));
        assert_eq!(lines.next().unwrap(), Some(RawLine::TooLong));
        assert_eq!(lines.next().unwrap(), Some(RawLine::Whole(b"next")));
        assert_eq!((lines.number(), lines.offset()), (3, long.len() as u64));
    }

    #[test]
    fn a_torn_line_is_read_on() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("audit-00000001.jsonl");
        fs::write(&path, "one\ntw").unwrap();
        let mut lines = LogFile::at(&path).lines().unwrap();
        assert_eq!(lines.next().unwrap(), Some(RawLine::Whole(b"one")));
        assert_eq!(lines.next().unwrap(), Some(RawLine::Torn(b"tw")));
        assert_eq!(lines.read_on().unwrap(), Some(RawLine::Torn(b"tw")));
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(lines.read_on().unwrap(), Some(RawLine::Whole(b"two")));
        assert_eq!(lines.read_on().unwrap(), Some(RawLine::Whole(b"three")));
        assert_eq!(lines.read_on().unwrap(), None);
        assert_eq!(lines.number(), 3);
    }
}
