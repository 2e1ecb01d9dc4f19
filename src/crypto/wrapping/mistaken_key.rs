//! Names what was sent in place of a public key.
//!
//! It is asked once a key was refused, and looks at the form alone, so that it
//! knows a thing that is too large, cut or wrapped in text. A private key comes
//! first, however it was sent: its owner has to hear that it has been shown.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use der::asn1::AnyRef;
use der::{Decode, Tag};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::crypto::pem::{self, BrokenPem, PUBLIC_KEY_LABEL};

/// A thing that is not a public key of the accepted form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Thing {
    /// A private key in any form.
    #[error(
        "a private key, which must never leave its owner: it has been shown and should be replaced"
    )]
    PrivateKey,
    /// A number of 32 bytes.
    #[error(
        "32 bytes, as many as a bare private key of an elliptic curve has: if it is one, it has been shown and should be replaced"
    )]
    BareScalar,
    /// A point by itself.
    #[error(
        "a bare point of an elliptic curve (the bytes 3059301306072a8648ce3d020106082a811ccf5501822d034200 in front of 04, x and y make a SubjectPublicKeyInfo of SM2)"
    )]
    BarePoint,
    /// PKCS#1.
    #[error("a PKCS#1 RSAPublicKey")]
    Pkcs1PublicKey,
    /// X.509.
    #[error("a certificate")]
    Certificate,
    /// PKCS#10.
    #[error("a certificate request")]
    CertificateRequest,
    /// X.509 or PKCS#10 in DER, which look alike.
    #[error("a certificate, or a request for one")]
    CertificateOrRequest,
    /// A line of `authorized_keys`, or RFC 4716.
    #[error("an OpenSSH public key")]
    OpenSshPublicKey,
    /// RFC 7517.
    #[error("a JSON Web Key")]
    JsonWebKey,
    /// PEM, inside of another encoding.
    #[error("PEM")]
    Pem,
    /// A label of PEM that says nothing here.
    #[error("something else than a PUBLIC KEY")]
    SomethingElse,
}

/// How something was encoded as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Two bytes a character.
    Utf16,
    /// Two digits a byte.
    Hexadecimal,
    /// RFC 4648, section 4 or 5.
    Base64,
}

impl Encoding {
    /// In this order: digits are letters of Base64.
    const ALL: [Self; 3] = [Self::Utf16, Self::Hexadecimal, Self::Base64];

    /// The encoding of a text, if it looks like one, and the content as far as it
    /// can be read.
    #[must_use]
    pub fn of(text: &[u8]) -> Option<(Self, Zeroizing<Vec<u8>>)> {
        Self::ALL.into_iter().find_map(|encoding| Some((encoding, encoding.decode(text)?)))
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Utf16 => "UTF-16 text",
            Self::Hexadecimal => "hexadecimal text",
            Self::Base64 => "Base64 text",
        }
    }

    /// The way on.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Utf16 => "save it as UTF-8",
            Self::Hexadecimal => "send the bytes that it stands for, or PEM",
            Self::Base64 => "decode it first, or add PEM's first and last line",
        }
    }

    /// The content, as far as it can be read.
    fn decode(self, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Utf16 => from_utf16(text),
            Self::Hexadecimal => from_hexadecimal(text),
            Self::Base64 => from_base64(text),
        }
    }
}

/// Input that was sent in place of a key, by its form.
pub(super) enum Mistaken {
    /// PEM that does not decode.
    BrokenPem(BrokenPem),
    /// PEM of something else.
    Pem(Thing),
    /// Something else.
    Bytes(Thing),
    /// Text that has to be decoded first, and what it holds.
    Encoded(Encoding, Option<Thing>),
}

/// Names the input, where its form tells.
pub(super) fn name(sent: &[u8]) -> Option<Mistaken> {
    let is_pem = pem::has_armour(sent);
    if shows_private_key(sent, MAX_LAYERS) {
        let mistaken = if is_pem { Mistaken::Pem } else { Mistaken::Bytes };
        return Some(mistaken(Thing::PrivateKey));
    }
    if is_pem {
        return name_pem(sent);
    }
    match Encoding::of(sent) {
        Some((encoding, content)) => Some(match thing(&content) {
            Some(Thing::BareScalar) => Mistaken::Bytes(Thing::BareScalar),
            found => Mistaken::Encoded(encoding, found),
        }),
        None => thing(sent).map(Mistaken::Bytes),
    }
}

/// PEM of something else, or broken PEM; `None` where its content is to blame.
fn name_pem(sent: &[u8]) -> Option<Mistaken> {
    let broken = pem::one_block(sent).err();
    let label = pem::blocks(sent).find_map(Result::ok).map(|block| block.label);
    let label = label.unwrap_or(PUBLIC_KEY_LABEL);
    if label == PUBLIC_KEY_LABEL || matches!(broken, Some(BrokenPem::ManyBlocks(_))) {
        return broken.map(Mistaken::BrokenPem);
    }
    Some(Mistaken::Pem(match label {
        "RSA PUBLIC KEY" => Thing::Pkcs1PublicKey,
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => Thing::Certificate,
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Thing::CertificateRequest,
        _ => Thing::SomethingElse,
    }))
}

/// Names bytes that are encoded no further.
fn thing(bytes: &[u8]) -> Option<Thing> {
    if pem::has_armour(bytes) {
        return Some(Thing::Pem);
    }
    if is_open_ssh(bytes) {
        return Some(Thing::OpenSshPublicKey);
    }
    if is_json_web_key(bytes) {
        return Some(Thing::JsonWebKey);
    }
    match (bytes.len(), bytes) {
        _ if is_der_of_public_key(bytes) => None,
        (32, _) => Some(Thing::BareScalar),
        (33 | 65, [0x02..=0x04, ..]) | (64, _) => Some(Thing::BarePoint),
        _ => match outline(bytes).as_slice() {
            [Tag::Integer, Tag::Integer] => Some(Thing::Pkcs1PublicKey),
            [Tag::Sequence, Tag::Sequence, Tag::BitString] => Some(Thing::CertificateOrRequest),
            _ => None,
        },
    }
}

/// The tags of a SEQUENCE's elements; none if it is not one.
fn outline(der: &[u8]) -> Vec<Tag> {
    let elements = Vec::<AnyRef<'_>>::from_der(der).unwrap_or_default();
    elements.iter().map(der::Tagged::tag).collect()
}

/// Base64 of PEM of Base64, in UTF-16: no private key lies deeper.
const MAX_LAYERS: u32 = 4;

/// Whether it is or holds a private key, whole or cut.
fn shows_private_key(bytes: &[u8], layers: u32) -> bool {
    if says_private_key(bytes) || is_der_of_private_key(bytes) {
        return true;
    }
    let Some(layers) = layers.checked_sub(1) else { return false };
    let encoded = Encoding::ALL.into_iter().filter_map(|encoding| encoding.decode(bytes));
    let armoured = pem::blocks(bytes).filter_map(|block| block.ok()?.decode().ok());
    encoded.chain(armoured).any(|content| shows_private_key(&content, layers))
}

/// Whether a text says so itself. Its dashes may have been lost.
fn says_private_key(text: &[u8]) -> bool {
    const LONGEST_LABEL: usize = 40;
    let labels = text.windows(6).enumerate().filter(|(_, window)| *window == b"BEGIN ");
    let mut labels = labels.filter_map(|(at, _)| text.get(at..)?.chunks(LONGEST_LABEL).next());
    let is_private = |label: &[u8]| {
        let end = label.iter().position(|byte| matches!(byte, b'-' | b'\n' | b'\r' | b'\\'));
        let label = label.get(..end.unwrap_or(label.len())).unwrap_or_default();
        contains(label, b"PRIVATE KEY")
    };
    labels.any(is_private)
        || text.starts_with(b"PuTTY-User-Key-File-")
        || is_json_web_key(text) && contains(text, b"\"d\"")
}

fn is_open_ssh(text: &[u8]) -> bool {
    let heads = [&b"ssh-"[..], b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-", b"---- BEGIN SSH2"];
    heads.iter().any(|head| text.starts_with(head))
}

fn is_json_web_key(text: &[u8]) -> bool {
    pem::without_bom(text).trim_ascii_start().starts_with(b"{") && contains(text, b"\"kty\"")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether DER, perhaps cut, begins as a private key does: PKCS#8, PKCS#1 and
/// SEC 1 with a version of 0 or 1, PKCS#12 with 3, and encrypted PKCS#8 with an
/// algorithm of PKCS#5 or PKCS#12.
fn is_der_of_private_key(der: &[u8]) -> bool {
    match in_sequence(der) {
        Some([2, 1, 0 | 1 | 3, ..]) => true,
        Some(algorithm) => matches!(
            in_sequence(algorithm),
            Some([6, _, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5 | 12, ..])
        ),
        None => false,
    }
}

/// Whether DER, perhaps cut, begins as a `SubjectPublicKeyInfo` does.
fn is_der_of_public_key(der: &[u8]) -> bool {
    matches!(in_sequence(der).and_then(in_sequence), Some([6, ..]))
}

/// The content of a SEQUENCE, after its head.
fn in_sequence(der: &[u8]) -> Option<&[u8]> {
    match der {
        [0x30, length, rest @ ..] => {
            let more = if *length > 0x80 { usize::from(length & 0x7f) } else { 0 };
            rest.get(more..)
        }
        _ => None,
    }
}

/// Text in UTF-16, of which the characters of ASCII are enough.
fn from_utf16(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let is_little = match text {
        [0xff, 0xfe, ..] => true,
        [0xfe, 0xff, ..] => false,
        [first, 0, second, 0, ..] if first.is_ascii_graphic() && second.is_ascii_graphic() => true,
        [0, first, 0, second, ..] if first.is_ascii_graphic() && second.is_ascii_graphic() => false,
        _ => return None,
    };
    let character = |pair: &[u8; 2]| {
        let unit = if is_little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) };
        u8::try_from(unit).ok().filter(u8::is_ascii)
    };
    let (pairs, _) = text.as_chunks::<2>();
    let mut ascii = Zeroizing::new(Vec::with_capacity(pairs.len()));
    ascii.extend(pairs.iter().filter_map(character));
    Some(ascii)
}

/// The shortest text that is taken for encoded: a number of 32 bytes in Base64.
const MIN_ENCODED_CHARS: usize = 43;

/// Digits, perhaps with colons or spaces between them, or `0x` before them.
fn from_hexadecimal(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = pem::without_bom(text).trim_ascii();
    let text = text.strip_prefix(b"0x").unwrap_or(text);
    let mut digits = Zeroizing::new(Vec::with_capacity(text.len()));
    digits.extend(text.iter().filter(|byte| !byte.is_ascii_whitespace() && **byte != b':'));
    if digits.len() < MIN_ENCODED_CHARS {
        return None;
    }
    base16ct::mixed::decode_vec(&digits).ok().map(Zeroizing::new)
}

/// Text of the letters of Base64, perhaps with PEM's last line. A cut one is read
/// as far as it goes.
fn from_base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if is_open_ssh(text) {
        return None;
    }
    let last_line = text.windows(5).position(|dashes| dashes == b"-----");
    let text = text.get(..last_line.unwrap_or(text.len()))?;
    let mut letters = Zeroizing::new(Vec::with_capacity(text.len()));
    letters.extend(pem::significant(pem::without_bom(text)));
    let end = letters.iter().rposition(|letter| *letter != b'=')? + 1;
    letters.truncate(end);
    for letter in letters.iter_mut() {
        match letter {
            b'-' => *letter = b'+',
            b'_' => *letter = b'/',
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {}
            _ => return None,
        }
    }
    if letters.len() < MIN_ENCODED_CHARS {
        return None;
    }
    if letters.len() % 4 == 1 {
        letters.pop();
    }
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone);
    GeneralPurpose::new(&alphabet::STANDARD, config).decode(&*letters).ok().map(Zeroizing::new)
}
