//! SM2 public-key encryption (GB/T 32918.4-2016, ISO/IEC 18033-2 style with
//! SM3), over the public parts of the `sm2` crate.
//!
//! The crate's own `pke` multiplies by the cofactor, which is 1, inverts twice,
//! compares C3 in variable time and leaves plaintext unwiped; and a known
//! recipient deserves a table. So the algorithm is here, the curve is theirs.
//!
//! With k drawn from [1, n − 1]: C1 = [k]G; (x2, y2) = [k]P;
//! t = KDF(x2 ‖ y2, klen); C2 = M ⊕ t; C3 = SM3(x2 ‖ M ‖ y2).

use std::fmt;
use std::sync::OnceLock;

use der::asn1::{OctetStringRef, UintRef};
use der::{Decode, DecodeValue, Encode, EncodeValue, Header, Length, Reader, Sequence, Writer};
use elliptic_curve::BatchNormalize;
use elliptic_curve::group::Group;
use elliptic_curve::point::AffineCoordinates;
use primeorder::{LookupTable, Radix16Decomposition, Radix16Digits};
use sm2::{
    AffinePoint, FieldBytes, NonZeroScalar, ProjectivePoint, PublicKey, Scalar, SecretKey, Sm2,
};
use sm3::{Digest, Sm3};
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use super::{Sm2CiphertextEncoding, WrapFailed};
use crate::crypto::random::{self, RandomUnavailable};
use crate::limits::SM2_CIPHERTEXT_BYTES;

const COORDINATE_BYTES: usize = 32;
const HASH_BYTES: usize = 32;
/// SEC 1, section 2.3.3: an uncompressed point.
const UNCOMPRESSED: u8 = 0x04;

/// A recipient's SM2 key. INVARIANT: the point is on the curve and is not
/// infinity, which `PublicKey` sees to; the cofactor is 1, so that it generates
/// the whole group (GB/T 32918.4, section 6.1, A3).
pub(super) struct Sm2RecipientKey {
    point: ProjectivePoint,
    table: OnceLock<Box<FixedBaseTable>>,
}

impl fmt::Debug for Sm2RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sm2RecipientKey")
    }
}

impl Sm2RecipientKey {
    pub(super) fn new(key: &PublicKey) -> Self {
        Self { point: key.to_projective(), table: OnceLock::new() }
    }

    /// Builds the table that makes wrapping twice as fast.
    pub(super) fn build_table(&self) {
        self.table.get_or_init(|| Box::new(FixedBaseTable::new(self.point)));
    }

    pub(super) fn has_table(&self) -> bool {
        self.table.get().is_some()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + if self.has_table() { size_of::<FixedBaseTable>() } else { 0 }
    }

    /// Encrypts, with a fresh k each time.
    pub(super) fn wrap(
        &self,
        encoding: Sm2CiphertextEncoding,
        message: &[u8],
    ) -> Result<Vec<u8>, WrapFailed> {
        loop {
            let k = random_scalar()?;
            if let Some(ciphertext) = self.encrypt_with(&k, message) {
                return ciphertext.encode(encoding).map_err(|_| WrapFailed::Algorithm);
            }
        }
    }

    /// Encrypts with a given k; `None` when the KDF gave nothing but zeroes,
    /// and another k must be drawn (section 6.1, A5).
    fn encrypt_with(&self, k: &NonZeroScalar, message: &[u8]) -> Option<Ciphertext> {
        let [c1, shared] = self.multiply(k);
        let shared = SharedPoint::new(&shared);
        let mut c2 = message.to_vec();
        if bool::from(shared.xor_keystream(&mut c2)) {
            c2.zeroize();
            return None;
        }
        let c3 = shared.hash(message);
        Some(Ciphertext { x: c1.x().into(), y: c1.y().into(), c3, c2 })
    }

    /// [k]G and [k]P, in constant time, with one inversion for both.
    fn multiply(&self, k: &NonZeroScalar) -> [AffinePoint; 2] {
        let c1 = ProjectivePoint::mul_by_generator(k.as_ref());
        let shared = match self.table.get() {
            Some(table) => table.multiply(k.as_ref()),
            None => self.point * k.as_ref(),
        };
        <ProjectivePoint as BatchNormalize<[_; 2]>>::batch_normalize(&[c1, shared])
    }
}

/// k, uniform in [1, n − 1]: 256 bits of the kernel's, drawn again when they
/// are 0 or not below n, which happens once in 2^32. With k, the message can be
/// read.
fn random_scalar() -> Result<Zeroizing<NonZeroScalar>, RandomUnavailable> {
    loop {
        let mut bytes = Zeroizing::new(FieldBytes::default());
        random::fill(bytes.as_mut_slice())?;
        if let Some(k) = Option::from(NonZeroScalar::from_repr(*bytes)) {
            return Ok(Zeroizing::new(k));
        }
    }
}

/// Multiples of one point: row i holds 1 to 8 times 256^i · P. 25 KiB.
struct FixedBaseTable([LookupTable<ProjectivePoint>; COORDINATE_BYTES + 1]);

impl FixedBaseTable {
    fn new(point: ProjectivePoint) -> Self {
        let mut base = point;
        Self(std::array::from_fn(|_| {
            let row = LookupTable::new(base);
            base = double_times(8, base);
            row
        }))
    }

    /// [k]P, for k = Σ d(i) 16^i with −8 ≤ d(i) ≤ 8: the sum of d(2i) 256^i P
    /// and 16 times that of d(2i+1) 256^i P. Each choice from a row reads the
    /// whole row, and the additions are complete: time tells nothing of k.
    fn multiply(&self, k: &Scalar) -> ProjectivePoint {
        let digits = Radix16Decomposition::<Radix16Digits<Sm2>>::new(k);
        let mut even = ProjectivePoint::IDENTITY;
        let mut odd = ProjectivePoint::IDENTITY;
        for (i, row) in self.0.iter().enumerate() {
            even += row.select(digits[2 * i]);
            if i < COORDINATE_BYTES {
                odd += row.select(digits[2 * i + 1]);
            }
        }
        even + double_times(4, odd)
    }
}

fn double_times(times: usize, point: ProjectivePoint) -> ProjectivePoint {
    (0..times).fold(point, |point, _| point.double())
}

/// (x2, y2), the secret that both sides come to.
struct SharedPoint {
    x: Zeroizing<FieldBytes>,
    y: Zeroizing<FieldBytes>,
}

impl SharedPoint {
    fn new(point: &AffinePoint) -> Self {
        Self { x: Zeroizing::new(point.x()), y: Zeroizing::new(point.y()) }
    }

    /// XORs KDF(x2 ‖ y2, klen) into `text`, and says whether it was all zero.
    /// GB/T 32918.4, section 5.4.3: SM3(Z ‖ ct) for ct = 1, 2, … as a u32.
    fn xor_keystream(&self, text: &mut [u8]) -> Choice {
        let prefix = Sm3::new().chain_update(self.x.as_slice()).chain_update(self.y.as_slice());
        let mut seen = Zeroizing::new(0u8);
        for (counter, block) in (1u32..).zip(text.chunks_mut(HASH_BYTES)) {
            let mut stream = prefix.clone().chain_update(counter.to_be_bytes()).finalize();
            for (byte, stream) in block.iter_mut().zip(&stream) {
                *byte ^= stream;
                *seen |= stream;
            }
            stream.as_mut_slice().zeroize();
        }
        seen.ct_eq(&0)
    }

    /// C3 = SM3(x2 ‖ M ‖ y2).
    fn hash(&self, message: &[u8]) -> [u8; HASH_BYTES] {
        Sm3::new()
            .chain_update(self.x.as_slice())
            .chain_update(message)
            .chain_update(self.y.as_slice())
            .finalize()
            .into()
    }
}

/// C1, C3, C2.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ciphertext {
    x: [u8; COORDINATE_BYTES],
    y: [u8; COORDINATE_BYTES],
    c3: [u8; HASH_BYTES],
    c2: Vec<u8>,
}

impl Ciphertext {
    fn encode(&self, encoding: Sm2CiphertextEncoding) -> der::Result<Vec<u8>> {
        match encoding {
            Sm2CiphertextEncoding::Asn1Der => self.to_der(),
            Sm2CiphertextEncoding::RawC1C3C2 => {
                Ok([&[UNCOMPRESSED], &self.x[..], &self.y, &self.c3, &self.c2].concat())
            }
        }
    }

    /// Reads either encoding, told by the first byte.
    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&UNCOMPRESSED, raw) => Self::decode_raw(raw),
            _ => Self::from_der(bytes).ok(),
        }
    }

    fn decode_raw(raw: &[u8]) -> Option<Self> {
        let (&x, raw) = raw.split_first_chunk()?;
        let (&y, raw) = raw.split_first_chunk()?;
        let (&c3, c2) = raw.split_first_chunk()?;
        Some(Self { x, y, c3, c2: c2.to_vec() })
    }

    /// C1, if it is a point of the curve (section 7.1, B1). Coordinates cannot
    /// name infinity, and the cofactor is 1: B2 is then fulfilled.
    fn c1(&self) -> Option<AffinePoint> {
        AffinePoint::from_coordinates(&self.x.into(), &self.y.into()).into_option()
    }
}

/// `SEQUENCE { x INTEGER, y INTEGER, hash OCTET STRING (32), ciphertext OCTET
/// STRING }` (GM/T 0009-2012, section 7.2).
impl EncodeValue for Ciphertext {
    fn value_len(&self) -> der::Result<Length> {
        UintRef::new(&self.x)?.encoded_len()?
            + UintRef::new(&self.y)?.encoded_len()?
            + OctetStringRef::new(&self.c3)?.encoded_len()?
            + OctetStringRef::new(&self.c2)?.encoded_len()?
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        UintRef::new(&self.x)?.encode(writer)?;
        UintRef::new(&self.y)?.encode(writer)?;
        OctetStringRef::new(&self.c3)?.encode(writer)?;
        OctetStringRef::new(&self.c2)?.encode(writer)
    }
}

impl<'a> DecodeValue<'a> for Ciphertext {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, _header: Header) -> der::Result<Self> {
        let x = coordinate(UintRef::decode(reader)?)?;
        let y = coordinate(UintRef::decode(reader)?)?;
        let c3 = <&OctetStringRef>::decode(reader)?.as_bytes();
        let c3 = c3.try_into().map_err(|_| der::Tag::OctetString.length_error())?;
        let c2 = <&OctetStringRef>::decode(reader)?.as_bytes().to_vec();
        Ok(Self { x, y, c3, c2 })
    }
}

impl Sequence<'_> for Ciphertext {}

/// An INTEGER, filled up with zeroes on the left.
fn coordinate(integer: UintRef<'_>) -> der::Result<[u8; COORDINATE_BYTES]> {
    let bytes = integer.as_bytes();
    let mut padded = [0; COORDINATE_BYTES];
    let start = COORDINATE_BYTES.checked_sub(bytes.len());
    match start.and_then(|start| padded.get_mut(start..)) {
        Some(tail) => tail.copy_from_slice(bytes),
        None => return Err(der::Tag::Integer.length_error().into()),
    }
    Ok(padded)
}

/// Decrypts on the recipient's side, in either encoding (GB/T 32918.4, section
/// 7.1). `None` says nothing of why.
pub(in crate::crypto) fn unwrap(key: &SecretKey, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if !SM2_CIPHERTEXT_BYTES.allows(wrapped.len()) {
        return None;
    }
    let ciphertext = Ciphertext::decode(wrapped)?;
    let d = Zeroizing::new(key.to_nonzero_scalar());
    let shared = ProjectivePoint::from(ciphertext.c1()?) * d.as_ref();
    let shared = SharedPoint::new(&shared.to_affine());
    let mut message = Zeroizing::new(ciphertext.c2);
    let no_keystream = shared.xor_keystream(&mut message);
    let intact = shared.hash(&message).ct_eq(&ciphertext.c3);
    bool::from(intact & !no_keystream).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::unhex;
    use elliptic_curve::PrimeField;

    fn scalar(hex: &str) -> NonZeroScalar {
        NonZeroScalar::try_from(unhex(hex).as_slice()).expect("in range")
    }

    /// GB/T 32918.5-2017, the encryption example on sm2p256v1.
    mod example {
        pub const D: &str = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8";
        pub const K: &str = "59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21";
        pub const MESSAGE: &[u8] = b"encryption standard";
        pub const DER: &str = "307c022004ebfc718e8d1798620432268e77feb6415e2ede0e073c0f4f640ecd2e\
            149a73022100e858f9d81e5430a57b36daab8f950a3c64e6ee6a63094d99283aff767e124df0042059983c\
            18f809e262923c53aec295d30383b54e39d609d160afcb1908d0bd8766041321886ca989ca9c7d58087307\
            ca93092d651efa";
        pub const RAW: &str = "0404EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73E8\
            58F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF059983C18F809E262923C53AE\
            C295D30383B54E39D609D160AFCB1908D0BD876621886CA989CA9C7D58087307CA93092D651EFA";
    }

    fn example_key() -> SecretKey {
        SecretKey::from_slice(&unhex(example::D)).expect("in range")
    }

    #[test]
    fn the_standard_s_example_encrypts() {
        let recipient = Sm2RecipientKey::new(&example_key().public_key());
        for _ in ["without a table", "with one"] {
            let made = recipient.encrypt_with(&scalar(example::K), example::MESSAGE);
            let made = made.expect("a key stream");
            let der = made.encode(Sm2CiphertextEncoding::Asn1Der).expect("DER");
            assert_eq!(der, unhex(example::DER));
            let raw = made.encode(Sm2CiphertextEncoding::RawC1C3C2).expect("raw");
            assert_eq!(raw, unhex(example::RAW));
            recipient.build_table();
        }
    }

    #[test]
    fn the_standard_s_example_decrypts() {
        for ciphertext in [example::DER, example::RAW] {
            let opened = unwrap(&example_key(), &unhex(ciphertext)).expect("opens");
            assert_eq!(opened.as_slice(), example::MESSAGE);
        }
    }

    /// Scalars at the edges: near 0, near n, and where a window begins, ends or
    /// carries over into the next. Near n, a first table implementation failed
    /// that 300 random scalars had passed.
    fn edge_scalars() -> Vec<Scalar> {
        let two = Scalar::ONE + Scalar::ONE;
        let mut scalars = vec![Scalar::ONE, two];
        scalars.extend((1..=8u64).map(|i| -Scalar::from(i)));
        let mut power = Scalar::ONE;
        for _ in 0..256 {
            scalars.extend([power, power - Scalar::ONE, power + Scalar::ONE, -power]);
            power = power.double();
        }
        for nibble in 0u8..16 {
            // Each window the same, and only the last one.
            let bytes = [nibble << 4 | nibble; 32];
            scalars.extend(Option::<Scalar>::from(Scalar::from_repr(bytes.into())));
            let mut bytes = [0; 32];
            bytes[0] = nibble << 4;
            scalars.extend(Option::<Scalar>::from(Scalar::from_repr(bytes.into())));
        }
        scalars
    }

    #[test]
    fn the_table_multiplies_as_the_curve_does() {
        for point in [ProjectivePoint::GENERATOR, example_key().public_key().to_projective()] {
            let table = FixedBaseTable::new(point);
            for k in edge_scalars() {
                assert_eq!(table.multiply(&k), point * k, "{k:?}");
            }
            for _ in 0..200 {
                let k = random_scalar().expect("random");
                assert_eq!(table.multiply(k.as_ref()), point * k.as_ref());
            }
        }
    }

    #[test]
    fn small_multiples_are_sums() {
        let table = FixedBaseTable::new(ProjectivePoint::GENERATOR);
        let mut sum = ProjectivePoint::IDENTITY;
        for k in 0u64..600 {
            assert_eq!(table.multiply(&Scalar::from(k)), sum, "{k}");
            sum += ProjectivePoint::GENERATOR;
        }
    }

    /// An earlier release of the `sm2` crate drew 32 bits. Over 10,000 draws
    /// every bit of k takes both values, and no C1 comes twice: with 32 bits one
    /// would be expected to, by the birthday bound, in 1 of 86 runs only, so that
    /// it is the bits that show it.
    #[test]
    fn k_is_drawn_at_full_width_and_never_twice() {
        let mut seen = std::collections::HashSet::new();
        let (mut ones, mut zeros) = ([0u8; 32], [0u8; 32]);
        for _ in 0..10_000 {
            let bytes = random_scalar().expect("random").to_repr();
            for (i, byte) in bytes.iter().enumerate() {
                ones[i] |= byte;
                zeros[i] |= !byte;
            }
            assert!(seen.insert(bytes));
        }
        assert_eq!((ones, zeros), ([0xff; 32], [0xff; 32]));
    }

    #[test]
    fn c1_never_repeats() {
        let recipient = Sm2RecipientKey::new(&example_key().public_key());
        recipient.build_table();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let raw = recipient.wrap(Sm2CiphertextEncoding::RawC1C3C2, &[7; 16]).expect("wrapped");
            assert!(seen.insert(raw[..65].to_vec()));
        }
    }

    /// One byte of key stream is 0 once in 256: k must be drawn again, or the
    /// message would show.
    #[test]
    fn a_key_stream_of_zeroes_is_drawn_again() {
        let key = example_key();
        let recipient = Sm2RecipientKey::new(&key.public_key());
        let zero = (1..=10_000u64).find(|k| {
            let k = NonZeroScalar::new(Scalar::from(*k)).unwrap();
            recipient.encrypt_with(&k, &[0xa5]).is_none()
        });
        assert!(zero.is_some(), "one in 256 k gives a zero byte");
        for _ in 0..2_000 {
            let raw = recipient.wrap(Sm2CiphertextEncoding::RawC1C3C2, &[0xa5]).expect("wrapped");
            assert_ne!(raw.last(), Some(&0xa5));
            assert_eq!(unwrap(&key, &raw).expect("opens").as_slice(), [0xa5]);
        }
    }

    #[test]
    fn every_length_comes_back() {
        let key = example_key();
        let recipient = Sm2RecipientKey::new(&key.public_key());
        for len in [1, 2, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129, 190, 1023, 1024] {
            let message: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
            for encoding in [Sm2CiphertextEncoding::Asn1Der, Sm2CiphertextEncoding::RawC1C3C2] {
                let wrapped = recipient.wrap(encoding, &message).expect("wrapped");
                assert_eq!(unwrap(&key, &wrapped).expect("opens").as_slice(), message);
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let key = example_key();
        for ciphertext in [example::DER, example::RAW].map(unhex) {
            for bit in 0..ciphertext.len() * 8 {
                let mut flipped = ciphertext.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(unwrap(&key, &flipped), None, "bit {bit}");
            }
            for len in 0..ciphertext.len() {
                assert_eq!(unwrap(&key, &ciphertext[..len]), None, "length {len}");
            }
        }
        let longer = [unhex(example::DER), vec![0]].concat();
        assert_eq!(unwrap(&key, &longer), None);
        assert_eq!(unwrap(&key, &[4; SM2_CIPHERTEXT_BYTES.max + 1]), None);
    }

    fn element(tag: u8, value: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(value.len()).expect("short form")], value].concat()
    }

    fn sequence(elements: &[Vec<u8>]) -> Vec<u8> {
        element(0x30, &elements.concat())
    }

    /// The ways of being wrong that Botan's `sm2_invalid.vec` has, and some more,
    /// with the standard's example.
    #[test]
    fn whatever_is_not_one_of_two_encodings_is_refused() {
        let parts = Ciphertext::decode(&unhex(example::DER)).expect("the example");
        let integer = |value: &[u8]| element(0x02, value);
        let octets = |value: &[u8]| element(0x04, value);
        // y has its highest bit set.
        let (x, y) = (integer(&parts.x), integer(&[&[0], &parts.y[..]].concat()));
        let (c3, c2) = (octets(&parts.c3), octets(&parts.c2));
        let good = sequence(&[x.clone(), y.clone(), c3.clone(), c2.clone()]);
        assert_eq!(good, unhex(example::DER));
        let body = &good[2..];
        let body_len = good[1];
        let off_curve = integer(&[&parts.x[..31], &[parts.x[31] ^ 1]].concat());
        // The field's prime: 0 modulo p, but no coordinate.
        let p = unhex("FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF");
        let prime = integer(&[&[0], &p[..]].concat());
        let raw = unhex(example::RAW);
        for (why, broken) in [
            ("empty", vec![]),
            ("one byte", vec![0x30]),
            ("an empty SEQUENCE", vec![0x30, 0]),
            ("length in long form", [&[0x30, 0x81, body_len], body].concat()),
            ("length in longer form", [&[0x30, 0x82, 0, body_len], body].concat()),
            ("indefinite length", [&[0x30, 0x80], body, &[0, 0]].concat()),
            ("a SET", [&[0x31], &good[1..]].concat()),
            ("trailing byte inside", [&[0x30, body_len + 1], body, &[0]].concat()),
            ("trailing byte outside", [&good[..], &[0]].concat()),
            ("no ciphertext", sequence(&[x.clone(), y.clone(), c3.clone()])),
            ("C2 before C3", sequence(&[x.clone(), y.clone(), c2.clone(), c3.clone()])),
            ("x is negative", sequence(&[integer(&p), y.clone(), c3.clone(), c2.clone()])),
            ("y is negative", sequence(&[x.clone(), integer(&parts.y), c3.clone(), c2.clone()])),
            ("x is not minimal", {
                let padded = integer(&[&[0], &parts.x[..]].concat());
                sequence(&[padded, y.clone(), c3.clone(), c2.clone()])
            }),
            ("x has 33 bytes", {
                let long = integer(&[&[1], &parts.x[..]].concat());
                sequence(&[long, y.clone(), c3.clone(), c2.clone()])
            }),
            ("x has no bytes", sequence(&[integer(&[]), y.clone(), c3.clone(), c2.clone()])),
            ("x is the prime", sequence(&[prime, y.clone(), c3.clone(), c2.clone()])),
            ("0, 0", sequence(&[integer(&[0]), integer(&[0]), c3.clone(), c2.clone()])),
            ("off the curve", sequence(&[off_curve, y.clone(), c3.clone(), c2.clone()])),
            ("y and x", sequence(&[y.clone(), x.clone(), c3.clone(), c2.clone()])),
            ("another C3", sequence(&[x.clone(), y.clone(), octets(&[7; 32]), c2.clone()])),
            ("C3 of 31 bytes", {
                sequence(&[x.clone(), y.clone(), octets(&parts.c3[..31]), c2.clone()])
            }),
            ("C3 of 33 bytes", { sequence(&[x.clone(), y.clone(), octets(&[7; 33]), c2.clone()]) }),
            ("C2 is empty", sequence(&[x.clone(), y.clone(), c3.clone(), octets(&[])])),
            ("C2 is shorter", sequence(&[x.clone(), y.clone(), c3.clone(), octets(&[7; 18])])),
            ("C2 is a BIT STRING", {
                sequence(&[x.clone(), y.clone(), c3, element(0x03, &parts.c2)])
            }),
            ("raw, C2 is empty", raw[..97].to_vec()),
            ("raw, C1 alone", raw[..65].to_vec()),
            ("raw, without 04", raw[1..].to_vec()),
            ("raw, C1 compressed", [&[2], &raw[1..33], &raw[65..]].concat()),
            ("raw, C1 hybrid", [&[6], &raw[1..]].concat()),
            ("raw, C2 before C3", [&raw[..65], &raw[97..], &raw[65..97]].concat()),
            ("raw, off the curve", [&[4, raw[1] ^ 1], &raw[2..]].concat()),
            ("raw, 0, 0", [&[4], &[0; 64][..], &raw[65..]].concat()),
            ("raw, trailing byte", [&raw[..], &[0]].concat()),
            ("infinity", vec![0]),
        ] {
            assert_eq!(unwrap(&example_key(), &broken), None, "{why}");
        }
    }

    /// C1 is refused for not being on the curve, not for what comes of it: with
    /// a point of another curve, chosen at will, C3 could be made to fit, and d be
    /// found from what opens.
    #[test]
    fn c1_off_the_curve_is_refused_before_it_is_used() {
        let mut parts = Ciphertext::decode(&unhex(example::RAW)).expect("the example");
        assert!(parts.c1().is_some());
        parts.y[31] ^= 1;
        assert!(parts.c1().is_none());
        (parts.x, parts.y) = ([0; 32], [0; 32]);
        assert!(parts.c1().is_none());
    }

    #[test]
    fn the_longest_ciphertexts_are_read() {
        let key = example_key();
        let recipient = Sm2RecipientKey::new(&key.public_key());
        let message = vec![7; crate::limits::SM2_PLAINTEXT_BYTES.max];
        for encoding in [Sm2CiphertextEncoding::Asn1Der, Sm2CiphertextEncoding::RawC1C3C2] {
            let wrapped = recipient.wrap(encoding, &message).expect("wrapped");
            assert!(
                (6144..=SM2_CIPHERTEXT_BYTES.max).contains(&wrapped.len()),
                "{}",
                wrapped.len()
            );
            assert_eq!(unwrap(&key, &wrapped).expect("opens").as_slice(), message);
        }
    }

    #[test]
    fn integers_are_minimal_and_padded_when_read() {
        let bytes = |x: u8, y: u8| {
            let mut ciphertext = Ciphertext { x: [0; 32], y: [0; 32], c3: [3; 32], c2: vec![2] };
            (ciphertext.x[31], ciphertext.y[0]) = (x, y);
            ciphertext
        };
        let der = bytes(1, 0x80).to_der().expect("DER");
        assert_eq!(der[..8], [0x30, 0x4b, 0x02, 0x01, 0x01, 0x02, 0x21, 0x00]);
        assert_eq!(Ciphertext::decode(&der), Some(bytes(1, 0x80)));
        // An INTEGER of 33 bytes is no coordinate.
        let longer = [&[0x30, 0x4c, 0x02, 0x21, 0x01], &[0; 32][..], &der[5 + 2 + 33..]].concat();
        assert_eq!(Ciphertext::decode(&longer), None);
    }

    #[test]
    fn debug_prints_the_name_of_the_type_alone() {
        let recipient = Sm2RecipientKey::new(&example_key().public_key());
        assert_eq!(format!("{recipient:?}"), "Sm2RecipientKey");
    }
}
