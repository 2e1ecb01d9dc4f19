//! The judge of recipients' public keys.
//!
//! A key is a `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7) in strict DER,
//! or PEM of it in any lax form, of at most 1 KiB. A weak or unusual key is
//! refused, with a text that says what was found and what would do: a data key
//! under a weak public key is a data key in the clear.

use std::borrow::Cow;
use std::fmt;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use der::{Decode, Encode};
use elliptic_curve::sec1::FromSec1Point;
use rsa::pkcs1::RsaPublicKeyRef;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use sm2::{PublicKey, Sec1Point};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use thiserror::Error;

use super::WrappingKeySpec;
use super::mistaken_key::{self, Encoding, Mistaken, Thing};
use super::rsa_oaep::RsaRecipientKey;
use super::sm2_pke::Sm2RecipientKey;
use crate::crypto::pem::{self, BrokenPem, PUBLIC_KEY_LABEL};
use crate::limits::PUBLIC_KEY_BYTES;

/// SP 800-56B r2, section 6.2.
const MIN_EXPONENT: u64 = 65_537;
/// The highest that cryptographic modules take; no key in use has more.
const MAX_EXPONENT: u64 = (1 << 33) - 1;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SM2_CURVE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.1.301");

/// A public key that is refused. Its text says what was found and what would
/// do, without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitPublicKey {
    found: Found,
    spec: WrappingKeySpec,
}

impl UnfitPublicKey {
    /// The reason.
    #[must_use]
    pub const fn found(&self) -> &Found {
        &self.found
    }
}

impl fmt::Display for UnfitPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, spec } = self;
        match spec.modulus_bits() {
            Some(bits) => write!(
                f,
                "{found}; for {spec}, a SubjectPublicKeyInfo in DER or PEM with an RSA key of \
                 {bits} bits (rsaEncryption) would do"
            ),
            None => write!(
                f,
                "{found}; for {spec}, a SubjectPublicKeyInfo in DER or PEM with an uncompressed \
                 point of the curve sm2p256v1 (id-ecPublicKey) would do"
            ),
        }
    }
}

impl std::error::Error for UnfitPublicKey {}

/// The thing found in place of a public key that would do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Found {
    /// No bytes.
    #[error("it is empty")]
    Nothing,
    /// Too many bytes.
    #[error("it has {0} bytes, {PUBLIC_KEY_BYTES} are accepted")]
    TooLong(usize),
    /// PEM that does not decode.
    #[error("it looks like PEM but does not decode ({0})")]
    BrokenPem(BrokenPem),
    /// PEM of something else.
    #[error("it is PEM of {0}")]
    OtherPem(Thing),
    /// Something else.
    #[error("it is {0}")]
    Other(Thing),
    /// Text that has to be decoded first, and what it holds.
    #[error("it is {}{}; {}", .0.as_str(), of(*.1), .0.advice())]
    Encoded(Encoding, Option<Thing>),
    /// Not DER, or not of that structure.
    #[error("it is not a SubjectPublicKeyInfo in strict DER ({0})")]
    BrokenDer(der::Error),
    /// Bytes behind the key.
    #[error("{0} bytes follow the key")]
    TrailingBytes(u32),
    /// Readable, but not the one encoding that DER allows.
    #[error("it is not encoded as DER demands")]
    NotCanonical,
    /// A key that the RSA implementation does not take, for reasons of its own.
    #[error("it is a key that RSA encryption here does not take")]
    Unusable,
    /// A key of another algorithm.
    #[error("it is a key of {0}")]
    OtherAlgorithm(Algorithm),
    /// Parameters other than the algorithm's.
    #[error("its algorithm's parameters are not {0}")]
    WrongParameters(&'static str),
    /// A point on another curve.
    #[error("it is a point of the curve {0}")]
    OtherCurve(Algorithm),
    /// A modulus of another size.
    #[error("its RSA modulus has {0} bits")]
    ModulusBits(usize),
    /// A modulus that 2 divides.
    #[error("its RSA modulus is even")]
    EvenModulus,
    /// A modulus that a small prime divides.
    #[error("its RSA modulus has the small prime factor {0}")]
    SmallFactor(u32),
    /// A modulus of the library that CVE-2017-15361 is about.
    #[error("its RSA modulus bears the ROCA fingerprint (CVE-2017-15361): it can be factored")]
    Roca,
    /// An exponent below the lower bound.
    #[error("its public exponent is below 65537, the lowest that SP 800-56B r2 allows")]
    ExponentTooSmall,
    /// An exponent above the upper bound.
    #[error("its public exponent is above 2^33 - 1, the highest that is accepted here")]
    ExponentTooLarge,
    /// An exponent that 2 divides.
    #[error("its public exponent is even")]
    EvenExponent,
    /// A compressed or hybrid point.
    #[error("its point is compressed")]
    CompressedPoint,
    /// The point at infinity.
    #[error("its point is infinity")]
    Infinity,
    /// A point that the curve's equation does not hold for.
    #[error("its point is not on the curve")]
    OffCurve,
    /// Bytes that are no point at all.
    #[error("its point is not 04, x and y of 32 bytes each")]
    MalformedPoint,
}

impl From<Mistaken> for Found {
    fn from(mistaken: Mistaken) -> Self {
        match mistaken {
            Mistaken::BrokenPem(broken) => Self::BrokenPem(broken),
            Mistaken::Pem(thing) => Self::OtherPem(thing),
            Mistaken::Bytes(thing) => Self::Other(thing),
            Mistaken::Encoded(encoding, thing) => Self::Encoded(encoding, thing),
        }
    }
}

impl Found {
    /// Whether a private key was sent.
    #[must_use]
    pub const fn is_private_key(&self) -> bool {
        matches!(self, Self::Other(Thing::PrivateKey) | Self::OtherPem(Thing::PrivateKey))
    }
}

fn of(thing: Option<Thing>) -> String {
    thing.map(|thing| format!(" of {thing}")).unwrap_or_default()
}

/// The algorithm or curve of an object identifier, with its usual name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm(ObjectIdentifier);

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(oid, _)| *oid == self.0);
        match name {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "the object identifier {}", self.0),
        }
    }
}

const fn named(oid: &str, name: &'static str) -> (ObjectIdentifier, &'static str) {
    (ObjectIdentifier::new_unwrap(oid), name)
}

const NAMES: [(ObjectIdentifier, &str); 14] = [
    (RSA_ENCRYPTION, "RSA"),
    (EC_PUBLIC_KEY, "an elliptic curve"),
    (SM2_CURVE, "sm2p256v1 (SM2)"),
    named("1.2.840.113549.1.1.10", "RSASSA-PSS, for signatures alone"),
    named("1.2.840.113549.1.1.7", "id-RSAES-OAEP"),
    named("1.2.840.10040.4.1", "DSA"),
    named("1.3.101.110", "X25519"),
    named("1.3.101.111", "X448"),
    named("1.3.101.112", "Ed25519, for signatures alone"),
    named("1.3.101.113", "Ed448, for signatures alone"),
    named("1.2.840.10045.3.1.7", "P-256"),
    named("1.3.132.0.34", "P-384"),
    named("1.3.132.0.35", "P-521"),
    named("1.3.132.0.10", "secp256k1"),
];

/// A recipient's public key that has passed.
pub struct WrappingKey {
    spec: WrappingKeySpec,
    der: Box<[u8]>,
    sha256: [u8; 32],
    recipient_key: RecipientKey,
}

/// The key in the form that wrapping needs.
pub(super) enum RecipientKey {
    Rsa(RsaRecipientKey),
    Sm2(Sm2RecipientKey),
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrappingKey").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl WrappingKey {
    /// Judges what was sent as a key of this spec.
    pub fn parse(spec: WrappingKeySpec, sent: &[u8]) -> Result<Self, UnfitPublicKey> {
        judge(spec, sent).map_err(|found| UnfitPublicKey { found, spec })
    }

    /// The spec.
    #[must_use]
    pub const fn spec(&self) -> WrappingKeySpec {
        self.spec
    }

    /// Our own DER encoding, whatever was sent.
    #[must_use]
    pub fn to_der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of our own DER encoding: the key's digest, wherever one is
    /// spoken of.
    #[must_use]
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// About how much memory it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let key = match &self.recipient_key {
            RecipientKey::Rsa(key) => key.memory_bytes(),
            RecipientKey::Sm2(key) => key.memory_bytes(),
        };
        size_of::<Self>() + self.der.len() + key
    }

    /// Prepares for many wraps: an SM2 key gets a table of 25 KiB, which makes
    /// each twice as fast and costs as much as one or two. An RSA key needs
    /// none.
    pub fn prepare(&self) {
        if let RecipientKey::Sm2(key) = &self.recipient_key {
            key.build_table();
        }
    }

    /// Whether `prepare` has no more to do.
    #[must_use]
    pub fn is_prepared(&self) -> bool {
        match &self.recipient_key {
            RecipientKey::Rsa(_) => true,
            RecipientKey::Sm2(key) => key.has_table(),
        }
    }

    /// The key identifier that certificates bear and tokens file keys under:
    /// SHA-1 of the BIT STRING's content (RFC 5280, section 4.2.1.2, method 1).
    /// A name to look up, not a digest to trust: that is [`Self::sha256`].
    #[must_use]
    pub fn subject_key_identifier(&self) -> [u8; 20] {
        // INVARIANT: `der` is our own encoding of what was judged.
        SubjectPublicKeyInfoRef::from_der(&self.der)
            .map(|spki| Sha1::digest(spki.subject_public_key.raw_bytes()).into())
            .unwrap_or_default()
    }

    pub(super) const fn recipient_key(&self) -> &RecipientKey {
        &self.recipient_key
    }
}

/// The spec that a public key would have, for tools that are told none.
#[must_use]
pub fn guess_spec(sent: &[u8]) -> Option<WrappingKeySpec> {
    WrappingKeySpec::ALL.into_iter().find(|spec| WrappingKey::parse(*spec, sent).is_ok())
}

/// The bytes of a public key that was sent as text: those that Base64 stands
/// for. PEM stays as it is, and so does any other text: the judge names it.
#[must_use]
pub fn from_text(text: &str) -> Vec<u8> {
    match Encoding::of(text.as_bytes()) {
        Some((Encoding::Base64, content)) => content.to_vec(),
        _ => text.as_bytes().to_vec(),
    }
}

fn judge(spec: WrappingKeySpec, sent: &[u8]) -> Result<WrappingKey, Found> {
    let decoded = decode(sent).map_err(|found| tell(sent, found))?;
    let spki = SubjectPublicKeyInfoRef::from_der(&decoded)
        .map_err(|error| tell(sent, tell(&decoded, not_spki(error))))?;
    let der = spki.to_der().map_err(Found::BrokenDer)?.into_boxed_slice();
    if *der != *decoded {
        return Err(Found::NotCanonical);
    }
    let recipient_key = match spec.modulus_bits() {
        Some(bits) => RecipientKey::Rsa(judge_rsa(&spki, bits, &der)?),
        None => RecipientKey::Sm2(judge_sm2(&spki)?),
    };
    Ok(WrappingKey { spec, sha256: Sha256::digest(&der).into(), der, recipient_key })
}

/// DER, out of its armour if it has one.
fn decode(sent: &[u8]) -> Result<Cow<'_, [u8]>, Found> {
    if sent.is_empty() {
        return Err(Found::Nothing);
    }
    if !PUBLIC_KEY_BYTES.allows(sent.len()) {
        return Err(Found::TooLong(sent.len()));
    }
    if !pem::has_armour(sent) {
        return Ok(Cow::Borrowed(sent));
    }
    let block = pem::one_block(sent).map_err(Found::BrokenPem)?;
    if block.label != PUBLIC_KEY_LABEL {
        return Err(Found::OtherPem(Thing::SomethingElse));
    }
    let content = block.decode().map_err(Found::BrokenPem)?;
    Ok(Cow::Owned(content.to_vec()))
}

/// Prefers the name of a mistaken input to what is wrong with it as a key: a private
/// key that is too large for a public one is a private key first.
fn tell(sent: &[u8], found: Found) -> Found {
    mistaken_key::name(sent).map_or(found, Found::from)
}

fn not_spki(error: der::Error) -> Found {
    match error.kind() {
        der::ErrorKind::TrailingData { remaining, .. } => Found::TrailingBytes(remaining.into()),
        _ => Found::BrokenDer(error),
    }
}

/// The bytes of the subject's key: whole ones.
fn key_bytes(key: BitStringRef<'_>) -> Result<&[u8], Found> {
    key.as_bytes().ok_or(Found::NotCanonical)
}

fn judge_rsa(
    spki: &SubjectPublicKeyInfoRef<'_>,
    bits: usize,
    der: &[u8],
) -> Result<RsaRecipientKey, Found> {
    let AlgorithmIdentifierRef { oid, parameters } = spki.algorithm;
    if oid != RSA_ENCRYPTION {
        return Err(other_algorithm(&spki.algorithm));
    }
    // RFC 3279, section 2.3.1: the parameters MUST be NULL.
    if parameters != Some(AnyRef::NULL) {
        return Err(Found::WrongParameters("NULL"));
    }
    let bytes = key_bytes(spki.subject_public_key)?;
    let key = RsaPublicKeyRef::from_der(bytes).map_err(Found::BrokenDer)?;
    if key.to_der().ok().as_deref() != Some(bytes) {
        return Err(Found::NotCanonical);
    }
    judge_modulus(key.modulus.as_bytes(), bits)?;
    judge_exponent(key.public_exponent.as_bytes())?;
    RsaRecipientKey::from_spki(der).ok_or(Found::Unusable)
}

/// A key of another algorithm; with the curve, where it has one.
fn other_algorithm(algorithm: &AlgorithmIdentifierRef<'_>) -> Found {
    let curve = algorithm.parameters_oid().ok();
    match curve.filter(|_| algorithm.oid == EC_PUBLIC_KEY) {
        Some(curve) => Found::OtherCurve(Algorithm(curve)),
        None => Found::OtherAlgorithm(Algorithm(algorithm.oid)),
    }
}

/// A modulus without leading zeroes.
fn judge_modulus(modulus: &[u8], bits: usize) -> Result<(), Found> {
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let found = modulus.len() * 8 - leading;
    if found != bits {
        return Err(Found::ModulusBits(found));
    }
    if modulus.last().is_none_or(|byte| byte % 2 == 0) {
        return Err(Found::EvenModulus);
    }
    if let Some(prime) = small_factor(modulus) {
        return Err(Found::SmallFactor(prime));
    }
    if is_roca(modulus) { Err(Found::Roca) } else { Ok(()) }
}

/// An exponent without leading zeroes.
fn judge_exponent(exponent: &[u8]) -> Result<(), Found> {
    let value = exponent
        .iter()
        .try_fold(0u64, |value, byte| (value >> 56 == 0).then_some(value << 8 | u64::from(*byte)));
    match value {
        Some(even) if even % 2 == 0 => Err(Found::EvenExponent),
        None if exponent.last().is_some_and(|byte| byte % 2 == 0) => Err(Found::EvenExponent),
        Some(..MIN_EXPONENT) => Err(Found::ExponentTooSmall),
        Some(MIN_EXPONENT..=MAX_EXPONENT) => Ok(()),
        _ => Err(Found::ExponentTooLarge),
    }
}

/// The primes below 752: those that SP 800-89, section 5.3.3 has a modulus
/// tried with.
const SMALL_PRIMES: [u32; 133] = primes_below_752();

const fn primes_below_752() -> [u32; 133] {
    let mut primes = [0; 133];
    let mut found = 0;
    let mut candidate = 2;
    while candidate < 752 {
        let mut divisor = 2;
        while divisor * divisor <= candidate && candidate % divisor != 0 {
            divisor += 1;
        }
        if divisor * divisor > candidate {
            #[expect(clippy::indexing_slicing, reason = "checked by the compiler, in a const")]
            {
                primes[found] = candidate;
            }
            found += 1;
        }
        candidate += 1;
    }
    primes
}

/// The first prime below 752 that divides the modulus.
fn small_factor(modulus: &[u8]) -> Option<u32> {
    // Three at a time: 752^3 < 2^32.
    SMALL_PRIMES.chunks(3).find_map(|primes| {
        let rest = residue(modulus, primes.iter().product());
        primes.iter().copied().find(|prime| rest.is_multiple_of(*prime))
    })
}

/// Whether the modulus is of the library of CVE-2017-15361 (Nemec et al., "The
/// Return of Coppersmith's Attack", section 3.1). Its primes are
/// k·M + (65537^a mod M) with M the product of the first primes, so that modulo
/// each of these N is a power of 65537. A random modulus passes for one with a
/// probability of less than 2^-27.
fn is_roca(modulus: &[u8]) -> bool {
    let mut primes = SMALL_PRIMES.into_iter().filter(|prime| (3..=167).contains(prime));
    primes.all(|prime| is_power_of_65537(residue(modulus, prime), prime))
}

fn is_power_of_65537(value: u32, prime: u32) -> bool {
    let mut power = 1;
    for _ in 0..prime {
        if power == value {
            return true;
        }
        power = power * 65537 % prime;
    }
    false
}

/// The modulus modulo `divisor`, four bytes at a time.
fn residue(modulus: &[u8], divisor: u32) -> u32 {
    let divisor = u64::from(divisor);
    let (head, words) = modulus.as_rchunks::<4>();
    let head = head.iter().fold(0, |rest, byte| (rest << 8 | u64::from(*byte)) % divisor);
    let rest = words
        .iter()
        .fold(head, |rest, word| (rest << 32 | u64::from(u32::from_be_bytes(*word))) % divisor);
    u32::try_from(rest).unwrap_or_default()
}

fn judge_sm2(spki: &SubjectPublicKeyInfoRef<'_>) -> Result<Sm2RecipientKey, Found> {
    if spki.algorithm.oid != EC_PUBLIC_KEY {
        return Err(other_algorithm(&spki.algorithm));
    }
    match spki.algorithm.parameters_oid() {
        Ok(SM2_CURVE) => {}
        Ok(_) => return Err(other_algorithm(&spki.algorithm)),
        Err(_) => return Err(Found::WrongParameters("the name of a curve")),
    }
    judge_point(key_bytes(spki.subject_public_key)?)
}

/// SEC 1, section 2.3.4, for uncompressed points alone.
fn judge_point(point: &[u8]) -> Result<Sm2RecipientKey, Found> {
    match (point.first(), point.len()) {
        (Some(0x04), 65) => {}
        (Some(0x00), 1) => return Err(Found::Infinity),
        (Some(0x02 | 0x03), 33) => return Err(Found::CompressedPoint),
        _ => return Err(Found::MalformedPoint),
    }
    let point = Sec1Point::from_bytes(point).map_err(|_| Found::MalformedPoint)?;
    let key: Option<PublicKey> = PublicKey::from_sec1_point(&point).into();
    key.map(|key| Sm2RecipientKey::new(&key)).ok_or(Found::OffCurve)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_primes_are_all_there() {
        assert_eq!(SMALL_PRIMES[..5], [2, 3, 5, 7, 11]);
        assert_eq!(SMALL_PRIMES.last(), Some(&751));
        assert!(SMALL_PRIMES.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn residues_are_right() {
        for (number, divisor) in
            [(0u128, 7u32), (6, 7), (u128::MAX, 751), (1 << 100, 743), (u128::MAX - 1, u32::MAX)]
        {
            let expected = number % u128::from(divisor);
            let bytes = number.to_be_bytes();
            let start = bytes.iter().take_while(|byte| **byte == 0).count();
            assert_eq!(u128::from(residue(&bytes[start..], divisor)), expected, "{number}");
        }
    }

    #[test]
    fn every_small_prime_is_found() {
        for prime in SMALL_PRIMES {
            let multiple = (u128::from(prime) * ((1 << 89) - 1)).to_be_bytes();
            assert_eq!(small_factor(&multiple), Some(prime));
        }
        assert_eq!(small_factor(&((1u128 << 127) - 1).to_be_bytes()), None);
        assert_eq!(small_factor(&(757u128 * 761).to_be_bytes()), None);
    }

    #[test]
    fn powers_of_65537_are_told() {
        // 65537 ≡ 10 (mod 11), whose powers are 1 and 10.
        let powers: Vec<u32> = (0..11).filter(|v| is_power_of_65537(*v, 11)).collect();
        assert_eq!(powers, [1, 10]);
    }
}
