//! A line of a log as a row for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::audit::chain::LinkedLine;
use crate::audit::entry::{Entry, Kind};
use crate::audit::selection::Selection;

/// Above the rows.
pub const HEADING: [&str; 8] =
    ["seq", "time", "kind", "principal", "rpc", "key", "outcome", "about"];
/// How much of a digest tells it from others.
const DIGEST_SHOWN: usize = 16;

/// A line that was read, and is one of those that are meant.
pub fn read(line: &[u8]) -> Option<(LinkedLine<'_>, Entry)> {
    let line = LinkedLine::parse(std::str::from_utf8(line).ok()?)?;
    let entry = line.entry().ok()?;
    Some((line, entry))
}

/// Whether people want to see it: checkpoints only if they ask for them.
pub fn is_for_people(selection: &Selection, entry: &Entry) -> bool {
    entry.kind != Kind::Checkpoint || selection.kinds.contains(&Kind::Checkpoint)
}

/// The name of a kind, as lines have it.
pub const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Start => "start",
        Kind::Stop => "stop",
        Kind::Policy => "policy",
        Kind::Decision => "decision",
        Kind::Intent => "intent",
        Kind::Outcome => "outcome",
        Kind::Auth => "auth",
        Kind::Checkpoint => "checkpoint",
    }
}

/// The cells of a row.
pub fn row(seq: u64, entry: &Entry, zone: &TimeZone) -> Vec<String> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rpc = entry.rpc.as_deref().map(|rpc| rpc.rsplit('/').next().unwrap_or_default());
    let key = entry.key_id.as_ref().or(entry.alias.as_ref());
    vec![
        seq.to_string(),
        time(&entry.time, zone),
        kind_name(entry.kind).to_owned(),
        or_none(&entry.principal),
        rpc.unwrap_or("-").to_owned(),
        key.map_or("-", String::as_str).to_owned(),
        or_none(&entry.outcome),
        about(entry),
    ]
}

/// A time of a line in this zone; what is none stays as it is.
pub fn time(text: &str, zone: &TimeZone) -> String {
    let Ok(time) = text.parse::<Timestamp>() else { return text.to_owned() };
    let form = if *zone == TimeZone::UTC { "%F %T.%3fZ" } else { "%F %T.%3f%:z" };
    time.to_zoned_datetime(zone.clone()).strftime(form).to_string()
}

/// What is particular to a line.
fn about(entry: &Entry) -> String {
    let digest = |text: &str| text.chars().take(DIGEST_SHOWN).collect::<String>();
    let mut parts: Vec<String> = Vec::new();
    parts.extend(entry.file.map(|number| format!("file {number}")));
    parts.extend(entry.after.as_ref().map(|after| format!("after {after}")));
    parts.extend(entry.version.as_ref().map(|version| format!("version {version}")));
    parts.extend(entry.change.clone());
    let denied = entry.decisions.iter().flatten().filter(|it| !it.allowed);
    parts.extend(denied.map(|it| format!("denied {}", it.action)));
    parts.extend(entry.refused.as_ref().map(|door| format!("refused at {door}")));
    parts.extend(entry.recipient_sha256.as_ref().map(|it| format!("to {}", digest(it))));
    parts.extend(entry.account.as_ref().map(|account| format!("account {account}")));
    parts.extend(entry.item.map(|item| format!("item {item}")));
    parts.extend(entry.by.as_ref().map(|by| format!("by {by}")));
    parts.extend(entry.dry_run.filter(|dry| *dry).map(|_| "dry run".to_owned()));
    if entry.kind == Kind::Policy {
        parts.extend(entry.policy_set.as_ref().map(|it| format!("policies {}", digest(it))));
    }
    parts.extend(entry.count.filter(|count| *count > 1).map(|count| format!("{count} times")));
    parts.join(", ")
}
