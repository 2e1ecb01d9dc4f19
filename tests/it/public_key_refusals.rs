//! The judge of recipients' public keys: each unfit key is refused with a text
//! that says what was found and what would do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use der::Encode;
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::pem::{self, LineEnding};
use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::WrappingKeySpec::{self, EcSm2, Rsa2048, Rsa3072, Rsa4096};
use keyferry::crypto::wrapping::{WrappingKey, public_key};
use keyferry::limits::PUBLIC_KEY_BYTES;
use proptest::prelude::*;
use rsa::pkcs1::RsaPublicKeyRef;
use sha2::{Digest, Sha256};
use sm2::elliptic_curve::sec1::ToSec1Point;
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const SM2_CURVE: &str = "1.2.156.10197.1.301";
const P256: &str = "1.2.840.10045.3.1.7";

const E: [u8; 3] = [1, 0, 1];

/// A modulus of the kind that CVE-2017-15361 is about: two primes of 1024 bits,
/// each k·M + (65537^a mod M) with M the product of the first 126 primes.
const ROCA: &str = include_str!("../vectors/public_key_roca_modulus.hex");

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// An odd number of so many bits, of SHA-256 in counter mode: nothing is known
/// against it as a modulus. (Whether it has two prime factors is the
/// recipient's affair.)
fn modulus(bits: usize) -> Vec<u8> {
    (0u32..1000)
        .find_map(|seed| {
            let mut n = number(bits, seed);
            *n.last_mut()? |= 1;
            let is_free = public_key_of(&n, &E, spec_for(bits)).is_ok();
            (is_free || spec_for(bits).modulus_bits() != Some(bits)).then_some(n)
        })
        .expect("a modulus")
}

fn number(bits: usize, seed: u32) -> Vec<u8> {
    let blocks = (0u32..)
        .flat_map(|i| Sha256::digest([seed.to_be_bytes(), i.to_be_bytes()].concat()).to_vec());
    let mut n: Vec<u8> = blocks.take(bits.div_ceil(8)).collect();
    let top = (bits - 1) % 8;
    n[0] = n[0] & ((1u16 << (top + 1)) - 1) as u8 | 1 << top;
    n
}

fn spec_for(bits: usize) -> WrappingKeySpec {
    match bits {
        3072 => Rsa3072,
        4096 => Rsa4096,
        _ => Rsa2048,
    }
}

/// n times a small factor.
fn times(n: &[u8], factor: u32) -> Vec<u8> {
    let mut carry = 0u32;
    let mut product: Vec<u8> = Vec::new();
    for byte in n.iter().rev() {
        carry += u32::from(*byte) * factor;
        product.push(carry as u8);
        carry >>= 8;
    }
    while carry > 0 {
        product.push(carry as u8);
        carry >>= 8;
    }
    product.reverse();
    product
}

fn spki(oid: &str, parameters: Option<AnyRef<'_>>, key: &[u8]) -> Vec<u8> {
    let algorithm = AlgorithmIdentifierRef { oid: ObjectIdentifier::new(oid).unwrap(), parameters };
    let subject_public_key = BitStringRef::from_bytes(key).unwrap();
    SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().unwrap()
}

fn pkcs1(n: &[u8], e: &[u8]) -> Vec<u8> {
    let key = RsaPublicKeyRef {
        modulus: UintRef::new(n).unwrap(),
        public_exponent: UintRef::new(e).unwrap(),
    };
    key.to_der().unwrap()
}

fn rsa_spki(n: &[u8], e: &[u8]) -> Vec<u8> {
    spki(RSA_ENCRYPTION, Some(AnyRef::NULL), &pkcs1(n, e))
}

fn public_key_of(
    n: &[u8],
    e: &[u8],
    spec: WrappingKeySpec,
) -> Result<WrappingKey, public_key::UnfitPublicKey> {
    WrappingKey::parse(spec, &rsa_spki(n, e))
}

fn ec_spki(curve: &str, point: &[u8]) -> Vec<u8> {
    let curve = ObjectIdentifier::new(curve).unwrap();
    spki(EC_PUBLIC_KEY, Some(AnyRef::from(&curve)), point)
}

fn sm2_point() -> Vec<u8> {
    let d = [7; 32];
    let key = sm2::SecretKey::from_slice(&d).unwrap().public_key();
    key.to_sec1_point(false).as_bytes().to_vec()
}

fn to_pem(label: &'static str, der: &[u8]) -> Vec<u8> {
    pem::encode_string(label, LineEnding::LF, der).unwrap().into_bytes()
}

/// Refused, with this about what was found, and with what would do.
#[track_caller]
fn refuses(spec: WrappingKeySpec, sent: &[u8], found: &str) {
    let text = WrappingKey::parse(spec, sent).expect_err(found).to_string();
    assert!(text.starts_with(found), "{text}");
    assert!(text.contains(&format!("; for {spec}, a SubjectPublicKeyInfo in DER or PEM with ")));
    assert!(text.ends_with(" would do"), "{text}");
}

#[test]
fn fit_keys_pass_in_der_and_in_pem() {
    let keys = [2048, 3072, 4096].map(|bits| (spec_for(bits), rsa_spki(&modulus(bits), &E)));
    let sm2 = [(EcSm2, ec_spki(SM2_CURVE, &sm2_point()))];
    for (spec, der) in keys.into_iter().chain(sm2) {
        let key = WrappingKey::parse(spec, &der).expect("fit");
        assert_eq!((key.spec(), key.to_der()), (spec, der.as_slice()));
        assert_eq!(*key.sha256(), <[u8; 32]>::from(Sha256::digest(&der)));
        let pem = to_pem("PUBLIC KEY", &der);
        let crlf = String::from_utf8(pem.clone()).unwrap().replace('\n', "\r\n");
        let spaced = [b"\n \t", pem.as_slice(), b"\r\n\n "].concat();
        let one_line = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----",
            STANDARD.encode(&der)
        );
        for sent in [pem, crlf.into_bytes(), spaced, one_line.into_bytes()] {
            if PUBLIC_KEY_BYTES.allows(sent.len()) {
                let same = WrappingKey::parse(spec, &sent).expect("fit");
                assert_eq!(same.sha256(), key.sha256());
            }
        }
        assert_eq!(public_key::guess_spec(&der), Some(spec));
    }
}

#[test]
fn generated_keys_pass() {
    for spec in [Rsa2048, EcSm2] {
        let key = RecipientPrivateKey::generate(spec).expect("a key");
        let public = WrappingKey::parse(spec, key.public_key_der()).expect("fit");
        assert_eq!(public.to_der(), key.public_key_der());
        assert_eq!(format!("{public:?}"), format!("WrappingKey {{ spec: {spec:?}, .. }}"));
    }
}

#[test]
fn nothing_and_too_much_are_refused() {
    for spec in WrappingKeySpec::ALL {
        refuses(spec, b"", "it is empty");
        refuses(spec, &[b' '; 1025], "it has 1025 bytes, at most 1024 bytes are accepted");
    }
}

#[test]
fn garbage_is_refused() {
    let not_spki = "it is not a SubjectPublicKeyInfo in strict DER";
    refuses(Rsa2048, b"garbage", not_spki);
    refuses(Rsa2048, &[0x30, 0x00], not_spki);
    refuses(EcSm2, &[0xff; 91], not_spki);
    let der = ec_spki(SM2_CURVE, &sm2_point());
    for len in 1..der.len() {
        refuses(EcSm2, &der[..len], not_spki);
    }
}

#[test]
fn pem_garbage_is_refused() {
    let broken = "it looks like PEM but does not decode";
    let pem = String::from_utf8(to_pem("PUBLIC KEY", &ec_spki(SM2_CURVE, &sm2_point()))).unwrap();
    refuses(EcSm2, b"-----BEGIN PUBLIC KEY-----", broken);
    refuses(EcSm2, pem.replace("END PUBLIC", "END PRIVATE").as_bytes(), broken);
    refuses(EcSm2, format!("Subject: me\n{pem}").as_bytes(), broken);
    refuses(EcSm2, format!("{pem}and more").as_bytes(), broken);
    refuses(EcSm2, format!("{pem}{pem}").as_bytes(), broken);
    refuses(EcSm2, pem.replace("\nM", "\n*").as_bytes(), broken);
    let hollow = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----";
    refuses(EcSm2, hollow.as_bytes(), "it is not a SubjectPublicKeyInfo in strict DER");
}

/// PEM as mail, forms, editors, environment variables and JSON leave it.
#[test]
fn lax_forms_of_pem_pass() {
    for (spec, der) in [
        (Rsa2048, rsa_spki(&modulus(2048), &E)),
        (Rsa4096, rsa_spki(&modulus(4096), &E)),
        (EcSm2, ec_spki(SM2_CURVE, &sm2_point())),
    ] {
        let pem = String::from_utf8(to_pem("PUBLIC KEY", &der)).unwrap();
        for lax in [
            pem.replace('\n', "  \n"),
            pem.replace('\n', "\n\n"),
            pem.replace('\n', "\r"),
            pem.replace('\n', ""),
            pem.replace('\n', " "),
            pem.replace('\n', "\\n"),
            pem.replace('\n', "\\r\\n"),
            format!("\u{feff}{pem}"),
            format!("\u{feff}\r\n{}\r\n\r\n", pem.replace('\n', " \r\n")),
            pem.replace("KEY-----\nMI", "KEY-----\nM I"),
        ] {
            let read = WrappingKey::parse(spec, lax.as_bytes()).expect(&lax);
            assert_eq!(read.to_der(), der.as_slice());
        }
    }
}

fn utf16(text: &str) -> Vec<u8> {
    [vec![0xff, 0xfe], text.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat()
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

#[test]
fn encoded_keys_are_named() {
    let der = rsa_spki(&modulus(2048), &E);
    let pem = String::from_utf8(to_pem("PUBLIC KEY", &der)).unwrap();
    let big_endian: Vec<u8> = pem.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let point = sm2_point();
    for (sent, found) in [
        (utf16(&pem), "it is UTF-16 text of PEM; save it as UTF-8"),
        (big_endian, "it is UTF-16 text of PEM; save it as UTF-8"),
        (hex(&der).into_bytes(), "it is hexadecimal text; send the bytes"),
        (format!("0x{}\n", hex(&der).to_uppercase()).into_bytes(), "it is hexadecimal text;"),
        (hex(&point).into_bytes(), "it is hexadecimal text of a bare point of an elliptic curve"),
        (STANDARD.encode(&pem).into_bytes(), "it is Base64 text of PEM; decode it first"),
        (STANDARD.encode(&der).replace('/', "_").into_bytes(), "it is Base64 text;"),
        (point[1..].to_vec(), "it is a bare point of an elliptic curve (the bytes 3059"),
        (pem.repeat(2).into_bytes(), "it looks like PEM but does not decode (there are 2 blocks"),
        (br#"{"kty":"EC","crv":"SM2","x":"AA"}"#.to_vec(), "it is a JSON Web Key"),
    ] {
        refuses(Rsa2048, &sent, found);
        refuses(EcSm2, &sent, found);
    }
    // The advice about the point holds.
    let head = unhex("3059301306072a8648ce3d020106082a811ccf5501822d034200");
    assert!(WrappingKey::parse(EcSm2, &[head, point].concat()).is_ok());
}

#[test]
fn other_things_are_named() {
    let n = modulus(2048);
    let pkcs1 = pkcs1(&n, &E);
    refuses(Rsa2048, &pkcs1, "it is a PKCS#1 RSAPublicKey");
    refuses(Rsa2048, &to_pem("RSA PUBLIC KEY", &pkcs1), "it is PEM of a PKCS#1 RSAPublicKey");
    let certificate =
        rcgen::generate_simple_self_signed(vec!["recipient".into()]).expect("a certificate");
    refuses(Rsa2048, certificate.cert.der(), "it is a certificate");
    refuses(Rsa2048, certificate.cert.pem().as_bytes(), "it is PEM of a certificate");
    refuses(EcSm2, &sm2_point(), "it is a bare point of an elliptic curve");
    refuses(Rsa2048, b"ssh-rsa AAAAB3NzaC1yc2E= me", "it is an OpenSSH public key");
    let base64 = STANDARD.encode(rsa_spki(&n, &E));
    refuses(Rsa2048, base64.as_bytes(), "it is Base64 text");
    let unknown = to_pem("SOMETHING", &rsa_spki(&n, &E));
    refuses(Rsa2048, &unknown, "it is PEM of something else than a PUBLIC KEY");
}

#[test]
fn private_keys_are_refused_with_a_warning() {
    let key = RecipientPrivateKey::generate(EcSm2).expect("a key");
    let pem = key.to_pkcs8_pem();
    refuses(EcSm2, pem.as_bytes(), "it is PEM of a private key, which must never leave its owner");
    let (_, der) = pem::decode_vec(pem.as_bytes()).expect("PEM");
    refuses(EcSm2, &der, "it is a private key, which must never leave its owner");
    for label in ["RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        refuses(Rsa2048, &to_pem(label, b"anything"), "it is PEM of a private key");
    }
    assert_shown(EcSm2, pem.as_str());
    // SEC 1: INTEGER 1, OCTET STRING.
    let sec1 = [&[0x30, 37, 2, 1, 1, 4, 32][..], &[7; 32]].concat();
    refuses(EcSm2, &sec1, "it is a private key");
    for (bare, found) in [
        (vec![7; 32], "it is 32 bytes, as many as a bare private key"),
        (hex(&[7; 32]).into_bytes(), "it is 32 bytes, as many as a bare private key"),
        (STANDARD.encode([7; 32]).into_bytes(), "it is 32 bytes, as many as a bare private key"),
    ] {
        refuses(EcSm2, &bare, found);
    }
    refuses(EcSm2, br#"{"kty":"EC","x":"AA","d":"AA"}"#, "it is a private key");
}

/// A private key is named in whatever form it comes, and before its length.
#[track_caller]
fn assert_shown(spec: WrappingKeySpec, pem: &str) {
    let (_, der) = pem::decode_vec(pem.as_bytes()).expect("PEM");
    let base64 = STANDARD.encode(&der);
    let public = String::from_utf8(to_pem("PUBLIC KEY", &[1, 2, 3])).unwrap();
    let forms = [
        der.clone(),
        der[..40].to_vec(),
        [der.as_slice(), &[0; 4000]].concat(),
        base64.clone().into_bytes(),
        base64.as_bytes()[..70].to_vec(),
        pem.lines().skip(1).collect::<Vec<_>>().join("\n").into_bytes(),
        hex(&der).into_bytes(),
        STANDARD.encode(pem).into_bytes(),
        STANDARD.encode(utf16(pem)).into_bytes(),
        utf16(pem),
        pem.replace('\n', "\\n").into_bytes(),
        pem.replace("-----", "").into_bytes(),
        pem.replace("-----END", "").into_bytes(),
        format!("{public}{pem}").into_bytes(),
        format!("{pem}{public}").into_bytes(),
        format!("{{\"key\":\"{}\"}}", pem.replace('\n', "\\n")).into_bytes(),
        to_pem("PUBLIC KEY", &der),
        to_pem("RSA PUBLIC KEY", &der),
    ];
    for form in forms {
        let text = WrappingKey::parse(spec, &form).expect_err("private").to_string();
        let is_told =
            text.contains("a private key, which must never leave its owner: it has been shown");
        assert!(is_told, "{}: {text}", String::from_utf8_lossy(&form));
    }
}

#[test]
fn private_keys_are_named_though_they_are_too_large() {
    for bits in [2048, 4096] {
        let key = RecipientPrivateKey::generate(spec_for(bits)).expect("a key");
        let pem = key.to_pkcs8_pem();
        assert!(!PUBLIC_KEY_BYTES.allows(pem.len()));
        assert_shown(spec_for(bits), &pem);
    }
}

#[test]
fn other_algorithms_are_named() {
    let n = modulus(2048);
    let null = Some(AnyRef::NULL);
    let ed25519 = spki("1.3.101.112", None, &[7; 32]);
    let pss = spki("1.2.840.113549.1.1.10", None, &pkcs1(&n, &E));
    let p256 = ec_spki(P256, &sm2_point());
    for spec in [Rsa2048, EcSm2] {
        refuses(spec, &ed25519, "it is a key of Ed25519");
        refuses(spec, &pss, "it is a key of RSASSA-PSS");
        refuses(spec, &p256, "it is a point of the curve P-256");
        let unknown = spki("1.2.3.4", null, &[7; 32]);
        refuses(spec, &unknown, "it is a key of the object identifier 1.2.3.4");
    }
    refuses(EcSm2, &rsa_spki(&n, &E), "it is a key of RSA");
    let sm2 = ec_spki(SM2_CURVE, &sm2_point());
    refuses(Rsa2048, &sm2, "it is a point of the curve sm2p256v1");
}

#[test]
fn wrong_parameters_are_refused() {
    let key = pkcs1(&modulus(2048), &E);
    refuses(Rsa2048, &spki(RSA_ENCRYPTION, None, &key), "its algorithm's parameters are not NULL");
    let oid = ObjectIdentifier::new(P256).unwrap();
    let sent = spki(RSA_ENCRYPTION, Some(AnyRef::from(&oid)), &key);
    refuses(Rsa2048, &sent, "its algorithm's parameters are not NULL");
    for parameters in [None, Some(AnyRef::NULL)] {
        let sent = spki(EC_PUBLIC_KEY, parameters, &sm2_point());
        refuses(EcSm2, &sent, "its algorithm's parameters are not the name of a curve");
    }
}

#[test]
fn ber_and_trailing_bytes_are_refused() {
    let der = rsa_spki(&modulus(2048), &E);
    let trailing = [der.as_slice(), &[0, 0]].concat();
    refuses(Rsa2048, &trailing, "2 bytes follow the key");
    refuses(Rsa2048, &to_pem("PUBLIC KEY", &trailing), "2 bytes follow the key");
    // The outer length in three bytes where two do.
    assert_eq!(der[..2], [0x30, 0x82]);
    let long_length = [&[0x30, 0x83, 0x00], &der[2..]].concat();
    refuses(Rsa2048, &long_length, "it is not a SubjectPublicKeyInfo in strict DER");
    let indefinite = [&[0x30, 0x80], &der[4..], &[0, 0]].concat();
    refuses(Rsa2048, &indefinite, "it is not a SubjectPublicKeyInfo in strict DER");
    // A BIT STRING of seven bits less.
    let sm2 = ec_spki(SM2_CURVE, &sm2_point());
    let mut unused = sm2.clone();
    let at = sm2.len() - 66;
    unused[at] = 7;
    assert!(WrappingKey::parse(EcSm2, &unused).is_err());
    // Trailing bytes inside the key.
    let n = modulus(2048);
    let inside = spki(RSA_ENCRYPTION, Some(AnyRef::NULL), &[pkcs1(&n, &E), vec![0]].concat());
    refuses(Rsa2048, &inside, "it is not a SubjectPublicKeyInfo in strict DER");
    // A modulus with a zero byte too many, and a negative one.
    let mut padded = pkcs1(&n, &E);
    let body = [&[2, 0x82, 1, 2, 0, 0], &n[..], &padded.split_off(padded.len() - 5)].concat();
    let head = [0x30, 0x82, (body.len() >> 8) as u8, body.len() as u8];
    let padded = spki(RSA_ENCRYPTION, Some(AnyRef::NULL), &[&head[..], &body].concat());
    refuses(Rsa2048, &padded, "it is not a SubjectPublicKeyInfo in strict DER");
}

#[test]
fn points_that_are_none_are_refused() {
    let point = sm2_point();
    let sent = |point: &[u8]| ec_spki(SM2_CURVE, point);
    let compressed = [&[2 + point[64] % 2], &point[1..33]].concat();
    refuses(EcSm2, &sent(&compressed), "its point is compressed");
    refuses(EcSm2, &sent(&[0]), "its point is infinity");
    let mut off_curve = point.clone();
    off_curve[64] ^= 1;
    refuses(EcSm2, &sent(&off_curve), "its point is not on the curve");
    refuses(EcSm2, &sent(&[&[4][..], &[0; 64]].concat()), "its point is not on the curve");
    refuses(EcSm2, &sent(&[&[4][..], &[0xff; 64]].concat()), "its point is not on the curve");
    let hybrid = [&[6 + point[64] % 2], &point[1..]].concat();
    for malformed in [&hybrid[..], &point[..64], &[], &[4], &[point.as_slice(), &[0]].concat()] {
        refuses(EcSm2, &sent(malformed), "its point is not 04, x and y of 32 bytes each");
    }
}

#[test]
fn moduli_of_other_sizes_are_refused() {
    for bits in [512, 1024, 2047, 2049, 3072, 4096] {
        let sent = rsa_spki(&modulus(bits), &E);
        refuses(Rsa2048, &sent, &format!("its RSA modulus has {bits} bits"));
    }
    refuses(Rsa3072, &rsa_spki(&modulus(2048), &E), "its RSA modulus has 2048 bits");
    refuses(Rsa2048, &rsa_spki(&[0], &E), "its RSA modulus has 0 bits");
}

#[test]
fn exponents_out_of_bounds_are_refused() {
    let n = modulus(2048);
    let sent = |e: &[u8]| rsa_spki(&n, e);
    let below = "its public exponent is below 65537, the lowest that SP 800-56B r2 allows";
    for e in [&[1][..], &[3], &[0xff, 0xff]] {
        refuses(Rsa2048, &sent(e), below);
    }
    for e in [&[0][..], &[2], &[1, 0, 0], &[1, 0, 0, 0, 0, 0, 0, 0, 0]] {
        refuses(Rsa2048, &sent(e), "its public exponent is even");
    }
    let above = "its public exponent is above 2^33 - 1, the highest that is accepted here";
    for e in [&[2, 0, 0, 0, 1][..], &[1, 0, 0, 0, 0, 0, 0, 0, 1], &[0xff; 8], &n] {
        refuses(Rsa2048, &sent(e), above);
    }
    for e in [&E[..], &[1, 0, 3], &[1, 0xff, 0xff, 0xff, 0xff]] {
        assert!(WrappingKey::parse(Rsa2048, &sent(e)).is_ok(), "{e:?}");
    }
}

#[test]
fn moduli_that_factor_are_refused() {
    let mut even = modulus(2048);
    *even.last_mut().unwrap() &= 0xfe;
    refuses(Rsa2048, &rsa_spki(&even, &E), "its RSA modulus is even");
    for prime in [3u32, 5, 7, 743, 751] {
        let found = format!("its RSA modulus has the small prime factor {prime};");
        let bits = 2049 - (prime.ilog2() as usize + 1);
        let multiple = (0..1000).map(|seed| rsa_spki(&times(&number(bits, seed), prime), &E));
        let refusal = |sent: &Vec<u8>| {
            let refused = WrappingKey::parse(Rsa2048, sent);
            refused.is_err_and(|refusal| refusal.to_string().starts_with(&found))
        };
        let refused = multiple.filter(refusal).take(3).count();
        assert_eq!(refused, 3, "{found}");
    }
    let found = "its RSA modulus bears the ROCA fingerprint (CVE-2017-15361)";
    refuses(Rsa2048, &rsa_spki(&unhex(ROCA.trim()), &E), found);
}

proptest! {
    #[test]
    fn any_bytes_pass_or_are_refused(bytes: Vec<u8>) {
        for spec in WrappingKeySpec::ALL {
            prop_assert!(WrappingKey::parse(spec, &bytes).is_err());
        }
    }

    /// An encoding that passes is the one that we would make ourselves: no two
    /// encodings of one key have two digests.
    #[test]
    fn a_changed_encoding_is_another_key_or_none(at: prop::sample::Index, with: u8) {
        let der = ec_spki(SM2_CURVE, &sm2_point());
        let mut changed = der.clone();
        let at = at.index(der.len());
        changed[at] = with;
        if let Ok(key) = WrappingKey::parse(EcSm2, &changed) {
            prop_assert_eq!(key.to_der(), changed.as_slice());
        }
    }
}
