//! A blob is opened inside, for a grant.
use keyferry::crypto::ciphertext_blob::{BlobKeys, CiphertextBlob};
use keyferry::crypto::encryption_context::EncryptionContext;

fn open(keys: &BlobKeys, blob: &CiphertextBlob, context: &EncryptionContext) {
    let _ = keys.open(blob, context);
}

fn main() {}
