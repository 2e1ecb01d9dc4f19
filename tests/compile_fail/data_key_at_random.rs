//! A data key is made inside, for a grant.
use keyferry::crypto::secret::DataKey;

fn main() {
    let _ = DataKey::random(32);
}
