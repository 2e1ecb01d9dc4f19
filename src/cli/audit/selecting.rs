//! The options that say which lines are meant, and how times are written.

use std::str::FromStr;

use clap::{Args, ValueEnum, builder::PossibleValue};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use crate::audit::entry::Kind;
use crate::audit::selection::{Selection, Span};
use crate::cli::failure::Failure;

/// Which lines.
#[derive(Args, Debug)]
pub struct SelectArgs {
    /// Lines of this caller, as the log names it, such as spiffe://… or dns:…
    #[arg(long)]
    principal: Option<String>,
    /// Lines about this key: its id, the id of a version of it, or an alias, as the request named it
    #[arg(long)]
    key: Option<String>,
    /// Lines of this RPC, such as ExportDataKey
    #[arg(long)]
    rpc: Option<String>,
    /// Lines that ended so: ok, or a reason such as Forbidden.NoPermission
    #[arg(long)]
    outcome: Option<String>,
    /// Lines about this recipient: the digest that `keyferry recipient show` prints
    #[arg(long, value_name = "SHA256")]
    recipient: Option<String>,
    /// Lines of this kind; may be given many times
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<Kind>,
    /// Lines of what the policy, or a door of the server, refused
    #[arg(long)]
    denied: bool,
}

impl SelectArgs {
    pub fn selection(&self, span: Span) -> Selection {
        Selection {
            principal: self.principal.clone(),
            key: self.key.clone(),
            rpc: self.rpc.clone(),
            outcome: self.outcome.clone(),
            recipient: self.recipient.as_ref().map(|digest| digest.to_lowercase()),
            kinds: self.kinds.clone(),
            denied: self.denied,
            span,
        }
    }
}

/// From when, and until when.
#[derive(Args, Debug)]
pub struct SpanArgs {
    /// Lines of this time or later: 2026-11-27T10:00:00Z, a date or time of the day here,
    /// or a span before now, such as 90m, 2h or 7d
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Lines before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

impl SpanArgs {
    pub fn span(&self, zone: &TimeZone) -> Result<Span, Failure> {
        let now = Timestamp::now().to_zoned_datetime(zone.clone());
        let at = |moment: &Option<Moment>| moment.map(|it| it.before(&now)).transpose();
        let (since, until) = (at(&self.since)?, at(&self.until)?);
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            return Err(Failure::usage(
                "--until is not after --since.",
                "Give --since the earlier time.",
            ));
        }
        Ok(Span::new(since, until))
    }
}

/// A time, as people write it.
#[derive(Clone, Copy, Debug)]
enum Moment {
    At(Timestamp),
    /// In the time zone of the command.
    Here(DateTime),
    Ago(jiff::Span),
}

/// Text that is no time.
#[derive(Clone, Debug, thiserror::Error)]
#[error("not a time: give 2026-11-27T10:00:00Z, 2026-11-27, or a span before now such as 2h or 7d")]
pub struct NotATime;

impl FromStr for Moment {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let at = text.parse().map(Self::At);
        let here = || text.parse().map(Self::Here);
        let ago = || text.parse().map(Self::Ago);
        at.or_else(|_| here()).or_else(|_| ago()).map_err(|_| NotATime)
    }
}

impl Moment {
    fn before(self, now: &ZonedDateTime) -> Result<Timestamp, Failure> {
        let found = match self {
            Self::At(time) => Ok(time),
            Self::Here(time) => now.time_zone().to_timestamp(time),
            Self::Ago(span) => now.checked_sub(span).map(|it| it.timestamp()),
        };
        found.map_err(|error| {
            Failure::usage(format!("There is no such time: {error}."), "Give a time nearer to now.")
        })
    }
}

/// In which time zone times are written and read.
#[derive(Args, Clone, Copy, Debug)]
pub struct ZoneArgs {
    /// Write and read times as UTC, not as local time
    #[arg(long)]
    utc: bool,
}

impl ZoneArgs {
    pub fn zone(self) -> TimeZone {
        if self.utc { TimeZone::UTC } else { TimeZone::system() }
    }
}

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::File,
            Self::Start,
            Self::Stop,
            Self::Policy,
            Self::Decision,
            Self::Intent,
            Self::Outcome,
            Self::Auth,
            Self::Checkpoint,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(super::lines::kind_name(*self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now: ZonedDateTime = "2026-11-27T10:00:00+01:00[Europe/Berlin]".parse().unwrap();
        for (text, expected) in [
            ("2026-11-26T00:00:00Z", "2026-11-26T00:00:00Z"),
            ("2026-11-26T00:00:00+08:00", "2026-11-25T16:00:00Z"),
            ("2026-11-26", "2026-11-25T23:00:00Z"),
            ("2026-11-26T08:30", "2026-11-26T07:30:00Z"),
            ("2026-11-26 08:30:15", "2026-11-26T07:30:15Z"),
            ("2h", "2026-11-27T07:00:00Z"),
            ("90m", "2026-11-27T07:30:00Z"),
            ("7d", "2026-11-20T09:00:00Z"),
            ("1h30m", "2026-11-27T07:30:00Z"),
        ] {
            let moment: Moment = text.parse().unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(moment.before(&now).unwrap(), expected.parse().unwrap(), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "12"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn kinds_are_named_as_in_lines() {
        for kind in Kind::value_variants() {
            let name = serde_json::to_value(kind).unwrap();
            assert_eq!(name, super::super::lines::kind_name(*kind));
        }
    }
}
