//! Delivery marks: which deliveries of one life of an edge were seen.
//!
//! An append that timed out may have been written after all, and a spool may send it again. A number that was seen
//! before is the same delivery. Numbers are dense, so that what is kept is the next number and the gaps below it. Each gap
//! has a key of its own: an edge that often failed has many, and no delivery shall pay for more than one.

use schemas::event::Mark;
use schemas::id::EdgeId;
use schemas::time::Timestamp;

use super::key;
use super::state::{Overlay, State, StateError};

/// Gaps of a silent edge that one sweep forgets; the rest goes with the next.
const SWEPT_GAPS: usize = 10_000;

/// Written once per event: two numbers, big-endian.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Marks {
    /// All numbers from here on are new.
    next: u64,
    /// Core time of the last delivery.
    last_seen: i64,
}

impl Marks {
    fn encode(self) -> [u8; 16] {
        ((u128::from(self.next) << 64) | u128::from(self.last_seen as u64)).to_be_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let ([next, last_seen], []) = bytes.as_chunks::<8>() else { return Err(unreadable()) };
        Ok(Self { next: u64::from_be_bytes(*next), last_seen: i64::from_be_bytes(*last_seen) })
    }
}

/// Numbers from the first up to, not with, the second that were not seen.
type Gap = (u64, u64);

fn unreadable() -> StateError {
    StateError::Unreadable("delivery marks")
}

fn marks(state: &Overlay<'_>, edge: EdgeId) -> Result<Marks, StateError> {
    let bytes = state.get(&key::marks(edge))?;
    bytes.map_or(Ok(Marks::default()), |bytes| Marks::decode(&bytes))
}

/// The gap that a number lies in.
fn gap(state: &Overlay<'_>, mark: Mark) -> Result<Option<Gap>, StateError> {
    let (from, to) = key::gaps_up_to(mark.edge, mark.number);
    let Some((key, value)) = state.scan(&from, &to, 1, true)?.pop() else { return Ok(None) };
    let number =
        |bytes: Option<&[u8; 8]>| bytes.map(|bytes| u64::from_be_bytes(*bytes)).ok_or_else(unreadable);
    let gap = (number(key.last_chunk())?, number(value.last_chunk())?);
    Ok((mark.number < gap.1).then_some(gap))
}

/// Core time of the last delivery of this life of an edge; `None` for one that is forgotten.
pub(super) fn last_seen(state: &Overlay<'_>, edge: EdgeId) -> Result<Option<Timestamp>, StateError> {
    let Some(bytes) = state.get(&key::marks(edge))? else { return Ok(None) };
    let marks = Marks::decode(&bytes)?;
    Ok(Some(Timestamp::from_micros(marks.last_seen)))
}

/// Whether a delivery was seen.
pub(super) fn saw(state: &Overlay<'_>, mark: Mark) -> Result<bool, StateError> {
    Ok(mark.number < marks(state, mark.edge)?.next && gap(state, mark)?.is_none())
}

/// Remembers a delivery.
pub(super) fn see(state: &mut Overlay<'_>, mark: Mark) -> Result<(), StateError> {
    let Mark { edge, number } = mark;
    let next = marks(state, edge)?.next;
    if number > next {
        state.put(key::gap(edge, next), number.to_be_bytes());
    } else if number < next
        && let Some((from, to)) = gap(state, mark)?
    {
        state.remove(key::gap(edge, from));
        if from < number {
            state.put(key::gap(edge, from), number.to_be_bytes());
        }
        if number + 1 < to {
            state.put(key::gap(edge, number + 1), to.to_be_bytes());
        }
    }
    let last_seen = state.head().core_time.micros();
    let marks = Marks { next: next.max(number.saturating_add(1)), last_seen };
    state.put(key::marks(edge), marks.encode());
    Ok(())
}

/// Forgets up to `limit` edges that have been silent for longer than `silence_micros`.
pub(super) fn sweep(state: &mut Overlay<'_>, silence_micros: i64, limit: usize) -> Result<(), StateError> {
    let now = state.head().core_time;
    for (key, bytes) in state.scan(&[key::MARKS], &[key::MARKS + 1], limit, false)? {
        let marks = Marks::decode(&bytes)?;
        if now.micros_since(Timestamp::from_micros(marks.last_seen)) <= silence_micros {
            continue;
        }
        let edge = EdgeId::from_slice(key.get(1..).unwrap_or_default()).ok_or_else(unreadable)?;
        let (from, to) = key::gaps_up_to(edge, u64::MAX);
        let gaps = state.scan(&from, &to, SWEPT_GAPS, false)?;
        if gaps.len() < SWEPT_GAPS {
            state.remove(key);
        }
        gaps.into_iter().for_each(|(gap, _)| state.remove(gap));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::core::{Changes, Head};

    fn mark(number: u64) -> Mark {
        Mark { edge: EdgeId::from_bytes([7; 16]), number }
    }

    /// Applies what an overlay changed.
    fn commit(state: &mut BTreeMap<Vec<u8>, Vec<u8>>, changes: Changes) {
        for (key, value) in changes.keys {
            match value {
                Some(value) => state.insert(key.to_vec(), value.to_vec()),
                None => state.remove(key.as_slice()),
            };
        }
    }

    proptest! {
        #[test]
        fn marks_remember_exactly_what_was_seen(
            numbers in prop::collection::vec(0_u64..60, 0..200), batch in 1_usize..20,
        ) {
            let mut state = BTreeMap::new();
            let mut seen = BTreeSet::new();
            for numbers in numbers.chunks(batch) {
                let committed = state.clone();
                let mut overlay = Overlay::new(&committed, Head::default());
                for number in numbers {
                    prop_assert_eq!(saw(&overlay, mark(*number)).unwrap(), seen.contains(number), "{}", number);
                    see(&mut overlay, mark(*number)).unwrap();
                    seen.insert(*number);
                }
                commit(&mut state, overlay.into_changes());
            }
            let overlay = Overlay::new(&state, Head::default());
            let found: BTreeSet<u64> = (0..70).filter(|n| saw(&overlay, mark(*n)).unwrap()).collect();
            prop_assert_eq!(&found, &seen);
            if seen.last().is_some_and(|last| seen.len() as u64 == last + 1) {
                prop_assert_eq!(state.len(), 1, "no gap is left");
            }
        }
    }

    #[test]
    fn a_silent_edge_is_forgotten_with_its_gaps() {
        let mut state = BTreeMap::new();
        let mut overlay = Overlay::new(&state, Head::default());
        for number in [5, 9, 2] {
            see(&mut overlay, mark(number)).unwrap();
        }
        let changes = overlay.into_changes();
        commit(&mut state, changes);
        assert_eq!(state.len(), 4, "the marks and three gaps");
        for (core_time, left) in [(100, 4), (101, 0)] {
            let head = Head { core_time: Timestamp::from_micros(core_time), ..Head::default() };
            let mut overlay = Overlay::new(&state, head);
            sweep(&mut overlay, 100, 10).unwrap();
            let changes = overlay.into_changes();
            commit(&mut state, changes);
            assert_eq!(state.len(), left);
        }
    }
}
