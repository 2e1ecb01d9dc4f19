//! The keyring: CMKs and key versions, loaded when asked for, kept in bounded
//! caches, and changed by compare-and-swap.
//!
//! Nothing is loaded at start. A change commits, then the caches forget, then
//! the caller is answered: no request that begins after DisableKey returned
//! succeeds with that key. With several replicas over one store this will take
//! a lease as well, checked where a version is taken and again before the
//! answer.
//!
//! | room | what it does |
//! | --- | --- |
//! | `cmks` | finds and changes CMKs |
//! | [`versions`] | makes, lists and loads their versions |
//! | `taking` | takes a version for one grant and one use: a [`key_version`] or a [`pair_version`] |
//! | [`aliases`] | their names |
//! | `cmk_list` | lists them |

pub mod aliases;
mod cmk_list;
mod cmk_record;
mod cmks;
pub mod key_version;
pub mod pair_version;
mod taking;
pub mod version_material;
pub mod versions;

use std::sync::Arc;

use jiff::Timestamp;

use crate::access::actions::Actions;
use crate::access::grant::{Grant, KeyIdentity};
use crate::access::operations::Action;
use crate::access::purpose::Look;
use crate::access::question::KeyFacts;
use crate::error::{Error, Result};
use crate::ids::{KeyId, KeyVersionId};
use crate::keys::caches::{Caches, FreshCache};
use crate::keys::clock::Clock;
use crate::keys::keyring::key_version::LoadedVersion;
use crate::keys::model::alias_name::AliasName;
use crate::keys::model::cmk::Cmk;
use crate::keys::paths::StorePath;
use crate::keys::vault::Vault;
use crate::storage::Revision;

/// The actions that metadata is shown for.
const METADATA: Actions = Actions::of(&[Action::DescribeKey, Action::ListResourceTags]);

const MAX_CACHED_CMK_BYTES: u64 = 16 << 20;
/// Some 20,000 symmetric versions; an RSA key pair weighs ten times as much.
const MAX_CACHED_VERSION_BYTES: u64 = 48 << 20;
const MAX_CACHED_ALIASES: u64 = 20_000;

/// A CMK as the store has it.
#[derive(Clone, Debug)]
pub struct StoredCmk {
    /// The CMK.
    pub cmk: Cmk,
    /// Its aliases, as of the same moment: each change of them makes a revision of the
    /// CMK, so that no decision outlives the names that it was made by.
    pub aliases: Vec<String>,
    /// The store's revision of it.
    pub revision: Revision,
}

impl StoredCmk {
    /// Its id and revision.
    #[must_use]
    pub fn identity(&self) -> KeyIdentity {
        KeyIdentity { id: self.cmk.id, revision: self.revision.0 }
    }

    /// The facts that a decision may depend on.
    #[must_use]
    pub fn facts(&self) -> KeyFacts<'_> {
        KeyFacts {
            identity: self.identity(),
            spec: self.cmk.spec.as_str(),
            usage: self.cmk.usage.as_str(),
            state: self.cmk.state.as_str(),
            creator: &self.cmk.creator,
            tags: self.cmk.tags.as_map(),
            aliases: &self.aliases,
        }
    }

    fn memory_bytes(&self) -> usize {
        let aliases = self.aliases.iter().map(|name| size_of::<String>() + name.len());
        self.cmk.memory_bytes() + aliases.sum::<usize>()
    }

    /// Its metadata, for a grant to see it.
    #[expect(clippy::needless_pass_by_value, reason = "a grant is for one use, which consumes it")]
    pub fn shown_to(&self, grant: Grant<Look>) -> Result<&Cmk> {
        if grant.key_for(METADATA)? == self.identity() { Ok(&self.cmk) } else { Err(other_key()) }
    }
}

/// Loads, keeps and changes CMKs, their versions and their aliases.
pub struct Keyring {
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    cached: Cached,
}

/// The caches of a keyring.
pub(in crate::keys) struct Cached {
    cmks: FreshCache<KeyId, Arc<StoredCmk>>,
    versions: FreshCache<KeyVersionId, Arc<LoadedVersion>>,
    aliases: FreshCache<AliasName, KeyId>,
}

impl Cached {
    pub(in crate::keys) fn among(caches: &mut Caches) -> Self {
        Self {
            cmks: caches.weighed(
                MAX_CACHED_CMK_BYTES,
                |stored: &Arc<StoredCmk>| stored.memory_bytes(),
                |path| match path {
                    StorePath::Cmk(id) => Some(*id),
                    _ => None,
                },
            ),
            versions: caches.weighed(
                MAX_CACHED_VERSION_BYTES,
                |loaded: &Arc<LoadedVersion>| loaded.memory_bytes(),
                |path| match path {
                    StorePath::Version(id) => Some(*id),
                    _ => None,
                },
            ),
            aliases: caches.counted(MAX_CACHED_ALIASES, |path| match path {
                StorePath::Alias(name) => Some(name.clone()),
                _ => None,
            }),
        }
    }
}

impl Keyring {
    pub(in crate::keys) fn new(vault: Arc<Vault>, clock: Arc<dyn Clock>, cached: Cached) -> Self {
        Self { vault, clock, cached }
    }

    /// Whether the store answers and every record that was opened was intact.
    pub async fn is_healthy(&self) -> bool {
        self.vault.is_healthy().await
    }

    /// The clock that it goes by.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// The time, in whole seconds, as records keep it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.whole_second()
    }
}

/// A fault of ours: what is about to be done is not what was granted.
fn other_key() -> Error {
    Error::internal("a grant was used for another key or revision")
}
