//! A grant is for one use.
use keyferry::access::grant::Grant;
use keyferry::access::purpose::Use;
use keyferry::keys::keyring::Keyring;

async fn twice(keyring: &Keyring, grant: Grant<Use>) {
    let _ = keyring.take_primary(grant).await;
    let _ = keyring.take_primary(grant).await;
}

fn main() {}
