//! Lines of a file of any size, in bounded memory.

use std::io::{self, BufRead, Read};

/// Longest line. A request is at most 64 KiB; its bytes take a third more in
/// Base64, and the characters of its words up to six times as many.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// One line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A line with its end.
    Whole(Vec<u8>),
    /// What stands after the last end of a line.
    Cut(Vec<u8>),
    /// Longer than is read; its end has been found.
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
    pub fn next(&mut self) -> io::Result<Option<Line>> {
        let mut line = Vec::new();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut line)?;
        self.offset += read as u64;
        if read == 0 {
            return Ok(None);
        }
        if line.pop_if(|last| *last == b'\n').is_some() {
            line.pop_if(|last| *last == b'\r');
            return Ok(Some(Line::Whole(line)));
        }
        if read <= MAX_LINE_BYTES {
            return Ok(Some(Line::Cut(line)));
        }
        self.skip_line()?;
        Ok(Some(Line::TooLong))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        self.offset += self.reader.skip_until(b'\n')? as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Line> {
        let mut lines = Lines::new(bytes);
        let all: Vec<Line> = std::iter::from_fn(|| lines.next().unwrap()).collect();
        assert_eq!(lines.offset(), bytes.len() as u64);
        all
    }

    fn whole(line: &str) -> Line {
        Line::Whole(line.into())
    }

    #[test]
    fn what_has_no_end_is_cut() {
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"a\n\nb\r\n"), [whole("a"), whole(""), whole("b")]);
        assert_eq!(lines(b"a\nb"), [whole("a"), Line::Cut("b".into())]);
    }

    #[test]
    fn a_line_too_long_is_passed_over_to_its_end() {
        let mut bytes = vec![b'x'; MAX_LINE_BYTES + 5];
        assert_eq!(lines(&bytes), [Line::TooLong]);
        bytes.extend(b"\nb\n");
        assert_eq!(lines(&bytes), [Line::TooLong, whole("b")]);
        let longest = vec![b'x'; MAX_LINE_BYTES];
        assert_eq!(lines(&longest), [Line::Cut(longest.clone())]);
    }
}
