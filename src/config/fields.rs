//! The validation of one field by itself: what was found, what would do.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::raw::Number;
use super::types::Address;

/// The longest path of a Unix socket: `sun_path` has 108 bytes, and the socket
/// is made under a longer name beside its final one (`server/listener.rs`).
const SOCKET_PATH_MAX_BYTES: usize = 90;

/// One of the values that are known by name.
pub(super) fn one_of<T: Copy>(
    field: &str,
    found: Option<&str>,
    default: Option<T>,
    known: &[(&str, T)],
) -> Result<T, ConfigError> {
    let names =
        || known.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(" or ");
    let Some(found) = found else {
        return default
            .ok_or_else(|| ConfigError::new(field, format!("is missing: set it to {}", names())));
    };
    known.iter().find(|(name, _)| *name == found).map(|(_, value)| *value).ok_or_else(|| {
        ConfigError::new(field, format!("found {found:?}, but it takes {}", names()))
    })
}

/// A number within a range that begins above zero.
pub(super) fn number(
    field: &str,
    Number(found): Number,
    range: RangeInclusive<u32>,
) -> Result<NonZeroU32, ConfigError> {
    let number = u32::try_from(found).ok().filter(|number| range.contains(number));
    number.and_then(NonZeroU32::new).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        ConfigError::new(field, format!("found {found}, but it takes {least} to {most}"))
    })
}

/// A path, relative to `directory`.
pub(super) fn path(
    field: &str,
    found: Option<&str>,
    what: &str,
    directory: &Path,
) -> Result<PathBuf, ConfigError> {
    match found {
        None => Err(ConfigError::new(field, format!("is missing: set it to {what}"))),
        Some("") => Err(ConfigError::new(field, format!("is empty: set it to {what}"))),
        Some(path) => Ok(directory.join(path)),
    }
}

/// A part of `acs:kms:<region>:<account>:key/<id>`, where `:` and `/` divide.
pub(super) fn arn_part(
    field: &str,
    found: Option<String>,
    default: &str,
) -> Result<String, ConfigError> {
    let value = found.unwrap_or_else(|| default.to_owned());
    let fits = (1..=64).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !fits {
        return Err(ConfigError::new(
            field,
            format!(
                "found {value:?}, but it takes 1 to 64 letters, digits, hyphens and underscores"
            ),
        ));
    }
    Ok(value)
}

/// An IP address and a port, or `unix:` and a path relative to `directory`.
pub(super) fn address(field: &str, text: &str, directory: &Path) -> Result<Address, ConfigError> {
    let Some(path) = text.strip_prefix("unix:") else {
        return text.parse().map(Address::Tcp).map_err(|_| {
            ConfigError::new(
                field,
                format!("found {text:?}, but it takes an IP address and a port such as 127.0.0.1:7311 or [::1]:7311, or unix:/path"),
            )
        });
    };
    // unix:///path is gRPC's other spelling of an absolute path.
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(ConfigError::new(
            field,
            format!("found {text:?}, but it takes a file's path after unix:"),
        ));
    }
    let path = directory.join(path);
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_MAX_BYTES {
        return Err(ConfigError::new(
            field,
            format!(
                "the socket's path has {length} bytes, but {SOCKET_PATH_MAX_BYTES} is the most: choose a shorter one"
            ),
        ));
    }
    Ok(Address::Unix(path))
}
