//! An instance: a validated configuration becomes services over an open store,
//! and a server with its sockets bound.
//!
//! The storage backend is chosen here and nowhere else, the provider of the root
//! key in `keys/guard/root_key_providers.rs`.

use std::convert::Infallible;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use crate::access::policy::Policy;
use crate::audit;
use crate::audit::log::AuditLog;
use crate::audit::note::VerifierKey;
use crate::audit::opening::{AuditError, Known, OpenedLog};
use crate::audit::secrets;
use crate::config::{
    Address, AuditConfig, Callers, Config, GatewayConfig, Mode, PolicyConfig, QuotaConfig,
    StoreConfig, TokenUse,
};
use crate::durable;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::ids::StoreId;
use crate::keys::Keys;
use crate::keys::audit_records::AuditRecords;
use crate::keys::clock::{Clock, SystemClock};
use crate::keys::guard::records::RecordSeals;
use crate::keys::guard::root_key::{RootKeyError, RootKeyProvider};
use crate::keys::guard::root_key_providers;
use crate::keys::guard::store_keys::{self, StoreMode, UnlockError};
use crate::policy_dir::{self, Look, PolicyDir, Reader, UnusablePolicies};
use crate::server::reload_times::{ReloadTime, ReloadTimes};
use crate::server::stranger_log;
use crate::server::{
    self, BindError, Faces, Health, Limits, Listener, ReflectionError, Tls, Tokens,
};
use crate::service::Services;
use crate::service::naming::Arns;
use crate::storage::{OpenStoreError, SqliteStore, Store, StoreAtRest};
use crate::trusted_issuers::{IssuerKeysError, TrustedIssuers};

/// An instance is not made, opened or served. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The store's files.
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    /// The root key.
    #[error(transparent)]
    RootKey(#[from] RootKeyError),
    /// The store's keys.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// The policies.
    #[error(transparent)]
    Policies(#[from] UnusablePolicies),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// What the store keeps for the audit log.
    #[error("the audit log cannot be begun: {0}")]
    AuditRecords(Error),
    /// The keys of an issuer of receipts.
    #[error("receipt.trusted: {0}")]
    Issuers(#[from] IssuerKeysError),
    /// A socket, or the TLS files of one.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No random bytes could be had.
    #[error("the kernel gave no random bytes; report this")]
    NoRandomness,
    /// The contract could not be described to clients.
    #[error("{0}; report this")]
    Reflection(#[from] ReflectionError),
}

impl InstanceError {
    /// The exit code of the contract: 73 for a store or a socket in use, else 78.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(OpenStoreError::HeldByAnother { .. })
            | Self::Audit(AuditError::InUse { .. }) => 73,
            Self::Bind(error) => error.exit_code(),
            _ => 78,
        }
    }
}

/// Checks everything that can be checked by reading, beside a server too that runs
/// by the same configuration, and gives what the operator should know.
///
/// Not checked: whether the addresses are free, whether another process holds the
/// store, and the records that no start reads.
pub async fn check(config: &Config) -> Result<Vec<String>, InstanceError> {
    let mut warnings = Vec::new();
    for listener in &config.listeners {
        if let Callers::Mtls(files) = listener.callers() {
            warnings.extend(Tls::load(files).map_err(BindError::from)?.warnings());
        }
        if let TokenUse::Taken(tokens) = listener.tokens() {
            Tokens::load(tokens).map_err(BindError::from)?;
        }
        if let Address::Unix(path) = listener.address() {
            check_place_of_socket(path)?;
        }
    }
    if let PolicyConfig::Directory(dir) = &config.policy {
        let policies = policy_dir::load(dir, Reader::Server)?;
        warnings.extend(policies.warnings().iter().map(ToString::to_string));
    }
    TrustedIssuers::load(&config.receipt)?;
    let root = root_key_providers::open(&config.root_key)?;
    let StoreConfig::Sqlite { path } = &config.store;
    let store = StoreAtRest::open(path)?.ok_or(UnlockError::Empty)?;
    store_keys::unlock(&store, &*root, store_mode(config)).await?;
    Ok(warnings)
}

/// The public key of the checkpoints of an instance's audit log, if it has one yet; beside
/// a running server too.
pub async fn checkpoint_key(config: &Config) -> Result<Option<VerifierKey>, InstanceError> {
    let root = root_key_providers::open(&config.root_key)?;
    let StoreConfig::Sqlite { path } = &config.store;
    let store = StoreAtRest::open(path)?.ok_or(UnlockError::Empty)?;
    let seals = store_keys::unlock(&store, &*root, store_mode(config)).await?;
    let store_id = seals.store_id();
    let keys = Keys::new(Arc::new(store), seals, Arc::new(SystemClock));
    let key = keys.audit.stored_key().await.map_err(InstanceError::AuditRecords)?;
    let key = key.map(|key| secrets::derive(store_id, &key)).transpose();
    let key = key.map_err(InstanceError::AuditRecords)?;
    Ok(key.map(|(signing, _)| signing.verifier()))
}

fn check_place_of_socket(path: &Path) -> Result<(), BindError> {
    let unusable = |why: String| BindError::Unusable {
        address: Address::Unix(path.to_owned()).to_string(),
        why,
    };
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let why = "there is something that is no socket: remove it, or configure another path";
            Err(unusable(why.to_owned()))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(error.to_string())),
        _ => {
            let directory = durable::parent(path);
            let found = fs::metadata(directory).map_err(|error| {
                unusable(format!("the directory {} is of no use: {error}", directory.display()))
            })?;
            if found.is_dir() { Ok(()) } else { Err(unusable("its directory is none".to_owned())) }
        }
    }
}

/// Makes the root key and the store that a configuration names. Both must be
/// new.
pub async fn init(config: &Config) -> Result<(), InstanceError> {
    let store = open_store(config)?;
    if !store_keys::is_empty(store.as_ref()).await? {
        return Err(UnlockError::NotEmpty.into());
    }
    let root = root_key_providers::create(&config.root_key)?;
    store_keys::create(store.as_ref(), &*root, store_mode(config), SystemClock.now()).await?;
    Ok(())
}

/// Opens the store and the keys that a configuration names. A dev instance is made
/// where there is none; any other was made by [`init`]. The services decide by the
/// policies as they are now: a server alone follows their changes.
pub async fn open(config: &Config) -> Result<Services, InstanceError> {
    Ok(open_with_policies(config).await?.services)
}

async fn open_with_policies(config: &Config) -> Result<Opened, InstanceError> {
    let (store, seals) = match store_mode(config) {
        StoreMode::Dev => open_dev(config).await?,
        StoreMode::Production => {
            // First: without a root key, no store is made.
            let root = root_key_providers::open(&config.root_key)?;
            let store = open_store(config)?;
            let seals = store_keys::unlock(store.as_ref(), &*root, StoreMode::Production).await?;
            (store, seals)
        }
    };
    let store_id = seals.store_id();
    let issuers = TrustedIssuers::load(&config.receipt)?;
    let keys = Keys::new(store, seals, Arc::new(SystemClock));
    keys.receipt_keys.rotate_every(config.receipt.rotate_days);
    let arns = Arns::new(&config.region, &config.account);
    let (policy, policy_dir) = match &config.policy {
        PolicyConfig::Dev => (Policy::dev(), None),
        PolicyConfig::Directory(dir) => {
            let dir = PolicyDir::open(dir)?;
            (dir.policy(), Some(dir))
        }
    };
    let keys = recorded(config, keys, store_id, &policy).await?;
    let audit = keys.audit.clone();
    let services = Services::new(keys, policy, arns)
        .trusting(issuers.clone(), config.receipt.require_on_import);
    Ok(Opened { services, audit, policy_dir, issuers })
}

/// Opens the audit log, and settles what was broken off, before anything else is done.
async fn recorded(
    config: &Config,
    keys: Keys,
    store: StoreId,
    policy: &Policy,
) -> Result<Keys, InstanceError> {
    let AuditConfig::Kept(settings) = &config.audit else { return Ok(keys) };
    let records = keys.audit.clone();
    let key = records.key().await.map_err(InstanceError::AuditRecords)?;
    let checkpoint = records.checkpoint().await.map_err(InstanceError::AuditRecords)?;
    let known = Known {
        store,
        key: &key,
        checkpoint,
        give_up: config.give_up_audit_log,
        policy_set: policy.digest().to_string(),
    };
    let OpenedLog { log, unsettled } = audit::opening::open(settings, &known)?;
    records.settle(&log, unsettled).await.map_err(InstanceError::AuditRecords)?;
    Ok(keys.recorded_in(log))
}

/// Services over an open store, and the files beside it that are followed.
struct Opened {
    services: Services,
    audit: Arc<AuditRecords>,
    policy_dir: Option<PolicyDir>,
    issuers: Arc<TrustedIssuers>,
}

async fn open_dev(config: &Config) -> Result<(Arc<dyn Store>, RecordSeals), InstanceError> {
    let store = open_store(config)?;
    let seals = if store_keys::is_empty(store.as_ref()).await? {
        let root = create_or_open_root_key(config)?;
        store_keys::create(store.as_ref(), &*root, StoreMode::Dev, SystemClock.now()).await?
    } else {
        let root = root_key_providers::open(&config.root_key)?;
        store_keys::unlock(store.as_ref(), &*root, StoreMode::Dev).await?
    };
    Ok((store, seals))
}

/// A dev instance whose first start was interrupted between root key and store has
/// a root key already.
fn create_or_open_root_key(config: &Config) -> Result<Box<dyn RootKeyProvider>, RootKeyError> {
    match root_key_providers::create(&config.root_key) {
        Err(RootKeyError::Exists { .. }) => root_key_providers::open(&config.root_key),
        created => created,
    }
}

/// The storage backends: one row each.
fn open_store(config: &Config) -> Result<Arc<dyn Store>, OpenStoreError> {
    Ok(match &config.store {
        StoreConfig::Sqlite { path } => Arc::new(SqliteStore::open(path)?),
    })
}

fn store_mode(config: &Config) -> StoreMode {
    match config.mode {
        Mode::Dev => StoreMode::Dev,
        Mode::Config => StoreMode::Production,
    }
}

/// Keeps each checkpoint of the audit log in the store; the newest alone, where they come
/// faster.
async fn keep_checkpoints(log: &AuditLog, records: &AuditRecords) -> Infallible {
    let Some(mut checkpoints) = log.checkpoints() else { return std::future::pending().await };
    loop {
        let checkpoint = checkpoints.borrow_and_update().clone();
        if let Some(checkpoint) = checkpoint {
            keep_checkpoint(&checkpoint, records).await;
        }
        if checkpoints.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn keep_checkpoint(checkpoint: &str, records: &AuditRecords) {
    if let Err(error) = records.keep_checkpoint(checkpoint).await {
        let log = error.log();
        tracing::error!(log, "a checkpoint of the audit log was not kept: {error}");
    }
}

/// Begins another file of the audit log on SIGHUP, as programs that rotate logs ask for.
async fn begin_files_when_asked(log: &AuditLog, interval: Duration) -> Infallible {
    let mut times = ReloadTimes::every(interval);
    loop {
        if times.next().await == ReloadTime::Asked {
            log.begin_another_file();
        }
    }
}

/// The time that one line about strangers stands for.
const STRANGERS_INTERVAL: Duration = Duration::from_secs(60);

/// Writes how many strangers were refused: a line a minute and door, however many came.
async fn count_strangers(log: &AuditLog) -> Infallible {
    loop {
        tokio::time::sleep(STRANGERS_INTERVAL).await;
        tell_of_strangers(log);
    }
}

fn tell_of_strangers(log: &AuditLog) {
    for (door, count) in stranger_log::take_refused() {
        log.strangers_refused(door, count);
    }
}

/// Ends the audit log in order, so that no later start can take it for cut short.
async fn end_log(log: &AuditLog, records: &AuditRecords) {
    tell_of_strangers(log);
    if let Some(checkpoint) = log.close().await {
        keep_checkpoint(&checkpoint, records).await;
    }
}

/// Follows the changes of a policy directory.
async fn follow(dir: Option<PolicyDir>, interval: Duration, log: AuditLog) -> Infallible {
    let Some(mut dir) = dir else { return std::future::pending().await };
    let mut times = ReloadTimes::every(interval);
    loop {
        let asked = times.next().await == ReloadTime::Asked;
        // Reading files and judging policies blocks.
        let looked = tokio::task::spawn_blocking(move || {
            let look = dir.look(asked);
            (dir, look)
        });
        match looked.await {
            Ok((looked, look)) => {
                dir = looked;
                dir.log(&look);
                if look == Look::Taken {
                    log.policy_changed(&dir.policy().digest().to_string());
                }
            }
            Err(error) => {
                tracing::error!(%error, "policies are not followed any more");
                return std::future::pending().await;
            }
        }
    }
}

/// Follows the changes of the keys of trusted issuers.
async fn follow_issuers(issuers: Arc<TrustedIssuers>, interval: Duration) -> Infallible {
    let mut times = ReloadTimes::every(interval);
    let mut last_fault = None;
    loop {
        let _ = times.next().await;
        let issuers = issuers.clone();
        // Reading files blocks.
        let read = tokio::task::spawn_blocking(move || issuers.reload()).await;
        let fault = match read {
            Ok(Ok(changed)) => {
                if changed {
                    tracing::info!("keys of issuers of receipts reloaded");
                }
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = fault.as_ref().filter(|_| fault != last_fault) {
            tracing::error!(%error, "keys of issuers of receipts not reloaded: the old ones stay in use");
        }
        last_fault = fault;
    }
}

/// A server with its store open and its sockets bound.
pub struct BoundServer {
    opened: Opened,
    gateway: GatewayConfig,
    quota: QuotaConfig,
    listeners: Vec<Listener>,
}

impl BoundServer {
    /// Opens the store, then binds: only the process that holds the store may
    /// listen.
    pub async fn open(config: &Config) -> Result<Self, InstanceError> {
        let opened = open_with_policies(config).await?;
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners.push(Listener::bind(listener).await?);
        }
        Ok(Self { opened, gateway: config.gateway, quota: config.quota, listeners })
    }

    /// The address of its first listener.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        self.listeners.first().map(Listener::address)
    }

    /// Writes the addresses of all listeners, a line each.
    pub fn announce(&self, out: &mut impl io::Write) -> io::Result<()> {
        server::announce(&self.listeners, out)
    }

    /// Serves until `shutdown`, then drains. Requests that were cut are in the
    /// log.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), InstanceError> {
        let Self { opened, gateway, quota, listeners } = self;
        let Opened { services, audit, policy_dir, issuers } = opened;
        let log = services.audit_log().clone();
        let probed = services.clone();
        let health = Health::new(&Services::NAMES, move || {
            let services = probed.clone();
            async move { services.is_healthy().await }
        });
        let health = match policy_dir.as_ref().map(PolicyDir::standing) {
            Some(standing) => health.with_policies(move || standing.is_usable()),
            None => health,
        };
        let written = log.clone();
        let health = health.with_audit(move || written.fault().is_none());
        let gateway =
            Gateway::new(services.clone(), gateway).map_err(|_| InstanceError::NoRandomness)?;
        let faces = Faces { rpcs: services.routes(), gateway: Some(gateway) };
        let limits =
            Limits { quota_of_principal: quota.principal, quota: quota.total, ..Limits::default() };
        let interval = limits.reload_interval;
        tokio::select! {
            drained = server::run(listeners, faces, health, limits, shutdown) => drained?,
            never = services.carry_out_for_ever() => match never {},
            never = follow(policy_dir, interval, log.clone()) => match never {},
            never = keep_checkpoints(&log, &audit) => match never {},
            never = begin_files_when_asked(&log, interval) => match never {},
            never = count_strangers(&log) => match never {},
            never = follow_issuers(issuers, interval) => match never {},
        };
        end_log(&log, &audit).await;
        Ok(())
    }
}
