//! Tags: pairs of words about a CMK.

use std::collections::BTreeMap;

use crate::error::{Error, Result, Rule};
use crate::limits::{Limit, TAG_KEY_CHARS, TAG_VALUE_CHARS, TAGS};

/// No tag key may begin with these.
const RESERVED_PREFIXES: [&str; 2] = ["aliyun", "acs:"];

/// The tags of one CMK, in bytewise order of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// The tags that a request names: each key once.
    pub fn parse(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut tags = BTreeMap::new();
        for (key, value) in pairs {
            check_key(&key)?;
            check_chars("a tag value", &value, TAG_VALUE_CHARS)?;
            if tags.len() == TAGS.max {
                return Err(too_many());
            }
            if let Some(_earlier) = tags.insert(key, value) {
                return Err(Error::invalid("tags", "a tag key stands there twice"));
            }
        }
        Ok(Self(tags))
    }

    /// The tag keys that a request names.
    pub fn parse_keys(keys: Vec<String>) -> Result<Vec<String>> {
        if keys.is_empty() {
            return Err(Error::missing("tag_keys"));
        }
        if !TAGS.allows(keys.len()) {
            let found = format_args!("it names {} tags, {TAGS} are accepted", keys.len());
            return Err(Error::invalid("tag_keys", found));
        }
        Ok(keys)
    }

    /// Tags as they were stored.
    #[must_use]
    pub fn from_stored(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// These with others, which win; refused where there would be too many.
    pub fn with(&self, others: &Self) -> Result<Self> {
        let mut all = self.0.clone();
        all.extend(others.0.iter().map(|(key, value)| (key.clone(), value.clone())));
        if !TAGS.allows(all.len()) {
            let text = format!("The key would have {} tags, and can have {TAGS}.", all.len());
            return Err(Error::from(Rule::StoredLimitReached).saying(text));
        }
        Ok(Self(all))
    }

    /// These without some.
    #[must_use]
    pub fn without(&self, keys: &[String]) -> Self {
        let kept = self.iter().filter(|(key, _)| !keys.iter().any(|gone| gone == key));
        Self(kept.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// Every key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Values by key.
    #[must_use]
    pub const fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// About how much memory they take beside their own size.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.iter().map(|(key, value)| key.len() + value.len() + 2 * size_of::<String>()).sum()
    }
}

fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("tags", "a tag key is empty"));
    }
    if RESERVED_PREFIXES.iter().any(|reserved| key.starts_with(reserved)) {
        return Err(Error::invalid("tags", "no tag key begins with aliyun or acs:"));
    }
    check_chars("a tag key", key, TAG_KEY_CHARS)
}

fn check_chars(what: &str, text: &str, limit: Limit) -> Result<()> {
    let chars = text.chars().count();
    if !limit.allows(chars) {
        let found = format_args!("{what} has {chars} characters, {limit} are accepted");
        return Err(Error::invalid("tags", found));
    }
    Ok(())
}

fn too_many() -> Error {
    Error::invalid("tags", format_args!("it names more, {TAGS} are accepted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Result<Tags> {
        Tags::parse(pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())))
    }

    fn numbered(range: std::ops::Range<usize>) -> Tags {
        Tags::parse(range.map(|i| (format!("key-{i:02}"), String::new()))).unwrap()
    }

    #[test]
    fn unfit_tags_are_refused() {
        let long = "长".repeat(TAG_KEY_CHARS.max + 1);
        for pairs in [
            &[("", "v")][..],
            &[("aliyun-x", "v")],
            &[("acs:x", "v")],
            &[("k", "1"), ("k", "2")],
            &[(long.as_str(), "v")],
            &[("k", long.as_str())],
        ] {
            assert_eq!(tags(pairs).unwrap_err().rule(), Rule::InvalidParameter, "{pairs:?}");
        }
        assert!(tags(&[("k", &"长".repeat(TAG_KEY_CHARS.max))]).is_ok());
        assert!(Tags::parse((0..=TAGS.max).map(|i| (i.to_string(), String::new()))).is_err());
    }

    #[test]
    fn a_cmk_has_20_tags_at_most() {
        let full = numbered(0..TAGS.max);
        assert!(full.with(&numbered(0..TAGS.max)).is_ok(), "the same keys again");
        assert_eq!(full.with(&numbered(20..21)).unwrap_err().rule(), Rule::StoredLimitReached);
    }

    #[test]
    fn the_newer_value_wins_and_what_is_taken_away_is_gone() {
        let both = tags(&[("a", "1"), ("b", "2")]).unwrap();
        let newer = both.with(&tags(&[("a", "3")]).unwrap()).unwrap();
        assert_eq!(newer.iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
        let gone = newer.without(&["a".to_owned(), "never there".to_owned()]);
        assert_eq!(gone.iter().collect::<Vec<_>>(), [("b", "2")]);
    }
}
