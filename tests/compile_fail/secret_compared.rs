//! A secret is not compared in variable time.
use keyferry::crypto::secret::StoreKey;

fn is_same(a: &StoreKey, b: &StoreKey) -> bool {
    a == b
}

fn main() {}
