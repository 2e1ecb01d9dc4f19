//! An attacker who can write the database but has no root key: changes by SQL are
//! found, and reading tells nothing.

use std::path::{Path, PathBuf};

use keyferry::config::{Config, StoreConfig};
use keyferry::error::Rule;
use keyferry::instance;
use keyferry::proto::v1;
use keyferry::service::Services;
use rusqlite::{Connection, params};

use crate::support::dev_caller;

struct Instance {
    _folder: tempfile::TempDir,
    config: Config,
}

impl Instance {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::dev(&folder.path().join("data"), Some("127.0.0.1:0")).unwrap();
        Self { _folder: folder, config }
    }

    async fn open(&self) -> Services {
        instance::open(&self.config).await.unwrap()
    }

    fn database(&self) -> PathBuf {
        let StoreConfig::Sqlite { path } = &self.config.store;
        path.join("keyferry.db")
    }

    /// Changes the closed database.
    fn edit(&self, sql: &str, params: impl rusqlite::Params) {
        let changed = Connection::open(self.database()).unwrap().execute(sql, params).unwrap();
        assert_eq!(changed, 1, "{sql}");
    }
}

async fn create_key(services: &Services) -> String {
    let created =
        services.create_key(&dev_caller(), v1::CreateKeyRequest::default()).await.unwrap();
    created.key_metadata.unwrap().key_id
}

async fn describe(services: &Services, name: &str) -> Result<v1::KeyMetadata, Rule> {
    let request = v1::DescribeKeyRequest { key_id: name.into(), dry_run: false };
    let described = services.describe_key(&dev_caller(), request).await;
    described.map(|response| response.key_metadata.unwrap()).map_err(|error| error.rule())
}

async fn create_alias(services: &Services, name: &str, key_id: &str) {
    let request =
        v1::CreateAliasRequest { alias_name: name.into(), key_id: key_id.into(), dry_run: false };
    services.create_alias(&dev_caller(), request).await.unwrap();
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let instance = Instance::new();
    let services = instance.open().await;
    let key_id = create_key(&services).await;
    create_alias(&services, "alias/a", &key_id).await;
    let encrypt = v1::EncryptRequest {
        key_id: "alias/a".into(),
        plaintext: b"kept".to_vec(),
        ..Default::default()
    };
    let blob = services.encrypt(&dev_caller(), encrypt).await.unwrap().ciphertext_blob;
    let disable = v1::DisableKeyRequest { key_id: key_id.clone(), dry_run: false };
    services.disable_key(&dev_caller(), disable).await.unwrap();
    drop(services);

    let services = instance.open().await;
    assert_eq!(describe(&services, "alias/a").await.unwrap().key_state, "Disabled");
    let enable = v1::EnableKeyRequest { key_id, dry_run: false };
    services.enable_key(&dev_caller(), enable).await.unwrap();
    let decrypt = v1::DecryptRequest { ciphertext_blob: blob, ..Default::default() };
    assert_eq!(services.decrypt(&dev_caller(), decrypt).await.unwrap().plaintext, b"kept");
}

#[tokio::test]
async fn a_state_changed_by_sql_is_found() {
    let instance = Instance::new();
    let services = instance.open().await;
    let key_id = create_key(&services).await;
    let request = v1::DisableKeyRequest { key_id: key_id.clone(), dry_run: false };
    services.disable_key(&dev_caller(), request).await.unwrap();
    drop(services);

    // The plain state stands in the record: make it say Enabled, the lengths
    // of both fields put right.
    let path = format!("cmk/{key_id}");
    let record: Vec<u8> = Connection::open(instance.database())
        .unwrap()
        .query_row("SELECT value FROM record WHERE path = ?1", [&path], |row| row.get(0))
        .unwrap();
    let at = record.windows(8).position(|window| window == b"Disabled").expect("the plain state");
    let mut edited = record.clone();
    edited[at..at + 8].copy_from_slice(b"Enabled ");
    instance.edit("UPDATE record SET value = ?2 WHERE path = ?1", params![path, edited]);

    let services = instance.open().await;
    assert!(services.is_healthy().await);
    assert_eq!(describe(&services, &key_id).await.unwrap_err(), Rule::Internal);
    assert!(!services.is_healthy().await);
}

#[tokio::test]
async fn an_alias_pointed_elsewhere_by_sql_is_found() {
    let instance = Instance::new();
    let services = instance.open().await;
    let (mine, theirs) = (create_key(&services).await, create_key(&services).await);
    create_alias(&services, "alias/mine", &mine).await;
    create_alias(&services, "alias/theirs", &theirs).await;
    drop(services);

    let move_to =
        "UPDATE record SET value = (SELECT value FROM record WHERE path = ?2) WHERE path = ?1";
    instance.edit(move_to, params!["alias/mine", "alias/theirs"]);
    let services = instance.open().await;
    assert_eq!(describe(&services, "alias/mine").await.unwrap_err(), Rule::Internal);
    assert_eq!(describe(&services, "alias/theirs").await.unwrap().key_id, theirs);
}

#[tokio::test]
async fn a_key_version_moved_by_sql_is_found() {
    let instance = Instance::new();
    let services = instance.open().await;
    let (one, two) = (create_key(&services).await, create_key(&services).await);
    let version = |id: String| {
        let services = services.clone();
        async move { describe(&services, &id).await.unwrap().primary_key_version }
    };
    let (one_version, two_version) = (version(one.clone()).await, version(two).await);
    drop(services);

    let move_to =
        "UPDATE record SET value = (SELECT value FROM record WHERE path = ?2) WHERE path = ?1";
    instance
        .edit(move_to, params![format!("version/{one_version}"), format!("version/{two_version}")]);
    let services = instance.open().await;
    let request = v1::EncryptRequest { key_id: one, plaintext: vec![1], ..Default::default() };
    assert_eq!(services.encrypt(&dev_caller(), request).await.unwrap_err().rule(), Rule::Internal);
    assert!(!services.is_healthy().await);
}

async fn create_access_key(services: &Services, principal: &str) -> v1::CreateAccessKeyResponse {
    let request = v1::CreateAccessKeyRequest { principal: principal.into(), dry_run: false };
    services.create_access_key(&dev_caller(), request).await.unwrap()
}

async fn list_access_keys(services: &Services, principal: &str) -> Result<usize, Rule> {
    let request = v1::ListAccessKeysRequest { principal: principal.into(), ..Default::default() };
    let listed = services.list_access_keys(&dev_caller(), request).await;
    listed.map(|listed| listed.access_keys.len()).map_err(|error| error.rule())
}

/// A change to a record.
type Edit = Box<dyn Fn(Vec<u8>) -> Vec<u8>>;

fn torn(mut record: Vec<u8>) -> Vec<u8> {
    *record.last_mut().unwrap() ^= 1;
    record
}

/// Enabled again, given to another account, or put in another's place: by SQL,
/// such an access key signs nothing that is accepted.
#[tokio::test]
async fn an_access_key_changed_by_sql_is_found() {
    let replaced = |from: &'static [u8], to: &'static [u8]| {
        move |record: Vec<u8>| {
            let at = record.windows(from.len()).position(|part| part == from).expect("plain");
            [&record[..at], to, &record[at + from.len()..]].concat()
        }
    };
    let edits: [(&str, Edit); 4] = [
        ("state", Box::new(replaced(b"Disabled", b"Enabled "))),
        ("account", Box::new(replaced(b"billing", b"masters"))),
        ("place", Box::new(replaced(b"-7", b"-4"))),
        ("secret", Box::new(torn)),
    ];
    for (what, edit) in edits {
        let instance = Instance::new();
        let services = instance.open().await;
        let id = create_access_key(&services, "billing").await.access_key_id;
        let request = v1::DisableAccessKeyRequest { access_key_id: id.clone(), dry_run: false };
        services.disable_access_key(&dev_caller(), request).await.unwrap();
        drop(services);

        let path = format!("access-key/{id}");
        let record: Vec<u8> = Connection::open(instance.database())
            .unwrap()
            .query_row("SELECT value FROM record WHERE path = ?1", [&path], |row| row.get(0))
            .unwrap();
        instance.edit("UPDATE record SET value = ?2 WHERE path = ?1", params![path, edit(record)]);
        let services = instance.open().await;
        let found = services.find_access_key(&id).await;
        assert_eq!(found.unwrap_err().rule(), Rule::Internal, "{what}");
        assert!(!services.is_healthy().await, "{what}");
        assert_eq!(list_access_keys(&services, "").await, Err(Rule::Internal), "{what}");
    }
}

#[tokio::test]
async fn an_access_key_moved_by_sql_is_found() {
    let instance = Instance::new();
    let services = instance.open().await;
    let mine = create_access_key(&services, "mine").await.access_key_id;
    let theirs = create_access_key(&services, "theirs").await.access_key_id;
    drop(services);

    let move_to =
        "UPDATE record SET value = (SELECT value FROM record WHERE path = ?2) WHERE path = ?1";
    let [of_mine, of_theirs] = [&mine, &theirs].map(|id| format!("access-key/{id}"));
    instance.edit(move_to, params![of_theirs, of_mine]);
    instance.edit(move_to, params!["service-account/theirs", "service-account/mine"]);
    let services = instance.open().await;
    assert!(services.find_access_key(&theirs).await.is_err());
    assert_eq!(list_access_keys(&services, "theirs").await, Err(Rule::Internal));
    let request = v1::CreateAccessKeyRequest { principal: "theirs".into(), dry_run: false };
    let refused = services.create_access_key(&dev_caller(), request).await.unwrap_err();
    assert_eq!(refused.rule(), Rule::Internal);
    assert!(services.find_access_key(&mine).await.unwrap().unwrap().is_enabled());
    assert_eq!(list_access_keys(&services, "mine").await, Ok(1));
}

/// The index proves nothing: one place cannot be claimed for another's.
#[tokio::test]
async fn an_order_changed_by_sql_is_found() {
    let instance = Instance::new();
    let services = instance.open().await;
    create_access_key(&services, "mine").await;
    drop(services);
    instance.edit(
        "UPDATE record SET path = replace(path, '-7', '-4') WHERE path LIKE 'access-key-order/%'",
        [],
    );
    let services = instance.open().await;
    assert_eq!(list_access_keys(&services, "").await, Err(Rule::Internal));
    assert_eq!(list_access_keys(&services, "mine").await, Ok(1));
}

#[tokio::test]
async fn a_record_of_another_store_is_found() {
    let (here, elsewhere) = (Instance::new(), Instance::new());
    let services = elsewhere.open().await;
    let foreign = create_key(&services).await;
    drop(services);
    drop(here.open().await);
    let path = format!("cmk/{foreign}");
    let record: Vec<u8> = Connection::open(elsewhere.database())
        .unwrap()
        .query_row("SELECT value FROM record WHERE path = ?1", [&path], |row| row.get(0))
        .unwrap();
    here.edit(
        "INSERT INTO record (path, revision, value) VALUES (?1, 1, ?2)",
        params![path, record],
    );
    let services = here.open().await;
    assert_eq!(describe(&services, &foreign).await.unwrap_err(), Rule::Internal);
}

#[tokio::test]
async fn a_store_with_another_root_key_or_mode_or_identity_is_refused() {
    let instance = Instance::new();
    drop(instance.open().await);
    let refused = async |config: &Config| {
        let error = instance::open(config).await.err().expect("a refusal");
        assert_eq!(error.exit_code(), 78);
        error.to_string()
    };
    let production = Config { mode: keyferry::config::Mode::Config, ..instance.config.clone() };
    assert!(refused(&production).await.contains("development store"));

    let other = Instance::new();
    drop(other.open().await);
    let mixed = Config { root_key: other.config.root_key.clone(), ..instance.config.clone() };
    let text = refused(&mixed).await;
    assert!(text.contains("wants the root key"), "{text}");

    instance.edit("UPDATE record SET value = zeroblob(64) WHERE path = 'store/identity'", []);
    assert!(refused(&instance.config).await.contains("not intact"));
}

#[tokio::test]
async fn a_store_in_use_is_refused() {
    let instance = Instance::new();
    let services = instance.open().await;
    let error = instance::open(&instance.config).await.err().expect("a refusal");
    assert_eq!(error.exit_code(), 73);
    assert!(error.to_string().contains("in use"), "{error}");
    drop(services);
    instance.open().await;
}

/// A lost root key is not made anew over keys that it would lose.
#[tokio::test]
async fn a_missing_root_key_is_refused_and_none_is_made() {
    let instance = Instance::new();
    drop(instance.open().await);
    let keyferry::config::RootKeyConfig::File { path } = &instance.config.root_key;
    let kept: &Path = path;
    let aside = kept.with_extension("aside");
    std::fs::rename(kept, &aside).unwrap();
    let error = instance::open(&instance.config).await.err().expect("a refusal");
    assert_eq!(error.exit_code(), 78);
    assert!(!kept.exists());
    std::fs::rename(&aside, kept).unwrap();
    instance.open().await;
}

/// A trigger that puts the old record of a CMK back in the moment that it is
/// replaced.
const UNDO: &str = "CREATE TRIGGER undo AFTER UPDATE ON record WHEN NEW.path LIKE 'cmk/%'
    BEGIN UPDATE record SET value = OLD.value WHERE id = NEW.id; END";

/// A trigger that undoes every change is not served: neither one that is found at
/// a start, nor one that is put there under a server that runs.
#[tokio::test]
async fn a_trigger_that_undoes_a_change_is_found() {
    let instance = Instance::new();
    let services = instance.open().await;
    let key_id = create_key(&services).await;
    let alter = |sql: &str| Connection::open(instance.database()).unwrap().execute_batch(sql);
    alter(UNDO).unwrap();
    let disable = v1::DisableKeyRequest { key_id: key_id.clone(), dry_run: false };
    let refused = services.disable_key(&dev_caller(), disable.clone()).await.unwrap_err();
    assert_eq!(refused.rule(), Rule::Internal);
    assert!(!services.is_healthy().await);
    drop(services);

    let error = instance::open(&instance.config).await.err().expect("a refusal");
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("was altered: its trigger \"undo\""), "{error}");

    alter("DROP TRIGGER undo").unwrap();
    let services = instance.open().await;
    services.disable_key(&dev_caller(), disable).await.unwrap();
    assert_eq!(describe(&services, &key_id).await.unwrap().key_state, "Disabled");
}

/// A sealed record that was taken away does not look as if it never was, where
/// another one speaks of it.
#[tokio::test]
async fn a_record_taken_away_by_sql_is_found() {
    let encrypt = |key_id: &str| v1::EncryptRequest {
        key_id: key_id.into(),
        plaintext: vec![1],
        ..Default::default()
    };
    for kind in ["cmk/", "version/", "alias/", "key-aliases/", "service-account/"] {
        let instance = Instance::new();
        let services = instance.open().await;
        let key_id = create_key(&services).await;
        create_alias(&services, "alias/a", &key_id).await;
        let access_key = create_access_key(&services, "billing").await.access_key_id;
        drop(services);
        instance.edit(&format!("DELETE FROM record WHERE path LIKE '{kind}%'"), []);

        let services = instance.open().await;
        assert!(services.is_healthy().await);
        let rule = match kind {
            "cmk/" => describe(&services, &key_id).await.unwrap_err(),
            "version/" => {
                services.encrypt(&dev_caller(), encrypt(&key_id)).await.unwrap_err().rule()
            }
            "alias/" => {
                let all =
                    services.list_aliases(&dev_caller(), v1::ListAliasesRequest::default()).await;
                all.unwrap_err().rule()
            }
            "key-aliases/" => describe(&services, "alias/a").await.unwrap_err(),
            _ => services.find_access_key(&access_key).await.unwrap_err().rule(),
        };
        assert_eq!(rule, Rule::Internal, "{kind}");
        assert!(!services.is_healthy().await, "{kind}");
    }
}

/// An account's limit does not begin anew: nothing that an access key signs is
/// accepted, which its account does not list.
#[tokio::test]
async fn access_keys_of_a_list_taken_away_are_not_accepted_beside_new_ones() {
    let instance = Instance::new();
    let services = instance.open().await;
    let old = create_access_key(&services, "billing").await.access_key_id;
    drop(services);
    instance.edit("DELETE FROM record WHERE path = 'service-account/billing'", []);
    let services = instance.open().await;
    let new = create_access_key(&services, "billing").await.access_key_id;
    assert!(services.find_access_key(&new).await.unwrap().is_some());
    assert_eq!(services.find_access_key(&old).await.unwrap_err().rule(), Rule::Internal);
    assert!(!services.is_healthy().await);
}
