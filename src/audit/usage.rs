//! What a log tells of use: who exported what to which recipient, which keys were not
//! used, and who was refused. Counted as lines pass, in bounded memory.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::entry::{Entry, Kind};
use super::selection::{Span, was_denied};

/// The most groups, keys and principals that are told apart; what comes beyond them is
/// counted as a whole.
const GROUPS_MAX: usize = 100_000;
/// Length of the day at the head of a time.
const DAY_LEN_BYTES: usize = 10;

/// What exports are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// Caller, key and recipient.
    All,
    /// The recipient alone.
    Recipient,
    /// The caller alone.
    Principal,
    /// The key alone.
    Key,
    /// The day alone (UTC).
    Day,
}

/// What the exports of a group have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Group {
    /// The day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// The caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// SHA-256 of the recipient's public key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_sha256: Option<String>,
}

/// How often, from when to when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// The first time.
    pub first: String,
    /// The last time.
    pub last: String,
}

impl Tally {
    fn add(&mut self, count: u64, time: &str) {
        if self.count == 0 || time < self.first.as_str() {
            time.clone_into(&mut self.first);
        }
        if time > self.last.as_str() {
            time.clone_into(&mut self.last);
        }
        self.count += count;
    }
}

/// The exports of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exports {
    /// All of them.
    #[serde(flatten)]
    pub tally: Tally,
    /// How many on each day.
    pub by_day: BTreeMap<String, u64>,
}

/// Who was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Refused {
    /// The caller; none, if nobody knew it.
    pub principal: Option<String>,
    /// The reason, or the door that refused it.
    pub reason: String,
}

/// What was counted.
#[derive(Debug)]
pub struct Usage {
    span: Span,
    group_by: GroupBy,
    /// Exports, by their groups.
    pub exports: BTreeMap<Group, Exports>,
    /// Refusals, by who was refused and why.
    pub refused: BTreeMap<Refused, Tally>,
    keys: BTreeSet<String>,
    used: BTreeSet<String>,
    /// How many lines are in the span.
    pub lines: u64,
    /// How many exports and refusals are not told apart, as there are too many groups.
    pub beyond: u64,
}

impl Usage {
    /// Nothing yet. Keys of which it shall be told whether they are used: these, and those
    /// that the log names.
    pub fn new(span: Span, group_by: GroupBy, keys: impl IntoIterator<Item = String>) -> Self {
        Self {
            span,
            group_by,
            exports: BTreeMap::new(),
            refused: BTreeMap::new(),
            keys: keys.into_iter().collect(),
            used: BTreeSet::new(),
            lines: 0,
            beyond: 0,
        }
    }

    /// Counts a line.
    pub fn take(&mut self, entry: &Entry) {
        for key in [&entry.key_id, &entry.other_key_id].into_iter().flatten() {
            note(&mut self.keys, key);
        }
        if !self.span.has(&entry.time) {
            return;
        }
        self.lines += 1;
        if is_done(entry) && is_use(entry) {
            for key in [&entry.key_id, &entry.other_key_id].into_iter().flatten() {
                note(&mut self.used, key);
            }
            self.take_export(entry);
        }
        self.take_refusal(entry);
    }

    fn take_export(&mut self, entry: &Entry) {
        let (Some(recipient), Some(day)) =
            (&entry.recipient_sha256, entry.time.get(..DAY_LEN_BYTES))
        else {
            return;
        };
        let has = |by: GroupBy| self.group_by == GroupBy::All || self.group_by == by;
        let group = Group {
            day: (self.group_by == GroupBy::Day).then(|| day.to_owned()),
            principal: entry.principal.clone().filter(|_| has(GroupBy::Principal)),
            key_id: entry.key_id.clone().filter(|_| has(GroupBy::Key)),
            recipient_sha256: has(GroupBy::Recipient).then(|| recipient.clone()),
        };
        let Some(exports) = room(&mut self.exports, group) else {
            self.beyond += 1;
            return;
        };
        let count = entry.count.unwrap_or(1);
        exports.tally.add(count, &entry.time);
        *exports.by_day.entry(day.to_owned()).or_default() += count;
    }

    fn take_refusal(&mut self, entry: &Entry) {
        let Some(reason) = refusal(entry) else { return };
        let refused = Refused { principal: entry.principal.clone(), reason };
        match room(&mut self.refused, refused) {
            Some(tally) => tally.add(entry.count.unwrap_or(1), &entry.time),
            None => self.beyond += 1,
        }
    }

    /// Keys that are known, and were not used in the span.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        self.keys.difference(&self.used).map(String::as_str)
    }
}

fn note(keys: &mut BTreeSet<String>, key: &str) {
    if keys.len() < GROUPS_MAX && !keys.contains(key) {
        keys.insert(key.to_owned());
    }
}

/// The place of a group, if it is known or there is room for one more.
fn room<K: Ord, V: Default>(groups: &mut BTreeMap<K, V>, group: K) -> Option<&mut V> {
    if groups.len() >= GROUPS_MAX && !groups.contains_key(&group) {
        return None;
    }
    Some(groups.entry(group).or_default())
}

fn is_done(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::Decision | Kind::Outcome)
        && entry.outcome.as_deref() == Some("ok")
        && entry.dry_run != Some(true)
}

/// The RPCs that do something with a key are the service Kms; others manage it.
fn is_use(entry: &Entry) -> bool {
    let service = entry.rpc.as_deref().and_then(|rpc| rpc.rsplit('/').nth(1));
    service.is_some_and(|service| service.rsplit('.').next() == Some("Kms"))
}

/// Why a line's request was refused, if it was.
fn refusal(entry: &Entry) -> Option<String> {
    if let Some(door) = &entry.refused {
        return Some(format!("refused at {door}"));
    }
    match (entry.kind, entry.outcome.as_deref()) {
        (Kind::Decision | Kind::Outcome, Some(outcome)) => {
            let is_refusal = was_denied(entry) || outcome.contains('.');
            is_refusal.then(|| outcome.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, time: &str, rpc: &str, outcome: &str) -> Entry {
        let of = str::to_owned;
        let mut entry = Entry::new(of(time), of("event"), of("store"), of("run"), kind);
        (entry.rpc, entry.outcome) = (Some(of(rpc)), Some(of(outcome)));
        entry.principal = Some(of("dns:billing"));
        entry.key_id = Some(of("one"));
        entry
    }

    fn export(time: &str, recipient: &str) -> Entry {
        let mut entry = entry(Kind::Decision, time, "Kms/ExportDataKey", "ok");
        entry.recipient_sha256 = Some(recipient.to_owned());
        entry
    }

    const DAYS: [&str; 3] = [
        "2026-11-26T10:00:00.000000Z",
        "2026-11-26T11:00:00.000000Z",
        "2026-11-27T10:00:00.000000Z",
    ];

    fn usage(span: Span, by: GroupBy) -> Usage {
        let mut usage = Usage::new(span, by, ["three".to_owned()]);
        for (time, recipient) in DAYS.iter().zip(["aa", "aa", "bb"]) {
            usage.take(&export(time, recipient));
        }
        let mut created = entry(Kind::Outcome, DAYS[0], "KeyManagement/CreateKey", "ok");
        created.key_id = Some("two".to_owned());
        usage.take(&created);
        let mut dry = export(DAYS[0], "cc");
        dry.dry_run = Some(true);
        usage.take(&dry);
        usage.take(&entry(Kind::Decision, DAYS[1], "Kms/Encrypt", "Forbidden.NoPermission"));
        let mut strangers = entry(Kind::Auth, DAYS[2], "", "");
        (strangers.rpc, strangers.outcome, strangers.principal) = (None, None, None);
        (strangers.refused, strangers.count) = (Some("connection".to_owned()), Some(7));
        usage.take(&strangers);
        usage
    }

    #[test]
    fn exports_are_counted_by_group_and_day() {
        let all = usage(Span::default(), GroupBy::All);
        let counts: Vec<u64> = all.exports.values().map(|it| it.tally.count).collect();
        assert_eq!(counts, [2, 1]);
        let (group, exports) = all.exports.first_key_value().unwrap();
        assert_eq!(group.principal.as_deref(), Some("dns:billing"));
        assert_eq!(group.recipient_sha256.as_deref(), Some("aa"));
        assert_eq!((exports.tally.first.as_str(), exports.tally.last.as_str()), (DAYS[0], DAYS[1]));
        assert_eq!(exports.by_day, BTreeMap::from([("2026-11-26".to_owned(), 2)]));
        for (by, groups) in
            [(GroupBy::Recipient, 2), (GroupBy::Principal, 1), (GroupBy::Key, 1), (GroupBy::Day, 2)]
        {
            assert_eq!(usage(Span::default(), by).exports.len(), groups, "{by:?}");
        }
    }

    #[test]
    fn keys_that_were_not_used_in_the_span_are_told() {
        let all = usage(Span::default(), GroupBy::All);
        assert_eq!(all.unused().collect::<Vec<_>>(), ["three", "two"]);
        let later = Span::new("2026-11-28T00:00:00Z".parse().ok(), None);
        let later = usage(later, GroupBy::All);
        assert_eq!(later.unused().collect::<Vec<_>>(), ["one", "three", "two"]);
        assert_eq!((later.lines, later.exports.len()), (0, 0));
    }

    #[test]
    fn refusals_are_counted_by_who_and_why() {
        let all = usage(Span::default(), GroupBy::All);
        let told: Vec<_> = all
            .refused
            .iter()
            .map(|(who, tally)| (who.principal.as_deref(), who.reason.as_str(), tally.count))
            .collect();
        let expected = [
            (None, "refused at connection", 7),
            (Some("dns:billing"), "Forbidden.NoPermission", 1),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn groups_are_bounded() {
        let mut usage = Usage::new(Span::default(), GroupBy::Recipient, []);
        for number in 0..GROUPS_MAX + 10 {
            usage.take(&export(DAYS[0], &format!("{number:064x}")));
        }
        usage.take(&export(DAYS[0], &format!("{:064x}", 0)));
        assert_eq!((usage.exports.len(), usage.beyond), (GROUPS_MAX, 10));
    }
}
