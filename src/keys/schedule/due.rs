//! The index of what is to be done with CMKs when a time has come.
//!
//! Its paths are in order of time, so that what is due is at the head of a list
//! and nothing else is read. It proves nothing: the CMK says what is due, the
//! index where to look.

use jiff::Timestamp;

use crate::ids::KeyId;
use crate::keys::model::cmk::Cmk;
use crate::keys::model::life_cycle::Due;
use crate::storage::Write;

/// Where deletions stand, earliest first.
pub(in crate::keys) const DELETIONS: &str = "due/deletion/";
/// Where rotations stand, earliest first.
pub(in crate::keys) const ROTATIONS: &str = "due/rotation/";

/// Where a CMK stands.
pub(in crate::keys) fn path(due: Due, id: KeyId) -> String {
    let (prefix, at) = match due {
        Due::Deletion(at) => (DELETIONS, at),
        Due::Rotation(at) => (ROTATIONS, at),
    };
    format!("{prefix}{:012}/{id}", at.as_second().max(0))
}

/// When the CMK at a path under `prefix` is due.
pub(in crate::keys) fn parse(prefix: &str, path: &str) -> Option<(Timestamp, KeyId)> {
    let (at, id) = path.strip_prefix(prefix)?.split_once('/')?;
    Some((Timestamp::from_second(at.parse().ok()?).ok()?, KeyId::parse(id).ok()?))
}

/// The writes that move a CMK to its new place.
pub(in crate::keys) fn moves(old: &Cmk, new: &Cmk) -> Vec<Write> {
    let [left, taken] = [old, new].map(|cmk| cmk.due().map(|due| path(due, cmk.id)));
    if left == taken {
        return Vec::new();
    }
    let leave = left.map(Write::Delete);
    leave.into_iter().chain(taken.map(|path| Write::Put(path, Vec::new()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_paths_is_order_of_time() {
        let id = KeyId::new();
        let at = |second| Due::Deletion(Timestamp::from_second(second).unwrap());
        let paths = [9, 10, 1_700_000_000, 32_503_680_000].map(|second| path(at(second), id));
        assert!(paths.is_sorted());
        for (path, second) in paths.iter().zip([9, 10, 1_700_000_000, 32_503_680_000]) {
            let found = parse(DELETIONS, path).unwrap();
            assert_eq!(found, (Timestamp::from_second(second).unwrap(), id));
            assert_eq!(parse(ROTATIONS, path), None);
        }
    }
}
