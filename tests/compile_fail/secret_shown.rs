//! A secret has no text.
use keyferry::crypto::secret::RootKey;

fn show(key: &RootKey) -> String {
    format!("{key}")
}

fn main() {}
