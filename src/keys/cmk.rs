//! A CMK and its states: pure data and pure rules, no IO.

use jiff::Timestamp;

use crate::error::{Error, Result, Rule};
use crate::ids::{KeyId, KeyVersionId};

/// Most aliases that one CMK may have.
pub const MAX_ALIASES: usize = 50;

/// Longest description, in Unicode characters.
pub const MAX_DESCRIPTION_CHARS: usize = 8192;

/// Enums whose text form is the contract's and the store's.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// The name in the contract, case-sensitive.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value of that name.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

named! {
    /// What kind of key material a CMK has.
    KeySpec {
        /// 256 bits of symmetric key material; blobs of format `0x01`.
        Aes256 = "Aliyun_AES_256",
    }
}
named! {
    /// What a CMK may be used for.
    KeyUsage {
        /// Encrypting and decrypting.
        EncryptDecrypt = "ENCRYPT/DECRYPT",
    }
}
named! {
    /// Whether a CMK may be used now.
    KeyState {
        /// It may.
        Enabled = "Enabled",
        /// It may not, until it is enabled again.
        Disabled = "Disabled",
    }
}
named! {
    /// Where the key material comes from.
    Origin {
        /// It was made here.
        Keyferry = "Aliyun_KMS",
    }
}
named! {
    /// What guards the key material.
    ProtectionLevel {
        /// This process.
        Software = "SOFTWARE",
    }
}

/// A customer master key: metadata and state. Its key material lies in its key
/// versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmk {
    /// Its id.
    pub id: KeyId,
    /// What kind of key material it has.
    pub spec: KeySpec,
    /// What it may be used for.
    pub usage: KeyUsage,
    /// Whether it may be used now.
    pub state: KeyState,
    /// Where the key material comes from.
    pub origin: Origin,
    /// The caller's words.
    pub description: String,
    /// Who made it.
    pub creator: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The version that new blobs are sealed under.
    pub primary_version: KeyVersionId,
    /// When the primary version was made.
    pub rotated_at: Timestamp,
}

/// What the caller of CreateKey chose, checked.
#[derive(Clone, Debug)]
pub struct NewCmk {
    /// The caller's words.
    pub description: String,
    /// What kind of key material it shall have.
    pub spec: KeySpec,
    /// Who asks.
    pub creator: String,
}

impl NewCmk {
    /// The CMK, enabled, with its first version.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Cmk {
        Cmk {
            id: KeyId::new(),
            spec: self.spec,
            usage: KeyUsage::EncryptDecrypt,
            state: KeyState::Enabled,
            origin: Origin::Keyferry,
            description: self.description,
            creator: self.creator,
            created_at: now,
            primary_version: KeyVersionId::new(),
            rotated_at: now,
        }
    }
}

impl Cmk {
    /// Whether its state permits using it: every operation of service `Kms`.
    pub fn check_usable(&self) -> Result<()> {
        match self.state {
            KeyState::Enabled => Ok(()),
            KeyState::Disabled => Err(Rule::KeyEnabled.into()),
        }
    }

    /// Whether it serves symmetric sealing and opening.
    pub fn check_seals(&self) -> Result<()> {
        match (self.spec, self.usage) {
            (KeySpec::Aes256, KeyUsage::EncryptDecrypt) => Ok(()),
        }
    }

    /// The same CMK in another state. `EnableKey` and `DisableKey` are
    /// idempotent, and both states permit both.
    #[must_use]
    pub fn in_state(&self, state: KeyState) -> Self {
        Self { state, ..self.clone() }
    }
}

/// Refuses a description that is too long.
pub fn check_description(description: &str) -> Result<()> {
    let chars = description.chars().count();
    if chars > MAX_DESCRIPTION_CHARS {
        let found = format!("it has {chars} characters, at most {MAX_DESCRIPTION_CHARS} are kept");
        return Err(Error::invalid("description", found));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cmk() -> Cmk {
        let new =
            NewCmk { description: String::new(), spec: KeySpec::Aes256, creator: "dev".into() };
        new.at(Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_new_cmk_is_usable_until_it_is_disabled() {
        let enabled = cmk();
        assert!(enabled.check_usable().is_ok());
        let disabled = enabled.in_state(KeyState::Disabled);
        assert_eq!(disabled.check_usable().unwrap_err().rule(), Rule::KeyEnabled);
        assert_eq!(disabled.in_state(KeyState::Enabled), enabled);
    }

    #[test]
    fn names_are_read_back_and_case_matters() {
        assert_eq!(KeySpec::parse("Aliyun_AES_256"), Some(KeySpec::Aes256));
        assert_eq!(KeySpec::parse("aliyun_aes_256"), None);
        assert_eq!(Origin::parse("ALIYUN_KMS"), None);
    }

    #[test]
    fn the_longest_description_is_counted_in_characters() {
        assert!(check_description(&"密".repeat(MAX_DESCRIPTION_CHARS)).is_ok());
        assert!(check_description(&"a".repeat(MAX_DESCRIPTION_CHARS + 1)).is_err());
    }
}
