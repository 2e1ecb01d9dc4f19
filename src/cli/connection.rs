//! The way to the server: one connection for one command.
//!
//! The stream is opened here rather than inside tonic, so that a name that does
//! not resolve, a port where nobody listens and a certificate that is not
//! trusted each get words of their own.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tower::service_fn;

use super::endpoint::{Authority, Endpoint};
use super::failure::{Failure, Stop, broken, chain};
use super::files::Input;
use super::output::{Answer, Output, OutputArgs};
use super::text::Text;
use super::watched::{Cause, Watched};
use crate::error::Rule;
use crate::proto::v1::access_management_client::AccessManagementClient;
use crate::proto::v1::key_management_client::KeyManagementClient;
use crate::proto::v1::kms_client::KmsClient;

/// How long opening a connection may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take, where nothing else is said; a server waits no
/// longer.
const DEFAULT_TIMEOUT_SECONDS: u64 = 30;
/// Certificates and their keys are short.
const MAX_PEM_BYTES: usize = 256 * 1024;
/// What help puts these options under: each by itself, so that a command's own
/// options that come after them are not put there too.
const SERVER: &str = "Server";

/// Which server, and who it must be.
#[derive(Args, Clone, Debug)]
pub struct ConnectionArgs {
    /// The server: http://HOST:PORT, https://HOST:PORT or unix:/path
    #[arg(
        long,
        help_heading = SERVER,
        value_name = "URL",
        env = "KEYFERRY_ENDPOINT",
        default_value = "http://127.0.0.1:7311"
    )]
    endpoint: Endpoint,
    /// Certificates (PEM) of the authority that signed the server's; https
    /// needs it: no authority is trusted by default
    #[arg(long, help_heading = SERVER, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Your certificate and its chain (PEM)
    #[arg(long, help_heading = SERVER, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of your certificate (PEM)
    #[arg(long, help_heading = SERVER, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The name that the server's certificate must bear, where it is not the
    /// endpoint's host
    #[arg(long, help_heading = SERVER, value_name = "NAME")]
    tls_name: Option<String>,
    /// How long an answer may take
    #[arg(long, help_heading = SERVER, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT_SECONDS, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

/// What every command that calls the server takes.
#[derive(Args, Clone, Debug)]
pub struct CallArgs {
    /// Let the server check everything and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl CallArgs {
    /// Whether JSON is asked for.
    #[must_use]
    pub fn json(&self) -> bool {
        self.output.json()
    }

    /// How the command speaks.
    #[must_use]
    pub fn output(&self) -> Output {
        self.output.output()
    }

    /// Whether nothing is to be changed.
    #[must_use]
    pub fn dry_run(&self) -> bool {
        self.dry_run
    }

    /// Asks the server one thing, and tells what it answered.
    pub fn ask<A, Q>(&self, ask: Q, tell: impl FnOnce(&A) -> Text) -> Result<(), Stop>
    where
        A: Answer,
        Q: AsyncFnOnce(&Session) -> Result<Response<A>, Status>,
    {
        self.talk(async |session| {
            let outcome = ask(&session).await;
            let answer = session.answer(outcome)?;
            self.output().answer(&answer, || tell(&answer))
        })
    }

    /// Connects, and talks to the server as `conversation` does.
    pub fn talk<C>(&self, conversation: C) -> Result<(), Stop>
    where
        C: AsyncFnOnce(Session) -> Result<(), Stop>,
    {
        block_on(async { conversation(self.session().await?).await })
    }

    /// Connects; for a conversation that outlives a connection.
    pub async fn session(&self) -> Result<Session, Failure> {
        self.connection.session(self.dry_run).await
    }
}

/// Runs a conversation that connects by itself.
pub fn block_on(conversation: impl Future<Output = Result<(), Stop>>) -> Result<(), Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::unreachable(
            format!("The network cannot be used: {error}."),
            "See that the limit on open files (ulimit -n) leaves room.",
        )
    })?;
    runtime.block_on(conversation)
}

impl ConnectionArgs {
    /// Connects.
    async fn session(&self, dry_run: bool) -> Result<Session, Failure> {
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, open(self))
            .await
            .unwrap_or_else(|_| Err(too_slow(&self.endpoint)))?;
        let cause = Cause::default();
        Ok(Session {
            channel: channel(Watched::new(stream, cause.clone()), &cause, &self.endpoint).await?,
            cause,
            endpoint: self.endpoint.to_string(),
            timeout: Duration::from_secs(self.timeout),
            dry_run,
        })
    }
}

/// A connection to the server, for the length of one command.
#[derive(Debug)]
pub struct Session {
    channel: Channel,
    cause: Cause,
    endpoint: String,
    timeout: Duration,
    dry_run: bool,
}

impl Session {
    /// A connection that needs no credentials: to a dev server, or a socket.
    pub async fn to(endpoint: Endpoint) -> Result<Self, Failure> {
        let connection = ConnectionArgs {
            endpoint,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            tls_name: None,
            timeout: DEFAULT_TIMEOUT_SECONDS,
        };
        connection.session(false).await
    }

    /// The service that uses keys.
    #[must_use]
    pub fn kms(&self) -> KmsClient<Channel> {
        KmsClient::new(self.channel.clone())
    }

    /// The service that keeps keys.
    #[must_use]
    pub fn key_management(&self) -> KeyManagementClient<Channel> {
        KeyManagementClient::new(self.channel.clone())
    }

    /// The service that keeps access keys.
    #[must_use]
    pub fn access_management(&self) -> AccessManagementClient<Channel> {
        AccessManagementClient::new(self.channel.clone())
    }

    /// A message on its way, with its deadline.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    /// What came back: the answer, or why there is none.
    pub fn answer<T>(&self, outcome: Result<Response<T>, Status>) -> Result<T, Stop> {
        match outcome {
            Ok(_) if self.dry_run => Err(Failure::new(
                super::Exit::Refused,
                format!(
                    "{} answered a dry run as if it were none: a change may have happened.",
                    self.endpoint
                ),
                "See that --endpoint names a Keyferry server, and report this.",
            )
            .into()),
            Ok(response) => Ok(response.into_inner()),
            Err(status) if self.dry_run => Err(self.would_work(&status)),
            Err(status) => Err(self.failed(&status).into()),
        }
    }

    /// What came back to a question on the way to another: dry runs ask it too.
    pub fn learnt<T>(&self, outcome: Result<Response<T>, Status>) -> Result<T, Failure> {
        outcome.map(Response::into_inner).map_err(|status| self.failed(&status))
    }

    /// How long an answer may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Why a call failed.
    #[must_use]
    pub fn failed(&self, status: &Status) -> Failure {
        Failure::of_call(status, &self.endpoint, self.cause.told().as_ref())
    }

    fn would_work(&self, status: &Status) -> Stop {
        use tonic_types::StatusExt;
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.as_str());
        if reason != Some(Rule::DryRunSucceeded.reason()) {
            return self.failed(status).into();
        }
        let request_id = details.request_info().map(|info| info.request_id.clone());
        Stop::WouldWork { request_id: request_id.unwrap_or_default() }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
type Stream = Pin<Box<dyn Duplex>>;

async fn open(connection: &ConnectionArgs) -> Result<Stream, Failure> {
    match &connection.endpoint {
        Endpoint::Https(authority) => {
            // Everything that can be refused is refused before the network is
            // touched.
            let tls = TlsConnector::from(Arc::new(tls_config(connection)?));
            let name = server_name(connection, authority)?;
            let stream = open_tcp(authority).await?;
            let stream = tls
                .connect(name, stream)
                .await
                .map_err(|error| untrusted(&error, &connection.endpoint))?;
            Ok(Box::pin(stream))
        }
        Endpoint::Http(authority) => {
            refuse_stray_tls_options(connection)?;
            Ok(Box::pin(open_tcp(authority).await?))
        }
        Endpoint::Unix(path) => {
            refuse_stray_tls_options(connection)?;
            Ok(Box::pin(open_socket(path).await?))
        }
    }
}

/// TLS options that would be ignored are a mistake about who is talked to.
fn refuse_stray_tls_options(connection: &ConnectionArgs) -> Result<(), Failure> {
    let ConnectionArgs { endpoint, tls_ca, tls_cert, tls_key, tls_name, .. } = connection;
    let files = [tls_ca, tls_cert, tls_key];
    if files.iter().all(|file| file.is_none()) && tls_name.is_none() {
        return Ok(());
    }
    Err(Failure::usage(
        format!("TLS options were given, but {endpoint} is not an https:// endpoint."),
        "Give --endpoint https://HOST:PORT, or leave the --tls options out.",
    ))
}

async fn open_tcp(authority: &Authority) -> Result<TcpStream, Failure> {
    let Authority { host, port } = authority;
    let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| {
        Failure::unreachable(
            format!("No server can be reached at {authority}: {error}."),
            "Start one with `keyferry serve`, or say where it is with --endpoint or KEYFERRY_ENDPOINT.",
        )
    })?;
    // A request is one small write that must not wait for another.
    stream.set_nodelay(true).map_err(|error| {
        Failure::unreachable(format!("The connection to {authority} broke: {error}."), "Try again.")
    })?;
    Ok(stream)
}

async fn open_socket(path: &Path) -> Result<UnixStream, Failure> {
    UnixStream::connect(path).await.map_err(|error| {
        let advice = if error.kind() == io::ErrorKind::PermissionDenied {
            "The socket is for the server's own user: become that user, or ask for one that you may use."
        } else {
            "Start the server with `keyferry serve --config FILE`, or say where it is with --endpoint or KEYFERRY_ENDPOINT."
        };
        let happened = format!("No server can be reached at unix:{}: {error}.", path.display());
        Failure::unreachable(happened, advice)
    })
}

fn too_slow(endpoint: &Endpoint) -> Failure {
    Failure::unreachable(
        format!("{endpoint} did not take a connection within {} s.", CONNECT_TIMEOUT.as_secs()),
        "See that the address is right and that no firewall stands between.",
    )
}

fn tls_config(connection: &ConnectionArgs) -> Result<ClientConfig, Failure> {
    let Some(ca) = &connection.tls_ca else {
        return Err(Failure::usage(
            format!("{} needs --tls-ca: no authority is trusted by default.", connection.endpoint),
            "Give the certificate of the authority that signed the server's: --tls-ca FILE.",
        ));
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit_tls("the TLS library", &error))?
        .with_root_certificates(roots(ca)?);
    let mut config = match (&connection.tls_cert, &connection.tls_key) {
        (Some(cert), Some(key)) => config
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| unfit_tls("--tls-cert with --tls-key", &error))?,
        _ => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn unfit_tls(what: &str, error: &rustls::Error) -> Failure {
    Failure::input(
        format!("TLS cannot be set up with {what}: {error}."),
        "Give a certificate and the private key that belongs to it, both PEM.",
    )
}

fn roots(path: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unfit_tls("--tls-ca", &error))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let unfit = || {
        Failure::input(
            format!("{} holds no certificate that can be read.", path.display()),
            "Give PEM: -----BEGIN CERTIFICATE-----. From DER: openssl x509 -inform DER -in FILE -out FILE.pem",
        )
    };
    let pem = Input::from(path).read("certificate", MAX_PEM_BYTES)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    certificates.ok().filter(|found| !found.is_empty()).ok_or_else(unfit)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    let pem = Input::from(path).read("private key", MAX_PEM_BYTES)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        Failure::input(
            format!("{} holds no private key that can be read.", path.display()),
            "Give it as PEM and not encrypted; from an encrypted one: openssl pkcs8 -in FILE -out CLEAR.pem",
        )
    })
}

fn server_name(
    connection: &ConnectionArgs,
    authority: &Authority,
) -> Result<ServerName<'static>, Failure> {
    let name = connection.tls_name.as_ref().unwrap_or(&authority.host);
    ServerName::try_from(name.clone()).map_err(|_| {
        Failure::usage(
            format!("{name:?} is not a name that a certificate can bear."),
            "Give a DNS name or an IP address: --tls-name NAME.",
        )
    })
}

/// A TLS handshake that failed.
fn untrusted(error: &io::Error, endpoint: &Endpoint) -> Failure {
    use rustls::{CertificateError, Error};
    let cause = chain(error).find_map(|cause| cause.downcast_ref::<Error>());
    let advice = match cause {
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => {
            "If it is the right server under another name, give the certificate's with --tls-name."
        }
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "Give the certificate of the authority that signed the server's with --tls-ca."
        }
        Some(Error::InvalidMessage(_)) => "The server does not speak TLS there: try http://.",
        _ => {
            "Compare the server's certificate with --tls-ca and --tls-name, and see that a Keyferry server listens there."
        }
    };
    let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
    Failure::unreachable(format!("No TLS connection to {endpoint}: {cause}."), advice)
}

/// Hands the open stream to tonic. It is asked for once: a command whose
/// connection breaks says so and does not repeat what may have happened.
async fn channel(
    stream: Watched<Stream>,
    cause: &Cause,
    endpoint: &Endpoint,
) -> Result<Channel, Failure> {
    let once = Mutex::new(Some(stream));
    let connector = service_fn(move |_| {
        let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        let closed =
            || io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection");
        std::future::ready(stream.map(TokioIo::new).ok_or_else(closed))
    });
    let broken = |error: tonic::transport::Error| match cause.told() {
        Some(cause) => broken(&endpoint.to_string(), &cause),
        None => broken(&endpoint.to_string(), &error),
    };
    tonic::transport::Endpoint::from_shared(authority_url(endpoint))
        .and_then(|target| target.user_agent(concat!("keyferry/", env!("CARGO_PKG_VERSION"))))
        .map_err(broken)?
        .connect_with_connector(connector)
        .await
        .map_err(broken)
}

/// What requests bear as `:scheme` and `:authority`.
fn authority_url(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Unix(_) => "http://localhost".to_owned(),
        tcp => tcp.to_string(),
    }
}
