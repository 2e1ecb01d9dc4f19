//! The names of the API, made from the contract's: `key_id` is `KeyId`.
//!
//! The exceptions of each rule are listed beside it.

use std::borrow::Cow;

/// Names that are not the contract's in PascalCase.
const EXCEPTIONS: [(&str, &str); 1] = [("dkms_instance_id", "DKMSInstanceId")];

/// Plurals that do not end in `s` alone.
const SINGULARS: [(&str, &str); 1] = [("Aliases", "Alias")];

/// Fields of the contract that the API does not have: its pages are numbered.
const NOT_OFFERED: [&str; 2] = ["page_token", "next_page_token"];

/// Fields that clients of the API also call by another name: Terraform's provider
/// says which key to protect by `KeyId`.
const ALSO: [(&str, &str); 1] = [("protected_resource_arn", "KeyId")];

/// Older names of parameters: the old name, the present name, and the unit of a
/// number that is given by the old name without a unit.
const OLDER: [(&str, &str, &str); 2] = [
    ("EnableAutoRotation", "EnableAutomaticRotation", ""),
    ("RotationIntervalInDays", "RotationInterval", "d"),
];

/// Whether the API has this field of the contract.
pub(super) fn is_offered(field: &str) -> bool {
    !NOT_OFFERED.contains(&field)
}

/// The API's name of a field of the contract.
pub(super) fn of(field: &str) -> String {
    let exception = EXCEPTIONS.iter().find(|(ours, _)| *ours == field);
    exception.map_or_else(|| pascal_case(field), |(_, theirs)| (*theirs).to_owned())
}

/// Another name of a field.
pub(super) fn also(field: &str) -> Option<&'static str> {
    ALSO.iter().find(|(ours, _)| *ours == field).map(|(_, theirs)| *theirs)
}

fn pascal_case(field: &str) -> String {
    field
        .split('_')
        .filter_map(|word| word.split_at_checked(1))
        .fold(String::new(), |name, (first, rest)| name + &first.to_ascii_uppercase() + rest)
}

/// The singular of a plural name: `Key` of `Keys`.
pub(super) fn singular(plural: &str) -> &str {
    let exception = SINGULARS.iter().find(|(many, _)| *many == plural);
    exception.map_or_else(|| plural.strip_suffix('s').unwrap_or(plural), |(_, one)| one)
}

/// The present name and value of a parameter that was given by an older name.
pub(super) fn present<'a>(name: &str, value: &'a str) -> Option<(&'static str, Cow<'a, str>)> {
    let (_, present, unit) = OLDER.iter().find(|(old, ..)| *old == name)?;
    let bare = !unit.is_empty() && !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    Some((present, if bare { format!("{value}{unit}").into() } else { value.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_api_s() {
        for (ours, theirs) in [
            ("key_id", "KeyId"),
            ("dkms_instance_id", "DKMSInstanceId"),
            ("pending_window_in_days", "PendingWindowInDays"),
            ("sm2_ciphertext_encoding", "Sm2CiphertextEncoding"),
            ("dry_run", "DryRun"),
        ] {
            assert_eq!(of(ours), theirs);
        }
    }

    #[test]
    fn plurals_have_singulars() {
        for (many, one) in
            [("Keys", "Key"), ("Aliases", "Alias"), ("KeyVersions", "KeyVersion"), ("Tags", "Tag")]
        {
            assert_eq!(singular(many), one);
        }
    }

    #[test]
    fn older_names_are_understood() {
        assert_eq!(
            present("EnableAutoRotation", "True"),
            Some(("EnableAutomaticRotation", "True".into()))
        );
        let days = |text| present("RotationIntervalInDays", text);
        assert_eq!(days("30"), Some(("RotationInterval", "30d".into())));
        assert_eq!(days("30d"), Some(("RotationInterval", "30d".into())));
        assert_eq!(present("RotationInterval", "30"), None);
    }
}
