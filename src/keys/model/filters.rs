//! Filters of a list of CMKs.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::ids::KeyId;
use crate::keys::model::alias_name::AliasName;
use crate::keys::model::cmk::{Cmk, ProtectionLevel};
use crate::limits::{FILTER_VALUES, FILTERS};

/// Every creator is a user: no service of ours makes CMKs by itself.
const CREATOR_TYPE: &str = "User";

/// The filters of a list: a CMK must fit all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    filters: Vec<Filter>,
}

/// One filter: a CMK fits it with any of the values.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter {
    field: Field,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    KeyState,
    KeySpec,
    KeyUsage,
    ProtectionLevel,
    CreatorType,
    DkmsInstanceId,
    KeyId,
    AliasName,
    Creator,
    TagKey,
    TagValue,
}

impl Field {
    const NAMES: [(&str, Self); 11] = [
        ("KeyState", Self::KeyState),
        ("KeySpec", Self::KeySpec),
        ("KeyUsage", Self::KeyUsage),
        ("ProtectionLevel", Self::ProtectionLevel),
        ("CreatorType", Self::CreatorType),
        ("DKMSInstanceId", Self::DkmsInstanceId),
        ("KeyId", Self::KeyId),
        ("AliasName", Self::AliasName),
        ("Creator", Self::Creator),
        ("TagKey", Self::TagKey),
        ("TagValue", Self::TagValue),
    ];

    /// Alibaba Cloud writes `keyId`, and all others with a capital: case does
    /// not matter here.
    fn parse(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, field)| *field)
    }
}

impl Filters {
    /// Reads the filters of a request: keys, and the values of each.
    pub fn parse(filters: impl IntoIterator<Item = (String, Vec<String>)>) -> Result<Self> {
        let invalid = |found: String| Error::invalid("filters", found);
        let mut parsed: Vec<Filter> = Vec::new();
        for (key, values) in filters {
            if parsed.len() == FILTERS.max {
                return Err(invalid(format!("there are more, {FILTERS} are accepted")));
            }
            let field = Field::parse(&key).ok_or_else(|| {
                let known = Field::NAMES.map(|(name, _)| name).join(", ");
                invalid(format!("a filter has a key that is none of {known}"))
            })?;
            if !FILTER_VALUES.allows(values.len()) {
                return Err(invalid(format!("a filter has {FILTER_VALUES}")));
            }
            if parsed.iter().any(|other| other.field == field) {
                return Err(invalid(
                    "a key stands there twice: one filter takes all of its values".into(),
                ));
            }
            parsed.push(Filter { field, values });
        }
        Ok(Self { filters: parsed })
    }

    /// The name of the list that these make: the same for the same filters, in
    /// whatever order their keys and values stand. Everything bears its length,
    /// so that no two lists share one name.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut filters: Vec<&Filter> = self.filters.iter().collect();
        filters.sort_by_key(|filter| filter.field);
        let mut digest = Sha256::new();
        for Filter { field, values } in filters {
            let values: BTreeSet<&String> = values.iter().collect();
            digest.update([*field as u8]);
            digest.update((values.len() as u64).to_be_bytes());
            for value in values {
                digest.update((value.len() as u64).to_be_bytes());
                digest.update(value);
            }
        }
        base16ct::lower::encode_string(&digest.finalize())
    }

    /// Whether there are none, so that every CMK fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// The alias names that are filtered by, without those that no alias can
    /// have. `None`: there is no such filter.
    #[must_use]
    pub fn alias_names(&self) -> Option<Vec<AliasName>> {
        let names = self.values(Field::AliasName)?;
        Some(names.iter().filter_map(|name| AliasName::parse(name)).collect())
    }

    /// Whether a CMK fits all of them. `named`: the CMKs that the alias names
    /// mean.
    #[must_use]
    pub fn fit(&self, cmk: &Cmk, named: &BTreeSet<KeyId>) -> bool {
        self.fits_tags(cmk)
            && self.filters.iter().all(|Filter { field, values }| {
                let any = |found: &str| values.iter().any(|value| value == found);
                match field {
                    Field::KeyState => any(cmk.state.as_str()),
                    Field::KeySpec => any(cmk.spec.as_str()),
                    Field::KeyUsage => any(cmk.usage.as_str()),
                    Field::ProtectionLevel => any(ProtectionLevel::Software.as_str()),
                    Field::CreatorType => any(CREATOR_TYPE),
                    Field::DkmsInstanceId => any(""),
                    Field::KeyId => any(&cmk.id.to_string()),
                    Field::AliasName => named.contains(&cmk.id),
                    Field::Creator => any(&cmk.creator),
                    // Judged together, above.
                    Field::TagKey | Field::TagValue => true,
                }
            })
    }

    /// Whether one tag fits both the key and the value that are asked for.
    fn fits_tags(&self, cmk: &Cmk) -> bool {
        let [keys, values] = [Field::TagKey, Field::TagValue].map(|field| self.values(field));
        if keys.is_none() && values.is_none() {
            return true;
        }
        let any = |values: Option<&[String]>, found: &str| {
            values.is_none_or(|values| values.iter().any(|value| value == found))
        };
        cmk.tags.iter().any(|(key, value)| any(keys, key) && any(values, value))
    }

    fn values(&self, field: Field) -> Option<&[String]> {
        let found = self.filters.iter().find(|filter| filter.field == field)?;
        Some(&found.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(filters: &[(&str, &[&str])]) -> Filters {
        let owned = filters.iter().map(|(key, values)| {
            ((*key).to_owned(), values.iter().map(|value| (*value).to_owned()).collect())
        });
        Filters::parse(owned).unwrap()
    }

    #[test]
    fn the_same_filters_have_one_digest_and_others_another() {
        let one = filters(&[("TagKey", &["a", "b"]), ("KeyState", &["Enabled"])]);
        let same = filters(&[("keystate", &["Enabled"]), ("TagKey", &["b", "a", "b"])]);
        assert_eq!(one.digest(), same.digest());
        let all = [
            one,
            filters(&[]),
            filters(&[("TagKey", &["a"]), ("KeyState", &["Enabled"])]),
            filters(&[("TagKey", &["ab"]), ("KeyState", &["Enabled"])]),
            filters(&[("TagValue", &["a", "b"]), ("KeyState", &["Enabled"])]),
            filters(&[("TagKey", &["a", "b"])]),
            filters(&[("TagKey", &["a", "b", "KeyState", "Enabled"])]),
        ];
        let digests: BTreeSet<_> = all.iter().map(Filters::digest).collect();
        assert_eq!(digests.len(), all.len());
    }
}
