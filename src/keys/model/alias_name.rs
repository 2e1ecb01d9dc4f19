//! Names of aliases.

use std::fmt;

use crate::error::{Error, Result, Rule};
use crate::limits::ALIAS_NAME_CHARS;

/// An alias's name, `alias/` included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AliasName(String);

impl AliasName {
    /// How every name begins.
    pub const PREFIX: &'static str = "alias/";

    /// Reads a name that shall be given to a key.
    pub fn parse_new(text: &str) -> Result<Self> {
        if text.starts_with("alias/acs") {
            return Err(Error::from(Rule::AliasReserved).blaming("alias_name"));
        }
        Self::parse(text).ok_or_else(|| {
            let wanted = format_args!(
                "a name has {ALIAS_NAME_CHARS}: alias/ and then letters, digits, \"/\", \"_\" or \"-\""
            );
            Error::invalid("alias_name", wanted)
        })
    }

    /// Reads a name; `None` for one that no alias can have.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix(Self::PREFIX)?;
        let permitted =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-');
        let fits = ALIAS_NAME_CHARS.allows(text.len()) && name.bytes().all(permitted);
        fits.then(|| Self(text.to_owned()))
    }

    /// The name, `alias/` included; also its path in the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AliasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_one_form() {
        for good in ["alias/a", "alias/payments/eu-1_x", "alias/A9"] {
            assert!(AliasName::parse_new(good).is_ok(), "{good}");
        }
        let longest = format!("alias/{}", "x".repeat(249));
        assert!(AliasName::parse_new(&longest).is_ok());
        for bad in [
            "",
            "alias/",
            "payments",
            "Alias/a",
            "alias/a b",
            "alias/ä",
            "alias/a\0",
            &format!("{longest}x"),
        ] {
            assert_eq!(
                AliasName::parse_new(bad).unwrap_err().rule(),
                Rule::InvalidParameter,
                "{bad}"
            );
        }
        assert_eq!(AliasName::parse_new("alias/acs/kms").unwrap_err().rule(), Rule::AliasReserved);
    }
}
