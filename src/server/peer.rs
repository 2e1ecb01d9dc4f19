//! The other end of a connection, as far as the connection proves it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tokio::net::UnixStream;

use super::identity::Claims;
use super::listener::Admission;
use super::tls::{ClientCertificate, LoadedTls, Tls};
use crate::access::principal::{NoPrincipal, Principal};
use crate::error::{Error, Result, Rule};

/// The peer of one connection. Shared by the requests that come over it.
pub(super) struct Peer {
    address: Arc<str>,
    proof: Proof,
    claims: Claims,
}

/// What the connection proves.
enum Proof {
    /// Known for as long as the connection lasts.
    Known(Principal),
    /// No certificate was shown, on a listener that does not ask for one.
    Unknown,
    /// Known by a certificate, which may expire or be revoked meanwhile.
    Certified(Result<Principal, NoPrincipal>, ClientCertificate),
}

impl Peer {
    /// Over plaintext TCP, which only `--dev` listens on.
    pub(super) fn of_tcp(address: SocketAddr, claims: Claims) -> Self {
        Self { address: address.to_string().into(), proof: Proof::Known(Principal::dev()), claims }
    }

    /// Over TLS; `chain` is what the handshake verified, `loaded` what it went by.
    pub(super) fn of_tls(
        address: SocketAddr,
        tls: Arc<Tls>,
        loaded: &LoadedTls,
        chain: &[CertificateDer<'_>],
        claims: Claims,
    ) -> Self {
        let proof = if chain.is_empty() {
            Proof::Unknown
        } else {
            let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
            let names = tls.names();
            let certificate = ClientCertificate::new(tls, loaded, chain);
            Proof::Certified(Principal::from_certificate(certificate.leaf(), names), certificate)
        };
        Self { address: address.to_string().into(), proof, claims }
    }

    /// Over a Unix socket, as the kernel saw the peer when it connected
    /// (`SO_PEERCRED`).
    pub(super) fn of_unix(
        stream: &UnixStream,
        admission: &Admission,
        claims: Claims,
    ) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let principal = match admission {
            Admission::Dev => Principal::dev(),
            Admission::Mtls(_) | Admission::PeerUid => Principal::unix(credentials.uid()),
        };
        let address = credentials.pid().map_or("unix".to_owned(), |pid| format!("pid:{pid}"));
        Ok(Self { address: address.into(), proof: Proof::Known(principal), claims })
    }

    /// Whether it has shown a certificate that names a caller.
    pub(super) fn is_certified(&self) -> bool {
        matches!(self.proof, Proof::Certified(Ok(_), _))
    }

    /// Whether the connection proves somebody now.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.principal(), Ok(Some(_)))
    }

    /// For the log: the address, or the process at the other end of a Unix socket.
    pub(super) const fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// What its requests may say of their callers.
    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The principal that the connection proves now, if it proves one.
    pub(super) fn principal(&self) -> Result<Option<&Principal>> {
        match &self.proof {
            Proof::Known(principal) => Ok(Some(principal)),
            Proof::Unknown => Ok(None),
            Proof::Certified(Err(nobody), _) => Err(not_authenticated(nobody)),
            Proof::Certified(Ok(principal), certificate) if certificate.still_good() => {
                Ok(Some(principal))
            }
            Proof::Certified(Ok(_), _) => Err(not_authenticated(
                "the client certificate has expired or is no longer accepted",
            )),
        }
    }
}

fn not_authenticated(why: impl std::fmt::Display) -> Error {
    Error::from(Rule::NotAuthenticated).saying(format!("The caller is not authenticated: {why}."))
}
