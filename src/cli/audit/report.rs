//! `keyferry audit report`: who exported what to which recipient, which keys were not
//! used, and who was refused.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::lines::{read, time};
use super::selecting::{SpanArgs, ZoneArgs};
use super::{LogArgs, unread_hint, unreadable};
use crate::audit::reading::{LogFile, RawLine};
use crate::audit::usage::{Exports, Group, GroupBy, Tally, Usage};
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::input::Input;
use crate::cli::io::output::{Output, OutputArgs};
use crate::cli::io::text::Text;

/// The longest list of keys: more than a million ids.
const KEYS_BYTES_MAX: usize = 64 << 20;

#[derive(Args, Debug)]
pub struct AuditReport {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    span: SpanArgs,
    /// Count exports by this alone; without it, by caller, key and recipient
    #[arg(long)]
    by: Option<By>,
    /// Key ids, one a line, that are told of if they were not used, beside those that the
    /// log names: `keyferry key list --json | jq -r .keys[].key_id` prints all
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    #[command(flatten)]
    zone: ZoneArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Recipient,
    Principal,
    Key,
    /// By day, in UTC
    Day,
}

impl From<By> for GroupBy {
    fn from(by: By) -> Self {
        match by {
            By::Recipient => Self::Recipient,
            By::Principal => Self::Principal,
            By::Key => Self::Key,
            By::Day => Self::Day,
        }
    }
}

impl AuditReport {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let zone = self.zone.zone();
        let group_by = self.by.map_or(GroupBy::All, GroupBy::from);
        let mut usage = Usage::new(self.span.span(&zone)?, group_by, self.keys()?);
        let mut unread = 0;
        for file in self.log.files()? {
            unread += count(&file, &mut usage)?;
        }
        let output = self.output.output();
        print(&usage, output, &zone)?;
        if let Some(hint) = unread_hint(unread) {
            output.hint(&Text::Alarm(hint));
        }
        Ok(())
    }

    fn keys(&self) -> Result<Vec<String>, Failure> {
        let Some(path) = &self.keys else { return Ok(Vec::new()) };
        let bytes = Input::File(path.clone()).read("list of keys", KEYS_BYTES_MAX)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            Failure::input(
                format!("The list of keys in {} is not text.", path.display()),
                "Give key ids, one a line.",
            )
        })?;
        let ids = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(ids.map(str::to_owned).collect())
    }
}

/// Counts the lines of a file, and gives how many could not be read.
fn count(file: &LogFile, usage: &mut Usage) -> Result<u64, Failure> {
    let cannot_read = |error| unreadable(&file.path.display(), &error);
    let mut lines = file.lines().map_err(cannot_read)?;
    let mut unread = 0;
    while let Some(line) = lines.next().map_err(cannot_read)? {
        match line {
            RawLine::Whole(line) => match read(line) {
                Some((_, entry)) => usage.take(&entry),
                None => unread += 1,
            },
            RawLine::TooLong => unread += 1,
            RawLine::Torn(_) => {}
        }
    }
    Ok(unread)
}

fn print(usage: &Usage, output: Output, zone: &TimeZone) -> Result<(), EarlyExit> {
    if output.is_json() {
        return output.result(&json(usage), || Text::line(""));
    }
    let unused: Vec<_> = usage.unused().map(|key| vec![key.to_owned()]).collect();
    section(output, "Exports", usage.exports.iter().map(|it| export_row(it, zone)).collect())?;
    section(output, "Keys that were not used", unused)?;
    let refused = usage.refused.iter().map(|(who, tally)| {
        let principal = who.principal.clone().unwrap_or_else(|| "(unknown)".to_owned());
        [vec![principal, who.reason.clone()], tally_cells(tally, zone)].concat()
    });
    section(output, "Refused", refused.collect())?;
    if usage.beyond > 0 {
        let beyond =
            format!("{} more were not told apart: there are too many groups.", usage.beyond);
        output.hint(&Text::Alarm(beyond));
    }
    Ok(())
}

fn section(output: Output, title: &str, rows: Vec<Vec<String>>) -> Result<(), EarlyExit> {
    let count = rows.len();
    output.print(&Text::paragraph(format!("{title}: {count}")))?;
    if rows.is_empty() { Ok(()) } else { output.print(&Text::Table { heading: None, rows }) }
}

fn export_row((group, exports): (&Group, &Exports), zone: &TimeZone) -> Vec<String> {
    let Group { day, principal, key_id, recipient_sha256 } = group;
    let of = [day, principal, key_id, recipient_sha256].into_iter().flatten().cloned();
    let days = format!("{} days", exports.by_day.len());
    of.chain(tally_cells(&exports.tally, zone)).chain([days]).collect()
}

fn tally_cells(tally: &Tally, zone: &TimeZone) -> Vec<String> {
    vec![tally.count.to_string(), time(&tally.first, zone), time(&tally.last, zone)]
}

fn json(usage: &Usage) -> Value {
    let exports = usage.exports.iter().map(|(group, exports)| joined(json!(group), json!(exports)));
    let refused = usage.refused.iter().map(|(who, tally)| joined(json!(who), json!(tally)));
    json!({
        "lines": usage.lines,
        "exports": exports.collect::<Vec<_>>(),
        "unused_keys": usage.unused().collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
        "not_told_apart": usage.beyond,
    })
}

/// The members of two objects in one.
fn joined(mut one: Value, other: Value) -> Value {
    if let (Some(one), Value::Object(other)) = (one.as_object_mut(), other) {
        one.extend(other);
    }
    one
}
