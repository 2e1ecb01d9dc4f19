//! PEM's armour as people have it: the one tolerant reader.
//!
//! RFC 7468 has a lax form (section 3, figure 2), in which white space may stand
//! anywhere around and within the Base64. Mail, forms, environment variables and
//! editors add a byte order mark, and line breaks written out as `\n`. All of that
//! is read here and written anew in the strict form, for which kept crates have
//! readers. The content of the armour is read strictly, by others.

use der::pem::Decoder;
use thiserror::Error;
use zeroize::Zeroizing;

/// The label of PKCS#8.
pub const PRIVATE_KEY_LABEL: &str = "PRIVATE KEY";
/// The label of a `SubjectPublicKeyInfo`.
pub const PUBLIC_KEY_LABEL: &str = "PUBLIC KEY";

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// UTF-8's byte order mark.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// A line of the strict form.
const LINE_CHARS: usize = 64;

/// An armour that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BrokenPem {
    /// No armour.
    #[error("there is no first line -----BEGIN …-----")]
    NoFirstLine,
    /// The armour does not end.
    #[error("the last line -----END …----- is missing, or names something else than the first")]
    NoLastLine,
    /// Something else than white space around the armour.
    #[error("text stands before the first line or behind the last one")]
    TextAround,
    /// More than one.
    #[error("there are {0} blocks, and one is accepted")]
    ManyBlocks(usize),
    /// The armour holds something else than Base64.
    #[error("the text between the first and the last line is not Base64, padded")]
    NotBase64,
}

/// A block of PEM. Its content may be a private key: it is not printed.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    /// Its label, which is what it says it is.
    pub label: &'a str,
    body: &'a [u8],
}

/// Whether there is an armour.
#[must_use]
pub fn has_armour(text: &[u8]) -> bool {
    find(text, BEGIN).is_some()
}

/// The text without a byte order mark.
#[must_use]
pub fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(BOM).unwrap_or(text)
}

/// The one block that the text is.
pub fn one_block(text: &[u8]) -> Result<Block<'_>, BrokenPem> {
    let mut blocks = Blocks { rest: without_bom(text), skipped_text: false };
    let first = blocks.next().ok_or(BrokenPem::NoFirstLine)??;
    let others = blocks.by_ref().count();
    if others > 0 {
        return Err(BrokenPem::ManyBlocks(1 + others));
    }
    let is_alone = !blocks.skipped_text && is_blank(blocks.rest);
    if is_alone { Ok(first) } else { Err(BrokenPem::TextAround) }
}

/// The blocks of a text, in order, with any text between them.
pub fn blocks(text: &[u8]) -> impl Iterator<Item = Result<Block<'_>, BrokenPem>> {
    Blocks { rest: without_bom(text), skipped_text: false }
}

/// The blocks of a text in the strict form, without the text between them. A
/// text with a broken one stays as it is, for its reader to refuse.
#[must_use]
pub fn tidy(text: &[u8]) -> Zeroizing<Vec<u8>> {
    // Allocated once: a buffer that grows leaves copies behind. An armour on one
    // line gets a line break for every 64 characters, and three more.
    let mut tidied = Zeroizing::new(Vec::with_capacity(text.len() + text.len() / 8 + 64));
    for block in blocks(text) {
        match block {
            Ok(block) if block.is_text_of_base64() => block.write(&mut tidied),
            Ok(_) | Err(_) => return Zeroizing::new(text.to_vec()),
        }
    }
    tidied
}

impl Block<'_> {
    /// The content.
    pub fn decode(&self) -> Result<Zeroizing<Vec<u8>>, BrokenPem> {
        let strict = self.to_strict();
        let mut decoder = Decoder::new(&strict).map_err(|_| BrokenPem::NotBase64)?;
        let mut content = Zeroizing::new(Vec::with_capacity(decoder.remaining_len()));
        decoder.decode_to_end(&mut content).map_err(|_| BrokenPem::NotBase64)?;
        Ok(content)
    }

    /// Whether it holds the letters of Base64 alone. Others would be moved together, and
    /// may mean something else there: a backslash beside an n.
    fn is_text_of_base64(&self) -> bool {
        let is_letter =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        significant(self.body).all(is_letter)
    }

    fn to_strict(self) -> Zeroizing<Vec<u8>> {
        let room = self.body.len() + self.body.len() / LINE_CHARS + 2 * self.label.len() + 48;
        let mut strict = Zeroizing::new(Vec::with_capacity(room));
        self.write(&mut strict);
        strict
    }

    fn write(self, out: &mut Vec<u8>) {
        write_line(out, &[BEGIN, self.label.as_bytes(), DASHES]);
        let mut column = 0;
        for character in significant(self.body) {
            if column == LINE_CHARS {
                out.push(b'\n');
                column = 0;
            }
            out.push(character);
            column += 1;
        }
        write_line(out, &[b"\n", END, self.label.as_bytes(), DASHES]);
    }
}

fn write_line(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
    out.push(b'\n');
}

/// Walks over the blocks of a text.
struct Blocks<'a> {
    rest: &'a [u8],
    /// Whether something else than white space stood before a block.
    skipped_text: bool,
}

impl<'a> Blocks<'a> {
    fn block(&mut self, after_begin: &'a [u8]) -> Option<Block<'a>> {
        let (label, body) = split_at(after_begin, DASHES)?;
        let label = std::str::from_utf8(label).ok()?;
        let (body, after_end) = split_at(body, END)?;
        self.rest = after_end.strip_prefix(label.as_bytes())?.strip_prefix(DASHES)?;
        Some(Block { label, body })
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<Block<'a>, BrokenPem>;

    fn next(&mut self) -> Option<Self::Item> {
        let (before, after) = split_at(self.rest, BEGIN)?;
        self.skipped_text |= !is_blank(before);
        // A block that does not end is the last one.
        self.rest = b"";
        Some(self.block(after).ok_or(BrokenPem::NoLastLine))
    }
}

/// The bytes that are neither white space nor a line break written out: a
/// backslash, or several where it was escaped itself, and n, r or t.
pub fn significant(mut text: &[u8]) -> impl Iterator<Item = u8> {
    // The rest of a run of backslashes before no such letter. A run is measured once:
    // many of them must not each look for its end.
    let mut plain_slashes = 0_usize;
    std::iter::from_fn(move || {
        loop {
            let (first, rest) = text.split_first()?;
            if *first == b'\\' && plain_slashes == 0 {
                let slashes = text.iter().take_while(|byte| **byte == b'\\').count();
                if let Some([b'n' | b'r' | b't', behind @ ..]) = text.get(slashes..) {
                    text = behind;
                    continue;
                }
                plain_slashes = slashes;
            }
            plain_slashes = plain_slashes.saturating_sub(1);
            text = rest;
            if !is_white_space(*first) {
                return Some(*first);
            }
        }
    })
}

fn is_blank(text: &[u8]) -> bool {
    significant(text).next().is_none()
}

/// White space of RFC 7468, section 3.
const fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c)
}

fn split_at<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = find(text, mark)?;
    Some((text.get(..at)?, text.get(at + mark.len()..)?))
}

fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|window| window == mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: &str = "-----BEGIN PUBLIC KEY-----\nAAECAwQF\n-----END PUBLIC KEY-----\n";
    const CONTENT: [u8; 6] = [0, 1, 2, 3, 4, 5];

    fn content(text: &str) -> Result<Vec<u8>, BrokenPem> {
        one_block(text.as_bytes())?.decode().map(|content| content.to_vec())
    }

    #[test]
    fn the_lax_form_is_read() {
        for lax in [
            STRICT.to_owned(),
            STRICT.replace('\n', "\r\n"),
            STRICT.replace('\n', "\r"),
            STRICT.replace('\n', "  \t\n"),
            STRICT.replace('\n', "\n\n \n"),
            STRICT.replace('\n', ""),
            STRICT.replace('\n', " "),
            STRICT.replace('\n', "\\n"),
            STRICT.replace('\n', "\\r\\n"),
            STRICT.replace('\n', "\\\\n"),
            STRICT.replace("AwQF", "\n A w\nQF"),
            format!("\u{feff}{STRICT}"),
            format!("\n \\n{STRICT}\r\n \u{c}"),
        ] {
            assert_eq!(content(&lax).as_deref(), Ok(&CONTENT[..]), "{lax:?}");
            assert_eq!(tidy(lax.as_bytes()).as_slice(), STRICT.as_bytes(), "{lax:?}");
        }
    }

    #[test]
    fn what_is_broken_is_named() {
        for (text, broken) in [
            (String::new(), BrokenPem::NoFirstLine),
            ("AAECAwQF".to_owned(), BrokenPem::NoFirstLine),
            ("-----BEGIN PUBLIC KEY".to_owned(), BrokenPem::NoLastLine),
            (STRICT.replace("END PUBLIC", "END PRIVATE"), BrokenPem::NoLastLine),
            (STRICT.trim_end().trim_end_matches('-').to_owned(), BrokenPem::NoLastLine),
            (format!("Subject: me\n{STRICT}"), BrokenPem::TextAround),
            (format!("{STRICT}and more"), BrokenPem::TextAround),
            (format!("{STRICT}{STRICT}"), BrokenPem::ManyBlocks(2)),
            (format!("{STRICT}-----BEGIN X-----"), BrokenPem::ManyBlocks(2)),
            (STRICT.replace("AAEC", "A*EC"), BrokenPem::NotBase64),
            (STRICT.replace("AAEC", "A\\EC"), BrokenPem::NotBase64),
            (STRICT.replace("AwQF", "AwQ"), BrokenPem::NotBase64),
        ] {
            assert_eq!(content(&text), Err(broken), "{text:?}");
        }
    }

    #[test]
    fn backslashes_cost_no_more_than_other_bytes() {
        let many = vec![b'\\'; 4 << 20];
        assert_eq!(significant(&many).count(), many.len());
        assert_eq!(significant(br"a\\nb\x\\\tc").collect::<Vec<_>>(), br"ab\xc");
    }

    #[test]
    fn text_between_blocks_is_left_out_and_broken_ones_stay() {
        let strict = STRICT.replace("AwQF", &"A".repeat(64));
        let two = format!("subject=me\n{STRICT}issuer=you\n{}", strict.replace('\n', " "));
        let wrapped = strict.replace(&"A".repeat(60), &format!("{}\n{}", "A".repeat(56), "AAAA"));
        let tidied = tidy(two.as_bytes());
        assert_eq!(blocks(&tidied).count(), 2);
        assert!(tidied.starts_with(STRICT.as_bytes()));
        assert_eq!(tidied.len(), STRICT.len() + wrapped.len());
        let split_break = STRICT.replace("AwQF", "Aw\\\rnQF");
        for broken in [format!("{STRICT}-----BEGIN X-----"), split_break] {
            assert_eq!(tidy(broken.as_bytes()).as_slice(), broken.as_bytes());
        }
    }
}
