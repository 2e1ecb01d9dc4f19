//! A grant for a look or a use changes nothing, and one for a look or a change
//! takes no key version.
use keyferry::access::grant::Grant;
use keyferry::access::purpose::{Change, Look, Use};
use keyferry::audit::trail::Intent;
use keyferry::ids::KeyVersionId;
use keyferry::keys::keyring::{Keyring, StoredCmk};

async fn uses(keyring: &Keyring, look: Grant<Look>, change: Grant<Change>, id: KeyVersionId) {
    let _ = keyring.take_version(look, id).await;
    let _ = keyring.take_primary(change).await;
}

async fn shown(keyring: &Keyring, intent: Intent, look: Grant<Look>, key: &StoredCmk) {
    let _ = keyring.replace(intent, look, key, &key.cmk).await;
}

async fn used(keyring: &Keyring, intent: Intent, using: Grant<Use>, key: &StoredCmk) {
    let _ = keyring.replace(intent, using, key, &key.cmk).await;
}

fn main() {}
