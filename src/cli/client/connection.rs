//! A connection to the server.
//!
//! The stream is opened here rather than inside tonic, so that a name that does
//! not resolve, a port where nobody listens and a certificate that is not
//! trusted each get words of their own.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::Channel;
use tower::service_fn;

use super::call_failure::connection_broken;
use super::endpoint::{Authority, Endpoint, is_loopback};
use super::recording_stream::{FirstError, RecordingStream};
use super::setting::{Setting, Source};
use super::tls::{TlsSettings, handshake_failed};
use crate::cli::failure::Failure;

/// How long opening a connection may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take by default. A server waits no longer.
pub(super) const DEFAULT_TIMEOUT_SECONDS: u64 = 30;

/// How the server is reached.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(super) endpoint: Setting<Endpoint>,
    pub(super) tls: TlsSettings,
    pub(super) insecure_plaintext: bool,
    pub(super) timeout: Duration,
}

impl From<Endpoint> for Connection {
    /// A connection that needs no credentials: to a dev server, or to a socket.
    fn from(endpoint: Endpoint) -> Self {
        Self {
            endpoint: Setting::new(endpoint, Source::Option, "--endpoint"),
            tls: TlsSettings::default(),
            insecure_plaintext: false,
            timeout: Duration::from_secs(DEFAULT_TIMEOUT_SECONDS),
        }
    }
}

impl Connection {
    /// Where the server is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint.value
    }

    /// How long an answer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
type Stream = Pin<Box<dyn Duplex>>;

/// Connects. `stream_error` will hold the error that breaks the connection, if
/// one does.
pub async fn connect(
    connection: &Connection,
    stream_error: &FirstError,
) -> Result<Channel, Failure> {
    let endpoint = connection.endpoint();
    let stream =
        tokio::time::timeout(CONNECT_TIMEOUT, open(connection)).await.map_err(|_| {
            Failure::unreachable(
                format!(
                    "{endpoint} did not accept a connection within {} s.",
                    CONNECT_TIMEOUT.as_secs()
                ),
                "Check the address, and that no firewall stands between.",
            )
        })??;
    // tonic takes it once: a command whose connection breaks says so, and does not
    // repeat what may have happened.
    let mut stream = Some(RecordingStream::new(stream, stream_error.clone()));
    let connector = service_fn(move |_| {
        let closed =
            || io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection");
        std::future::ready(stream.take().map(TokioIo::new).ok_or_else(closed))
    });
    // The `:scheme` and `:authority` of requests.
    let url = match endpoint {
        Endpoint::Unix(_) => "http://localhost".to_owned(),
        tcp => tcp.to_string(),
    };
    let broken = |error: tonic::transport::Error| match stream_error.get() {
        Some(cause) => connection_broken(endpoint, cause),
        None => connection_broken(endpoint, &error),
    };
    tonic::transport::Endpoint::from_shared(url)
        .and_then(|target| target.user_agent(concat!("keyferry/", env!("CARGO_PKG_VERSION"))))
        .map_err(broken)?
        .connect_with_connector(connector)
        .await
        .map_err(broken)
}

async fn open(connection: &Connection) -> Result<Stream, Failure> {
    let Connection { endpoint, tls, insecure_plaintext, .. } = connection;
    match &endpoint.value {
        Endpoint::Https(authority) => {
            let endpoint = &endpoint.value;
            // Files and names are checked before the network is touched.
            let connector = tls.connector(endpoint)?;
            let name = tls.server_name(authority)?;
            let stream = open_tcp(authority).await?;
            let stream = connector.connect(name, stream).await;
            Ok(Box::pin(stream.map_err(|error| handshake_failed(&error, endpoint))?))
        }
        Endpoint::Http(authority) => {
            tls.refuse_without_https(endpoint)?;
            Ok(Box::pin(open_plaintext(authority, *insecure_plaintext).await?))
        }
        Endpoint::Unix(path) => {
            tls.refuse_without_https(endpoint)?;
            Ok(Box::pin(open_socket(path).await?))
        }
    }
}

/// In plaintext everyone on the way reads what is sent, keys too.
async fn open_plaintext(authority: &Authority, permitted: bool) -> Result<TcpStream, Failure> {
    if !permitted && !authority.is_loopback() {
        return Err(plaintext_elsewhere(authority));
    }
    let stream = open_tcp(authority).await?;
    // A name of loopback may have been given to another machine.
    let is_here = stream.peer_addr().is_ok_and(|peer| is_loopback(peer.ip()));
    if permitted || is_here { Ok(stream) } else { Err(plaintext_elsewhere(authority)) }
}

fn plaintext_elsewhere(authority: &Authority) -> Failure {
    Failure::usage(
        format!(
            "http://{authority} is another machine, and http:// sends plaintexts and secrets in the clear: everyone on the way can read them."
        ),
        "Give --endpoint https://HOST:PORT with --tls-ca, or --insecure-plaintext if the way there is safe by other means.",
    )
}

async fn open_tcp(authority: &Authority) -> Result<TcpStream, Failure> {
    let Authority { host, port } = authority;
    let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| {
        Failure::unreachable(
            format!("No server can be reached at {authority}: {error}."),
            "Start one with `keyferry serve`, or give its address with --endpoint, KEYFERRY_ENDPOINT or a --profile.",
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
            "The socket is for the server's own user: become that user, or ask for a socket that you may use."
        } else {
            "Start the server with `keyferry serve --config FILE`, or give its address with --endpoint, KEYFERRY_ENDPOINT or a --profile."
        };
        let happened = format!("No server can be reached at unix:{}: {error}.", path.display());
        Failure::unreachable(happened, advice)
    })
}
