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
use crate::error::{Error, Result, Rule};
use crate::ids::AccessKeyId;
use crate::keys::keyring::{Keyring, Refusal};
use crate::storage::{Precondition, Write};

const PREFIX: &str = "used-nonce/";
/// Nonces that one commit takes away.
const AT_A_TIME: usize = 60;

/// A nonce of a signature that was verified.
pub struct SpentNonce<'a> {
    /// Whose.
    pub access_key_id: &'a AccessKeyId,
    /// The nonce.
    pub nonce: &'a str,
    /// When the signature will be taken no longer.
    pub past_at: Timestamp,
}

impl SpentNonce<'_> {
    /// In order of time, so that what is past is at the head of the list.
    fn path(&self) -> String {
        let digest = base16ct::lower::encode_string(&Sha256::digest(self.nonce));
        let past_at = self.past_at.as_second().max(0);
        format!("{PREFIX}{past_at:012}/{}/{digest}", self.access_key_id.as_str())
    }
}

fn past_at(path: &str) -> Option<Timestamp> {
    let (seconds, _) = path.strip_prefix(PREFIX)?.split_once('/')?;
    Timestamp::from_second(seconds.parse().ok()?).ok()
}

impl Keyring {
    /// Spends a nonce; refused where it was spent before.
    pub async fn spend_nonce(&self, spent: &SpentNonce<'_>) -> Result<()> {
        let path = spent.path();
        let unspent = [Precondition::Absent(path.clone())];
        // Of no meaning, and like no other: where a commit's outcome is
        // uncertain, it tells this spending from an earlier one.
        let mark = random::array::<16>().map_err(|error| Error::internal(error.to_string()))?;
        match self.commit(&unspent, &[Write::Put(path, mark.to_vec())]).await {
            Ok(_) => Ok(()),
            Err(Refusal::Stale) => Err(Rule::NonceUsed.into()),
            Err(Refusal::Broken(error)) => Err(error),
        }
    }

    /// Takes away what is past at `settled`.
    pub(in crate::keys) async fn forget_spent_nonces(&self, settled: Timestamp) -> Result<()> {
        loop {
            let listed = self.store.list(PREFIX, None, AT_A_TIME).await?.entries;
            let past = listed.into_iter().map(|(path, _)| path);
            let past = past.take_while(|path| past_at(path).is_none_or(|at| at < settled));
            let writes: Vec<_> = past.map(Write::Delete).collect();
            if writes.is_empty() {
                return Ok(());
            }
            match self.commit(&[], &writes).await {
                Ok(_) | Err(Refusal::Stale) => {}
                Err(Refusal::Broken(error)) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_paths_is_order_of_time() {
        let id = AccessKeyId::of_tail([b'a'; crate::ids::ACCESS_KEY_TAIL_LEN_BYTES]).unwrap();
        let path = |second, nonce| {
            let past_at = Timestamp::from_second(second).unwrap();
            SpentNonce { access_key_id: &id, nonce, past_at }.path()
        };
        let paths = [path(9, "b"), path(10, "a"), path(1_800_000_000, "a")];
        assert!(paths.is_sorted());
        assert_eq!(past_at(&paths[2]).unwrap().as_second(), 1_800_000_000);
        assert_ne!(path(9, "a"), path(9, "b"));
        assert!(path(9, &"n".repeat(100_000)).len() < crate::storage::PATH_BYTES_MAX);
    }
}
