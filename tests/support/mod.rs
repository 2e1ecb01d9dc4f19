//! A real server in this process, on loopback, and real gRPC clients to it.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod certificates;
pub mod harness;
pub mod http;
pub mod program;
pub mod request;
pub mod sample_log;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use http::{Http, Signer};
use keyferry::access::cedar::policy_set::PolicySet;
use keyferry::access::cedar::source::{PolicyTexts, Text};
use keyferry::access::policy::Policy;
use keyferry::access::principal::Principal;
use keyferry::access::token_groups::TokenGroups;
use keyferry::config::{Config, GatewayConfig};
use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::WrappingKeySpec;
use keyferry::gateway::Gateway;
use keyferry::ids::StoreId;
use keyferry::keys::Keys;
use keyferry::keys::clock::{Clock, SystemClock};
use keyferry::keys::guard::file_root_key::FileRootKey;
use keyferry::keys::guard::store_keys::{self, StoreMode};
use keyferry::proto::v1::access_management_client::AccessManagementClient;
use keyferry::proto::v1::key_management_client::KeyManagementClient;
use keyferry::proto::v1::kms_client::KmsClient;
use keyferry::proto::v1::{self, CreateKeyRequest, ExportDataKeyRequest};
use keyferry::server::{self, Faces, Health, Limits, Listener};
use keyferry::service::Services;
use keyferry::service::caller::Caller;
use keyferry::service::naming::Arns;
use keyferry::service::permits::Permits;
use keyferry::service::quotas::Quota;
use keyferry::storage::{MemoryStore, Store};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A server over a store, and its clients. It stops when dropped.
pub struct TestServer {
    pub kms: KmsClient<Channel>,
    pub management: KeyManagementClient<Channel>,
    pub access: AccessManagementClient<Channel>,
    pub channel: Channel,
    pub address: String,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

/// Services over a store that is made this test's, as a dev server has them.
pub async fn services_over(store: Arc<dyn Store>) -> Services {
    services_of(Founded::over(store).await.keys(Arc::new(SystemClock)).await)
}

/// The caller of service functions that a test calls itself.
pub fn dev_caller() -> Caller {
    Caller {
        principal: Principal::dev(),
        by: None,
        peer: None,
        groups: TokenGroups::default(),
        request_id: "test".into(),
        deadline: Instant::now() + Duration::from_secs(30),
        quota: Quota::of(&Arc::default(), &Principal::dev()),
        work: Permits::new(512, 256).share_of(&()),
        permit: None,
        begun: None,
    }
}

/// The services over these keys, as a dev server has them.
pub fn services_of(keys: Keys) -> Services {
    Services::new(keys, Policy::dev(), Arns::new("local", "0"))
}

/// A store that was made, and its root key: keys are opened over it, one
/// after the other as if the server had started again, or several at once.
pub struct Founded {
    pub store: Arc<dyn Store>,
    root: FileRootKey,
}

impl Founded {
    /// Makes a store of this empty one.
    pub async fn over(store: Arc<dyn Store>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = FileRootKey::create(&folder.path().join("root.key")).unwrap();
        let now = SystemClock.now();
        store_keys::create(store.as_ref(), &root, StoreMode::Dev, now).await.unwrap();
        Self { store, root }
    }

    /// Its keys, with nothing cached and no reading of its clock.
    pub async fn keys(&self, clock: Arc<dyn Clock>) -> Keys {
        self.keys_through(self.store.clone(), clock).await
    }

    /// The id of the store.
    pub async fn store_id(&self) -> StoreId {
        let seals = store_keys::unlock(self.store.as_ref(), &self.root, StoreMode::Dev).await;
        seals.unwrap().store_id()
    }

    /// The same, where they see the store through another, as a restart
    /// opens it anew.
    pub async fn keys_through(&self, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Keys {
        let seals = store_keys::unlock(store.as_ref(), &self.root, StoreMode::Dev).await.unwrap();
        Keys::new(store, seals, clock)
    }
}

/// Clocks that a test moves.
pub struct ManualClock {
    wall_seconds: AtomicI64,
    elapsed_seconds: AtomicU64,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self {
            wall_seconds: AtomicI64::new(1_800_000_000),
            elapsed_seconds: AtomicU64::new(1_000_000),
        }
    }
}

impl ManualClock {
    /// Time passes, on both clocks.
    pub fn pass(&self, time: Duration) {
        self.elapsed_seconds.fetch_add(time.as_secs(), Ordering::SeqCst);
        self.jump(i64::try_from(time.as_secs()).unwrap());
    }

    /// Somebody sets the wall clock.
    pub fn jump(&self, seconds: i64) {
        self.wall_seconds.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.wall_seconds.load(Ordering::SeqCst)).unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.elapsed_seconds.load(Ordering::SeqCst))
    }
}

/// Days as a duration.
pub const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

/// Hours as a duration.
pub const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 60 * 60)
}

impl TestServer {
    /// A server over an empty store in memory.
    pub async fn start() -> Self {
        Self::over(Arc::new(MemoryStore::new())).await
    }

    /// A server over this empty store.
    pub async fn over(store: Arc<dyn Store>) -> Self {
        Self::serving(services_over(store).await).await
    }

    /// A server of these services.
    pub async fn serving(services: Services) -> Self {
        Self::serving_within(services, Limits::default()).await
    }

    /// A server of these services, with limits of the test's.
    pub async fn serving_within(services: Services, limits: Limits) -> Self {
        Self::serving_as(services, limits, GatewayConfig::default()).await
    }

    /// The same, with an HTTP front door of the test's.
    pub async fn serving_as(services: Services, limits: Limits, gateway: GatewayConfig) -> Self {
        let config = Config::dev("/nonexistent".as_ref(), Some("127.0.0.1:0")).unwrap();
        let listener = Listener::bind(&config.listeners[0]).await.unwrap();
        let address = listener.address().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let probed = services.clone();
        let health = Health::new(&Services::NAMES, move || {
            let services = probed.clone();
            async move { services.is_healthy().await }
        });
        let gateway = Gateway::new(services.clone(), gateway).unwrap();
        let faces = Faces { rpcs: services.routes(), gateway: Some(gateway) };
        let served = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            server::run(vec![listener], faces, health, limits, shutdown).await.unwrap();
        });
        let channel =
            Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self {
            kms: KmsClient::new(channel.clone()),
            management: KeyManagementClient::new(channel.clone()),
            access: AccessManagementClient::new(channel.clone()),
            channel,
            address,
            stop: Some(stop),
            served,
        }
    }

    /// Another connection to the same server.
    pub async fn another_channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// A new access key, to sign with.
    pub async fn create_signer(&self, principal: &str) -> Signer {
        let (access_key_id, secret) = self.create_access_key(principal).await;
        Signer { access_key_id, secret, version: keyferry::gateway::VERSION }
    }

    /// A connection to its HTTP front door.
    pub async fn http(&self) -> Http {
        Http::connect(&self.address).await
    }

    /// A new CMK's id.
    pub async fn create_key(&self) -> String {
        let response =
            self.management.clone().create_key(CreateKeyRequest::default()).await.unwrap();
        response.into_inner().key_metadata.unwrap().key_id
    }

    /// A new asymmetric CMK's id, and its first version's.
    pub async fn create_pair(&self, spec: &str, usage: &str) -> (String, String) {
        let mut management = self.management.clone();
        let request = CreateKeyRequest {
            key_spec: spec.into(),
            key_usage: usage.into(),
            ..Default::default()
        };
        let made = management.create_key(request).await.unwrap().into_inner();
        let key_id = made.key_metadata.unwrap().key_id;
        let request = v1::ListKeyVersionsRequest { key_id: key_id.clone(), ..Default::default() };
        let listed = management.list_key_versions(request).await.unwrap().into_inner();
        (key_id, listed.key_versions[0].key_version_id.clone())
    }

    /// A new access key's id and secret.
    pub async fn create_access_key(&self, principal: &str) -> (String, String) {
        let request = v1::CreateAccessKeyRequest { principal: principal.into(), dry_run: false };
        let made = self.access.clone().create_access_key(request).await.unwrap().into_inner();
        (made.access_key_id, made.access_key_secret)
    }

    /// A new data key's blob, and the CMK's id.
    pub async fn generate(&self, key_id: &str, pairs: &[(&str, &str)], bytes: u32) -> Vec<u8> {
        let request = v1::GenerateDataKeyWithoutPlaintextRequest {
            key_id: key_id.into(),
            number_of_bytes: Some(bytes),
            encryption_context: context(pairs),
            ..Default::default()
        };
        let response = self.kms.clone().generate_data_key_without_plaintext(request).await.unwrap();
        response.into_inner().ciphertext_blob
    }

    /// Stops it and waits until it has drained.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        (&mut self.served).await.unwrap();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// An encryption context.
pub fn context(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A recipient with a fresh key.
pub struct Recipient {
    pub private: RecipientPrivateKey,
    pub spec: v1::WrappingKeySpec,
    pub algorithm: v1::WrappingAlgorithm,
}

impl Recipient {
    pub fn new(spec: v1::WrappingKeySpec, algorithm: v1::WrappingAlgorithm) -> Self {
        let kind = WrappingKeySpec::try_from(spec).unwrap();
        Self { private: RecipientPrivateKey::generate(kind).unwrap(), spec, algorithm }
    }

    pub fn rsa() -> Self {
        Self::new(v1::WrappingKeySpec::Rsa2048, v1::WrappingAlgorithm::RsaesOaepSha256)
    }

    pub fn sm2() -> Self {
        Self::new(v1::WrappingKeySpec::EcSm2, v1::WrappingAlgorithm::Sm2pke)
    }

    /// The request that exports a blob to this recipient.
    pub fn export(&self, blob: &[u8], pairs: &[(&str, &str)]) -> ExportDataKeyRequest {
        ExportDataKeyRequest {
            ciphertext_blob: blob.to_vec(),
            public_key_blob: self.private.public_key_der().to_vec(),
            wrapping_algorithm: self.algorithm.into(),
            wrapping_key_spec: self.spec.into(),
            encryption_context: context(pairs),
            ..Default::default()
        }
    }
}

/// Asserts a status' code, `ErrorInfo` and `RequestInfo`.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(
    outcome: Result<T, Status>,
    code: Code,
    reason: &str,
) -> Status {
    let status = outcome.expect_err("a refusal");
    let details = status.get_error_details();
    let info = details.error_info().expect("ErrorInfo");
    assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{}", status.message());
    assert_eq!(info.domain, "keyferry");
    assert!(!details.request_info().expect("RequestInfo").request_id.is_empty());
    status
}

/// The one field that a status blames.
pub fn blamed(status: &Status) -> String {
    let details = status.get_error_details();
    let violations = &details.bad_request().expect("BadRequest").field_violations;
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].description, status.message());
    violations[0].field.clone()
}

/// Waits until something holds, as it should within moments.
pub async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to hold");
}

/// A policy of that text.
pub fn policies(text: &str) -> PolicySet {
    let text = Text { file: "test.cedar".to_owned(), text: text.to_owned() };
    PolicySet::read(&PolicyTexts { policies: vec![text], groups: None }).unwrap()
}

/// A policy that permits everything to every caller who is verified.
pub fn everything_to_everybody() -> Policy {
    Policy::written(policies(r#"@id("everything") permit (principal, action, resource);"#))
}
