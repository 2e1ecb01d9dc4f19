//! Which lines somebody wants to see.

use jiff::Timestamp;

use super::entry::{Entry, Kind, TIME_FORMAT};

/// What lines must have in common; what is not given is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The caller, or the proxy that vouched for it.
    pub principal: Option<String>,
    /// A key, by its id, its version's id or its alias.
    pub key: Option<String>,
    /// The RPC, with or without its service.
    pub rpc: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// SHA-256 of the recipient's public key.
    pub recipient: Option<String>,
    /// One of these kinds; of any, where there is none.
    pub kinds: Vec<Kind>,
    /// What was refused by the policy, or at a door.
    pub denied: bool,
    /// At this time or later, and before that.
    pub span: Span,
}

/// A span of time, in the form in which lines tell theirs: that orders them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    since: Option<String>,
    until: Option<String>,
}

impl Span {
    /// From one time on, and to before another.
    #[must_use]
    pub fn new(since: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        let text = |time: Timestamp| time.strftime(TIME_FORMAT).to_string();
        Self { since: since.map(text), until: until.map(text) }
    }

    /// Whether a line of this time is in it.
    #[must_use]
    pub fn has(&self, time: &str) -> bool {
        self.since.as_deref().is_none_or(|since| time >= since)
            && self.until.as_deref().is_none_or(|until| time < until)
    }
}

impl Selection {
    /// Whether this line is one of them.
    #[must_use]
    pub fn takes(&self, entry: &Entry) -> bool {
        self.span.has(&entry.time)
            && (self.kinds.is_empty() || self.kinds.contains(&entry.kind))
            && asked(self.principal.as_ref(), [&entry.principal, &entry.by])
            && asked(self.outcome.as_ref(), [&entry.outcome])
            && asked(self.recipient.as_ref(), [&entry.recipient_sha256])
            && self.key.as_deref().is_none_or(|key| is_about(entry, key))
            && self.rpc.as_deref().is_none_or(|rpc| is_rpc(entry, rpc))
            && (!self.denied || was_denied(entry))
    }
}

fn asked<const N: usize>(asked: Option<&String>, found: [&Option<String>; N]) -> bool {
    asked.is_none_or(|asked| found.into_iter().flatten().any(|it| it == asked))
}

fn is_about(entry: &Entry, key: &str) -> bool {
    let named = [&entry.key_id, &entry.key_version_id, &entry.other_key_id, &entry.alias];
    let decided = entry.decisions.iter().flatten().filter_map(|it| it.key.as_deref());
    named.into_iter().flatten().map(String::as_str).chain(decided).any(|it| it == key)
}

fn is_rpc(entry: &Entry, rpc: &str) -> bool {
    let Some(found) = entry.rpc.as_deref() else { return false };
    found == rpc || found.rsplit('/').next() == Some(rpc)
}

/// Whether the policy refused it, or a door.
#[must_use]
pub fn was_denied(entry: &Entry) -> bool {
    entry.refused.is_some() || entry.decisions.iter().flatten().any(|it| !it.allowed)
}

#[cfg(test)]
mod tests {
    use super::super::entry::Decided;
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "fields are optional")]
    fn of(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn export() -> Entry {
        let [time, event, store, run] =
            ["2026-11-27T10:00:00.500000Z", "event", "store", "run"].map(str::to_owned);
        let mut entry = Entry::new(time, event, store, run, Kind::Decision);
        (entry.principal, entry.by) = (of("dns:billing"), of("dns:proxy"));
        (entry.key_id, entry.alias) = (of("one"), of("alias/payments"));
        (entry.rpc, entry.outcome) = (of("Kms/ExportDataKey"), of("ok"));
        entry.recipient_sha256 = of("aa");
        let action = "ReEncryptTo".to_owned();
        let decided = Decided { action, key: of("two"), policies: Vec::new(), allowed: true };
        entry.decisions = Some(vec![decided]);
        entry
    }

    #[test]
    fn a_line_is_taken_if_all_that_is_asked_for_is_so() {
        let all = Selection::default;
        for (selection, takes) in [
            (all(), true),
            (Selection { principal: of("dns:billing"), ..all() }, true),
            (Selection { principal: of("dns:proxy"), ..all() }, true),
            (Selection { principal: of("dns:bill"), ..all() }, false),
            (Selection { key: of("one"), ..all() }, true),
            (Selection { key: of("two"), ..all() }, true),
            (Selection { key: of("alias/payments"), ..all() }, true),
            (Selection { key: of("three"), ..all() }, false),
            (Selection { rpc: of("ExportDataKey"), ..all() }, true),
            (Selection { rpc: of("Kms/ExportDataKey"), ..all() }, true),
            (Selection { rpc: of("DataKey"), ..all() }, false),
            (Selection { outcome: of("ok"), recipient: of("aa"), ..all() }, true),
            (Selection { outcome: of("ok"), recipient: of("bb"), ..all() }, false),
            (Selection { kinds: vec![Kind::Start, Kind::Decision], ..all() }, true),
            (Selection { kinds: vec![Kind::Start], ..all() }, false),
            (Selection { denied: true, ..all() }, false),
        ] {
            assert_eq!(selection.takes(&export()), takes, "{selection:?}");
        }
        let mut denied = export();
        denied.decisions.as_mut().unwrap()[0].allowed = false;
        assert!(Selection { denied: true, ..all() }.takes(&denied));
    }

    #[test]
    fn a_span_begins_at_a_time_and_ends_before_one() {
        let at = |second: &str| format!("2026-11-27T10:00:{second}Z").parse::<Timestamp>().ok();
        for (since, until, has) in [
            (at("00.5"), None, true),
            (at("00.500001"), None, false),
            (None, at("00.5"), false),
            (None, at("00.500001"), true),
            (at("00"), at("01"), true),
            (at("01"), at("02"), false),
        ] {
            assert_eq!(Span::new(since, until).has(&export().time), has, "{since:?} {until:?}");
        }
    }
}
