//! Randomness from a seed, so that a run can be told again exactly.

use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::lock;

const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const URL_SAFE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A shared random source. Clones draw from the same sequence.
#[derive(Clone)]
pub struct Random {
    rng: Arc<Mutex<StdRng>>,
}

impl Random {
    pub fn seeded(seed: u64) -> Self {
        Self {
            rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))),
        }
    }

    /// A seed nobody chose: for a simulator that outlives one test and must not repeat its ids.
    pub fn from_entropy() -> Self {
        Self {
            rng: Arc::new(Mutex::new(rand::make_rng())),
        }
    }

    /// A number in `low..high`. `low` itself when the range is empty.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        if low >= high {
            return low;
        }
        lock(&self.rng).random_range(low..high)
    }

    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        lock(&self.rng).fill(&mut out[..]);
        out
    }

    pub fn alphanumeric(&self, len: usize) -> String {
        self.drawn_from(ALPHANUMERIC, len)
    }

    pub fn url_safe(&self, len: usize) -> String {
        self.drawn_from(URL_SAFE, len)
    }

    pub fn digits(&self, len: usize) -> String {
        self.drawn_from(b"0123456789", len)
    }

    pub fn upper_hex(&self, len: usize) -> String {
        self.drawn_from(b"0123456789ABCDEF", len)
    }

    fn drawn_from(&self, alphabet: &[u8], len: usize) -> String {
        let mut rng = lock(&self.rng);
        (0..len)
            .map(|_| char::from(alphabet[rng.random_range(0..alphabet.len())]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_tells_one_story() {
        let (a, b) = (Random::seeded(7), Random::seeded(7));
        assert_eq!(a.alphanumeric(40), b.alphanumeric(40));
        assert_eq!(a.between(5, 9), b.between(5, 9));
        assert_ne!(a.upper_hex(20), Random::seeded(8).upper_hex(20));
    }

    #[test]
    fn entropy_does_not_repeat() {
        assert_ne!(
            Random::from_entropy().bytes::<16>(),
            Random::from_entropy().bytes::<16>()
        );
    }
}
