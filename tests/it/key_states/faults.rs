//! Each change over a store that fails: done, or not done and said so.

use keyferry::storage::memory::InjectedFault;
use tonic::Code;

use super::calls::World;
use super::cells::everything;
use super::table::Kind;

/// Every change, in a state that permits it.
const CHANGES: [(&str, &str, &str); 15] = [
    ("KeyManagement/CreateKey", "", "Enabled"),
    ("KeyManagement/UpdateKeyDescription", "", "Enabled"),
    ("KeyManagement/EnableKey", "", "Disabled"),
    ("KeyManagement/DisableKey", "", "Enabled"),
    ("KeyManagement/ScheduleKeyDeletion", "", "Enabled"),
    ("KeyManagement/CancelKeyDeletion", "", "PendingDeletion"),
    ("KeyManagement/SetDeletionProtection", "", "Disabled"),
    ("KeyManagement/CreateKeyVersion", "", "Enabled"),
    ("KeyManagement/UpdateRotationPolicy", "", "Enabled"),
    ("KeyManagement/TagResource", "", "Enabled"),
    ("KeyManagement/UntagResource", "", "Enabled"),
    ("KeyManagement/CreateAlias", "", "Enabled"),
    ("KeyManagement/UpdateAlias", "named until now", "Enabled"),
    ("KeyManagement/UpdateAlias", "named from now on", "Enabled"),
    ("KeyManagement/DeleteAlias", "", "Enabled"),
];

#[tokio::test]
async fn a_change_is_done_or_said_not_to_be() {
    let world = World::start().await;
    let later = Err((Code::Unavailable, "ServiceUnavailableTemporary".to_owned()));
    for (number, (rpc, part, state)) in CHANGES.into_iter().enumerate() {
        let subject = world.subject(Kind::Symmetric, &format!("alias/{number}")).await;
        world.bring(&subject.key_id, state).await;
        let before = everything(&world, &subject).await;
        for fault in [InjectedFault::NotStored, InjectedFault::MaybeStoredNot] {
            world.store.fail_next(fault);
            let outcome = world.call(rpc, part, &subject, false).await;
            assert_eq!(outcome, later, "{rpc} {part} {fault:?}");
            assert_eq!(everything(&world, &subject).await, before, "{rpc} {part} {fault:?}");
        }
        world.store.fail_next(InjectedFault::MaybeStoredBut);
        let outcome = world.call(rpc, part, &subject, false).await;
        assert_eq!(outcome, Ok(()), "{rpc} {part}: the store is asked what became of it");
        assert_ne!(everything(&world, &subject).await, before, "{rpc} {part}");
    }
}
