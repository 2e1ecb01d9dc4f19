//! An intent is made by the audit log alone.
use keyferry::audit::trail::Intent;

fn main() {
    let _ = Intent { event: None };
}
