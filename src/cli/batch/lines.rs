//! Lines of a file of any size, in bounded memory.

use std::io::{self, BufRead, Read};

/// Longest line. A request is at most 64 KiB; its bytes take a third more in
/// Base64, and the characters of its words up to six times as many.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// One line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputLine {
    /// A line with its end.
    Whole(Vec<u8>),
    /// The rest of the file after the last end of a line.
    Cut(Vec<u8>),
    /// A line of more than `MAX_LINE_BYTES`, which was skipped.
    TooLong,
}

/// The lines of a file, one after the other.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    offset: u64,
}

impl<R: BufRead> Lines<R> {
    /// From where the reader stands.
    pub fn new(reader: R) -> Self {
        Self { reader, offset: 0 }
    }

    /// How many bytes have been read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<InputLine>> {
        let mut line = Vec::new();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut line)?;
        self.offset += read as u64;
        if read == 0 {
            return Ok(None);
        }
        if line.pop_if(|last| *last == b'\n').is_some() {
            line.pop_if(|last| *last == b'\r');
            return Ok(Some(InputLine::Whole(line)));
        }
        if read <= MAX_LINE_BYTES {
            return Ok(Some(InputLine::Cut(line)));
        }
        self.offset += self.reader.skip_until(b'\n')? as u64;
        Ok(Some(InputLine::TooLong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<InputLine> {
        let mut lines = Lines::new(bytes);
        let all: Vec<InputLine> = std::iter::from_fn(|| lines.next().unwrap()).collect();
        assert_eq!(lines.offset(), bytes.len() as u64);
        all
    }

    fn whole(line: &str) -> InputLine {
        InputLine::Whole(line.into())
    }

    #[test]
    fn a_line_without_its_end_is_cut() {
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"a\n\nb\r\n"), [whole("a"), whole(""), whole("b")]);
        assert_eq!(lines(b"a\nb"), [whole("a"), InputLine::Cut("b".into())]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped() {
        let mut bytes = vec![b'x'; MAX_LINE_BYTES + 5];
        assert_eq!(lines(&bytes), [InputLine::TooLong]);
        bytes.extend(b"\nb\n");
        assert_eq!(lines(&bytes), [InputLine::TooLong, whole("b")]);
        let longest = vec![b'x'; MAX_LINE_BYTES];
        assert_eq!(lines(&longest), [InputLine::Cut(longest.clone())]);
    }
}
