//! Services with an audit log in a directory of the test's own, over a store that outlives
//! them: another set of services over it is a restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyferry::access::policy::Policy;
use keyferry::audit::chain::LinkedLine;
use keyferry::audit::entry::{Entry, Kind};
use keyferry::audit::files::{self, Rotation};
use keyferry::audit::log::AuditLog;
use keyferry::audit::note::VerifierKey;
use keyferry::audit::opening::{self, AuditError, AuditSettings, Known};
use keyferry::audit::reading::files_of;
use keyferry::audit::verification::{Trusted, Verdict, Verification};
use keyferry::audit::writer::Sync;
use keyferry::error::{Result, Rule};
use keyferry::keys::Keys;
use keyferry::keys::clock::{Clock, SystemClock};
use keyferry::proto::v1;
use keyferry::service::Services;
use keyferry::service::naming::Arns;
use keyferry::storage::{MemoryStore, Store};
use tempfile::TempDir;

use crate::support::{Founded, dev_caller};

pub struct World {
    pub founded: Founded,
    pub folder: TempDir,
    pub settings: AuditSettings,
    pub policy: Policy,
}

/// Services of one start.
pub struct Run {
    pub services: Services,
    pub keys: Keys,
    pub log: AuditLog,
}

impl World {
    pub async fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new())).await
    }

    pub async fn over(store: Arc<dyn Store>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = AuditSettings {
            directory: folder.path().join("audit"),
            sync: Sync::Always,
            rotation: Rotation::default(),
            metadata: true,
        };
        Self { founded: Founded::over(store).await, folder, settings, policy: Policy::dev() }
    }

    pub fn directory(&self) -> &Path {
        &self.settings.directory
    }

    pub async fn start(&self) -> Run {
        self.start_with(Arc::new(SystemClock), false).await.unwrap()
    }

    pub async fn start_with(
        &self,
        clock: Arc<dyn Clock>,
        give_up: bool,
    ) -> Result<Run, AuditError> {
        let keys = self.founded.keys(clock).await;
        let key = keys.audit.key().await.unwrap();
        let known = Known {
            store: self.founded.store_id().await,
            key: &key,
            checkpoint: keys.audit.checkpoint().await.unwrap(),
            give_up,
            policy_set: self.policy.digest().to_string(),
        };
        let opened = opening::open(&self.settings, &known)?;
        keys.audit.settle(&opened.log, opened.unsettled).await.unwrap();
        let keys = keys.recorded_in(opened.log.clone());
        let services = Services::new(keys.clone(), self.policy.clone(), Arns::new("local", "0"));
        Ok(Run { services, keys, log: opened.log })
    }

    /// Its files, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        let numbers = files::numbers(self.directory()).unwrap();
        numbers.into_iter().map(|number| self.directory().join(files::name(number))).collect()
    }

    /// What its whole lines say.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for file in self.files() {
            let text = fs::read_to_string(file).unwrap();
            let (whole, _torn) = text.rsplit_once('\n').unwrap_or_default();
            entries.extend(whole.lines().map(|it| LinkedLine::parse(it).unwrap().entry().unwrap()));
        }
        entries
    }

    /// Those of a kind.
    pub fn of_kind(&self, kind: Kind) -> Vec<Entry> {
        self.entries().into_iter().filter(|entry| entry.kind == kind).collect()
    }

    /// The public key of its checkpoints, as its first line of that kind tells it.
    pub fn verifier(&self) -> VerifierKey {
        let start = self.of_kind(Kind::Start).remove(0);
        VerifierKey::parse(&start.checkpoint_key.unwrap()).unwrap()
    }

    pub fn verify(&self) -> Verdict {
        self.verify_by(Trusted { key: self.verifier(), kept: None })
    }

    pub fn verify_by(&self, trusted: Trusted) -> Verdict {
        let mut verification = Verification::new(trusted, 20);
        for file in files_of(&[self.directory().to_owned()]).unwrap() {
            verification.read(&file, |_| {}).unwrap();
        }
        verification.end()
    }

    #[track_caller]
    pub fn assert_intact(&self) -> Verdict {
        let verdict = self.verify();
        assert!(verdict.is_intact(), "{verdict:#?}");
        verdict
    }
}

impl Run {
    /// Ends it in order, and keeps the last checkpoint as the server does.
    pub async fn stop(self) {
        if let Some(checkpoint) = self.log.close().await {
            self.keys.audit.keep_checkpoint(&checkpoint).await.unwrap();
        }
    }

    pub async fn create(&self) -> Result<String> {
        let made = self.services.create_key(&dev_caller(), v1::CreateKeyRequest::default()).await?;
        Ok(made.key_metadata.unwrap().key_id)
    }

    pub async fn generate(&self, key_id: &str) -> Result<Vec<u8>> {
        let request = v1::GenerateDataKeyWithoutPlaintextRequest {
            key_id: key_id.to_owned(),
            ..Default::default()
        };
        let caller = dev_caller();
        let made = self.services.generate_data_key_without_plaintext(&caller, request).await?;
        Ok(made.ciphertext_blob)
    }

    pub async fn set_enabled(&self, key_id: &str, enabled: bool) -> Result<()> {
        let (key_id, dry_run) = (key_id.to_owned(), false);
        let (caller, services) = (dev_caller(), &self.services);
        if enabled {
            let request = v1::EnableKeyRequest { key_id, dry_run };
            services.enable_key(&caller, request).await.map(drop)
        } else {
            let request = v1::DisableKeyRequest { key_id, dry_run };
            services.disable_key(&caller, request).await.map(drop)
        }
    }

    pub async fn state(&self, key_id: &str) -> Result<String> {
        let request = v1::DescribeKeyRequest { key_id: key_id.to_owned(), dry_run: false };
        let described = self.services.describe_key(&dev_caller(), request).await?;
        Ok(described.key_metadata.unwrap().key_state)
    }

    /// Asks again until the log can be written.
    pub async fn recovered(&self, key_id: &str) {
        for _ in 0..200 {
            match self.generate(key_id).await {
                Ok(_) => return,
                Err(error) => assert_eq!(error.rule(), Rule::AuditUnavailable),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the log is not written again");
    }
}
