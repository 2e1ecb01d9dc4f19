//! Key ids, alias names and ARNs, as callers write them.

use crate::error::{Error, Result};
use crate::ids::KeyId;
use crate::keys::model::alias_name::AliasName;
use crate::limits::KEY_NAME_BYTES;

/// The ARNs of one region and account: `acs:kms:<region>:<account>:…`.
#[derive(Clone, Debug)]
pub struct Arns {
    region: String,
    prefix: String,
}

/// How a caller named a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyName {
    /// By id.
    Id(KeyId),
    /// By a name.
    Alias(AliasName),
    /// By something that no key here can be called: it is judged and answered
    /// like a key that does not exist.
    Unknown,
    /// By something that no alias can be called.
    UnknownAlias,
}

impl Arns {
    /// The ARNs of that region and account.
    #[must_use]
    pub fn new(region: &str, account: &str) -> Self {
        Self { region: region.to_owned(), prefix: format!("acs:kms:{region}:{account}:") }
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// A key's ARN.
    #[must_use]
    pub fn key_arn(&self, id: KeyId) -> String {
        format!("{}key/{id}", self.prefix)
    }

    /// An alias's ARN.
    #[must_use]
    pub fn alias_arn(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Reads a key id, an alias name or the ARN of either.
    pub fn key_name(&self, field: &'static str, text: &str) -> Result<KeyName> {
        check_length(field, text)?;
        let Some(local) = self.local(text) else { return Ok(KeyName::Unknown) };
        if local.starts_with(AliasName::PREFIX) {
            return Ok(AliasName::parse(local).map_or(KeyName::UnknownAlias, KeyName::Alias));
        }
        Ok(KeyId::parse(local).map_or(KeyName::Unknown, KeyName::Id))
    }

    /// Reads a key id or its ARN, where an alias is not accepted.
    pub fn key_id(&self, field: &'static str, text: &str) -> Result<KeyName> {
        match self.key_name(field, text)? {
            KeyName::Alias(_) | KeyName::UnknownAlias => {
                Err(Error::invalid(field, "it is an alias, and a key id or a key's ARN is wanted"))
            }
            name => Ok(name),
        }
    }

    /// Reads an alias name or its ARN. `None`: no alias here can be called so.
    pub fn alias_name(&self, field: &'static str, text: &str) -> Result<Option<AliasName>> {
        check_length(field, text)?;
        Ok(self.local(text).and_then(AliasName::parse))
    }

    /// The part of an ARN behind the prefix; text that is no ARN as it is; `None`
    /// for an ARN of another region or account.
    fn local<'a>(&self, text: &'a str) -> Option<&'a str> {
        if !text.starts_with("acs:") {
            return Some(text);
        }
        let local = text.strip_prefix(&self.prefix)?;
        if local.starts_with(AliasName::PREFIX) { Some(local) } else { local.strip_prefix("key/") }
    }
}

fn check_length(field: &'static str, text: &str) -> Result<()> {
    match text.len() {
        0 => Err(Error::missing(field)),
        length if KEY_NAME_BYTES.allows(length) => Ok(()),
        length => {
            let found = format_args!("it has {length} bytes, {KEY_NAME_BYTES} are accepted");
            Err(Error::invalid(field, found))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arns() -> Arns {
        Arns::new("local", "0")
    }

    #[test]
    fn a_key_has_three_kinds_of_name() {
        let id = KeyId::new();
        let alias = AliasName::parse("alias/payments").unwrap();
        for (text, name) in [
            (id.to_string(), KeyName::Id(id)),
            (arns().key_arn(id), KeyName::Id(id)),
            ("alias/payments".into(), KeyName::Alias(alias.clone())),
            (arns().alias_arn("alias/payments"), KeyName::Alias(alias)),
        ] {
            assert_eq!(arns().key_name("key_id", &text).unwrap(), name, "{text}");
        }
    }

    #[test]
    fn an_arn_of_another_region_or_account_names_nothing_here() {
        let id = KeyId::new();
        for text in [
            Arns::new("cn-hangzhou", "0").key_arn(id),
            Arns::new("local", "1").key_arn(id),
            format!("acs:oss:local:0:key/{id}"),
            format!("acs:kms:local:0:{id}"),
            id.to_string().to_uppercase(),
            "not-a-key".into(),
        ] {
            assert_eq!(arns().key_name("key_id", &text).unwrap(), KeyName::Unknown, "{text}");
        }
    }

    #[test]
    fn no_name_and_an_endless_name_are_refused() {
        assert!(arns().key_name("key_id", "").is_err());
        assert!(arns().key_name("key_id", &"k".repeat(KEY_NAME_BYTES.max + 1)).is_err());
        assert!(arns().key_id("key_id", "alias/payments").is_err());
    }
}
