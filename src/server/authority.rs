//! The `:authority` of gRPC clients over a Unix socket.
//!
//! Python's grpcio and other clients send the socket's path, raw or percent-encoded,
//! which is no authority (RFC 3986, 3.2), and the HTTP layer then resets the stream
//! without a word (hyperium/h2, issue 487). Over a Unix socket the authority says
//! nothing: the caller chose the server by the path. So one that is malformed is
//! replaced in what is read, before the HTTP layer decodes it.
//!
//! The encoder at the other end may put the value into its dynamic table, whose size
//! counts the characters (RFC 7541, 4.1). So the value keeps their number, and its
//! place in the frame keeps its bytes.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use httlib_huffman::DecoderSpeed;
use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// RFC 9113, 4.1: length, type, flags, stream.
const FRAME_HEAD_BYTES: usize = 9;
/// The largest frame that the HTTP layer takes (RFC 9113, 4.2).
const FRAME_BYTES_MAX: usize = 16_384;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// RFC 7541, appendix A.
const AUTHORITY_INDEX: usize = 1;

/// An HTTP/2 connection over a Unix socket, after its preface, read with well-formed
/// authorities.
#[derive(Debug)]
pub struct WellFormed<T> {
    transport: T,
    /// The bytes read: first those that may be handed on, then the beginning of a frame.
    read: Vec<u8>,
    handed_on: usize,
    may_be_handed_on: usize,
    /// Bytes until the head of the next frame, which are handed on as they are.
    skip: usize,
}

impl<T> WellFormed<T> {
    /// Reads from a transport after its preface.
    pub const fn new(transport: T) -> Self {
        Self { transport, read: Vec::new(), handed_on: 0, may_be_handed_on: 0, skip: 0 }
    }

    /// Takes in bytes, and replaces the authorities in the frames that are whole.
    fn take_in(&mut self, bytes: &[u8]) {
        self.read.drain(..self.handed_on);
        self.may_be_handed_on -= self.handed_on;
        self.handed_on = 0;
        self.read.extend_from_slice(bytes);
        while self.get_on() {}
    }

    /// One step: the rest of a frame, or its head. Whether there may be another.
    fn get_on(&mut self) -> bool {
        let rest = self.read.get_mut(self.may_be_handed_on..).unwrap_or_default();
        if self.skip > 0 {
            let skipped = self.skip.min(rest.len());
            self.skip -= skipped;
            self.may_be_handed_on += skipped;
            return skipped > 0;
        }
        let Some(&[a, b, c, kind, flags, ..]) = rest.get(..FRAME_HEAD_BYTES) else { return false };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if kind == HEADERS && length <= FRAME_BYTES_MAX {
            let whole = FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length;
            let Some(payload) = rest.get_mut(whole) else { return false };
            replace_in(payload, flags);
        }
        self.skip = FRAME_HEAD_BYTES + length;
        true
    }
}

/// Replaces what is malformed in the payload of a HEADERS frame (RFC 9113, 6.2).
fn replace_in(payload: &mut [u8], flags: u8) {
    let is_padded = flags & PADDED != 0;
    let padding = payload.first().filter(|_| is_padded).map_or(0, |length| usize::from(*length));
    let begin = usize::from(is_padded) + 5 * usize::from(flags & PRIORITY != 0);
    let Some(end) = payload.len().checked_sub(padding) else { return };
    let Some(mut fields) = payload.get_mut(begin..end) else { return };
    while let Some((value, rest)) = next_field(fields) {
        if let Some(Literal { huffman, bytes }) = value
            && let Some(value) = fields.get_mut(bytes)
        {
            replace(value, huffman);
        }
        let Some(left) = fields.get_mut(rest..) else { return };
        fields = left;
    }
}

/// A string literal (RFC 7541, 5.2).
struct Literal {
    huffman: bool,
    bytes: Range<usize>,
}

/// The first field: its value if it is an authority's literal, and where the next
/// one begins (RFC 7541, 6).
fn next_field(fields: &[u8]) -> Option<(Option<Literal>, usize)> {
    let first = *fields.first()?;
    let (prefix, has_value) = match first {
        0x80.. => (7, false),
        0x40.. => (6, true),
        0x20.. => (5, false),
        _ => (4, true),
    };
    let (index, mut at) = integer(fields, 0, prefix)?;
    if !has_value {
        return Some((None, at));
    }
    let mut is_authority = index == AUTHORITY_INDEX;
    if index == 0 {
        let name = literal(fields, at)?;
        at = name.bytes.end;
        is_authority = !name.huffman && fields.get(name.bytes)? == b":authority";
    }
    let value = literal(fields, at)?;
    let end = value.bytes.end;
    Some((is_authority.then_some(value), end))
}

fn literal(fields: &[u8], at: usize) -> Option<Literal> {
    let huffman = fields.get(at)? & 0x80 != 0;
    let (length, begin) = integer(fields, at, 7)?;
    let bytes = begin..begin.checked_add(length)?;
    (bytes.end <= fields.len()).then_some(Literal { huffman, bytes })
}

/// An integer whose first byte leaves it so many bits, and where it ends (RFC 7541,
/// 5.1).
fn integer(fields: &[u8], at: usize, prefix: u32) -> Option<(usize, usize)> {
    let most = (1_usize << prefix) - 1;
    let first = usize::from(*fields.get(at)?) & most;
    if first < most {
        return Some((first, at + 1));
    }
    let mut value = most;
    for (n, byte) in fields.get(at + 1..)?.iter().take(3).enumerate() {
        value += usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, at + n + 2));
        }
    }
    None
}

/// Replaces an authority that is malformed by another one of as many characters,
/// in as many bytes.
fn replace(value: &mut [u8], huffman: bool) {
    if !huffman {
        if Authority::try_from(&*value).is_err() {
            value.fill(b'a');
        }
        return;
    }
    let mut decoded = Vec::with_capacity(2 * value.len());
    if httlib_huffman::decode(value, &mut decoded, DecoderSpeed::FourBits).is_err()
        || Authority::try_from(decoded.as_slice()).is_ok()
    {
        return;
    }
    let mut other = Vec::with_capacity(value.len());
    let coded = httlib_huffman::encode(&of_size(decoded.len(), value.len()), &mut other);
    // A value that no authority takes the place of stays, and is refused.
    if coded.is_ok() && other.len() == value.len() {
        value.copy_from_slice(&other);
    }
}

/// So many characters whose codes fill so many bytes: `a` takes 5 bits, `b` 6, `j` 7
/// and `X` 8 (RFC 7541, appendix B).
fn of_size(characters: usize, bytes: usize) -> Vec<u8> {
    let more_bits = (8 * bytes).saturating_sub(7).saturating_sub(5 * characters);
    let mut text = vec![b'X'; (more_bits / 3).min(characters)];
    match more_bits % 3 {
        1 => text.push(b'b'),
        2 => text.push(b'j'),
        _ => {}
    }
    text.resize(characters, b'a');
    text
}

impl<T: AsyncRead + Unpin> AsyncRead for WellFormed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.handed_on == self.may_be_handed_on {
            let mut bytes = [0; 4096];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.transport).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.take_in(read.filled());
        }
        let most = self.may_be_handed_on.min(self.handed_on + buf.remaining());
        buf.put_slice(self.read.get(self.handed_on..most).unwrap_or_default());
        self.handed_on = most;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WellFormed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn huffman(text: &str) -> Vec<u8> {
        let mut encoded = Vec::new();
        httlib_huffman::encode(text.as_bytes(), &mut encoded).unwrap();
        encoded
    }

    fn decoded(encoded: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        httlib_huffman::decode(encoded, &mut text, DecoderSpeed::FourBits).unwrap();
        text
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// A field of a name in the static table, to be put into the dynamic one.
    fn field(index: u8, mark: u8, value: &[u8]) -> Vec<u8> {
        [&[0x40 | index, mark | u8::try_from(value.len()).unwrap()], value].concat()
    }

    /// The output for bytes that come in pieces of this size.
    fn read_in_pieces(bytes: &[u8], size: usize) -> Vec<u8> {
        let mut all = WellFormed::new(());
        let mut out = Vec::new();
        for piece in bytes.chunks(size) {
            all.take_in(piece);
            out.extend_from_slice(&all.read[all.handed_on..all.may_be_handed_on]);
            all.handed_on = all.may_be_handed_on;
        }
        out
    }

    #[test]
    fn a_path_for_an_authority_is_replaced_and_all_else_stays() {
        let path = "%2Ftmp%2Fkeyferry.sock";
        let block = |value: &[u8], mark| {
            [&[0x83, 0x86][..], &field(4, 0, b"/a/B"), &field(1, mark, value), &[0x84]].concat()
        };
        let connection = |value: &[u8], mark| {
            let block = block(value, mark);
            let padded = [&[3, 0, 0, 0, 0, 7][..], &block, &[0; 3]].concat();
            [
                frame(4, 0, &[]),
                frame(HEADERS, 4, &block),
                frame(0, 1, path.as_bytes()),
                frame(HEADERS, 4 | PADDED | PRIORITY, &padded),
            ]
            .concat()
        };
        for raw in [path, "/tmp/keyferry.sock", "unix:/tmp/k", "a b"] {
            let expected = connection(&vec![b'a'; raw.len()], 0);
            for size in [1, 7, 1000] {
                assert_eq!(read_in_pieces(&connection(raw.as_bytes(), 0), size), expected);
            }
        }
        for kept in ["localhost", "keyferry.example:7311", "[::1]:80"] {
            let kept = connection(kept.as_bytes(), 0);
            assert_eq!(read_in_pieces(&kept, 11), kept);
        }
        // A value that goes on in the next frame: its padding is none of it.
        let cut = [&[20, 0x41, 22][..], b"/tmp/", &[b'/'; 20]].concat();
        let cut = frame(HEADERS, PADDED, &cut);
        assert_eq!(read_in_pieces(&cut, 1000), cut);
        let coded = huffman(path);
        let read = read_in_pieces(&connection(&coded, 0x80), 1000);
        assert_eq!(read.len(), connection(&coded, 0x80).len());
        let head = [0x41, 0x80 | u8::try_from(coded.len()).unwrap()];
        let at = read.windows(2).position(|two| two == head).unwrap();
        let value = decoded(&read[at + 2..at + 2 + coded.len()]);
        assert_eq!(value.len(), path.len());
        assert!(Authority::try_from(value.as_slice()).is_ok());
    }

    proptest! {
        #[test]
        fn a_replaced_value_keeps_its_characters_and_bytes(
            path in "[%/A-Za-z0-9._:-]{1,120}",
            any in "[!-~]{0,120}",
        ) {
            for (text, is_path) in [(path, true), (any, false)] {
                let mut value = huffman(&text);
                let size = value.len();
                replace(&mut value, true);
                let read = decoded(&value);
                prop_assert_eq!((value.len(), read.len()), (size, text.len()));
                prop_assert!(!is_path || Authority::try_from(read.as_slice()).is_ok());
            }
        }

        #[test]
        fn any_bytes_come_out_in_their_number(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            flags in any::<u8>(),
            size in 1_usize..50,
        ) {
            let whole = frame(HEADERS, flags, &bytes);
            prop_assert_eq!(read_in_pieces(&whole, size).len(), whole.len());
        }
    }
}
