//! A CMK as the store keeps it.

use jiff::Timestamp;

use crate::ids::{KeyId, KeyVersionId};
use crate::keys::guard::records::v1;
use crate::keys::model::cmk::{Cmk, DeletionProtection, KeySpec, KeyState, KeyUsage, Origin};
use crate::keys::model::rotation::RotationInterval;
use crate::keys::model::tags::Tags;

pub(super) fn from_cmk(cmk: &Cmk) -> v1::Cmk {
    let tags = cmk.tags.iter();
    v1::Cmk {
        key_spec: cmk.spec.as_str().to_owned(),
        key_usage: cmk.usage.as_str().to_owned(),
        key_state: cmk.state.as_str().to_owned(),
        origin: cmk.origin.as_str().to_owned(),
        description: cmk.description.clone(),
        creator: cmk.creator.clone(),
        created_at_seconds: cmk.created_at.as_second(),
        newest_version_id: cmk.newest_version.to_string(),
        rotated_at_seconds: cmk.rotated_at.as_second(),
        versions: cmk.versions,
        rotation_interval_seconds: cmk.rotation.map_or(0, RotationInterval::seconds),
        deletion_due_at_seconds: cmk.deletion_due_at.map_or(0, Timestamp::as_second),
        deletion_protection: cmk.protection.on,
        deletion_protection_description: cmk.protection.description.clone(),
        tags: tags.map(|(key, value)| v1::Tag { key: key.into(), value: value.into() }).collect(),
    }
}

/// `None`: a value that this version does not know.
pub(super) fn to_cmk(id: KeyId, record: v1::Cmk) -> Option<Cmk> {
    let state = KeyState::parse(&record.key_state)?;
    Some(Cmk {
        id,
        spec: KeySpec::parse(&record.key_spec)?,
        usage: KeyUsage::parse(&record.key_usage)?,
        state,
        origin: Origin::parse(&record.origin)?,
        description: record.description,
        creator: record.creator,
        created_at: Timestamp::from_second(record.created_at_seconds).ok()?,
        newest_version: KeyVersionId::parse(&record.newest_version_id).ok()?,
        rotated_at: Timestamp::from_second(record.rotated_at_seconds).ok()?,
        versions: record.versions,
        rotation: match record.rotation_interval_seconds {
            0 => None,
            seconds => Some(RotationInterval::from_seconds(seconds)?),
        },
        deletion_due_at: match state {
            KeyState::PendingDeletion => {
                Some(Timestamp::from_second(record.deletion_due_at_seconds).ok()?)
            }
            _ => None,
        },
        protection: DeletionProtection {
            on: record.deletion_protection,
            description: record.deletion_protection_description,
        },
        tags: Tags::from_stored(record.tags.into_iter().map(|tag| (tag.key, tag.value))),
    })
}
