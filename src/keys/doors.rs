//! Tests: each door of the keys takes the grants of the actions that it serves,
//! and refuses every other of its purpose as a fault of ours.

use std::sync::Arc;

use crate::access::decisions::{Decisions, Resource};
use crate::access::grant::Grant;
use crate::access::operations::Action;
use crate::access::policy::Policy;
use crate::access::principal::Principal;
use crate::access::purpose::{Change, Look, Purpose, Use};
use crate::access::question::{Question, RequestFacts, Subject};
use crate::access::service_account::ServiceAccount;
use crate::audit::log::AuditLog;
use crate::audit::trail::{Intent, Trail};
use crate::crypto::ciphertext_blob::BlobKind;
use crate::crypto::encryption_context::EncryptionContext;
use crate::crypto::key_pair::SigningAlgorithm;
use crate::crypto::secret::{Plaintext, StoreKey};
use crate::crypto::wrapping::WrappingAlgorithm;
use crate::error::Rule;
use crate::ids::{AccessKeyId, StoreId, StoreKeyId};
use crate::keys::Keys;
use crate::keys::access_keys::AccessKey;
use crate::keys::clock::SystemClock;
use crate::keys::guard::records::RecordSeals;
use crate::keys::keyring::StoredCmk;
use crate::keys::keyring::key_version::KeyVersion;
use crate::keys::keyring::pair_version::PairVersion;
use crate::keys::keyring::version_material::VersionMaterial;
use crate::keys::model::alias_name::AliasName;
use crate::keys::model::cmk::{KeySpec, NewCmk};
use crate::keys::model::filters::Filters;
use crate::keys::model::tags::Tags;
use crate::keys::not_done::NotDone;
use crate::keys::pages::PageRequest;
use crate::storage::MemoryStore;

/// Keys with a symmetric CMK, a key pair and an access key.
struct House {
    keys: Keys,
    cmk: StoredCmk,
    pair: StoredCmk,
    access_key: AccessKey,
    page: PageRequest,
}

impl House {
    async fn new() -> Self {
        let sealing = [(StoreKeyId::new(), StoreKey::generate().unwrap())];
        let seals = RecordSeals::new(StoreId::new(), &sealing);
        let keys = Keys::new(Arc::new(MemoryStore::new()), seals, Arc::new(SystemClock));
        let cmk = create(&keys, KeySpec::Aes256).await;
        let pair = create(&keys, KeySpec::EcP256).await;
        let account = Subject::Account(Some(&account()));
        let grant = grant(decisions::<Change>("CreateAccessKey"), account);
        let access_key = keys.access_keys.create(intent().await, grant).await.unwrap();
        let page = PageRequest::parse(None, None, String::new()).unwrap();
        Self { keys, cmk, pair, access_key, page }
    }

    /// Hands every grant of a purpose, for each kind of resource, to a door: it is
    /// refused as a fault of ours unless one of its actions is served.
    async fn try_door<P: Purpose, T>(
        &self,
        key: &StoredCmk,
        resources: &[Resource],
        served: &[Action],
        door: impl AsyncFn(Grant<P>) -> Result<T, NotDone>,
    ) {
        let account = account();
        for decisions in Decisions::<P>::all() {
            let facts = Some(key.facts());
            for (resource, subject) in [
                (Resource::Instance, Subject::Instance),
                (Resource::Key, Subject::Key(facts)),
                (Resource::Destination, Subject::Destination(facts)),
                (Resource::Account, Subject::Account(Some(&account))),
            ] {
                let is_served = resources.contains(&resource)
                    && decisions.required().iter().any(|decision| {
                        decision.resource == resource && served.contains(&decision.action)
                    });
                let outcome = door(grant(decisions, subject)).await;
                let is_fault = matches!(
                    outcome,
                    Err(NotDone::Refused(error)) if error.rule() == Rule::Internal
                );
                assert_eq!(
                    is_fault,
                    !is_served,
                    "{} on {resource:?} at {served:?}",
                    decisions.rpc()
                );
            }
        }
    }

    async fn try_use<T>(
        &self,
        key: &StoredCmk,
        served: &[Action],
        door: impl AsyncFn(Grant<Use>) -> Result<T, NotDone>,
    ) {
        let keys = [Resource::Key, Resource::Destination];
        self.try_door(key, &keys, served, door).await;
    }

    async fn try_change<T>(
        &self,
        resource: Resource,
        served: &[Action],
        door: impl AsyncFn(Grant<Change>) -> Result<T, NotDone>,
    ) {
        let mut resources = vec![resource];
        if resource == Resource::Key {
            resources.push(Resource::Destination);
        }
        self.try_door(&self.cmk, &resources, served, door).await;
    }

    async fn try_look<T>(
        &self,
        resource: Resource,
        served: &[Action],
        door: impl AsyncFn(Grant<Look>) -> Result<T, NotDone>,
    ) {
        self.try_door(&self.cmk, &[resource], served, door).await;
    }

    /// Takes a version with a grant for this row, if the row's grants can.
    async fn taken(&self, grant: Grant<Use>) -> Option<KeyVersion> {
        let sealing = [
            Action::GenerateDataKey,
            Action::GenerateDataKeyWithoutPlaintext,
            Action::Encrypt,
            Action::ReEncryptTo,
        ];
        let seals = sealing.into_iter().any(|action| grant.key_for(action).is_ok());
        let taken = if seals {
            self.keys.keyring.take_primary(grant).await
        } else {
            self.keys.keyring.take_version(grant, self.cmk.cmk.newest_version).await
        };
        taken.ok()
    }

    async fn pair(&self, grant: Grant<Use>) -> Option<PairVersion> {
        let version = Some(self.pair.cmk.newest_version);
        self.keys.keyring.take_pair(grant, version, None).await.ok()
    }
}

/// Leave to commit a change, of a log that is off.
async fn intent() -> Intent {
    Trail::of_system(&AuditLog::off()).intend(|_| {}).await.unwrap().0
}

fn account() -> ServiceAccount {
    ServiceAccount::parse("billing").unwrap()
}

fn context() -> EncryptionContext {
    EncryptionContext::default()
}

fn new_cmk(spec: KeySpec) -> NewCmk {
    NewCmk {
        description: String::new(),
        spec,
        usage: spec.default_usage(),
        rotation: None,
        tags: Tags::default(),
        creator: "dev".into(),
    }
}

async fn create(keys: &Keys, spec: KeySpec) -> StoredCmk {
    let grant = grant(decisions::<Change>("CreateKey"), Subject::Instance);
    let material = VersionMaterial::generate(spec).unwrap();
    keys.keyring.create(intent().await, grant, new_cmk(spec), &material).await.unwrap()
}

fn decisions<P: Purpose>(method: &str) -> Decisions<P> {
    Decisions::all().find(|row| row.rpc().split('/').next_back() == Some(method)).unwrap()
}

fn grant<P: Purpose>(decisions: Decisions<P>, subject: Subject<'_>) -> Grant<P> {
    let question = Question {
        principal: &Principal::dev(),
        decisions,
        subject,
        facts: RequestFacts { context: Some(&context()), ..RequestFacts::default() },
        other: None,
        record: &Trail::of_system(&AuditLog::off()),
    };
    Policy::dev().authorise(&question).unwrap()
}

/// A fault of ours, for a grant that no version is taken for.
fn no_version() -> NotDone {
    crate::error::Error::internal("no version was taken").into()
}

#[tokio::test]
async fn key_versions_are_taken_for_uses_that_they_serve() {
    let house = House::new().await;
    let House { keys: Keys { keyring, .. }, cmk, pair, .. } = &house;
    let sealing = [
        Action::GenerateDataKey,
        Action::GenerateDataKeyWithoutPlaintext,
        Action::Encrypt,
        Action::ReEncryptTo,
    ];
    house.try_use(cmk, &sealing, async |grant| keyring.take_primary(grant).await).await;
    let opening = [Action::Decrypt, Action::ExportDataKey, Action::ReEncryptFrom];
    let id = cmk.cmk.newest_version;
    house.try_use(cmk, &opening, async |grant| keyring.take_version(grant, id).await).await;
    let pairs = [
        Action::GetPublicKey,
        Action::AsymmetricEncrypt,
        Action::AsymmetricDecrypt,
        Action::AsymmetricSign,
        Action::AsymmetricVerify,
        Action::ReEncryptFrom,
    ];
    let id = Some(pair.cmk.newest_version);
    house.try_use(pair, &pairs, async |grant| keyring.take_pair(grant, id, None).await).await;
}

#[tokio::test]
async fn a_symmetric_version_does_what_its_grant_is_for() {
    let house = House::new().await;
    let (cmk, context) = (&house.cmk, context());
    let seed = house
        .keys
        .keyring
        .take_primary(grant(decisions::<Use>("GenerateDataKey"), Subject::Key(Some(cmk.facts()))));
    let seed = seed.await.unwrap().generate(BlobKind::DataKeyShown, 32, &context, None);
    let (data_key, blob) = seed.unwrap();
    let taken = async |grant| house.taken(grant).await.ok_or_else(no_version);

    let generating = [Action::GenerateDataKey, Action::GenerateDataKeyWithoutPlaintext];
    let generate = async |grant| {
        let version = taken(grant).await?;
        Ok(version.generate(BlobKind::DataKeyShown, 32, &context, None)?)
    };
    house.try_use(cmk, &generating, generate).await;
    let opening = [Action::Decrypt, Action::ReEncryptFrom];
    // ExportDataKey and GenerateAndExportDataKey have a recipient; here it is none.
    let opening = [&opening[..], &[Action::ExportDataKey]].concat();
    let open = async |grant: Grant<Use>| {
        let taken = house.keys.keyring.take_version(grant, cmk.cmk.newest_version).await?;
        Ok(taken.open(&blob, &context, None)?)
    };
    house.try_use(cmk, &opening, open).await;
    let encrypt =
        async |grant| Ok(taken(grant).await?.encrypt(&Plaintext::new(vec![1]), &context)?);
    house.try_use(cmk, &[Action::Encrypt], encrypt).await;
    let reseal = async |grant| {
        Ok(taken(grant).await?.reseal(BlobKind::DataKeyShown, &data_key, &context)?)
    };
    house.try_use(cmk, &[Action::ReEncryptTo], reseal).await;
}

#[tokio::test]
async fn a_key_pair_does_what_its_grant_is_for() {
    let house = House::new().await;
    let key = &house.pair;
    let pair = async |grant| house.pair(grant).await.ok_or_else(no_version);
    let (oaep, ecdsa) = (WrappingAlgorithm::RsaesOaepSha256, SigningAlgorithm::EcdsaSha256);

    let public = async |grant| Ok(pair(grant).await?.public_key_pem()?);
    house.try_use(key, &[Action::GetPublicKey], public).await;
    let encrypt =
        async |grant| Ok(pair(grant).await?.encrypt(&Plaintext::new(vec![1]), oaep, None)?);
    house.try_use(key, &[Action::AsymmetricEncrypt], encrypt).await;
    let decrypt = async |grant| Ok(pair(grant).await?.decrypt("ciphertext_blob", oaep, &[1])?);
    house.try_use(key, &[Action::AsymmetricDecrypt], decrypt).await;
    let import = async |grant| Ok(pair(grant).await?.import("ciphertext_blob", oaep, &[1])?);
    house.try_use(key, &[Action::ReEncryptFrom], import).await;
    let sign = async |grant| Ok(pair(grant).await?.sign(ecdsa, &[7; 32])?);
    house.try_use(key, &[Action::AsymmetricSign], sign).await;
    let verify = async |grant| Ok(pair(grant).await?.verify(ecdsa, &[7; 32], &[1])?);
    house.try_use(key, &[Action::AsymmetricVerify], verify).await;
    let check = async |grant| Ok(pair(grant).await?.check_encrypts("algorithm", oaep)?);
    house.try_use(key, &[Action::AsymmetricDecrypt, Action::ReEncryptFrom], check).await;
    let check = async |grant| Ok(pair(grant).await?.check_signs("algorithm", ecdsa)?);
    house.try_use(key, &[Action::AsymmetricSign, Action::AsymmetricVerify], check).await;
}

#[tokio::test]
async fn doors_that_change_cmks_take_their_own_grants() {
    let house = House::new().await;
    let House { keys: Keys { keyring, .. }, cmk, .. } = &house;
    let material = VersionMaterial::generate(KeySpec::Aes256).unwrap();
    let create = async |grant| {
        Ok(keyring.create(intent().await, grant, new_cmk(KeySpec::Aes256), &material).await?)
    };
    house.try_change(Resource::Instance, &[Action::CreateKey], create).await;
    let life_cycle = [
        Action::EnableKey,
        Action::DisableKey,
        Action::UpdateKeyDescription,
        Action::ScheduleKeyDeletion,
        Action::CancelKeyDeletion,
        Action::SetDeletionProtection,
        Action::UpdateRotationPolicy,
        Action::TagResource,
        Action::UntagResource,
    ];
    let described = cmk.cmk.described("other".into()).unwrap();
    let replace = async |grant| keyring.replace(intent().await, grant, cmk, &described).await;
    house.try_change(Resource::Key, &life_cycle, replace).await;
    let version = async |grant| keyring.create_version(intent().await, grant, cmk, &material).await;
    house.try_change(Resource::Key, &[Action::CreateKeyVersion], version).await;
}

#[tokio::test]
async fn doors_that_change_aliases_take_their_own_grants() {
    let house = House::new().await;
    let House { keys: Keys { keyring, .. }, cmk, .. } = &house;
    let alias = AliasName::parse("alias/payments").unwrap();
    let create = async |grant| keyring.create_alias(intent().await, grant, &alias).await;
    house.try_change(Resource::Key, &[Action::CreateAlias], create).await;
    let good = || {
        let update = decisions::<Change>("UpdateAlias");
        grant(update, Subject::Key(Some(cmk.facts())))
    };
    let from = async |grant| keyring.update_alias(intent().await, grant, good(), &alias).await;
    house.try_change(Resource::Key, &[Action::UpdateAlias], from).await;
    let to = async |grant| keyring.update_alias(intent().await, good(), grant, &alias).await;
    house.try_change(Resource::Key, &[Action::UpdateAlias], to).await;
    let delete = async |grant| keyring.delete_alias(intent().await, grant, &alias).await;
    house.try_change(Resource::Key, &[Action::DeleteAlias], delete).await;
}

#[tokio::test]
async fn doors_to_access_keys_take_their_own_grants() {
    let house = House::new().await;
    let House { keys: Keys { access_keys, .. }, access_key, page, .. } = &house;
    let id: AccessKeyId = access_key.id;
    let create = async |grant| access_keys.create(intent().await, grant).await;
    house.try_change(Resource::Account, &[Action::CreateAccessKey], create).await;
    let list = async |grant| Ok(access_keys.list(grant, page).await?);
    house.try_look(Resource::Instance, &[Action::ListAccessKeys], list).await;
    let account = account();
    let list = async |grant| Ok(access_keys.list_of(grant, &account, page).await?);
    house.try_look(Resource::Instance, &[Action::ListAccessKeys], list).await;
    let receipt_keys = &house.keys.receipt_keys;
    let publish = async |grant| Ok(receipt_keys.publish(grant).await?);
    house.try_look(Resource::Instance, &[Action::GetReceiptKeys], publish).await;
    let disable = async |grant| access_keys.disable(intent().await, grant, id).await;
    house.try_change(Resource::Account, &[Action::DisableAccessKey], disable).await;
    let delete = async |grant| access_keys.delete(intent().await, grant, id).await;
    house.try_change(Resource::Account, &[Action::DeleteAccessKey], delete).await;
}

#[tokio::test]
async fn doors_to_lists_and_metadata_take_their_own_grants() {
    let house = House::new().await;
    let House { keys: Keys { keyring, .. }, cmk, page, .. } = &house;
    let metadata = [Action::DescribeKey, Action::ListResourceTags];
    let shown = async |grant| Ok(cmk.shown_to(grant).map(drop)?);
    house.try_look(Resource::Key, &metadata, shown).await;
    let version = Some(cmk.cmk.newest_version);
    let describe = async |grant| Ok(keyring.describe_version(grant, version).await?);
    house.try_look(Resource::Key, &[Action::DescribeKeyVersion], describe).await;
    let versions = async |grant| Ok(keyring.list_versions(grant, page).await?);
    house.try_look(Resource::Key, &[Action::ListKeyVersions], versions).await;
    let filters = Filters::parse(std::iter::empty()).unwrap();
    let cmks = async |grant| Ok(keyring.list(grant, &filters, page).await?);
    house.try_look(Resource::Instance, &[Action::ListKeys], cmks).await;
    let aliases = async |grant| Ok(keyring.list_aliases(grant, page).await?);
    house.try_look(Resource::Instance, &[Action::ListAliases], aliases).await;
    let of_key = async |grant| Ok(keyring.list_aliases_of(grant, page).await?);
    house.try_look(Resource::Key, &[Action::ListAliasesByKeyId], of_key).await;
}
