//! Service accounts, which access keys belong to.
//!
//! An account is a name and nothing else: it exists while it has access keys.

use super::principal::Principal;
use crate::limits::ACCOUNT_NAME_CHARS;

/// A service account, as the principal of its access keys. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccount(Principal);

/// A text that names no service account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a service account has {ACCOUNT_NAME_CHARS}: letters, digits and . _ @ -, the first a letter or digit"
)]
pub struct MalformedAccount;

impl ServiceAccount {
    /// Reads a name. It becomes part of a path in the store and of lines in
    /// logs, neither of which it can break out of.
    pub fn parse(name: &str) -> Result<Self, MalformedAccount> {
        let may_follow =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'@' | b'-');
        let fits = ACCOUNT_NAME_CHARS.allows(name.len())
            && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
            && name.bytes().all(may_follow);
        if fits { Ok(Self(Principal::access_key(name))) } else { Err(MalformedAccount) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The principal of its access keys: `access-key:<name>`.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain() {
        for name in ["a", "7", "billing", "Billing.eu-1_x@corp.example", &"a".repeat(128)] {
            let account = ServiceAccount::parse(name).unwrap();
            assert_eq!(account.name(), name);
            assert_eq!(account.principal().to_string(), format!("access-key:{name}"));
        }
        for name in [
            "",
            "-a",
            ".",
            "..",
            "@a",
            "a b",
            "a/b",
            "a:b",
            "access-key:a",
            "a\nb",
            "a\0",
            "é",
            &"a".repeat(129),
        ] {
            assert_eq!(ServiceAccount::parse(name), Err(MalformedAccount), "{name:?}");
        }
        assert_ne!(ServiceAccount::parse("a"), ServiceAccount::parse("A"));
    }
}
