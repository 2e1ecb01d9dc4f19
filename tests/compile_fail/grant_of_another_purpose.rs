//! A grant for a look or a use changes nothing, and one for a look or a change
//! takes no key version.
use keyferry::access::grant::Grant;
use keyferry::access::purpose::{Change, Look, Use};
use keyferry::ids::KeyVersionId;
use keyferry::keys::keyring::{Keyring, StoredCmk};

async fn uses(keyring: &Keyring, look: Grant<Look>, change: Grant<Change>, id: KeyVersionId) {
    let _ = keyring.take_version(look, id).await;
    let _ = keyring.take_primary(change).await;
}

async fn changes(keyring: &Keyring, look: Grant<Look>, using: Grant<Use>, key: &StoredCmk) {
    let _ = keyring.replace(look, key, &key.cmk).await;
    let _ = keyring.replace(using, key, &key.cmk).await;
}

fn main() {}
