//! Known recipients: a bounded cache of parsed wrapping keys.
//!
//! A key is looked up or parsed by `find`, before anything is decided, and
//! enters the cache by `admit`, after an Allow: a caller who may not export fills
//! no memory. Each principal has a bound of its own, so that one with many keys
//! does not push out those of others.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::wrapping::{UnfitPublicKey, WrappingKey, WrappingKeySpec};

/// The admission at which a key is prepared for many wraps: an SM2 table costs
/// about two wraps without one, which keys that are used once or twice do not
/// earn back.
const PREPARED_AT_USE: u32 = 3;

/// SHA-256 of the spec and the bytes that were sent: the full digest, so that no
/// two keys can be made that are taken for one another.
type SentDigest = [u8; 32];

/// A recipient, parsed.
#[derive(Clone)]
pub struct Recipient(Arc<Known>);

struct Known {
    sent: SentDigest,
    key: WrappingKey,
    uses: AtomicU32,
}

impl Known {
    /// Counts a use, and says whether the key was prepared for it and now takes
    /// more memory. Counting stops there: nothing is written for a key that is
    /// used a million times.
    fn count_use(&self) -> bool {
        if self.uses.load(Ordering::Relaxed) >= PREPARED_AT_USE {
            return false;
        }
        let use_number = self.uses.fetch_add(1, Ordering::Relaxed) + 1;
        let grows = use_number >= PREPARED_AT_USE && !self.key.is_prepared();
        if grows {
            self.key.prepare();
        }
        grows
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recipient").field(&self.0.key).finish()
    }
}

impl Recipient {
    /// The wrapping key.
    #[must_use]
    pub fn key(&self) -> &WrappingKey {
        &self.0.key
    }

    /// The wrapping key's digest.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        self.0.key.sha256()
    }

    fn memory_bytes(&self) -> usize {
        // The cache's own entry: key, pointers, places in its queues.
        const ENTRY_BYTES: usize = 256;
        ENTRY_BYTES + size_of::<Known>() + self.0.key.memory_bytes()
    }
}

/// The keys of one principal.
type OfPrincipal = Cache<SentDigest, Recipient>;

/// The cache.
pub struct Recipients {
    principals: Cache<Arc<str>, OfPrincipal>,
    max_bytes_per_principal: u64,
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipients")
    }
}

impl Recipients {
    /// A cache of at most so many bytes, counted by estimate.
    #[must_use]
    pub fn new(max_bytes_in_all: u64, max_bytes_per_principal: u64) -> Self {
        let principals = Cache::builder()
            .max_capacity(max_bytes_in_all)
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|principal: &Arc<str>, keys: &OfPrincipal| {
                // The structures of a cache of its own.
                const CACHE_BYTES: u64 = 2048;
                saturate(CACHE_BYTES + principal.len() as u64 + keys.weighted_size())
            })
            .build();
        Self { principals, max_bytes_per_principal }
    }

    /// The recipient, known or freshly parsed. Nothing enters the cache.
    pub fn find(
        &self,
        principal: &str,
        spec: WrappingKeySpec,
        sent: &[u8],
    ) -> Result<Recipient, UnfitPublicKey> {
        let digest = sent_digest(spec, sent);
        let known = self.principals.get(principal).and_then(|keys| keys.get(&digest));
        if let Some(recipient) = known {
            return Ok(recipient);
        }
        let key = WrappingKey::parse(spec, sent)?;
        Ok(Recipient(Arc::new(Known { sent: digest, key, uses: AtomicU32::new(0) })))
    }

    /// Enters a recipient whose use was allowed, and counts the use.
    pub fn admit(&self, principal: &str, recipient: &Recipient) {
        let keys = match self.principals.get(principal) {
            Some(keys) => keys,
            None => self.principals.get_with(principal.into(), || self.of_principal()),
        };
        let (known, entered) = if let Some(known) = keys.get(&recipient.0.sent) {
            (known, false)
        } else {
            let entry = keys.entry(recipient.0.sent).or_insert_with(|| recipient.clone());
            let entered = entry.is_fresh();
            (entry.into_value(), entered)
        };
        let grown = known.0.count_use();
        if grown {
            keys.insert(known.0.sent, known);
        }
        if entered || grown {
            // Entries are weighed when they are inserted.
            keys.run_pending_tasks();
            self.principals.insert(principal.into(), keys);
        }
    }

    fn of_principal(&self) -> OfPrincipal {
        Cache::builder()
            .max_capacity(self.max_bytes_per_principal)
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|_, recipient: &Recipient| saturate(recipient.memory_bytes() as u64))
            .build()
    }
}

fn sent_digest(spec: WrappingKeySpec, sent: &[u8]) -> SentDigest {
    let mut digest = Sha256::new();
    digest.update(spec.as_str());
    digest.update([0]);
    digest.update(sent);
    digest.finalize().into()
}

fn saturate(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::unwrapping::RecipientPrivateKey;
    use crate::crypto::wrapping::WrappingKeySpec::{EcSm2, Rsa2048};

    const ROOMY: u64 = 1 << 24;

    fn sm2_key() -> Vec<u8> {
        RecipientPrivateKey::generate(EcSm2).expect("a key").public_key_der().to_vec()
    }

    fn use_once(recipients: &Recipients, principal: &str, sent: &[u8]) -> Recipient {
        let recipient = recipients.find(principal, EcSm2, sent).expect("a key");
        recipients.admit(principal, &recipient);
        recipient
    }

    fn is_same(a: &Recipient, b: &Recipient) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }

    fn bytes(recipients: &Recipients) -> u64 {
        recipients.principals.run_pending_tasks();
        recipients.principals.weighted_size()
    }

    #[test]
    fn only_an_admitted_key_is_known() {
        let (recipients, key) = (Recipients::new(ROOMY, ROOMY), sm2_key());
        let [a, b] = [(), ()].map(|()| recipients.find("p", EcSm2, &key).expect("a key"));
        assert!(!is_same(&a, &b));
        assert_eq!(bytes(&recipients), 0);
        recipients.admit("p", &a);
        assert!(is_same(&a, &recipients.find("p", EcSm2, &key).expect("a key")));
        assert!(!is_same(&a, &recipients.find("q", EcSm2, &key).expect("a key")));
    }

    #[test]
    fn the_table_comes_with_the_third_use() {
        let (recipients, key) = (Recipients::new(ROOMY, ROOMY), sm2_key());
        let prepared: Vec<bool> =
            (0..4).map(|_| use_once(&recipients, "p", &key).key().is_prepared()).collect();
        assert_eq!(prepared, [false, false, true, true]);
        assert!(bytes(&recipients) > 25_000, "the table is weighed");
    }

    #[test]
    fn uses_of_two_callers_at_once_are_counted_together() {
        let (recipients, key) = (Recipients::new(ROOMY, ROOMY), sm2_key());
        let found: Vec<_> =
            (0..3).map(|_| recipients.find("p", EcSm2, &key).expect("a key")).collect();
        for recipient in &found {
            recipients.admit("p", recipient);
        }
        assert!(found[0].key().is_prepared());
        assert!(recipients.find("p", EcSm2, &key).expect("a key").key().is_prepared());
    }

    #[test]
    fn a_refused_key_is_refused_each_time() {
        let (recipients, key) = (Recipients::new(ROOMY, ROOMY), sm2_key());
        use_once(&recipients, "p", &key);
        assert!(recipients.find("p", Rsa2048, &key).is_err());
        assert!(recipients.find("p", EcSm2, &key[1..]).is_err());
        assert!(recipients.find("p", EcSm2, &key).is_ok());
    }

    #[test]
    fn a_principal_has_a_bound_and_pushes_out_no_other_s() {
        let recipients = Recipients::new(ROOMY, 40_000);
        let other = sm2_key();
        let kept = use_once(&recipients, "other", &other);
        for _ in 0..200 {
            use_once(&recipients, "greedy", &sm2_key());
        }
        let greedy = recipients.principals.get("greedy").expect("known");
        greedy.run_pending_tasks();
        assert!(greedy.weighted_size() <= 40_000);
        assert!(greedy.entry_count() > 10);
        assert!(is_same(&kept, &recipients.find("other", EcSm2, &other).expect("a key")));
    }

    #[test]
    fn all_principals_together_have_a_bound() {
        let recipients = Recipients::new(100_000, 40_000);
        let key = sm2_key();
        for principal in 0..200 {
            use_once(&recipients, &format!("principal-{principal}"), &key);
            assert!(bytes(&recipients) <= 100_000);
        }
        assert!(recipients.principals.entry_count() > 10);
    }
}
