//! A change between its intent and its end in the audit log.

use crate::audit::entry::Entry;
use crate::audit::trail::{Ending, Intent, Trail};
use crate::error::{Error, Rule};
use crate::keys::not_done::NotDone;

/// How a change ended that was made.
pub const DONE: &str = "ok";
/// How one ended where all was so already.
pub const UNCHANGED: &str = "unchanged";
/// The key was changed by somebody else meanwhile, and the change is tried again.
const CONFLICT: &str = "conflict";

/// Makes a change: writes that it is about to be made, makes it, and writes how that
/// ended. `describe` adds what is known before; `complete` adds what was made, and says
/// how it ended.
pub async fn recorded<T, F>(
    trail: &Trail,
    describe: impl Fn(&mut Entry) + Send + std::marker::Sync,
    make: impl FnOnce(Intent) -> F + Send,
    complete: impl FnOnce(&T, &mut Entry) -> &'static str + Send,
) -> Result<T, NotDone>
where
    F: Future<Output = Result<T, NotDone>> + Send,
    T: Send,
{
    let (intent, ending) = trail.intend(&describe).await?;
    let done = match make(intent).await {
        Ok(done) => done,
        Err(not_done) => {
            end_undone(&ending, &not_done, &describe);
            return Err(not_done);
        }
    };
    let written = ending.write(|entry| {
        describe(entry);
        complete(&done, entry)
    });
    // The line is written as soon as that is possible, whoever waits.
    written.durable().await.map_err(|_| unrecorded())?;
    Ok(done)
}

fn end_undone(ending: &Ending, not_done: &NotDone, describe: impl Fn(&mut Entry)) {
    if ending.is_in_doubt() {
        // A start looks for the mark that the commit would have left.
        tracing::error!(event = %ending.event(), "a change may have been made or not: the next start finds out and writes it into the audit log");
        return;
    }
    let outcome = match not_done {
        NotDone::Stale => CONFLICT,
        NotDone::Refused(error) => error.rule().reason(),
    };
    drop(ending.write(|entry| {
        describe(entry);
        outcome
    }));
}

fn unrecorded() -> Error {
    let text =
        "The change was made, but the audit log cannot be written. Look before you repeat it.";
    Error::from(Rule::AuditUnavailable).saying(text)
}
