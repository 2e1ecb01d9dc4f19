//! How lines hang together: each bears its number and the digest of the line before it.
//!
//! A line is one JSON object that begins `{"v":1,"seq":…,"prev":"…",` and ends in a line
//! feed. `prev` is the SHA-256 of the line before, without its line feed, so that
//! `sha256sum` verifies it and no canonical form of JSON is needed.

use std::io::Write as _;

use sha2::{Digest, Sha256};

use super::entry::Entry;

/// The SHA-256 of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineDigest(pub [u8; 32]);

impl LineDigest {
    /// What the first line of a log names as the line before it.
    pub const NONE: Self = Self([0; 32]);

    /// Of a line without its line feed.
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }

    /// Reads 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let read = base16ct::lower::decode(hex, &mut bytes).ok()?.len();
        (read == bytes.len()).then_some(Self(bytes))
    }
}

impl std::fmt::Display for LineDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}", base16ct::HexDisplay(&self.0))
    }
}

/// The end of a chain: how many lines there are, and the digest of the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last line; they begin at 1.
    pub seq: u64,
    /// Its digest.
    pub digest: LineDigest,
}

impl Head {
    /// Of a log without lines.
    pub const EMPTY: Self = Self { seq: 0, digest: LineDigest::NONE };

    /// Adds a line to a chain: appends its bytes, and gives the new end. `body` is what
    /// [`body`] made of the line's entry.
    #[must_use]
    pub fn append(&self, body: &[u8], to: &mut Vec<u8>) -> Self {
        let (seq, from) = (self.seq + 1, to.len());
        // Writing to a vector does not fail.
        let _ = write!(to, "{{\"v\":1,\"seq\":{seq},\"prev\":\"{}\",", self.digest);
        to.extend_from_slice(body);
        let digest = LineDigest::of(to.get(from..).unwrap_or_default());
        to.push(b'\n');
        Self { seq, digest }
    }
}

/// A line but for its beginning, which is known only when it is written.
pub fn body(entry: &Entry) -> serde_json::Result<Vec<u8>> {
    let mut json = serde_json::to_vec(entry)?;
    json.remove(0);
    Ok(json)
}

/// The beginning of a line, and its entry unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkedLine<'a> {
    /// Its number.
    pub seq: u64,
    /// The digest of the line before it.
    pub prev: LineDigest,
    /// The whole line, without its line feed.
    pub text: &'a str,
    /// What follows its beginning: as [`body`] made it.
    pub body: &'a str,
}

impl<'a> LinkedLine<'a> {
    /// Reads the one form in which lines begin.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix("{\"v\":1,\"seq\":")?;
        let (seq, rest) = rest.split_once(",\"prev\":\"")?;
        let (prev, body) = rest.split_once("\",")?;
        let number: u64 = seq.parse().ok()?;
        // Numbers could be written in other ways, too.
        let is_ours = number.to_string() == seq && body.ends_with('}');
        is_ours.then_some(Self { seq: number, prev: LineDigest::parse(prev)?, text, body })
    }

    /// What it says.
    pub fn entry(&self) -> serde_json::Result<Entry> {
        serde_json::from_str(self.text)
    }

    /// The end of the chain, once this is its last line.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { seq: self.seq, digest: LineDigest::of(self.text.as_bytes()) }
    }

    /// Whether it follows this end.
    #[must_use]
    pub fn follows(&self, head: &Head) -> bool {
        self.prev == head.digest && head.seq.checked_add(1) == Some(self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Kind;
    use super::*;

    fn entry(note: &str) -> Entry {
        let of = |text: &str| text.to_owned();
        let mut entry = Entry::new(of("time"), of("event"), of("store"), of("run"), Kind::Stop);
        entry.note = Some(of(note));
        entry
    }

    #[test]
    fn a_line_is_read_back_as_what_it_was_made_of() {
        let (mut bytes, mut head) = (Vec::new(), Head::EMPTY);
        for note in ["one", "two \" \n \u{7f} ü"] {
            head = head.append(&body(&entry(note)).unwrap(), &mut bytes);
        }
        let text = String::from_utf8(bytes).unwrap();
        let mut before = Head::EMPTY;
        for (line, note) in text.lines().zip(["one", "two \" \n \u{7f} ü"]) {
            let line = LinkedLine::parse(line).unwrap();
            assert!(line.follows(&before));
            assert_eq!(line.entry().unwrap(), entry(note));
            before = line.head();
        }
        assert_eq!(before, head);
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn only_one_beginning_is_a_lines() {
        let mut bytes = Vec::new();
        let _ = Head::EMPTY.append(&body(&entry("x")).unwrap(), &mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let line = text.trim_end();
        assert!(LinkedLine::parse(line).is_some());
        for other in [
            line.replace("\"seq\":1", "\"seq\":01"),
            line.replace("\"seq\":1", "\"seq\":+1"),
            line.replace("\"seq\":1", "\"seq\": 1"),
            line.replace("\"v\":1", "\"v\":2"),
            line.replace("000000\",", "00000A\","),
            line.replace("000000\",", "00000\","),
            line.strip_suffix('}').unwrap().to_owned(),
            format!(" {line}"),
        ] {
            assert_eq!(LinkedLine::parse(&other), None, "{other}");
        }
    }
}
