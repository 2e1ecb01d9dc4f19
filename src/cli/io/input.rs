//! Raw bytes from a file or from standard input.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::stream::unbuffered;
use crate::cli::failure::Failure;
use crate::crypto::wrapping::mistaken_key::Encoding;
use crate::limits::REQUEST_BYTES;

/// A request is at most this long; no blob, ciphertext or signature is longer.
pub const MAX_BLOB_BYTES: usize = REQUEST_BYTES.max;

/// Where bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// `-`
    Stdin,
    /// A file.
    File(PathBuf),
}

impl FromStr for Input {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Stdin } else { Self::File(PathBuf::from(text)) })
    }
}

impl From<&Path> for Input {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Input {
    /// Opens the input for a reader that takes it piece by piece, and tells its
    /// length if it is a file. `what` names it in failures.
    pub fn open(&self, what: &str) -> Result<(File, Option<u64>), Failure> {
        let open = || {
            let file = self.file()?;
            let metadata = file.metadata()?;
            Ok((file, metadata.is_file().then_some(metadata.len())))
        };
        open().map_err(|error| self.unreadable(what, &error))
    }

    /// Reads all of it. An empty input, or one of more than `max_bytes`, is
    /// refused. The bytes are wiped after use, since they may be a private key.
    /// `what` names them in failures.
    pub fn read(&self, what: &str, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
        // One allocation of full size: growing would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(max_bytes + 1));
        let limit = max_bytes as u64 + 1;
        self.file()
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(|error| self.unreadable(what, &error))?;
        if bytes.is_empty() {
            return Err(Failure::input(
                format!("The {what} in {self} is empty."),
                "Check the program that should have written it.",
            ));
        }
        if bytes.len() > max_bytes {
            return Err(Failure::input(
                format!("The {what} in {self} is longer than {max_bytes} bytes."),
                "Check that it is the right file.",
            ));
        }
        Ok(bytes)
    }

    /// Reads raw bytes, as `read` does. Text that only stands for them is
    /// refused: no ciphertext, signature or digest is made of letters alone.
    pub fn read_raw(&self, what: &str, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let bytes = self.read(what, max_bytes)?;
        match text_form(&bytes) {
            Some((form, advice)) => Err(Failure::input(
                format!("The {what} in {self} is {form}, and raw bytes are wanted."),
                advice,
            )),
            None => Ok(bytes),
        }
    }

    fn file(&self) -> io::Result<File> {
        match self {
            Self::Stdin => unbuffered(io::stdin()),
            Self::File(path) => File::open(path),
        }
    }

    fn unreadable(&self, what: &str, error: &io::Error) -> Failure {
        Failure::input(
            format!("The {what} cannot be read from {self}: {error}."),
            "Check that the file exists and that you may read it.",
        )
    }
}

/// The form of a text that stands for bytes, and how to get them.
fn text_form(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    if !bytes.is_ascii() {
        return None;
    }
    let is_object = bytes.trim_ascii_start().starts_with(b"{");
    if is_object && serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        let advice = "Take the field out of it, and decode that: `jq -r .FIELD FILE | base64 -d`";
        return Some(("JSON", advice));
    }
    let (encoding, _) = Encoding::of(bytes)?;
    let advice = match encoding {
        Encoding::Base64 => "Decode it first: `base64 -d FILE`",
        Encoding::Hexadecimal => "Decode it first: `xxd -r -p FILE`",
        Encoding::Utf16 => "Give the file as it was made.",
    };
    Some((encoding.as_str(), advice))
}

/// Refuses a command line that reads standard input twice.
pub fn refuse_two_stdins(inputs: &[&Input]) -> Result<(), Failure> {
    if inputs.iter().filter(|input| ***input == Input::Stdin).count() < 2 {
        return Ok(());
    }
    Err(Failure::usage(
        "Standard input can be read only once, but two options name it.",
        "Give a file for one of them.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn input_has_a_limit_and_must_not_be_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in");
        for (content, fits) in [(&b""[..], false), (b"1234", true), (b"12345", false)] {
            fs::write(&path, content).unwrap();
            assert_eq!(Input::from(path.as_path()).read("blob", 4).is_ok(), fits, "{content:?}");
        }
    }
}
