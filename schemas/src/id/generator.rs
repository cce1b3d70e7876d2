//! Where the random part of an id comes from.

use std::fmt;

use siphasher::sip::SipHasher24;

use super::{Id, Kind, RANDOM_LOW_BITS, RANDOM_LOW_MASK, WorkspaceNumber};

/// An id has 50 random bits: 12 before the variant, 38 after the workspace number.
const RANDOM_BITS: u32 = 50;
const RANDOM_MASK: u64 = (1 << RANDOM_BITS) - 1;
/// The first id of a millisecond starts in the lower half, which leaves room to ascend.
const FIRST_MASK: u64 = RANDOM_MASK >> 1;
/// A step to the next id of the same millisecond has 36 random bits: at least 8,192 ids fit into a millisecond, and one who
/// holds an id meets its neighbour in one try of 68 billion.
const STEP_MASK: u64 = (1 << 36) - 1;

/// Makes ids, in ascending order for one generator.
///
/// Pure: the caller brings the time and, once, a random key. Within a millisecond ids ascend by random steps, so that one
/// generator never makes an id twice. Ids are shown to strangers, and a click id is a claim to the click: so the random bits
/// are those of a keyed function, and whoever reads any number of ids learns nothing of the key, the next ids, or the
/// ones made in between.
pub struct IdGenerator {
    key: SipHasher24,
    drawn: u64,
    last_ms: u64,
    last_random: u64,
}

impl IdGenerator {
    /// A generator under this key. Two generators under one key make the same ids; one that anybody must not foretell has a
    /// key from the operating system's randomness.
    pub fn new(key: u128) -> Self {
        Self { key: SipHasher24::new_with_key(&key.to_le_bytes()), drawn: 0, last_ms: 0, last_random: 0 }
    }

    /// The next id, made at `unix_ms`, for a thing of this workspace.
    pub fn next<K: Kind>(&mut self, unix_ms: u64, workspace: WorkspaceNumber) -> Id<K> {
        let mut ms = unix_ms.max(self.last_ms);
        let drawn = self.draw();
        let random = if ms == self.last_ms {
            let next = self.last_random + 1 + (drawn & STEP_MASK);
            if next > RANDOM_MASK {
                ms += 1;
                drawn & FIRST_MASK
            } else {
                next
            }
        } else {
            drawn & FIRST_MASK
        };
        self.last_ms = ms;
        self.last_random = random;
        let high = (ms << 16) | 0x7000 | (random >> RANDOM_LOW_BITS);
        let low = (0b10 << 62) | (u64::from(workspace.get()) << RANDOM_LOW_BITS) | (random & RANDOM_LOW_MASK);
        Id::from_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
    }

    /// SipHash-2-4 (Aumasson and Bernstein, 2012) of how many were drawn before, under the generator's key.
    fn draw(&mut self) -> u64 {
        let drawn = self.key.hash(&self.drawn.to_le_bytes());
        self.drawn = self.drawn.wrapping_add(1);
        drawn
    }
}

impl fmt::Debug for IdGenerator {
    /// Without the key and without what follows from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdGenerator").field("last_ms", &self.last_ms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use uuid::Uuid;

    use super::*;
    use crate::id::EventId;

    fn workspace(number: u32) -> WorkspaceNumber {
        WorkspaceNumber::new(number).unwrap()
    }

    /// The 50 random bits of an id.
    fn random(id: EventId) -> u64 {
        let id = u128::from_be_bytes(*id.bytes());
        let high = (id >> 64) as u64 & 0xfff;
        (high << RANDOM_LOW_BITS) | (id as u64 & RANDOM_LOW_MASK)
    }

    /// The random bits of ids that are each the first of their millisecond.
    fn firsts(key: u128, count: u64) -> Vec<u64> {
        let mut ids = IdGenerator::new(key);
        (1..=count).map(|ms| random(ids.next(ms, WorkspaceNumber::NONE))).collect()
    }

    #[test]
    fn ids_carry_workspace_and_time_and_ascend_within_a_millisecond() {
        let mut ids = IdGenerator::new(7);
        let mut last: Option<EventId> = None;
        for n in 0..200_000_u32 {
            let id: EventId = ids.next(1_700_000_000_000, workspace(n & WorkspaceNumber::MAX));
            assert_eq!(id.workspace().get(), n);
            assert_eq!(Uuid::from_bytes(*id.bytes()).get_version_num(), 7);
            if let Some(last) = last {
                assert_ne!(last, id);
                assert!((last.unix_ms(), random(last)) < (id.unix_ms(), random(id)));
            }
            last = Some(id);
        }
        // At least 8,192 of them fit into a millisecond; the clock is run ahead of by no more than that.
        assert!(last.unwrap().unix_ms() <= 1_700_000_000_000 + 200_000 / 8_192);
        let mut one = IdGenerator::new(7);
        let pair: [EventId; 2] = [one.next(5, workspace(9)), one.next(5, workspace(9))];
        assert_eq!((pair[0].unix_ms(), pair[0].workspace()), (5, workspace(9)));
        // Within one workspace and millisecond the twelve bits before the variant ascend first.
        assert!(pair[0] < pair[1]);
    }

    #[test]
    fn the_random_bits_are_those_of_siphash_2_4() {
        // The reference implementation's vector for a message of eight bytes: key 00 01 … 0f, message 00 01 … 07.
        let key = u128::from_le_bytes(std::array::from_fn(|at| at as u8));
        let mut ids = IdGenerator::new(key);
        ids.drawn = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(random(ids.next(1, WorkspaceNumber::NONE)), 0x93f5_f579_9a93_2462 & FIRST_MASK);
        assert_eq!(ids.drawn, u64::from_le_bytes([1, 1, 2, 3, 4, 5, 6, 7]));
    }

    #[test]
    fn no_bit_of_an_id_follows_from_the_key_by_sight_or_from_another_id() {
        const COUNT: u64 = 10_000;
        // Four standard deviations of that many fair coins.
        let fair = COUNT / 2 - 200..=COUNT / 2 + 200;
        let drawn = firsts(1, COUNT);
        // One bit of the key away, and the ids that followed: both differ in every bit as often as not.
        let others = firsts(1 | (1 << 127), COUNT);
        let next = firsts(1, COUNT + 1);
        for bit in 0..RANDOM_BITS - 1 {
            let set = |values: &[u64]| values.iter().filter(|value| *value >> bit & 1 == 1).count() as u64;
            let differs = |with: &[u64]| {
                set(&drawn.iter().zip(with).map(|(one, other)| one ^ other).collect::<Vec<_>>())
            };
            for count in [set(&drawn), differs(&others), differs(&next[1..])] {
                assert!(fair.contains(&count), "bit {bit}: {count} of {COUNT}");
            }
        }
        let mut all: HashSet<u64> = drawn.iter().copied().collect();
        all.extend(&others);
        assert_eq!(all.len() as u64, 2 * COUNT);
    }

    #[test]
    fn what_is_logged_of_a_generator_does_not_hold_its_key() {
        assert_eq!(format!("{:?}", IdGenerator::new(0xabcd)), "IdGenerator { last_ms: 0, .. }");
    }
}
