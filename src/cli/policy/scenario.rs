//! A request that somebody thinks of, as it is written: by options of a command, or in a
//! row of a test file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::imagined::{Imagined, Key};
use crate::access::decisions::{Decision, TABLE};
use crate::access::grant::KeyIdentity;
use crate::access::operations::Action;
use crate::access::principal::Principal;
use crate::access::question::RecipientFacts;
use crate::access::service_account::ServiceAccount;
use crate::access::token_groups::TokenGroups;
use crate::cli::io::input::Input;
use crate::cli::recipient::public_key;
use crate::crypto::ciphertext_blob::BlobKind;
use crate::crypto::encryption_context::EncryptionContext;
use crate::crypto::key_pair::SigningAlgorithm;
use crate::crypto::wrapping::{WrappingAlgorithm, WrappingKeySpec};
use crate::ids::KeyId;
use crate::keys::model::alias_name::AliasName;
use crate::keys::model::cmk::{KeySpec, KeyState, KeyUsage};

/// The request, as it is written. What is not said has the value that is usual.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// The caller.
    pub principal: String,
    /// The groups that the caller's token names.
    pub token_groups: Vec<String>,
    /// An RPC, all of whose decisions are asked for, or one action.
    pub action: String,
    /// The key.
    pub key: Option<KeyText>,
    /// The key that a blob is sealed under, or that an alias shall name.
    pub other_key: Option<KeyText>,
    /// The encryption context.
    pub context: BTreeMap<String, String>,
    /// The one that a blob is sealed with.
    pub other_context: BTreeMap<String, String>,
    /// The file of the recipient's public key.
    pub public_key: Option<String>,
    /// Instead of it, its digest.
    pub public_key_sha256: Option<String>,
    /// The spec of a recipient whose digest is given.
    pub wrapping_key_spec: Option<String>,
    /// The algorithm.
    pub algorithm: Option<String>,
    /// The kind of the blob.
    pub kind: Option<String>,
    /// The length of what is sealed or opened.
    pub number_of_bytes: Option<usize>,
    /// The alias that is made, moved or deleted.
    pub alias: Option<String>,
    /// The tags that the key shall have.
    pub new_tags: BTreeMap<String, String>,
    /// The service account of an access key.
    pub account: Option<String>,
    /// Whether it is a dry run.
    pub dry_run: bool,
}

/// A key: by its id or an alias alone, or with everything that a policy may read of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a key's id or alias, or a table of id, aliases, tags, spec, usage, state and creator"
)]
pub enum KeyText {
    /// Its id or an alias.
    Name(String),
    /// All of it.
    Table(KeyTable),
}

/// A key, as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyTable {
    /// Its id.
    pub id: Option<String>,
    /// Its aliases. The request names it by the first.
    pub aliases: Vec<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The kind of its key material.
    pub spec: Option<String>,
    /// Its usage.
    pub usage: Option<String>,
    /// Its state.
    pub state: Option<String>,
    /// The principal that created it.
    pub creator: String,
}

/// The ids of keys of which none is given. A key of the store never has them.
const SOME_KEY: [u8; 16] = [0; 16];
const ANOTHER_KEY: [u8; 16] = [0xff; 16];

impl Scenario {
    /// Reads it. Paths start at a folder. The error says what was found, and what would do.
    pub fn read(&self, folder: &Path) -> Result<Imagined, String> {
        let (rpc, decisions) = operation(&self.action)?;
        let action = decisions.first().map_or(Action::DescribeKey, |decision| decision.action);
        let key = |text: &Option<KeyText>, some| {
            text.as_ref().map(|key| Key::read(key, action, some)).transpose()
        };
        let recipient = self.recipient(folder)?;
        let imagined = Imagined {
            principal: Principal::parse(&self.principal)
                .map_err(|why| format!("the principal {:?}: {why}", self.principal))?,
            token_groups: TokenGroups::new(self.token_groups.iter().cloned())
                .map_err(|why| format!("token_groups: {why}"))?,
            rpc,
            decisions,
            key: key(&self.key, SOME_KEY)?,
            other_key: key(&self.other_key, ANOTHER_KEY)?,
            context: context("context", &self.context)?,
            other_context: context("other_context", &self.other_context)?,
            algorithm: self.algorithm(action, recipient.spec)?,
            recipient,
            kind: self.kind(action)?,
            number_of_bytes: self.number_of_bytes.unwrap_or(32),
            alias: self.alias.as_deref().map(alias).transpose()?,
            new_tags: self.new_tags.clone(),
            account: self
                .account
                .as_deref()
                .map(|name| ServiceAccount::parse(name).map_err(|why| format!("{name:?}: {why}")))
                .transpose()?,
            dry_run: self.dry_run,
        };
        imagined.check_complete(&self.action)?;
        Ok(imagined)
    }

    /// The recipient: of a file, by a digest, or one that no policy names.
    fn recipient(&self, folder: &Path) -> Result<RecipientFacts, String> {
        if let Some(file) = &self.public_key {
            let file = Input::from(folder.join(file).as_path());
            let key = public_key::read(&file).map_err(|failure| failure.happened().to_owned())?;
            return Ok(RecipientFacts { sha256: *key.sha256(), spec: key.spec().as_str() });
        }
        let spec = match &self.wrapping_key_spec {
            None => WrappingKeySpec::Rsa2048,
            Some(text) => {
                one_of("wrapping_key_spec", text, &WrappingKeySpec::ALL, |it| it.as_str())?
            }
        };
        let mut sha256 = [0; 32];
        if let Some(text) = &self.public_key_sha256 {
            let decoded = base16ct::lower::decode(text, &mut sha256).map(<[u8]>::len);
            if decoded != Ok(32) {
                return Err(format!(
                    "public_key_sha256 {text:?} is not 64 hexadecimal digits in lower case: `keyferry recipient show FILE` prints it"
                ));
            }
        }
        Ok(RecipientFacts { sha256, spec: spec.as_str() })
    }

    fn algorithm(&self, action: Action, spec: &str) -> Result<Option<&'static str>, String> {
        let wrapping = WrappingAlgorithm::ALL.map(WrappingAlgorithm::as_str);
        let signing = SigningAlgorithm::ALL.map(SigningAlgorithm::as_str);
        if let Some(text) = &self.algorithm {
            let all: Vec<&'static str> = wrapping.into_iter().chain(signing).collect();
            return one_of("algorithm", text, &all, |it| *it).map(Some);
        }
        match action {
            Action::ExportDataKey | Action::GenerateDataKeyWithoutPlaintext => {
                Ok(Some(if spec == WrappingKeySpec::EcSm2.as_str() {
                    WrappingAlgorithm::Sm2Pke.as_str()
                } else {
                    WrappingAlgorithm::RsaesOaepSha256.as_str()
                }))
            }
            Action::AsymmetricEncrypt
            | Action::AsymmetricDecrypt
            | Action::AsymmetricSign
            | Action::AsymmetricVerify => Err(format!("{action} has an algorithm: say which")),
            _ => Ok(None),
        }
    }

    /// The kind of the blob, which most operations leave no choice of.
    fn kind(&self, action: Action) -> Result<Option<BlobKind>, String> {
        let made = match action {
            Action::GenerateDataKeyWithoutPlaintext => Some(BlobKind::DataKeyUnseen),
            Action::GenerateDataKey => Some(BlobKind::DataKeyShown),
            Action::Encrypt => Some(BlobKind::CallerBytes),
            _ => None,
        };
        let Some(text) = &self.kind else {
            return Ok(Some(made.unwrap_or(BlobKind::DataKeyUnseen)));
        };
        let kind = one_of("kind", text, &BlobKind::ALL, |it| it.as_str())?;
        match made {
            Some(made) if made != kind => {
                Err(format!("{action} makes blobs of kind {}, not {text}", made.as_str()))
            }
            _ => Ok(Some(kind)),
        }
    }
}

impl Key {
    fn read(text: &KeyText, action: Action, some: [u8; 16]) -> Result<Self, String> {
        let by_name = match text {
            KeyText::Table(table) => table.clone(),
            KeyText::Name(name) if name.starts_with("alias/") => {
                KeyTable { aliases: vec![name.clone()], ..KeyTable::default() }
            }
            KeyText::Name(name) => KeyTable { id: Some(name.clone()), ..KeyTable::default() },
        };
        let KeyTable { id, aliases, tags, spec, usage, state, creator } = by_name;
        let id = match &id {
            Some(id) => KeyId::parse(id)
                .map_err(|_| format!("{id:?} is no key: give a UUID in lower case, or alias/…"))?,
            None => KeyId::from_bytes(&some).map_err(|_| "the key has no id".to_owned())?,
        };
        let (usual_spec, usual_usage) = match action {
            Action::AsymmetricEncrypt | Action::AsymmetricDecrypt | Action::GetPublicKey => {
                (KeySpec::Rsa2048, KeyUsage::EncryptDecrypt)
            }
            Action::AsymmetricSign | Action::AsymmetricVerify => {
                (KeySpec::Rsa2048, KeyUsage::SignVerify)
            }
            _ => (KeySpec::Aes256, KeyUsage::EncryptDecrypt),
        };
        let value = |name, text: Option<&str>, all: &[&'static str], usual| match text {
            None => Ok(usual),
            Some(text) => one_of(name, text, all, |it| *it),
        };
        let specs = KeySpec::ALL.map(KeySpec::as_str);
        let usages = KeyUsage::ALL.map(KeyUsage::as_str);
        let states = KeyState::ALL.map(KeyState::as_str);
        Ok(Self {
            identity: KeyIdentity { id, revision: 0 },
            aliases: aliases.iter().map(|name| alias(name)).collect::<Result<_, _>>()?,
            tags,
            spec: value("spec", spec.as_deref(), &specs, usual_spec.as_str())?,
            usage: value("usage", usage.as_deref(), &usages, usual_usage.as_str())?,
            state: value("state", state.as_deref(), &states, KeyState::Enabled.as_str())?,
            creator,
        })
    }
}

/// The decisions of an RPC, or of one action within one.
fn operation(text: &str) -> Result<(&'static str, Vec<Decision>), String> {
    let method = |rpc: &str| rpc.split_once('/').is_some_and(|(_, method)| method == text);
    if let Some(row) = TABLE.iter().find(|row| method(row.rpc)) {
        return Ok((row.rpc, row.required.to_vec()));
    }
    let is_it = |decision: &&Decision| decision.action.to_string() == text;
    let with_action = TABLE.iter().find(|row| row.required.iter().any(|it| is_it(&it)));
    let row = with_action.ok_or_else(|| {
        format!("there is no action {text:?}: `keyferry policy schema` lists them")
    })?;
    Ok((row.rpc, row.required.iter().filter(is_it).copied().collect()))
}

fn context(name: &str, pairs: &BTreeMap<String, String>) -> Result<EncryptionContext, String> {
    EncryptionContext::new(pairs.clone()).map_err(|why| format!("{name}: {why}"))
}

fn alias(text: &str) -> Result<String, String> {
    let parsed = AliasName::parse_new(text);
    parsed.map(|alias| alias.as_str().to_owned()).map_err(|why| format!("{text:?}: {why}"))
}

/// The value of that name.
fn one_of<T: Copy>(
    field: &str,
    text: &str,
    all: &[T],
    name: impl Fn(&T) -> &'static str,
) -> Result<T, String> {
    all.iter().find(|it| name(it) == text).copied().ok_or_else(|| {
        let names: Vec<_> = all.iter().map(name).collect();
        format!("{field} {text:?} is none of {}", names.join(", "))
    })
}
