//! A grant is made by the policy alone.
use std::marker::PhantomData;

use keyferry::access::actions::Actions;
use keyferry::access::operations::Action;
use keyferry::access::grant::Grant;
use keyferry::access::policy::Policy;
use keyferry::access::purpose::Use;

fn main() {
    let _ = Grant::<Use> {
        actions: Actions::of(&[Action::ExportDataKey]),
        policy: Policy::dev().digest(),
        context_sha256: None,
        recipient_sha256: None,
        purpose: PhantomData,
    };
}
