//! Checkpoints: signed notes (C2SP signed-note, Ed25519) over all lines before them.
//!
//! ```text
//! keyferry/audit/<store id>          the log
//! <seq>                              the last line that is covered
//! <digest>                           its SHA-256
//! time <time>                        what is left of the checkpoint's own line
//! run <run id>
//! event <event id>
//! open <event id>                    for each change that was begun and not ended
//!
//! — keyferry/audit/<store id> <Base64 of 4 bytes of the key's hash, and the signature>
//! ```
//!
//! It is the note of golang.org/x/mod/sumdb/note, so that others' programs verify it too.
//! It is no checkpoint of C2SP's tlog-checkpoint: that has the root of a Merkle tree where
//! this has the digest of a line.

use std::fmt::{self, Write as _};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::chain::{Head, LineDigest};
use super::entry::{Entry, Kind, TIME_FORMAT};
use crate::crypto::random::{self, RandomUnavailable};
use crate::ids::{EventId, RunId, StoreId};

const NAME_PREFIX: &str = "keyferry/audit/";
const SIGNATURE_PREFIX: &str = "— ";
/// The signature type of Ed25519.
const ED25519_TYPE: u8 = 1;
const SEED_LEN_BYTES: usize = 32;
const PUBLIC_KEY_LEN_BYTES: usize = 32;
const KEY_HASH_LEN_BYTES: usize = 4;
/// Others may sign a checkpoint too; this many bound the work.
const SIGNATURES_MAX: usize = 100;

/// The key that signs the checkpoints of one log: secret, wiped, and without a way out.
pub struct CheckpointKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

/// A seed that makes no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the seed makes no signing key")]
pub struct UnfitSeed;

impl CheckpointKey {
    /// The key of a store's log that this seed makes (RFC 8032, 5.1.5).
    pub fn from_seed(store: StoreId, seed: &[u8; SEED_LEN_BYTES]) -> Result<Self, UnfitSeed> {
        Self::named(format!("{NAME_PREFIX}{store}"), seed)
    }

    /// A new key.
    pub fn generate(store: StoreId) -> Result<Self, RandomUnavailable> {
        let mut seed = Zeroizing::new([0; SEED_LEN_BYTES]);
        random::fill(seed.as_mut_slice())?;
        Self::from_seed(store, &seed).map_err(|UnfitSeed| RandomUnavailable)
    }

    fn named(name: String, seed: &[u8; SEED_LEN_BYTES]) -> Result<Self, UnfitSeed> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| UnfitSeed)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| UnfitSeed)?;
        Ok(Self { pair, verifier: VerifierKey::new(name, public) })
    }

    /// The text with its signature. A text ends in a line feed.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        let VerifierKey { name, hash, .. } = &self.verifier;
        let signature = STANDARD.encode([hash, signature.as_ref()].concat());
        format!("{text}\n{SIGNATURE_PREFIX}{name} {signature}\n")
    }

    /// Its public half.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        self.verifier.clone()
    }
}

/// The public key of a log's checkpoints, with its name: `<name>+<hash>+<key>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    hash: [u8; KEY_HASH_LEN_BYTES],
    public: [u8; PUBLIC_KEY_LEN_BYTES],
}

impl VerifierKey {
    fn new(name: String, public: [u8; PUBLIC_KEY_LEN_BYTES]) -> Self {
        let digest = Sha256::new()
            .chain_update(&name)
            .chain_update([b'\n', ED25519_TYPE])
            .chain_update(public)
            .finalize();
        let [a, b, c, d, ..]: [u8; 32] = digest.into();
        Self { name, hash: [a, b, c, d], public }
    }

    /// Reads the one text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('+')?;
        let (_, key) = rest.split_once('+')?;
        let key = STANDARD.decode(key).ok()?;
        let public = key.strip_prefix(&[ED25519_TYPE])?.try_into().ok()?;
        let read = Self::new(name.to_owned(), public);
        (is_name(name) && read.to_string() == text).then_some(read)
    }

    /// The store whose log it signs.
    #[must_use]
    pub fn store(&self) -> Option<&str> {
        self.name.strip_prefix(NAME_PREFIX)
    }

    /// The text of a note that this key signed. Others may have signed it too.
    #[must_use]
    pub fn open<'a>(&self, note: &'a str) -> Option<&'a str> {
        let note = SignedNote::parse(note)?;
        self.verifies(&note).then_some(note.text)
    }

    /// The text of a note that this key alone signed, so that no byte of it could be
    /// otherwise.
    #[must_use]
    pub fn open_sole<'a>(&self, note: &'a str) -> Option<&'a str> {
        let note = SignedNote::parse(note)?;
        (note.signatures.len() == 1 && self.verifies(&note)).then_some(note.text)
    }

    fn verifies(&self, note: &SignedNote<'_>) -> bool {
        let ours = |it: &&NoteSignature<'_>| it.name == self.name && it.hash == self.hash;
        let mut ours = note.signatures.iter().filter(ours);
        let (Some(one), None) = (ours.next(), ours.next()) else { return false };
        let key = UnparsedPublicKey::new(&ED25519, self.public);
        key.verify(note.text.as_bytes(), &one.signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519_TYPE], self.public.as_slice()].concat();
        let hash = u32::from_be_bytes(self.hash);
        write!(f, "{}+{hash:08x}+{}", self.name, STANDARD.encode(key))
    }
}

/// A note, its signatures unverified.
struct SignedNote<'a> {
    /// With its last line feed.
    text: &'a str,
    signatures: Vec<NoteSignature<'a>>,
}

struct NoteSignature<'a> {
    name: &'a str,
    hash: [u8; KEY_HASH_LEN_BYTES],
    signature: Vec<u8>,
}

impl<'a> SignedNote<'a> {
    fn parse(note: &'a str) -> Option<Self> {
        if note.contains(|c: char| c < ' ' && c != '\n') {
            return None;
        }
        let (text, signatures) = note.split_at_checked(note.rfind("\n\n")? + 1)?;
        let signatures = signatures.strip_prefix('\n')?.strip_suffix('\n')?;
        let signatures: Option<Vec<_>> =
            signatures.split('\n').take(SIGNATURES_MAX + 1).map(NoteSignature::parse).collect();
        let signatures = signatures.filter(|all| all.len() <= SIGNATURES_MAX)?;
        Some(Self { text, signatures })
    }
}

impl<'a> NoteSignature<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        let decoded = STANDARD.decode(signature).ok()?;
        let (hash, signature) = decoded.split_first_chunk()?;
        let is_one = is_name(name) && !signature.is_empty();
        is_one.then(|| Self { name, hash: *hash, signature: signature.to_vec() })
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The store whose log it is.
    pub store: String,
    /// The run of the process that signed it.
    pub run: String,
    /// The id of its own line.
    pub event: String,
    /// The time of its own line.
    pub time: String,
    /// The number of the last line before it.
    pub seq: u64,
    /// The digest of that line.
    pub digest: LineDigest,
    /// The changes that were begun and not ended there.
    pub open: Vec<EventId>,
}

impl Checkpoint {
    /// A checkpoint over all lines up to this end, which is signed for `line`: what a line
    /// of its own begins with.
    #[must_use]
    pub fn over(line: Entry, head: Head, open: impl IntoIterator<Item = EventId>) -> Self {
        let Entry { time, event, store, run, .. } = line;
        let open = open.into_iter().collect();
        Self { store, run, event, time, seq: head.seq, digest: head.digest, open }
    }

    /// The end of the chain that it covers.
    #[must_use]
    pub const fn head(&self) -> Head {
        Head { seq: self.seq, digest: self.digest }
    }

    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { store, run, event, time, seq, digest, open } = self;
        let text = format!(
            "{NAME_PREFIX}{store}\n{seq}\n{digest}\ntime {time}\nrun {run}\nevent {event}\n"
        );
        open.iter().fold(text, |mut text, open| {
            let _ = writeln!(text, "open {open}");
            text
        })
    }

    /// Reads the one text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let store = lines.next()?.strip_prefix(NAME_PREFIX)?;
        let seq = lines.next()?.parse().ok()?;
        let digest = LineDigest::parse(lines.next()?)?;
        let time = lines.next()?.strip_prefix("time ")?;
        let run = lines.next()?.strip_prefix("run ")?;
        let event = lines.next()?.strip_prefix("event ")?;
        let open = |line: &str| EventId::parse(line.strip_prefix("open ")?).ok();
        let open = lines.map(open).collect::<Option<_>>()?;
        StoreId::parse(store).and(RunId::parse(run)).and(EventId::parse(event)).ok()?;
        let [store, run, event, time] = [store, run, event, time].map(str::to_owned);
        let read = Self { store, run, event, time, seq, digest, open };
        (is_time(&read.time) && read.text() == text).then_some(read)
    }

    /// Its line: wholly told by the checkpoint and its note, so that the signature covers
    /// every byte of the line.
    #[must_use]
    pub fn entry(&self, note: String) -> Entry {
        let Self { store, run, event, time, .. } = self.clone();
        Entry { note: Some(note), ..Entry::new(time, event, store, run, Kind::Checkpoint) }
    }
}

/// Whether this is the one form of a time in a line.
fn is_time(text: &str) -> bool {
    let read: Result<jiff::Timestamp, _> = text.parse();
    read.is_ok_and(|time| time.strftime(TIME_FORMAT).to_string() == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use static_assertions::assert_not_impl_any;

    use super::*;

    assert_not_impl_any!(CheckpointKey: Clone, fmt::Debug, fmt::Display, serde::Serialize);

    // The example of the documentation of golang.org/x/mod/sumdb/note.
    const PETER_SEED: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const PETER_TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                              then you don't know what your problem is.\n";
    const PETER_SIGNED: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn seed(bytes: u8) -> [u8; SEED_LEN_BYTES] {
        [bytes; SEED_LEN_BYTES]
    }

    fn key() -> CheckpointKey {
        CheckpointKey::from_seed(StoreId::new(), &seed(7)).unwrap()
    }

    fn checkpoint(seq: u64, open: usize) -> Checkpoint {
        let of = |id: &dyn fmt::Display| id.to_string();
        Checkpoint {
            store: of(&StoreId::new()),
            run: of(&RunId::new()),
            event: of(&EventId::new()),
            time: "2026-11-27T10:00:00.000001Z".to_owned(),
            seq,
            digest: LineDigest::of(b"line"),
            open: (0..open).map(|_| EventId::new()).collect(),
        }
    }

    #[test]
    fn the_published_example_is_made_and_verified() {
        let seed = STANDARD.decode(PETER_SEED).unwrap();
        let seed = seed[1..].try_into().unwrap();
        let key = CheckpointKey::named("PeterNeumann".to_owned(), &seed).unwrap();
        assert_eq!(key.verifier().to_string(), PETER);
        let note = format!("{PETER_TEXT}\n{PETER_SIGNED}");
        assert_eq!(key.sign(PETER_TEXT), note);
        let verifier = VerifierKey::parse(PETER).unwrap();
        assert_eq!(verifier, key.verifier());
        assert_eq!(verifier.open(&note), Some(PETER_TEXT));
        assert_eq!(verifier.store(), None);
    }

    #[test]
    fn others_may_sign_too_and_nobody_twice() {
        let verifier = VerifierKey::parse(PETER).unwrap();
        let foreign = key();
        let also = foreign.sign(PETER_TEXT).rsplit_once("\n\n").unwrap().1.to_owned();
        let both = format!("{PETER_TEXT}\n{also}{PETER_SIGNED}");
        assert_eq!(verifier.open(&both), Some(PETER_TEXT));
        assert_eq!(verifier.open_sole(&both), None);
        assert_eq!(foreign.verifier().open(&both), Some(PETER_TEXT));
        let none = format!("{PETER_TEXT}\n{also}");
        assert_eq!(verifier.open(&none), None);
        let twice = format!("{PETER_TEXT}\n{PETER_SIGNED}{PETER_SIGNED}");
        assert_eq!(verifier.open(&twice), None);
        let many = format!("{PETER_TEXT}\n{}{PETER_SIGNED}", also.repeat(SIGNATURES_MAX - 1));
        assert_eq!(verifier.open(&many), Some(PETER_TEXT));
        let too_many = format!("{PETER_TEXT}\n{}{PETER_SIGNED}", also.repeat(SIGNATURES_MAX));
        assert_eq!(verifier.open(&too_many), None);
    }

    #[test]
    fn notes_of_another_form_are_none() {
        let verifier = VerifierKey::parse(PETER).unwrap();
        let signature = PETER_SIGNED.trim_end();
        let (_, encoded) = signature.rsplit_once(' ').unwrap();
        for note in [
            String::new(),
            "\n\n".to_owned(),
            PETER_TEXT.to_owned(),
            format!("{PETER_TEXT}\n"),
            format!("{PETER_TEXT}{PETER_SIGNED}"),
            format!("{PETER_TEXT}\n{signature}"),
            format!("{PETER_TEXT}\n{PETER_SIGNED}\n"),
            format!("{PETER_TEXT}\n {PETER_SIGNED}"),
            format!("{PETER_TEXT}\n{signature} \n"),
            format!("{PETER_TEXT}\n{signature}\r\n"),
            format!("{PETER_TEXT}\n{PETER_SIGNED}— x\n"),
            format!("{PETER_TEXT}\n{PETER_SIGNED}— x AAAAAA==\n"),
            format!("{PETER_TEXT}\n- PeterNeumann {encoded}\n"),
            format!("{PETER_TEXT}\n— Peter+Neumann {encoded}\n"),
            format!("{PETER_TEXT}\n{}\n", signature.replace("AM=", "AN=")),
            format!("{PETER_TEXT}\n{}\n", signature.trim_end_matches('=')),
        ] {
            assert_eq!(verifier.open(&note), None, "{note:?}");
        }
    }

    #[test]
    fn a_verifier_key_has_one_form() {
        for text in [
            "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumanN+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+AhpcQcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n",
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10S=",
            "PeterNeumann+c74f20a3+",
            "PeterNeumann+c74f20a3",
            "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann",
            "",
        ] {
            assert_eq!(VerifierKey::parse(text), None, "{text}");
        }
        let spaced = VerifierKey::new("a b".to_owned(), seed(1)).to_string();
        assert_eq!(VerifierKey::parse(&spaced), None);
    }

    #[test]
    fn keys_differ_by_store_and_by_seed() {
        let store = StoreId::new();
        let key = CheckpointKey::from_seed(store, &seed(7)).unwrap();
        assert_eq!(key.verifier().store(), Some(store.to_string().as_str()));
        let [other_store, other_seed] = [(StoreId::new(), 7), (store, 8)]
            .map(|(store, byte)| CheckpointKey::from_seed(store, &seed(byte)).unwrap().verifier());
        let note = key.sign("text\n");
        assert_eq!(key.verifier().open(&note), Some("text\n"));
        assert_eq!(other_store.open(&note), None);
        assert_eq!(other_seed.open(&note), None);
        let [one, two] = [(), ()].map(|()| CheckpointKey::generate(store).unwrap());
        assert_ne!(one.verifier(), two.verifier());
    }

    #[test]
    fn every_byte_of_a_checkpoint_is_covered() {
        let key = key();
        let note = key.sign(&checkpoint(12, 2).text());
        for at in 0..note.len() {
            for flipped in [1, 0x20, 0x80] {
                let mut bytes = note.clone().into_bytes();
                bytes[at] ^= flipped;
                if let Ok(changed) = String::from_utf8(bytes) {
                    assert_eq!(key.verifier().open_sole(&changed), None, "byte {at}: {changed}");
                }
            }
        }
    }

    #[test]
    fn a_checkpoint_has_one_text() {
        let text = checkpoint(12, 1).text();
        for (from, to) in [
            ("\n12\n", "\n012\n"),
            ("\n12\n", "\n+12\n"),
            ("\ntime 2026", "\ntime  2026"),
            (".000001Z", ".00001Z"),
            (".000001Z", ".000001+00:00"),
            ("10:00:00", "25:00:00"),
            ("\nrun ", "\nRun "),
            ("\nopen ", "\nopen  "),
            ("\nopen ", "\n\nopen "),
            ("\nevent ", "\nother x\nevent "),
            ("keyferry/audit/", "keyferry/audit/x"),
            ("keyferry/audit/", ""),
        ] {
            assert_eq!(Checkpoint::parse(&text.replacen(from, to, 1)), None, "{from} {to}");
        }
        assert_eq!(Checkpoint::parse(text.trim_end()), None);
        assert_eq!(Checkpoint::parse(&format!("{text}\n")), None);
        assert_eq!(Checkpoint::parse(&text.replace('\n', "\r\n")), None);
        assert!(Checkpoint::parse(&text).is_some());
    }

    proptest! {
        #[test]
        fn a_checkpoint_is_read_back(seq in any::<u64>(), open in 0_usize..20, byte in any::<u8>()) {
            let key = CheckpointKey::from_seed(StoreId::new(), &seed(byte)).unwrap();
            let made = checkpoint(seq, open);
            let note = key.sign(&made.text());
            let verifier = VerifierKey::parse(&key.verifier().to_string()).unwrap();
            prop_assert_eq!(verifier.open(&note).and_then(Checkpoint::parse), Some(made.clone()));
            let entry = made.entry(note.clone());
            prop_assert_eq!(Checkpoint::over(entry, made.head(), made.open.clone()), made);
        }

        #[test]
        fn no_edit_of_a_note_is_signed(at in any::<prop::sample::Index>(), inserted in "\\PC{0,3}|\n", removed in 0_usize..3) {
            let key = key();
            let note = key.sign(&checkpoint(3, 1).text());
            let mut characters: Vec<char> = note.chars().collect();
            let at = at.index(characters.len());
            let end = (at + removed).min(characters.len());
            characters.splice(at..end, inserted.chars());
            let edited: String = characters.into_iter().collect();
            prop_assert_eq!(key.verifier().open_sole(&edited).is_some(), edited == note);
        }
    }
}
