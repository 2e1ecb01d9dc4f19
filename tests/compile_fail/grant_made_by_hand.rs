//! A grant is made by the policy alone.
use keyferry::access::decisions::{EXPORT_DATA_KEY, On};
use keyferry::access::policy::{Grant, Policy};

fn main() {
    let _ = Grant {
        needs: EXPORT_DATA_KEY.needs,
        on: On::Key,
        key: None,
        account: None,
        policy: Policy::Dev,
        context_sha256: None,
        recipient_sha256: None,
    };
}
