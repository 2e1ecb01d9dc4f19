//! Published vectors and second opinions, from outside the crate. (Those that
//! need a given nonce or k are beside the code: C2SP XAES-256-GCM in
//! `crypto/sealing.rs`, the encrypting side of GB/T 32918.5 in
//! `crypto/wrapping/sm2_pke.rs`.)

use keyferry::crypto::random::KernelRng;
use keyferry::crypto::secret::{Plaintext, Reveal};
use keyferry::crypto::unwrapping::{RecipientPrivateKey, UnwrapFailed};
use keyferry::crypto::wrapping::{
    Sm2CiphertextEncoding, WrappingAlgorithm, WrappingKey, WrappingKeySpec, WrappingMethod,
};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, LineEnding};
use sha1::Sha1;
use sha2::Sha256;

/// GB/T 32918.5-2017, the encryption example on sm2p256v1.
mod gbt_32918_5 {
    pub const D: [u8; 32] = [
        0x39, 0x45, 0x20, 0x8F, 0x7B, 0x21, 0x44, 0xB1, 0x3F, 0x36, 0xE3, 0x8A, 0xC6, 0xD3, 0x9F,
        0x95, 0x88, 0x93, 0x93, 0x69, 0x28, 0x60, 0xB5, 0x1A, 0x42, 0xFB, 0x81, 0xEF, 0x4D, 0xF7,
        0xC5, 0xB8,
    ];
    pub const POINT: &str = "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020\
        CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13";
    pub const MESSAGE: &[u8] = b"encryption standard";
    pub const DER: &str = "307C022004EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73\
        022100E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0042059983C18F809E262\
        923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766041321886CA989CA9C7D58087307CA93092D651EFA";
    pub const C1: &str = "0404EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73E858F9D8\
        1E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0";
    pub const C3_C2: &str = "59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766\
        21886CA989CA9C7D58087307CA93092D651EFA";
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn standard_key() -> RecipientPrivateKey {
    let key = sm2::SecretKey::from_slice(&gbt_32918_5::D).expect("in range");
    let pem = key.to_pkcs8_pem(LineEnding::LF).expect("PEM");
    RecipientPrivateKey::parse_pem(pem.as_bytes()).expect("a key")
}

#[test]
fn the_sm2_example_has_its_public_key() {
    assert!(standard_key().public_key_der().ends_with(&unhex(gbt_32918_5::POINT)));
}

#[test]
fn the_sm2_example_opens_in_both_encodings() {
    let raw = unhex(&[gbt_32918_5::C1, gbt_32918_5::C3_C2].concat());
    for ciphertext in [unhex(gbt_32918_5::DER), raw] {
        let opened = standard_key().unwrap(None, &ciphertext).expect("opens");
        assert_eq!(opened.reveal(Reveal::ToFile), gbt_32918_5::MESSAGE);
    }
}

/// C1, C2, C3: the order of the old standard is not read.
#[test]
fn the_old_order_does_not_open() {
    let c3_c2 = unhex(gbt_32918_5::C3_C2);
    let old = [&unhex(gbt_32918_5::C1), &c3_c2[32..], &c3_c2[..32]].concat();
    assert_eq!(standard_key().unwrap(None, &old).err(), Some(UnwrapFailed::DoesNotOpen));
}

#[test]
fn sm2_ciphertext_with_a_foreign_c1_does_not_open() {
    let c3_c2 = unhex(gbt_32918_5::C3_C2);
    let off_curve = [&[4], &[1; 64][..], &c3_c2].concat();
    let beyond_p = [&[4], &[0xff; 64][..], &c3_c2].concat();
    let compressed = [&[3], &unhex(gbt_32918_5::C1)[1..33], &c3_c2].concat();
    let infinity = [&[0], &c3_c2[..]].concat();
    for ciphertext in [off_curve, beyond_p, compressed, infinity, vec![], vec![4], vec![0x30]] {
        let refused = standard_key().unwrap(None, &ciphertext).err();
        assert_eq!(refused, Some(UnwrapFailed::DoesNotOpen), "{ciphertext:02x?}");
    }
}

#[test]
fn c1_never_repeats_on_either_path() {
    let key = WrappingKey::parse(WrappingKeySpec::EcSm2, standard_key().public_key_der()).unwrap();
    let method = WrappingMethod::new(
        WrappingKeySpec::EcSm2,
        WrappingAlgorithm::Sm2Pke,
        Some(Sm2CiphertextEncoding::RawC1C3C2),
    );
    let plaintext = Plaintext::new(vec![7; 16]);
    let mut seen = std::collections::HashSet::new();
    for i in 0..1_000 {
        if i == 200 {
            key.prepare();
        }
        let raw = plaintext.encrypt(&key, &method.unwrap()).expect("wrapped");
        assert!(seen.insert(raw[1..65].to_vec()));
    }
}

/// RSA by the `rsa` crate, both ways: what we wrap it unwraps, what it wraps we
/// unwrap.
#[test]
fn another_rsa_implementation_agrees() {
    let ours = RecipientPrivateKey::generate(WrappingKeySpec::Rsa2048).expect("a key");
    let public =
        WrappingKey::parse(WrappingKeySpec::Rsa2048, ours.public_key_der()).expect("a key");
    let theirs = rsa::PrivateKey::from_pkcs8_pem(&ours.to_pkcs8_pem()).expect("a key");
    let their_public = rsa::PublicKey::from_public_key_der(public.to_der()).expect("a key");
    for algorithm in [WrappingAlgorithm::RsaesOaepSha256, WrappingAlgorithm::RsaesOaepSha1] {
        let method = WrappingMethod::new(WrappingKeySpec::Rsa2048, algorithm, None).expect("legal");
        let message = vec![5; method.longest_data_key_bytes()];
        let wrapped = Plaintext::new(message.clone()).encrypt(&public, &method).expect("wrapped");
        let is_sha1 = algorithm == WrappingAlgorithm::RsaesOaepSha1;
        let opened = if is_sha1 {
            theirs.oaep_decrypt_with_rng::<Sha1, _>(&mut KernelRng, &wrapped)
        } else {
            theirs.oaep_decrypt_with_rng::<Sha256, _>(&mut KernelRng, &wrapped)
        };
        assert_eq!(opened.expect("unwraps"), message);
        let wrapped = if is_sha1 {
            their_public.oaep_encrypt_with_rng::<Sha1, _>(&mut KernelRng, &message)
        } else {
            their_public.oaep_encrypt_with_rng::<Sha256, _>(&mut KernelRng, &message)
        };
        let opened = ours.unwrap(Some(algorithm), &wrapped.expect("wrapped")).expect("unwraps");
        assert_eq!(opened.reveal(Reveal::ToFile), message);
    }
}
