//! Where the server listens.

use std::fs::{DirBuilder, File};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs, io};

use rustix::fs::FlockOperation;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::identity::Claims;
use super::tls::{Tls, TlsError};
use super::tokens::TokenKeysError;
use crate::config::{Address, Callers, ListenerConfig};

/// A bound socket, and how its callers are authenticated.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
    admission: Admission,
    claims: Claims,
    gateway: bool,
}

/// How the callers of a listener are authenticated.
#[derive(Clone, Debug)]
pub(super) enum Admission {
    /// Everyone is `dev`.
    Dev,
    /// By client certificate.
    Mtls(Arc<Tls>),
    /// By the user id at the other end of a Unix socket.
    PeerUid,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "its drop removes the file")] SocketFile),
}

/// A socket that was accepted, before anything was read from it.
pub(super) enum Accepted {
    Tcp(TcpStream, std::net::SocketAddr),
    Unix(UnixStream),
}

impl Accepted {
    /// The address of the peer; a Unix socket has none.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(_, peer) => Some(peer.ip()),
            Self::Unix(_) => None,
        }
    }
}

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("{0} is in use by another process: stop that one, or configure another address")]
    InUse(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {why}")]
    Unusable {
        /// The address as configured.
        address: String,
        /// The system's error, and what to do.
        why: String,
    },
    /// The TLS files cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The keys of tokens cannot be used.
    #[error(transparent)]
    TokenKeys(#[from] TokenKeysError),
}

impl BindError {
    /// The process's exit code (contract, section 3).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::InUse(_) => 73,
            Self::Unusable { .. } | Self::Tls(_) | Self::TokenKeys(_) => {
                crate::config::ConfigError::EXIT_CODE
            }
        }
    }

    fn unusable(address: &impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Unusable { address: address.to_string(), why: why.to_string() }
    }
}

impl Listener {
    /// Loads the TLS files and the keys of tokens, if any, then binds.
    pub async fn bind(config: &ListenerConfig) -> Result<Self, BindError> {
        let admission = match config.callers() {
            Callers::Dev => Admission::Dev,
            Callers::PeerUid => Admission::PeerUid,
            Callers::Mtls(files) => Admission::Mtls(Tls::load(files)?),
        };
        let (claims, gateway) = (Claims::load(config)?, config.gateway());
        match config.address() {
            Address::Tcp(address) => {
                let refused = |error: io::Error| bind_error(config.address(), &error);
                let socket = TcpListener::bind(address).await.map_err(refused)?;
                let address = Address::Tcp(socket.local_addr().map_err(refused)?);
                Ok(Self { socket: Socket::Tcp(socket), address, admission, claims, gateway })
            }
            Address::Unix(path) => {
                let (socket, file) = bind_unix(path)?;
                let address = config.address().clone();
                let socket = Socket::Unix(socket, file);
                Ok(Self { socket, address, admission, claims, gateway })
            }
        }
    }

    /// Where it listens; the port is the one that the kernel chose.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    pub(super) const fn admission(&self) -> &Admission {
        &self.admission
    }

    pub(super) const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Tells the operator what may surprise behind a sidecar.
    pub(super) fn tell_how_callers_are_known(&self) {
        if matches!(self.admission, Admission::PeerUid) && self.claims.leave_it_to_the_connection()
        {
            tracing::info!(
                address = %self.address,
                "callers are known by their user id: behind a sidecar each of them is unix:UID, the sidecar's, unless the listener's forwarded_client_cert lists it"
            );
        }
    }

    /// Whether it serves the HTTP front door too.
    pub(super) const fn gateway(&self) -> bool {
        self.gateway
    }

    pub(super) fn tls(&self) -> Option<Arc<Tls>> {
        match &self.admission {
            Admission::Mtls(tls) => Some(tls.clone()),
            Admission::Dev | Admission::PeerUid => None,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, peer))
            }
            Socket::Unix(socket, _) => Ok(Accepted::Unix(socket.accept().await?.0)),
        }
    }
}

fn bind_error(address: &Address, error: &io::Error) -> BindError {
    match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address.to_string()),
        _ => BindError::unusable(address, error),
    }
}

/// Binds a Unix socket that no other user can connect to at any moment.
///
/// A new socket has the mode that the umask leaves, and the umask belongs to the
/// whole process. So:
/// 1. `flock` the directory, so that two servers that start at once take turns;
/// 2. connect to `path`: a socket that nobody answers on is stale;
/// 3. `mkdir` a directory of mode 0700 beside it, `bind` within, `chmod` 0600;
/// 4. `rename` the socket to `path`, over the stale one.
fn bind_unix(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let address = Address::Unix(path.to_owned());
    let refused = |error: io::Error| bind_error(&address, &error);
    let directory = path.parent().ok_or_else(|| BindError::unusable(&address, "no such path"))?;
    let directory_lock = File::open(directory).map_err(refused)?;
    lock(&directory_lock).map_err(refused)?;
    stale_or_absent(path, &address)?;

    let private = PrivateDirectory::beside(directory).map_err(refused)?;
    let socket = std::os::unix::net::UnixListener::bind(private.socket()).map_err(refused)?;
    fs::set_permissions(private.socket(), fs::Permissions::from_mode(0o600)).map_err(refused)?;
    let file = SocketFile::moved(&private.socket(), path).map_err(refused)?;
    socket.set_nonblocking(true).map_err(refused)?;
    Ok((UnixListener::from_std(socket).map_err(refused)?, file))
}

/// Other servers lock this directory for moments only.
fn lock(directory: &File) -> io::Result<()> {
    for _ in 0..100 {
        match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(20)),
            answer => return answer.map_err(Into::into),
        }
    }
    Err(io::Error::other("another process has kept the directory locked for two seconds"))
}

fn stale_or_absent(path: &Path, address: &Address) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BindError::unusable(address, error)),
        Ok(there) if !there.file_type().is_socket() => {
            let why = "there is something that is no socket: remove it, or configure another path";
            return Err(BindError::unusable(address, why));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(BindError::unusable(address, error))
        }
        // Accepted, or its queue is full: another process listens.
        _ => Err(BindError::InUse(address.to_string())),
    }
}

/// A directory of mode 0700, removed when dropped.
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    fn beside(directory: &Path) -> io::Result<Self> {
        let random = getrandom::u32().map_err(io::Error::other)?;
        let path = directory.join(format!(".kf{random:08x}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn socket(&self) -> PathBuf {
        self.0.join("s")
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir(&self.0);
    }
}

/// Our socket's file, removed with the listener, unless another server has put its
/// own there.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn moved(from: &Path, to: &Path) -> io::Result<Self> {
        let identity = identity(from)?;
        fs::rename(from, to)?;
        Ok(Self { path: to.to_owned(), identity })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
