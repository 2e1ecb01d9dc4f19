//! A grant is stale once anything has changed that it may have been judged by: the
//! key's state, its tags, its aliases. It is asked for anew then.

use std::sync::Arc;

use keyferry::access::decisions::ENCRYPT;
use keyferry::access::grant::Grant;
use keyferry::access::policy::Policy;
use keyferry::access::principal::Principal;
use keyferry::access::purpose::Use;
use keyferry::access::question::{Question, RequestFacts, Subject};
use keyferry::audit::log::AuditLog;
use keyferry::audit::trail::Trail;
use keyferry::ids::KeyId;
use keyferry::keys::Keys;
use keyferry::keys::clock::SystemClock;
use keyferry::keys::not_done::NotDone;
use keyferry::proto::v1;
use keyferry::service::Services;
use keyferry::storage::MemoryStore;

use crate::support::{Founded, dev_caller, services_of};

/// Three CMKs: `alias/old` is the first one's.
struct World {
    keys: Keys,
    services: Services,
    ids: [KeyId; 3],
}

impl World {
    async fn new() -> Self {
        let founded = Founded::over(Arc::new(MemoryStore::new())).await;
        let keys = founded.keys(Arc::new(SystemClock)).await;
        let services = services_of(keys.clone());
        let mut ids = Vec::new();
        for _ in 0..3 {
            let made = services.create_key(&dev_caller(), v1::CreateKeyRequest::default()).await;
            ids.push(KeyId::parse(&made.unwrap().key_metadata.unwrap().key_id).unwrap());
        }
        let world = Self { keys, services, ids: ids.try_into().unwrap() };
        world.change(Change::CreateAlias("alias/old")).await;
        world
    }

    /// A grant to encrypt under a CMK, by its facts as they are now.
    async fn grant(&self, id: KeyId) -> Grant<Use> {
        let found = self.keys.keyring.find(id).await.unwrap().unwrap();
        let question = Question {
            principal: &Principal::dev(),
            decisions: ENCRYPT,
            subject: Subject::Key(Some(found.facts())),
            facts: RequestFacts::default(),
            other: None,
            record: &Trail::of_system(&AuditLog::off()),
        };
        Policy::dev().authorise(&question).unwrap()
    }

    async fn aliases(&self, id: KeyId) -> Vec<String> {
        self.keys.keyring.find(id).await.unwrap().unwrap().aliases.clone()
    }

    /// Changes the first CMK, or moves its alias to the second.
    async fn change(&self, change: Change) {
        let (caller, services, dry_run) = (dev_caller(), &self.services, false);
        let [first, second] = [self.ids[0], self.ids[1]].map(|id| id.to_string());
        let key_id = first;
        match change {
            Change::CreateAlias(alias_name) => {
                let alias_name = alias_name.to_owned();
                let request = v1::CreateAliasRequest { alias_name, key_id, dry_run };
                services.create_alias(&caller, request).await.map(drop)
            }
            Change::MoveAlias => {
                let alias_name = "alias/old".to_owned();
                let request = v1::UpdateAliasRequest { alias_name, key_id: second, dry_run };
                services.update_alias(&caller, request).await.map(drop)
            }
            Change::DeleteAlias => {
                let alias_name = "alias/old".to_owned();
                let request = v1::DeleteAliasRequest { alias_name, dry_run };
                services.delete_alias(&caller, request).await.map(drop)
            }
            Change::Tag => {
                let tags = vec![v1::Tag { tag_key: "app".into(), tag_value: "billing".into() }];
                let request = v1::TagResourceRequest { key_id, tags, dry_run };
                services.tag_resource(&caller, request).await.map(drop)
            }
            Change::Disable => {
                let request = v1::DisableKeyRequest { key_id, dry_run };
                services.disable_key(&caller, request).await.map(drop)
            }
        }
        .unwrap();
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    CreateAlias(&'static str),
    MoveAlias,
    DeleteAlias,
    Tag,
    Disable,
}

#[tokio::test]
async fn a_grant_is_stale_once_what_it_was_judged_by_has_changed() {
    let rows = [
        (Change::CreateAlias("alias/new"), [true, false, false]),
        (Change::MoveAlias, [true, true, false]),
        (Change::DeleteAlias, [true, false, false]),
        (Change::Tag, [true, false, false]),
        (Change::Disable, [true, false, false]),
    ];
    for (change, expected) in rows {
        let world = World::new().await;
        let mut grants = Vec::new();
        for id in world.ids {
            grants.push(world.grant(id).await);
        }
        world.change(change).await;
        let mut stale = Vec::new();
        for grant in grants {
            let taken = world.keys.keyring.take_primary(grant).await;
            stale.push(matches!(taken, Err(NotDone::Stale)));
        }
        assert_eq!(stale, expected, "{change:?}");
    }
}

#[tokio::test]
async fn a_decision_is_made_by_the_names_of_its_moment() {
    let world = World::new().await;
    let [first, second, _] = world.ids;
    assert_eq!(world.aliases(first).await, ["alias/old"]);
    world.change(Change::CreateAlias("alias/new")).await;
    assert_eq!(world.aliases(first).await, ["alias/old", "alias/new"]);
    world.change(Change::MoveAlias).await;
    let names = (world.aliases(first).await, world.aliases(second).await);
    assert_eq!(names, (vec!["alias/new".to_owned()], vec!["alias/old".to_owned()]));
    world.change(Change::DeleteAlias).await;
    assert!(world.aliases(second).await.is_empty());
}
