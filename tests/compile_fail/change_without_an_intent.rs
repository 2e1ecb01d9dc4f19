//! A change is committed once its intent is on the disk: only the audit log makes one, and
//! each is good for one commit.
use keyferry::access::grant::Grant;
use keyferry::access::purpose::Change;
use keyferry::audit::trail::Intent;
use keyferry::keys::keyring::{Keyring, StoredCmk};

async fn without(keyring: &Keyring, grant: Grant<Change>, key: &StoredCmk) {
    let _ = keyring.replace(grant, key, &key.cmk).await;
}

async fn twice(
    keyring: &Keyring,
    intent: Intent,
    grants: [Grant<Change>; 2],
    key: &StoredCmk,
) {
    let [one, two] = grants;
    let _ = keyring.replace(intent, one, key, &key.cmk).await;
    let _ = keyring.replace(intent, two, key, &key.cmk).await;
}

fn main() {}
