//! A CMK: pure data and questions to it, no IO. Its changes are in
//! `life_cycle.rs`.

use jiff::Timestamp;

use crate::crypto::key_pair::KeyPairSpec;
use crate::error::{Error, Result, Rule};
use crate::ids::{KeyId, KeyVersionId};
use crate::keys::model::named::named;
use crate::keys::model::rotation::RotationInterval;
use crate::keys::model::tags::Tags;
use crate::limits::{DESCRIPTION_CHARS, Limit, PROTECTION_DESCRIPTION_CHARS};

named! {
    /// The kind of key material of a CMK.
    KeySpec {
        /// 256 bits of symmetric key material; blobs of format `0x01`.
        Aes256 = "Aliyun_AES_256",
        /// An RSA key pair, modulus of 2048 bits.
        Rsa2048 = "RSA_2048",
        /// An RSA key pair, modulus of 3072 bits.
        Rsa3072 = "RSA_3072",
        /// An RSA key pair, modulus of 4096 bits.
        Rsa4096 = "RSA_4096",
        /// A key pair on P-256 (SP 800-186, 3.2.1.3).
        EcP256 = "EC_P256",
        /// A key pair on secp256k1 (SEC 2, 2.4.1).
        EcP256K = "EC_P256K",
        /// A key pair on SM2's curve (GB/T 32918.5).
        EcSm2 = "EC_SM2",
    }
}
named! {
    /// The use that a CMK is for.
    KeyUsage {
        /// Encrypting and decrypting.
        EncryptDecrypt = "ENCRYPT/DECRYPT",
        /// Signing and verifying.
        SignVerify = "SIGN/VERIFY",
    }
}
named! {
    /// Whether a CMK may be used now.
    KeyState {
        /// It may.
        Enabled = "Enabled",
        /// It may not, until it is enabled again.
        Disabled = "Disabled",
        /// It may not, and will be deleted.
        PendingDeletion = "PendingDeletion",
        /// It may not, as it has no key material yet.
        PendingImport = "PendingImport",
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
    /// The guard of the key material.
    ProtectionLevel {
        /// This process.
        Software = "SOFTWARE",
    }
}

impl KeySpec {
    /// The kind of key pair; `None` for a symmetric key.
    #[must_use]
    pub const fn pair(self) -> Option<KeyPairSpec> {
        match self {
            Self::Aes256 => None,
            Self::Rsa2048 => Some(KeyPairSpec::Rsa2048),
            Self::Rsa3072 => Some(KeyPairSpec::Rsa3072),
            Self::Rsa4096 => Some(KeyPairSpec::Rsa4096),
            Self::EcP256 => Some(KeyPairSpec::EcP256),
            Self::EcP256K => Some(KeyPairSpec::EcP256K),
            Self::EcSm2 => Some(KeyPairSpec::EcSm2),
        }
    }

    /// Whether it is an RSA key pair, which takes up to a second to make.
    #[must_use]
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }

    /// Whether a CMK of this spec may have that usage.
    #[must_use]
    pub const fn serves(self, usage: KeyUsage) -> bool {
        match usage {
            KeyUsage::EncryptDecrypt => !matches!(self, Self::EcP256 | Self::EcP256K),
            KeyUsage::SignVerify => self.pair().is_some(),
        }
    }

    /// The usage where none is asked for: signing wherever the spec can sign,
    /// as Alibaba Cloud has it.
    #[must_use]
    pub const fn default_usage(self) -> KeyUsage {
        if self.serves(KeyUsage::SignVerify) {
            KeyUsage::SignVerify
        } else {
            KeyUsage::EncryptDecrypt
        }
    }
}

/// A customer master key: metadata and state. Its key material lies in its key
/// versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmk {
    /// Its id.
    pub id: KeyId,
    /// The kind of its key material.
    pub spec: KeySpec,
    /// The use that it is for.
    pub usage: KeyUsage,
    /// Whether it may be used now.
    pub state: KeyState,
    /// Where the key material comes from.
    pub origin: Origin,
    /// The caller's words.
    pub description: String,
    /// The caller that made it.
    pub creator: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The newest version: of a symmetric CMK the one that new blobs are sealed
    /// under.
    pub newest_version: KeyVersionId,
    /// When the newest version was made.
    pub rotated_at: Timestamp,
    /// How many versions there are.
    pub versions: u32,
    /// How often it is rotated on a schedule, if it is.
    pub rotation: Option<RotationInterval>,
    /// While it is waiting to be deleted: when it will be.
    pub deletion_due_at: Option<Timestamp>,
    /// Whether its deletion is refused.
    pub protection: DeletionProtection,
    /// Pairs of words about it.
    pub tags: Tags,
}

/// Whether the deletion of a CMK is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletionProtection {
    /// Whether it is.
    pub on: bool,
    /// The caller's words about it.
    pub description: String,
}

/// The choices of a caller of CreateKey, checked.
#[derive(Clone, Debug)]
pub struct NewCmk {
    /// The caller's words.
    pub description: String,
    /// The kind of key material that it shall have.
    pub spec: KeySpec,
    /// The use that it shall be for; the spec serves it.
    pub usage: KeyUsage,
    /// How often it is rotated on a schedule, if it is; symmetric ones only.
    pub rotation: Option<RotationInterval>,
    /// Pairs of words about it.
    pub tags: Tags,
    /// The caller.
    pub creator: String,
}

impl NewCmk {
    /// The CMK, enabled, with its first version.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Cmk {
        Cmk {
            id: KeyId::new(),
            spec: self.spec,
            usage: self.usage,
            state: KeyState::Enabled,
            origin: Origin::Keyferry,
            description: self.description,
            creator: self.creator,
            created_at: now,
            newest_version: KeyVersionId::new(),
            rotated_at: now,
            versions: 1,
            rotation: self.rotation,
            deletion_due_at: None,
            protection: DeletionProtection::default(),
            tags: self.tags,
        }
    }
}

impl Cmk {
    /// Whether it serves symmetric sealing and opening.
    pub fn check_seals(&self) -> Result<()> {
        match self.spec {
            KeySpec::Aes256 => Ok(()),
            _ => Err(Rule::UnsupportedKeyKind.into()),
        }
    }

    /// Whether it is a key pair; where a usage is asked for, of that usage.
    pub fn check_pair(&self, usage: Option<KeyUsage>) -> Result<KeyPairSpec> {
        match self.spec.pair() {
            Some(spec) if usage.is_none_or(|usage| usage == self.usage) => Ok(spec),
            _ => Err(Rule::RejectedKeyKind.into()),
        }
    }

    /// About how much memory it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.description.len()
            + self.creator.len()
            + self.protection.description.len()
            + self.tags.memory_bytes()
    }
}

/// Refuses a description that is too long.
pub fn check_description(description: &str) -> Result<()> {
    check_chars("description", description, DESCRIPTION_CHARS)
}

/// Refuses a description of a deletion protection that is too long.
pub fn check_protection_description(description: &str) -> Result<()> {
    check_chars("deletion_protection_description", description, PROTECTION_DESCRIPTION_CHARS)
}

fn check_chars(field: &'static str, text: &str, limit: Limit) -> Result<()> {
    let chars = text.chars().count();
    if !limit.allows(chars) {
        let found = format!("it has {chars} characters, {limit} are accepted");
        return Err(Error::invalid(field, found));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_usage_is_signing_wherever_the_spec_can_sign() {
        assert_eq!(KeySpec::Aes256.default_usage(), KeyUsage::EncryptDecrypt);
        for (spec, encrypts) in [
            (KeySpec::Rsa2048, true),
            (KeySpec::Rsa3072, true),
            (KeySpec::Rsa4096, true),
            (KeySpec::EcP256, false),
            (KeySpec::EcP256K, false),
            (KeySpec::EcSm2, true),
        ] {
            assert_eq!(spec.default_usage(), KeyUsage::SignVerify);
            assert_eq!(spec.serves(KeyUsage::EncryptDecrypt), encrypts, "{}", spec.as_str());
        }
    }

    #[test]
    fn names_are_read_back_and_case_matters() {
        assert_eq!(KeySpec::parse("Aliyun_AES_256"), Some(KeySpec::Aes256));
        assert_eq!(KeySpec::parse("aliyun_aes_256"), None);
        assert_eq!(Origin::parse("ALIYUN_KMS"), None);
    }

    #[test]
    fn the_longest_description_is_counted_in_characters() {
        assert!(check_description(&"密".repeat(DESCRIPTION_CHARS.max)).is_ok());
        assert!(check_description(&"a".repeat(DESCRIPTION_CHARS.max + 1)).is_err());
        let longest = PROTECTION_DESCRIPTION_CHARS.max;
        assert!(check_protection_description(&"密".repeat(longest)).is_ok());
        assert!(check_protection_description(&"a".repeat(longest + 1)).is_err());
    }
}
