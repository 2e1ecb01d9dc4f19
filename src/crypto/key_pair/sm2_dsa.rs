//! SM2's digital signature (GB/T 32918.2-2016) of e = SM3(Z_A ‖ M), which the
//! caller gives: Z_A needs the signer's identifier, which is the caller's.
//! Signatures are `SEQUENCE { r INTEGER, s INTEGER }` in DER (GM/T 0009-2012,
//! section 7.3).
//!
//! With k from [1, n − 1]: (x1, y1) = [k]G; r = e + x1 mod n;
//! s = (1 + d)⁻¹ · (k − r · d) mod n.
//!
//! The `sm2` crate verifies. It also signs, but keeps the private key in a type
//! that is not wiped, and k and the generator of k likewise; so that signing is
//! here, over the crate's curve, in constant time. Each signature is verified by
//! the crate before it leaves: a fault, or an error in either, makes no
//! signature instead of one that tells something of the key.

use elliptic_curve::ops::Reduce;
use elliptic_curve::point::AffineCoordinates;
use elliptic_curve::{Generate, Group, PrimeField};
use hmac::{Hmac, KeyInit, Mac};
use pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use sm2::dsa::signature::hazmat::PrehashVerifier;
use sm2::dsa::{Signature, VerifyingKey};
use sm2::{FieldBytes, NonZeroScalar, ProjectivePoint, PublicKey, Scalar, SecretKey};
use sm3::Sm3;
use zeroize::Zeroizing;

use crate::crypto::random::{self, KernelRng};
use crate::crypto::secret::PrivateKeyMaterial;

/// e, as bytes of a big-endian number.
type E = [u8; 32];

/// The private half, d from [1, n − 2]; boxed, so that moving it leaves no copy
/// behind. The crate wipes it.
pub(super) struct Sm2PrivateKey(Box<SecretKey>);

impl Sm2PrivateKey {
    /// A new key in PKCS#8.
    pub(super) fn generate() -> Option<PrivateKeyMaterial> {
        let key = SecretKey::try_generate_from_rng(&mut KernelRng).ok()?;
        Some(PrivateKeyMaterial::from_pkcs8(key.to_pkcs8_der().ok()?.as_bytes()))
    }

    /// d = n − 1 is refused, as 1 + d has no inverse then (GB/T 32918.2, section
    /// 6.1, A6).
    pub(super) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let key = Box::new(SecretKey::from_pkcs8_der(der).ok()?);
        inverse_of_one_plus(&key.to_nonzero_scalar()).is_some().then_some(Self(key))
    }

    /// The key that decrypts.
    pub(super) fn secret_key(&self) -> &SecretKey {
        &self.0
    }

    /// A `SubjectPublicKeyInfo` in DER: named curve, uncompressed point.
    pub(super) fn public_key_der(&self) -> Option<Vec<u8>> {
        self.0.public_key().to_public_key_der().ok().map(der::Document::into_vec)
    }

    /// Signs e, with a fresh k each time. The caller verifies.
    pub(super) fn sign(&self, e: &E) -> Option<Vec<u8>> {
        let d = Zeroizing::new(self.0.to_nonzero_scalar());
        loop {
            let k = draw_k(&d, e)?;
            if let Some(signature) = sign_with(&k, &d, e) {
                return Some(signature.to_der().to_vec());
            }
        }
    }
}

/// A fresh k. One known k, or two signatures of different e with the same k, give
/// d away.
fn draw_k(d: &NonZeroScalar, e: &E) -> Option<Zeroizing<NonZeroScalar>> {
    loop {
        let mut fresh = Zeroizing::new([0; 32]);
        random::fill(fresh.as_mut_slice()).ok()?;
        if let Some(k) = derive_k(d, e, &fresh) {
            return Some(k);
        }
    }
}

/// k = HMAC-SM3(d, label ‖ e ‖ fresh), if it is in [1, n − 1], which it is not
/// once in 2^32. `fresh`, of the kernel's, alone makes k unforeseeable: a fault
/// while one e is signed twice gives nothing away, which it would where k depends
/// on e alone (RFC 6979). d and e alone make it secret, and another one for
/// another e, should two clones of a machine draw the same `fresh`.
fn derive_k(d: &NonZeroScalar, e: &E, fresh: &[u8; 32]) -> Option<Zeroizing<NonZeroScalar>> {
    let key = Zeroizing::new(d.to_repr());
    let mut mac = Hmac::<Sm3>::new_from_slice(key.as_slice()).ok()?;
    mac.update(b"keyferry/sm2-k");
    mac.update(e);
    mac.update(fresh);
    let k = Zeroizing::new(mac.finalize().into_bytes());
    NonZeroScalar::from_repr(*k).into_option().map(Zeroizing::new)
}

/// Signs with a given k; `None` when r = 0, r + k = n or s = 0, and another k
/// must be drawn (section 6.1, A5 and A6).
#[expect(clippy::many_single_char_names, reason = "the names of the standard")]
fn sign_with(k: &NonZeroScalar, d: &NonZeroScalar, e: &E) -> Option<Signature> {
    let x1 = ProjectivePoint::mul_by_generator(k.as_ref()).to_affine().x();
    let r = reduce(e) + <Scalar as Reduce<FieldBytes>>::reduce(&x1);
    if bool::from((r + k.as_ref()).is_zero()) {
        return None;
    }
    let blinded = Zeroizing::new(*k.as_ref() - r * d.as_ref());
    let s = *inverse_of_one_plus(d)? * *blinded;
    // Refuses r = 0 and s = 0.
    Signature::from_scalars(r, s).ok()
}

/// (1 + d)⁻¹, which there is unless d = n − 1.
fn inverse_of_one_plus(d: &NonZeroScalar) -> Option<Zeroizing<Scalar>> {
    let sum = Zeroizing::new(*d.as_ref() + Scalar::ONE);
    sum.invert().into_option().map(Zeroizing::new)
}

/// A number of 256 bits modulo n.
fn reduce(bytes: &[u8; 32]) -> Scalar {
    <Scalar as Reduce<FieldBytes>>::reduce(&(*bytes).into())
}

/// The public half.
pub(super) struct Sm2Verifier(VerifyingKey);

impl Sm2Verifier {
    /// The key of a `SubjectPublicKeyInfo` on the curve. The crate wants an
    /// identifier too, for digests that it would make itself: the default one of
    /// GM/T 0009-2012, section 10.
    pub(super) fn from_spki(der: &[u8]) -> Option<Self> {
        let key = PublicKey::from_public_key_der(der).ok()?;
        VerifyingKey::new("1234567812345678", key).ok().map(Self)
    }

    /// GB/T 32918.2, section 7.1, over a signature in strict DER.
    pub(super) fn verify(&self, e: &E, signature: &[u8]) -> bool {
        let signature = Signature::from_der(signature);
        signature.is_ok_and(|signature| self.0.verify_prehash(e, &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sm2::dsa::signature::Verifier;
    use sm3::Digest;

    fn unhex_array<const N: usize>(text: &str) -> [u8; N] {
        let mut bytes = [0; N];
        base16ct::mixed::decode(text, &mut bytes).expect("hex");
        bytes
    }

    fn scalar(hex: &str) -> NonZeroScalar {
        NonZeroScalar::try_from(unhex_array::<32>(hex).as_slice()).expect("in range")
    }

    /// GB/T 32918.5-2017, the signature example on sm2p256v1: the identifier is
    /// `1234567812345678`, the message `message digest`.
    mod example {
        pub const D: &str = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8";
        pub const Z_A: &str = "B2E14C5C79C6DF5B85F4FE7ED8DB7A262B9DA7E07CCB0EA9F4747B8CCDA8A4F3";
        pub const E: &str = "F0B43E94BA45ACCAACE692ED534382EB17E6AB5A19CE7B31F4486FDFC0D28640";
        pub const K: &str = "59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21";
        pub const R: &str = "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3";
        pub const S: &str = "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA";
        pub const MESSAGE: &[u8] = b"message digest";
    }

    const N: &str = "FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123";
    const N_MINUS_1: &str = "FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54122";
    const N_MINUS_2: &str = "FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54121";

    fn key(d: &str) -> Option<Sm2PrivateKey> {
        let key = SecretKey::from_slice(&unhex_array::<32>(d)).expect("in range");
        Sm2PrivateKey::from_pkcs8(key.to_pkcs8_der().expect("PKCS#8").as_bytes())
    }

    fn verifier(key: &Sm2PrivateKey) -> Sm2Verifier {
        Sm2Verifier::from_spki(&key.public_key_der().expect("DER")).expect("a key")
    }

    fn der_integer(magnitude: &[u8]) -> Vec<u8> {
        [&[0x02, u8::try_from(magnitude.len()).expect("short")], magnitude].concat()
    }

    fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
        let integers = [der_integer(r), der_integer(s)].concat();
        [&[0x30, u8::try_from(integers.len()).expect("short")], &integers[..]].concat()
    }

    /// The example's signature; both numbers have their highest bit set.
    fn example_der() -> Vec<u8> {
        der(
            &unhex_array::<33>(&format!("00{}", example::R)),
            &unhex_array::<33>(&format!("00{}", example::S)),
        )
    }

    #[test]
    fn the_standard_s_example_signs_and_verifies() {
        let e =
            Sm3::new().chain_update(unhex_array::<32>(example::Z_A)).chain_update(example::MESSAGE);
        let e = <[u8; 32]>::from(e.finalize());
        assert_eq!(e, unhex_array(example::E));
        let signature = sign_with(&scalar(example::K), &scalar(example::D), &e).expect("signed");
        assert_eq!(signature.to_der().to_vec(), example_der());
        let verifier = verifier(&key(example::D).expect("a key"));
        assert!(verifier.verify(&e, &example_der()));
        // The crate comes to the same Z_A.
        verifier.0.verify(example::MESSAGE, &signature).expect("valid");
    }

    #[test]
    fn d_is_below_n_minus_1() {
        assert!(key(N_MINUS_1).is_none());
        for d in [N_MINUS_2, &format!("{:064x}", 1)] {
            let key = key(d).expect("a key");
            let signature = key.sign(&[7; 32]).expect("signed");
            assert!(verifier(&key).verify(&[7; 32], &signature));
        }
    }

    #[test]
    fn e_is_a_number_modulo_n() {
        let key = key(example::D).expect("a key");
        let verifier = verifier(&key);
        for e in [[0; 32], unhex_array(N_MINUS_1), unhex_array(N), [0xff; 32]] {
            assert!(verifier.verify(&e, &key.sign(&e).expect("signed")));
        }
        assert!(verifier.verify(&[0; 32], &key.sign(&unhex_array(N)).expect("signed")));
        assert!(!verifier.verify(&[1; 32], &key.sign(&[0; 32]).expect("signed")));
    }

    /// r + k = n leaves s = −k, which gives d away. With d alone it cannot be
    /// had, but e can be chosen for a known k.
    #[test]
    fn r_plus_k_is_not_n() {
        let (k, d) = (scalar(example::K), scalar(example::D));
        let x1 = ProjectivePoint::mul_by_generator(k.as_ref()).to_affine().x();
        let x1 = <Scalar as Reduce<FieldBytes>>::reduce(&x1);
        for r in [Scalar::ZERO, -*k.as_ref()] {
            assert!(sign_with(&k, &d, &(r - x1).to_repr().into()).is_none());
        }
    }

    #[test]
    fn k_depends_on_key_digest_and_the_kernel_s_bytes() {
        let (d, other) = (scalar(example::D), scalar(example::K));
        let k = |d, e, fresh| *derive_k(d, &[e; 32], &[fresh; 32]).expect("in range");
        assert_eq!(k(&d, 1, 2), k(&d, 1, 2));
        assert_ne!(k(&d, 1, 2), k(&other, 1, 2));
        assert_ne!(k(&d, 1, 2), k(&d, 2, 2));
        assert_ne!(k(&d, 1, 2), k(&d, 1, 3));
        assert_ne!(k(&d, 1, 2), k(&d, 2, 1));
    }

    #[test]
    fn k_is_drawn_at_full_width_and_never_twice() {
        let d = scalar(example::D);
        let mut seen = std::collections::HashSet::new();
        let (mut ones, mut zeros) = ([0u8; 32], [0u8; 32]);
        for _ in 0..2_000 {
            let bytes = draw_k(&d, &[7; 32]).expect("random").to_repr();
            for (i, byte) in bytes.iter().enumerate() {
                ones[i] |= byte;
                zeros[i] |= !byte;
            }
            assert!(seen.insert(bytes));
        }
        assert_eq!((ones, zeros), ([0xff; 32], [0xff; 32]));
    }

    #[test]
    fn signatures_are_minimal_der_of_any_length() {
        let key = key(example::D).expect("a key");
        let verifier = verifier(&key);
        // An integer in 2 needs a leading 0, one in 512 a byte less: each length
        // comes within some 500 signatures, and none is missing of 20,000.
        let mut awaited = std::collections::BTreeSet::from([69, 70, 71, 72]);
        for _ in 0..20_000 {
            let signature = key.sign(&[7; 32]).expect("signed");
            assert!(verifier.verify(&[7; 32], &signature));
            awaited.remove(&signature.len());
            if awaited.is_empty() {
                return;
            }
        }
        panic!("no signature has one of {awaited:?} bytes");
    }

    #[test]
    fn every_other_signature_is_invalid() {
        let verifier = verifier(&key(example::D).expect("a key"));
        let e = unhex_array(example::E);
        let valid = example_der();
        for bit in 0..valid.len() * 8 {
            let mut flipped = valid.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!verifier.verify(&e, &flipped), "bit {bit}");
        }
        for len in 0..valid.len() {
            assert!(!verifier.verify(&e, &valid[..len]), "length {len}");
        }
        let [r, s] = [example::R, example::S].map(unhex_array::<32>);
        let [padded_r, padded_s] = [r, s].map(|number| [&[0], &number[..]].concat());
        let twice_padded = [&[0, 0], &r[..]].concat();
        let n = [&[0], &unhex_array::<32>(N)[..]].concat();
        for (why, signature) in [
            ("r ‖ s without DER", [r, s].concat()),
            ("r is negative", der(&r, &padded_s)),
            ("r is not minimal", der(&twice_padded, &padded_s)),
            ("r is 0", der(&[0], &padded_s)),
            ("s is 0", der(&padded_r, &[0])),
            ("r is n", der(&n, &padded_s)),
            ("s is n", der(&padded_r, &n)),
            ("r has no bytes", der(&[], &padded_s)),
            ("swapped", der(&padded_s, &padded_r)),
            ("trailing byte", [&valid[..], &[0]].concat()),
            ("long form of length", [&[0x30, 0x81], &valid[1..]].concat()),
            ("indefinite length", [&[0x30, 0x80], &valid[2..], &[0, 0]].concat()),
            ("a SET", [&[0x31], &valid[1..]].concat()),
        ] {
            assert!(!verifier.verify(&e, &signature), "{why}");
        }
    }
}
