//! The key of a record, chosen here before it is sent: a TID (atproto.com/specs/tid), a time in microseconds and ten bits
//! that tell writers apart. A provider has no chance of its own; the post's id is it.

use chrono::{DateTime, Utc};
use patchbay_core::PostId;

const ALPHABET: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";

/// The key for a post that is begun at `now`. What the clock does not tell, below a millisecond, and the ten bits come from
/// the post's id: two posts of one account share a key once in a million millisecond encounters.
pub(crate) fn of(post: PostId, now: DateTime<Utc>) -> String {
    let seed = post.as_uuid().as_u64_pair().1;
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
    let micros = millis.wrapping_mul(1000).wrapping_add(seed % 1000) & ((1 << 53) - 1);
    let value = (micros << 10) | (seed / 1000 % 1024);
    (0..13)
        .rev()
        .map(|digit| char::from(ALPHABET[usize::try_from(value >> (5 * digit) & 31).unwrap_or_default()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;

    fn post(id: u128) -> PostId {
        PostId::from_uuid(Uuid::from_u128(id))
    }

    #[test]
    fn a_key_is_a_tid_that_sorts_by_time_and_is_the_posts_own() {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
        let key = of(post(7), at(1_790_000_000_000));
        assert_eq!(key.len(), 13);
        // Decoded by hand: 1790000000000007 microseconds, writer 0.
        let value = key.bytes().fold(0_u64, |value, byte| {
            value << 5 | ALPHABET.iter().position(|c| *c == byte).unwrap() as u64
        });
        assert_eq!((value >> 10, value & 1023), (1_790_000_000_000_007, 0));
        assert_eq!(key, of(post(7), at(1_790_000_000_000)), "the same again");
        assert!(of(post(999), at(1_790_000_000_000)) < of(post(0), at(1_790_000_000_001)));
        let keys: BTreeSet<_> = (0..100_000).map(|id| of(post(id), at(1_790_000_000_000))).collect();
        assert_eq!(keys.len(), 100_000);
        assert!(
            keys.iter()
                .all(|key| key.starts_with(|c| ('2'..='7').contains(&c) || ('a'..='j').contains(&c)))
        );
    }
}
