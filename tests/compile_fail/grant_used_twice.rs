//! A grant is for one use.
use keyferry::access::policy::Grant;
use keyferry::keys::keyring::Keyring;

async fn twice(keyring: &Keyring, grant: Grant) {
    let _ = keyring.take_primary(grant).await;
    let _ = keyring.take_primary(grant).await;
}

fn main() {}
