//! A data key is made at random or by opening a blob, and by nobody outside.
use keyferry::crypto::secret::DataKey;

fn main() {
    let _ = DataKey(vec![7; 32].into_boxed_slice().into());
}
