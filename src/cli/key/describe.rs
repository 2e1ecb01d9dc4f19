//! `keyferry key describe`

use super::key_args::KeyArgs;
use crate::cli::failure::EarlyExit;
use crate::cli::io::text::Text;
use crate::proto::v1;

/// `describe`
pub fn describe(KeyArgs { key, call }: &KeyArgs) -> Result<(), EarlyExit> {
    let request = v1::DescribeKeyRequest { key_id: key.clone(), dry_run: call.dry_run() };
    call.call(
        async |server| server.key_management().describe_key(server.request(request)).await,
        |response| metadata(response.key_metadata.as_ref()),
    )
}

/// The fields of a CMK.
pub fn metadata(metadata: Option<&v1::KeyMetadata>) -> Text {
    let v1::KeyMetadata {
        key_id,
        arn,
        key_spec,
        key_usage,
        key_state,
        origin,
        protection_level,
        description,
        creator,
        creation_date,
        delete_date,
        primary_key_version,
        automatic_rotation,
        last_rotation_date,
        next_rotation_date,
        rotation_interval,
        material_expire_time,
        dkms_instance_id,
        deletion_protection,
        deletion_protection_description,
    } = metadata.cloned().unwrap_or_default();
    Text::Fields(vec![
        ("key_id", key_id),
        ("arn", arn),
        ("key_spec", key_spec),
        ("key_usage", key_usage),
        ("key_state", key_state),
        ("origin", origin),
        ("protection_level", protection_level),
        ("description", description),
        ("creator", creator),
        ("creation_date", creation_date),
        ("delete_date", delete_date),
        ("primary_key_version", primary_key_version),
        ("automatic_rotation", automatic_rotation),
        ("last_rotation_date", last_rotation_date),
        ("next_rotation_date", next_rotation_date),
        ("rotation_interval", rotation_interval),
        ("material_expire_time", material_expire_time),
        ("dkms_instance_id", dkms_instance_id),
        ("deletion_protection", deletion_protection),
        ("deletion_protection_description", deletion_protection_description),
    ])
}
