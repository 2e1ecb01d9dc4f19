//! A key version is taken with a grant, and made by the keyring alone.
use keyferry::ids::KeyVersionId;
use keyferry::keys::key_version::KeyVersion;
use keyferry::keys::keyring::Keyring;

async fn without_a_grant(keyring: &Keyring, id: KeyVersionId) {
    let _ = keyring.take_version(id).await;
}

fn by_hand() -> KeyVersion {
    KeyVersion { loaded: loop {}, grant: loop {} }
}

fn main() {}
