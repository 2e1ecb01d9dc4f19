//! Nonces of signed requests that change something, spent for good.
//!
//! A nonce is spent in a commit of its own, before the change: so a repetition
//! changes nothing, after a restart as little as before, and that also where the
//! first request was refused or changed nothing. A server that stops between the
//! two has changed nothing, and its client signs anew.
//!
//! A spent nonce is a path; its value means nothing. It is taken away when its
//! signature has been past for long, by readings of the clock that lie an hour
//! apart.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::crypto::random;
use crate::error::{Result, Rule};
use crate::ids::AccessKeyId;
use crate::keys::access_keys::AccessKeys;
use crate::keys::access_keys::refused_changes::BegunChange;
use crate::keys::not_done::NotDone;
use crate::keys::paths::StorePath;
use crate::storage::Write;

/// Nonces that one commit takes away.
const AT_A_TIME: usize = 60;

/// A nonce of a signature that was verified.
pub struct SpentNonce<'a> {
    /// The access key that signed.
    pub access_key_id: &'a AccessKeyId,
    /// The nonce.
    pub nonce: &'a str,
    /// When the signature is accepted no longer.
    pub past_at: Timestamp,
    /// Whether the change takes a permission away.
    pub takes_away: bool,
}

impl AccessKeys {
    /// Spends a nonce; refused where it was spent before, and where its service
    /// account has too many refused changes in the store.
    pub async fn spend_nonce(&self, spent: &SpentNonce<'_>) -> Result<BegunChange> {
        let SpentNonce { past_at, takes_away, .. } = *spent;
        let key = self.find(spent.access_key_id).await?;
        let key = key.ok_or(Rule::NotAuthenticated)?;
        let begun = self.refused.begin(key.principal(), self.clock.now(), past_at, takes_away)?;
        let path = StorePath::UsedNonce {
            past_at,
            access_key_id: *spent.access_key_id,
            digest: Sha256::digest(spent.nonce).into(),
        };
        // Random bytes without a meaning: where a commit's outcome is uncertain,
        // they tell this spending from an earlier one.
        let mark = random::array::<16>()?;
        let (absent, put) = ([path.absent()], [path.put(mark.to_vec())]);
        let spent = if takes_away {
            self.vault.keep_up_urgently(&absent, &put).await
        } else {
            self.vault.keep_up(&absent, &put).await
        };
        match spent {
            Ok(_) => Ok(begun),
            Err(not_done) => {
                // It takes no room.
                begun.made();
                Err(match not_done {
                    NotDone::Stale => Rule::NonceUsed.into(),
                    NotDone::Refused(error) => error,
                })
            }
        }
    }

    /// Erases the nonces that are past at `confirmed`, and what is no nonce.
    pub(in crate::keys) async fn erase_past_nonces(&self, confirmed: Timestamp) -> Result<()> {
        let is_past = |path: &String| match StorePath::parse(path) {
            Some(StorePath::UsedNonce { past_at, .. }) => past_at < confirmed,
            _ => true,
        };
        loop {
            let mut walk = self.vault.walk(StorePath::USED_NONCES, AT_A_TIME);
            let listed = walk.next().await?.unwrap_or_default();
            let paths = listed.into_iter().map(|(path, _)| path);
            let writes: Vec<_> = paths.take_while(is_past).map(Write::Delete).collect();
            if writes.is_empty() {
                return Ok(());
            }
            // Urgent: this makes room.
            match self.vault.keep_up_urgently(&[], &writes).await {
                Ok(_) | Err(NotDone::Stale) => {}
                Err(NotDone::Refused(error)) => return Err(error),
            }
        }
    }
}
