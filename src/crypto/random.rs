//! Randomness straight from the kernel.
//!
//! No generator with a state of its own stands between: two clones of a
//! virtual machine, or a process and its fork, would draw the same keys and
//! nonces from a buffer in user space.

use getrandom::rand_core::{TryCryptoRng, TryRng};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::error::Error;

/// The kernel gave no randomness; nothing may be made without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the kernel gave no randomness")]
pub struct RandomUnavailable;

impl From<RandomUnavailable> for Error {
    fn from(unavailable: RandomUnavailable) -> Self {
        Self::internal(unavailable.to_string())
    }
}

/// Fills `bytes`.
pub fn fill(bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
    getrandom::fill(bytes).map_err(|_| RandomUnavailable)
}

/// `N` public random bytes, a nonce for example. Secrets are filled in place,
/// by [`fill`], so that no copy of them is left behind.
pub fn array<const N: usize>() -> Result<[u8; N], RandomUnavailable> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// The alphabet of [`fill_base62`]: nothing in it needs quoting anywhere.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Fills `text` with letters and digits, each as likely as any other: 5.95 bits
/// a character.
pub fn fill_base62(text: &mut [u8]) -> Result<(), RandomUnavailable> {
    let mut slots = text.iter_mut();
    let mut drawn = Zeroizing::new([0; 64]);
    while slots.len() > 0 {
        fill(drawn.as_mut_slice())?;
        // 62 of 64 values fit; the others are drawn anew, since a remainder
        // would favour some characters.
        let characters = drawn.iter().filter_map(|byte| BASE62.get(usize::from(byte % 64)));
        for character in characters {
            let Some(slot) = slots.next() else { break };
            *slot = *character;
        }
    }
    Ok(())
}

/// The kernel as a generator for crates that ask for one.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelRng;

impl TryRng for KernelRng {
    type Error = RandomUnavailable;

    fn try_next_u32(&mut self) -> Result<u32, RandomUnavailable> {
        array().map(u32::from_ne_bytes)
    }

    fn try_next_u64(&mut self) -> Result<u64, RandomUnavailable> {
        array().map(u64::from_ne_bytes)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        fill(bytes)
    }
}

impl TryCryptoRng for KernelRng {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_drawn() {
        // A byte that is never written stays 0 in all 64 draws: 2^-512 by chance.
        let mut seen = [0u8; 100];
        for _ in 0..64 {
            let drawn = array::<100>().expect("randomness");
            seen.iter_mut().zip(drawn).for_each(|(s, d)| *s |= d);
        }
        assert!(seen.iter().all(|byte| *byte != 0));
    }

    #[test]
    fn no_draw_repeats() {
        let draws: std::collections::HashSet<u64> =
            (0..10_000).map(|_| KernelRng.try_next_u64().expect("randomness")).collect();
        assert_eq!(draws.len(), 10_000);
    }

    #[test]
    fn letters_and_digits_are_all_as_likely() {
        let mut text = vec![0; 62 * 1000];
        fill_base62(&mut text).expect("randomness");
        for character in BASE62 {
            let times = text.iter().map(|drawn| usize::from(drawn == character)).sum::<usize>();
            // 1000 on average, with a standard deviation of 31.
            assert!((750..1250).contains(&times), "{}: {times}", char::from(*character));
        }
        assert!(text.iter().all(u8::is_ascii_alphanumeric));
        fill_base62(&mut []).expect("nothing to draw");
    }

    #[test]
    fn nothing_is_drawn_into_nothing() {
        assert_eq!(array::<0>(), Ok([]));
    }
}
