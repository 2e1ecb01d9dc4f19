//! Wrapping consumes the data key.
use keyferry::crypto::secret::DataKey;
use keyferry::crypto::wrapping::{WrappingKey, WrappingMethod};

fn wrap(data_key: DataKey, key: &WrappingKey, method: &WrappingMethod) {
    let _ = data_key.wrap(key, method);
    let _ = data_key.len();
}

fn main() {}
