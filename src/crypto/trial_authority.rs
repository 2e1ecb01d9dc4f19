//! A small certificate authority, so that a server can be tried over TLS at once. Its
//! key lies in a file, it keeps no list of what it signed, and it can take nothing back:
//! for keys that matter, an authority that others run stands in its place.
//!
//! ```text
//! TrialAuthority::found ──▶ its own certificate: CA, path length 0, one trust domain
//!          └──server──▶ serverAuth, the server's names
//!          └──client──▶ clientAuth, one SPIFFE ID of that trust domain (X509-SVID)
//! ```
//!
//! All keys are P-256. aws-lc makes them, signs with them, and wipes what it frees.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use der::pem::LineEnding;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SignatureAlgorithm,
    SigningKey,
};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::pem;
use super::secret::{CertificateKey, Reveal};

/// The most that a certificate is good for, from its first second to its last: no
/// client takes a server's for longer (CA/Browser Forum's rule of 398 days).
const LONGEST: Duration = Duration::from_secs(397 * 24 * 60 * 60);
/// Certificates begin in the past, for clocks that are behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);
const SPIFFE: &str = "spiffe://";

/// Nothing was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TrialAuthorityError {
    /// A file that is no certificate of such an authority.
    #[error("the certificate is none of a trial authority")]
    Certificate,
    /// A file that is no P-256 key.
    #[error("the private key is none in PEM on the curve P-256")]
    Key,
    /// Key and certificate do not belong together.
    #[error("the private key is not the certificate's")]
    AnothersKey,
    /// It ended, and so would all that it signs.
    #[error("the authority's certificate has expired")]
    Expired,
    /// A name that no certificate can have.
    #[error("the name cannot be in a certificate")]
    Name,
    /// The library failed.
    #[error("no key or certificate could be made")]
    Failed,
}

/// A certificate, PEM, and its private key.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: CertificateKey,
}

/// A name that clients call a server by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// A DNS name.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

/// The authority, with its key.
#[derive(Debug)]
pub struct TrialAuthority {
    issuer: Issuer<'static, OwnKey>,
    trust_domain: String,
    /// When its own certificate ends, in seconds of the epoch.
    ends: Duration,
}

impl TrialAuthority {
    /// Makes an authority for a SPIFFE trust domain, with what is to be kept of it. `now`
    /// is the time since the epoch.
    pub fn found(trust_domain: &str, now: Duration) -> Result<(Self, Issued), TrialAuthorityError> {
        let (own, key) = OwnKey::generate()?;
        let (begins, ends) = validity(now, Duration::MAX);
        let mut params = params("Keyferry trial CA (not for production)", begins, ends);
        // SPIFFE's X509-SVID, 4.2: the authority names its trust domain.
        params.subject_alt_names = vec![uri(&format!("{SPIFFE}{trust_domain}"))?];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&own).map_err(failed)?;
        let trust_domain = trust_domain.to_owned();
        let authority = Self { issuer: Issuer::new(params, own), trust_domain, ends };
        Ok((authority, Issued { certificate: certificate.pem(), key }))
    }

    /// The authority of these two files, PEM.
    pub fn read(
        certificate: &[u8],
        key: &[u8],
        now: Duration,
    ) -> Result<Self, TrialAuthorityError> {
        let unfit = TrialAuthorityError::Certificate;
        let der =
            pem::one_block(certificate).and_then(|block| block.decode()).map_err(|_| unfit)?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| unfit)?;
        let key = pem::one_block(key).and_then(|block| block.decode());
        let own = OwnKey::from_pkcs8(&key.map_err(|_| TrialAuthorityError::Key)?)?;
        let trust_domain = trust_domain_of(&parsed).filter(|_| parsed.is_ca()).ok_or(unfit)?;
        if parsed.public_key().subject_public_key.data.as_ref() != own.der_bytes() {
            return Err(TrialAuthorityError::AnothersKey);
        }
        let ends = u64::try_from(parsed.validity().not_after.timestamp()).map_err(|_| unfit)?;
        let ends = Duration::from_secs(ends);
        if ends <= now {
            return Err(TrialAuthorityError::Expired);
        }
        let issuer = Issuer::from_ca_cert_der(&der.as_slice().into(), own).map_err(|_| unfit)?;
        Ok(Self { issuer, trust_domain, ends })
    }

    /// The trust domain of its clients.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// A certificate for a server of these names.
    pub fn server(
        &self,
        names: &[ServerAddress],
        now: Duration,
    ) -> Result<Issued, TrialAuthorityError> {
        let names = names.iter().map(|name| match name {
            ServerAddress::Dns(name) => Ok(SanType::DnsName(ia5(name)?)),
            ServerAddress::Ip(address) => Ok(SanType::IpAddress(*address)),
        });
        let names = names.collect::<Result<_, _>>()?;
        self.issue("Keyferry trial server", names, ExtendedKeyUsagePurpose::ServerAuth, now)
    }

    /// A certificate for a client, whose SPIFFE ID the caller has judged.
    pub fn client(&self, spiffe_id: &str, now: Duration) -> Result<Issued, TrialAuthorityError> {
        let names = vec![uri(spiffe_id)?];
        self.issue("Keyferry trial client", names, ExtendedKeyUsagePurpose::ClientAuth, now)
    }

    fn issue(
        &self,
        subject: &str,
        names: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
        now: Duration,
    ) -> Result<Issued, TrialAuthorityError> {
        let (begins, ends) = validity(now, self.ends);
        let mut params = params(subject, begins, ends);
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let (own, key) = OwnKey::generate()?;
        let certificate = params.signed_by(&own, &self.issuer).map_err(failed)?;
        Ok(Issued { certificate: certificate.pem(), key })
    }
}

/// The first and the last second. No certificate outlives the one that signed it.
fn validity(now: Duration, at_most: Duration) -> (Duration, Duration) {
    let begins = now.saturating_sub(BACKDATED);
    let last = begins.saturating_add(LONGEST).saturating_sub(Duration::from_secs(1));
    (begins, last.min(at_most))
}

fn params(subject: &str, begins: Duration, ends: Duration) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let whole = |time: Duration| epoch + Duration::from_secs(time.as_secs());
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (whole(begins), whole(ends));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params
}

fn ia5(text: &str) -> Result<Ia5String, TrialAuthorityError> {
    Ia5String::try_from(text).map_err(|_| TrialAuthorityError::Name)
}

fn uri(text: &str) -> Result<SanType, TrialAuthorityError> {
    Ok(SanType::URI(ia5(text)?))
}

/// rcgen's errors might quote what they failed at.
fn failed(_: rcgen::Error) -> TrialAuthorityError {
    TrialAuthorityError::Failed
}

/// The one SPIFFE ID of an authority, which has no path.
fn trust_domain_of(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => {
            let domain = uri.strip_prefix(SPIFFE)?;
            (!domain.is_empty() && !domain.contains('/')).then(|| domain.to_owned())
        }
        _ => None,
    }
}

/// A key as rcgen signs with it. Not rcgen's own, which keeps a copy that is not wiped.
struct OwnKey(EcdsaKeyPair);

impl OwnKey {
    fn generate() -> Result<(Self, CertificateKey), TrialAuthorityError> {
        let failed = |_| TrialAuthorityError::Failed;
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(failed)?;
        Ok((Self(pair), CertificateKey::from_pkcs8(pkcs8.as_ref())))
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, TrialAuthorityError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der);
        pair.map(Self).map_err(|_| TrialAuthorityError::Key)
    }
}

impl std::fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnKey")
    }
}

impl PublicKeyData for OwnKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for OwnKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        signature
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| rcgen::Error::RingUnspecified)
    }
}

impl CertificateKey {
    /// PKCS#8 in PEM, for a file of its owner's alone.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, TrialAuthorityError> {
        let der = self.reveal(Reveal::ToFile);
        der::pem::encode_string("PRIVATE KEY", LineEnding::LF, der)
            .map(Zeroizing::new)
            .map_err(|_| TrialAuthorityError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn founded() -> (TrialAuthority, Issued) {
        TrialAuthority::found("kms.example", NOW).unwrap()
    }

    fn read(kept: &Issued, now: Duration) -> Result<TrialAuthority, TrialAuthorityError> {
        let key = kept.key.to_pem().unwrap();
        TrialAuthority::read(kept.certificate.as_bytes(), key.as_bytes(), now)
    }

    fn ends(issued: &Issued) -> Duration {
        let der = pem::one_block(issued.certificate.as_bytes()).unwrap().decode().unwrap();
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        let validity = parsed.validity();
        let seconds = validity.not_after.timestamp() - validity.not_before.timestamp() + 1;
        assert!(seconds <= 397 * 24 * 60 * 60, "{seconds}");
        Duration::from_secs(validity.not_after.timestamp().try_into().unwrap())
    }

    #[test]
    fn what_was_kept_is_read_again() {
        let (authority, kept) = founded();
        let again = read(&kept, NOW).unwrap();
        assert_eq!(
            (authority.trust_domain(), again.trust_domain()),
            ("kms.example", "kms.example")
        );
        again.client("spiffe://kms.example/a", NOW).unwrap();
        assert_eq!(
            format!("{:?} {:?}", kept.key, OwnKey::generate().unwrap().0),
            "CertificateKey OwnKey"
        );
    }

    #[test]
    fn no_certificate_outlives_the_authority_and_none_is_made_after_its_end() {
        let (authority, kept) = founded();
        let end = ends(&kept);
        for later in [Duration::ZERO, DAY, 396 * DAY] {
            let client = authority.client("spiffe://kms.example/a", NOW + later).unwrap();
            assert!(ends(&client) <= end, "{later:?}");
        }
        read(&kept, end.checked_sub(Duration::from_secs(1)).unwrap()).unwrap();
        assert_eq!(read(&kept, end).err(), Some(TrialAuthorityError::Expired));
    }

    #[test]
    fn files_that_are_none_of_an_authority_are_refused() {
        let (authority, kept) = founded();
        let (_, other) = founded();
        let client = authority.client("spiffe://kms.example/a", NOW).unwrap();
        let refused = |certificate: &str, key: &Issued| {
            let key = key.key.to_pem().unwrap();
            TrialAuthority::read(certificate.as_bytes(), key.as_bytes(), NOW).err()
        };
        assert_eq!(refused(&kept.certificate, &other), Some(TrialAuthorityError::AnothersKey));
        for certificate in [client.certificate.as_str(), "", "-----BEGIN CERTIFICATE-----"] {
            assert_eq!(refused(certificate, &client), Some(TrialAuthorityError::Certificate));
        }
        let no_key = TrialAuthority::read(kept.certificate.as_bytes(), b"x", NOW);
        assert_eq!(no_key.err(), Some(TrialAuthorityError::Key));
        assert_eq!(
            authority.client("spiffe://kms.example/\u{e4}", NOW).err(),
            Some(TrialAuthorityError::Name)
        );
    }
}
