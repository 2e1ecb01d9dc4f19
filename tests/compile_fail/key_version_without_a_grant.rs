//! A key version is taken with a grant.
use keyferry::ids::KeyVersionId;
use keyferry::keys::keyring::Keyring;

async fn without_a_grant(keyring: &Keyring, id: KeyVersionId) {
    let _ = keyring.take_version(id).await;
}

fn main() {}
