//! A request that somebody thinks of, as it is judged.

use std::collections::BTreeMap;

use crate::access::cedar::policy_set::Ask;
use crate::access::decisions::{Decision, Resource, TABLE};
use crate::access::grant::KeyIdentity;
use crate::access::operations::Action;
use crate::access::principal::Principal;
use crate::access::question::{
    KeyFacts, NewKeyFacts, OtherKey, RecipientFacts, RequestFacts, Subject,
};
use crate::access::service_account::ServiceAccount;
use crate::access::token_groups::TokenGroups;
use crate::crypto::ciphertext_blob::BlobKind;
use crate::crypto::encryption_context::EncryptionContext;
use crate::keys::model::cmk::{KeySpec, KeyUsage};

/// A scenario that was read: its decisions can be asked for.
#[derive(Debug)]
pub struct Imagined {
    pub(super) principal: Principal,
    pub(super) token_groups: TokenGroups,
    pub(super) rpc: &'static str,
    pub(super) decisions: Vec<Decision>,
    pub(super) key: Option<Key>,
    pub(super) other_key: Option<Key>,
    pub(super) context: EncryptionContext,
    pub(super) other_context: EncryptionContext,
    pub(super) recipient: RecipientFacts,
    pub(super) algorithm: Option<&'static str>,
    pub(super) kind: Option<BlobKind>,
    pub(super) number_of_bytes: usize,
    pub(super) alias: Option<String>,
    pub(super) new_tags: BTreeMap<String, String>,
    pub(super) account: Option<ServiceAccount>,
    pub(super) dry_run: bool,
}

/// A key of it.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) identity: KeyIdentity,
    pub(super) aliases: Vec<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) spec: &'static str,
    pub(super) usage: &'static str,
    pub(super) state: &'static str,
    pub(super) creator: String,
}

impl Imagined {
    /// Refuses a request that lacks what its decisions are about.
    pub(super) fn check_complete(&self, action: &str) -> Result<(), String> {
        let lacks = |what: &str| Err(format!("{action} is about {what}: say which"));
        for decision in &self.decisions {
            match decision.resource {
                Resource::Key if self.key.is_none() => return lacks("a key (key)"),
                Resource::Alias if self.alias.is_none() => return lacks("an alias (alias)"),
                Resource::Account if self.account.is_none() => {
                    return lacks("a service account (account)");
                }
                _ => {}
            }
        }
        if self.is_about_two_keys() && self.other_key.is_none() {
            return lacks("two keys (key and other_key)");
        }
        Ok(())
    }

    fn is_about_two_keys(&self) -> bool {
        let of_rpc = TABLE.iter().filter(|row| row.rpc == self.rpc);
        of_rpc.flat_map(|row| row.required).any(|it| it.resource == Resource::Destination)
    }

    /// The decisions that must all allow it.
    pub fn asks(&self) -> Vec<Ask<'_>> {
        let mut asks = Vec::new();
        for decision in &self.decisions {
            let key = self.key.as_ref().map(Key::facts);
            let other_key = self.other_key.as_ref().map(Key::facts);
            let is_destination = decision.resource == Resource::Destination;
            let subject = match decision.resource {
                Resource::Instance => Subject::Instance,
                Resource::Key => Subject::Key(key),
                Resource::Destination => Subject::Destination(other_key),
                Resource::NewKey if self.new_tags.is_empty() => continue,
                Resource::NewKey => Subject::NewKey,
                Resource::Alias => Subject::Alias,
                Resource::Account => Subject::Account(self.account.as_ref()),
            };
            let (own_context, other) = if is_destination {
                (&self.other_context, OtherKey { key, context: Some(&self.context) })
            } else {
                (&self.context, OtherKey { key: other_key, context: Some(&self.other_context) })
            };
            let ask = Ask {
                principal: &self.principal,
                rpc: self.rpc,
                action: decision.action,
                subject,
                facts: self.facts(own_context),
                other: self.is_about_two_keys().then_some(other),
            };
            asks.push(ask);
            if let (Action::TagResource | Action::UntagResource, Subject::Key(Some(facts))) =
                (decision.action, subject)
            {
                // Judged with the tags that it has, and with those that it shall have.
                let subject = Subject::Key(Some(KeyFacts { tags: &self.new_tags, ..facts }));
                asks.push(Ask { subject, ..ask });
            }
        }
        asks
    }

    fn facts<'a>(&'a self, context: &'a EncryptionContext) -> RequestFacts<'a> {
        let named_by = self.key.as_ref().and_then(|key| key.aliases.first());
        let key = self.key.as_ref();
        RequestFacts {
            token_groups: Some(&self.token_groups),
            context: Some(context),
            recipient: Some(self.recipient),
            algorithm: self.algorithm,
            blob_kind: self.kind,
            number_of_bytes: Some(self.number_of_bytes),
            alias: self.alias.as_ref().or(named_by).map(String::as_str),
            new_key: Some(NewKeyFacts {
                spec: key.map_or(KeySpec::Aes256.as_str(), |key| key.spec),
                usage: key.map_or(KeyUsage::EncryptDecrypt.as_str(), |key| key.usage),
            }),
            new_tags: Some(&self.new_tags),
            dry_run: self.dry_run,
        }
    }
}

impl Key {
    fn facts(&self) -> KeyFacts<'_> {
        let Self { identity, aliases, tags, spec, usage, state, creator } = self;
        KeyFacts { identity: *identity, spec, usage, state, creator, tags, aliases }
    }
}
