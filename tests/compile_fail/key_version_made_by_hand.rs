//! A key version is made by the keyring alone.
use keyferry::keys::keyring::key_version::KeyVersion;

fn by_hand(version: KeyVersion) -> KeyVersion {
    KeyVersion { ..version }
}

fn main() {}
