//! The table `[audit]`: how what is done is recorded. It is, unless an operator says
//! otherwise.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::error::ConfigError;
use super::fields::{number, path};
use super::raw::{Number, RawAudit, Switch};
use super::types::{AuditConfig, StoreConfig};
use crate::audit::files::Rotation;
use crate::audit::opening::AuditSettings;
use crate::audit::writer::Sync;
use crate::durable;

/// The directory of the log, beside the store's, where none is named.
const DIRECTORY: &str = "audit";

const SYNC_MILLISECONDS: RangeInclusive<u32> = 1..=10_000;
const FILE_MEGABYTES: RangeInclusive<u32> = 1..=100_000;
const FILE_HOURS: RangeInclusive<u32> = 1..=24 * 366;
const KEEP_DAYS: RangeInclusive<u32> = 1..=366 * 100;

const SECONDS_PER_HOUR: u64 = 60 * 60;

/// Validates the table.
pub(super) fn audit(
    raw: &RawAudit,
    store: &StoreConfig,
    directory: &Path,
) -> Result<AuditConfig, ConfigError> {
    if raw.enabled.is_some_and(|Switch(on)| !on) {
        return Ok(AuditConfig::Off);
    }
    let StoreConfig::Sqlite { path: store } = store;
    let what = "the directory of the audit log";
    let directory = match &raw.dir {
        None => durable::parent(store).join(DIRECTORY),
        dir => path("audit.dir", dir.as_deref(), what, directory)?,
    };
    if directory.starts_with(store) {
        let text =
            "lies inside the store's directory, where one mishap takes both: set it elsewhere";
        return Err(ConfigError::new("audit.dir", text));
    }
    let in_range = |name: &str, value: Option<Number>, range| {
        let field = format!("audit.{name}");
        value.map(|value| Ok(u64::from(number(&field, value, range)?.get()))).transpose()
    };
    let sync = in_range("sync_milliseconds", raw.sync_milliseconds, SYNC_MILLISECONDS)?;
    let megabytes = in_range("max_file_megabytes", raw.max_file_megabytes, FILE_MEGABYTES)?;
    let hours = in_range("max_file_hours", raw.max_file_hours, FILE_HOURS)?;
    let keep = in_range("keep_days", raw.keep_days, KEEP_DAYS)?;
    let Rotation { max_bytes, max_age, .. } = Rotation::default();
    let of_hours = |hours: u64| Duration::from_secs(hours * SECONDS_PER_HOUR);
    Ok(AuditConfig::Kept(AuditSettings {
        directory,
        sync: sync.map_or(Sync::Always, |sync| Sync::Every(Duration::from_millis(sync))),
        rotation: Rotation {
            max_bytes: megabytes.map_or(max_bytes, |megabytes| megabytes << 20),
            max_age: hours.map_or(max_age, of_hours),
            keep: keep.map(|days| of_hours(days * 24)),
        },
        metadata: raw.metadata.is_none_or(|Switch(on)| on),
    }))
}
