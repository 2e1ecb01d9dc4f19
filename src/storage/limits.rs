//! Clause 11 of the law: whether a call keeps within the limits. Every backend
//! checks each call here before it does anything.

use std::collections::BTreeSet;

use super::store::{
    COMMIT_OPERATIONS_MAX, PATH_BYTES_MAX, Precondition, READ_PATHS_MAX, StoreError,
    VALUE_BYTES_MAX, Write,
};

/// The fault of a path, if it has one.
fn unfit_path(path: &str) -> Option<&'static str> {
    match path.len() {
        0 => Some("a path is empty"),
        1..=PATH_BYTES_MAX if path.contains('\0') => Some("a path contains NUL"),
        1..=PATH_BYTES_MAX => None,
        _ => Some("a path is longer than 512 bytes"),
    }
}

/// Checks a listing or a count. Prefix and cursor may be empty.
pub(super) fn check_listing(prefix: &str, after: Option<&str>) -> Result<(), StoreError> {
    let mut given = [prefix, after.unwrap_or_default()].into_iter().filter(|path| !path.is_empty());
    match given.find_map(unfit_path) {
        Some(why) => Err(StoreError::Unavailable(why.into())),
        None => Ok(()),
    }
}

/// Checks a read.
pub(super) fn check_read(paths: &[&str]) -> Result<(), StoreError> {
    if paths.len() > READ_PATHS_MAX {
        return Err(StoreError::Unavailable("a read asks for more than 128 paths".into()));
    }
    match paths.iter().copied().find_map(unfit_path) {
        Some(why) => Err(StoreError::Unavailable(why.into())),
        None => Ok(()),
    }
}

/// Checks a commit.
pub(super) fn check_commit(
    preconditions: &[Precondition],
    writes: &[Write],
) -> Result<(), StoreError> {
    match unfit_commit(preconditions, writes) {
        Some(why) => Err(StoreError::NotStored(why.into())),
        None => Ok(()),
    }
}

fn unfit_commit(preconditions: &[Precondition], writes: &[Write]) -> Option<&'static str> {
    if preconditions.len().saturating_add(writes.len()) > COMMIT_OPERATIONS_MAX {
        return Some("a commit holds more than 64 operations");
    }
    let too_long =
        |write: &Write| matches!(write, Write::Put(_, value) if value.len() > VALUE_BYTES_MAX);
    if writes.iter().any(too_long) {
        return Some("a value is longer than 64 KiB");
    }
    let mut seen = BTreeSet::new();
    if !writes.iter().all(|write| seen.insert(write.path())) {
        return Some("a commit writes a path twice");
    }
    let paths = preconditions.iter().map(Precondition::path);
    paths.chain(writes.iter().map(Write::path)).find_map(unfit_path)
}
