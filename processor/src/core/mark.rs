//! Delivery marks: which deliveries of one life of an edge were seen.
//!
//! An append that timed out may have been written after all, and a spool may send it again. A number that was seen
//! before is the same delivery. Numbers are dense, so that what is kept is the next number and the gaps below it.

use prost::Message;
use schemas::time::Timestamp;

use super::state::StateError;

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Marks {
    /// All numbers from here on are new.
    #[prost(uint64, tag = "1")]
    next: u64,
    /// Numbers below `next` that were not seen, as half-open ranges in ascending order, flat: from, to, from, to…
    #[prost(uint64, repeated, tag = "2")]
    missing: Vec<u64>,
    /// Core time of the last delivery.
    #[prost(int64, tag = "3")]
    last_seen: i64,
}

impl Marks {
    pub(super) fn decode_from(bytes: &[u8]) -> Result<Self, StateError> {
        Self::decode(bytes).map_err(|_| StateError::Unreadable("delivery marks"))
    }

    pub(super) const fn last_seen(&self) -> Timestamp {
        Timestamp::from_micros(self.last_seen)
    }

    pub(super) fn saw(&self, number: u64) -> bool {
        number < self.next && self.gap_with(number).is_none()
    }

    pub(super) fn see(&mut self, number: u64, core_time: Timestamp) {
        self.last_seen = core_time.micros();
        if number >= self.next {
            if number > self.next {
                self.missing.extend([self.next, number]);
            }
            self.next = number.saturating_add(1);
        } else if let Some(at) = self.gap_with(number) {
            let (from, to) = (self.missing[at], self.missing[at + 1]);
            let halves = [from, number, number + 1, to];
            let rest = halves.chunks_exact(2).filter(|range| range[0] < range[1]).flatten().copied();
            self.missing.splice(at..at + 2, rest.collect::<Vec<_>>());
        }
    }

    /// Where in `missing` the range with this number begins.
    fn gap_with(&self, number: u64) -> Option<usize> {
        let after = self.missing.chunks_exact(2).take_while(|range| range[0] <= number).count();
        let at = after.checked_sub(1)? * 2;
        (number < self.missing[at + 1]).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn marks_remember_exactly_what_was_seen(numbers in prop::collection::vec(0_u64..60, 0..200)) {
            let mut marks = Marks::default();
            let mut seen = BTreeSet::new();
            for number in numbers {
                prop_assert_eq!(marks.saw(number), seen.contains(&number), "{} of {:?}", number, marks);
                marks.see(number, Timestamp::default());
                seen.insert(number);
            }
            prop_assert_eq!((0..70).filter(|n| marks.saw(*n)).collect::<BTreeSet<_>>(), seen.clone());
            if let Some(max) = seen.last() && seen.len() as u64 == max + 1 {
                prop_assert!(marks.missing.is_empty(), "no gap is left: {:?}", marks);
            }
        }
    }
}
