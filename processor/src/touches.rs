//! What a store keeps in memory of visitors' touches.
//!
//! Each conversion walks its visitor's first and last touches, and few visitors make most of the traffic. So the touches of visitors who
//! were asked for are kept: all of them, or, of one who has many, those at both ends. They are a copy of what is committed, moved by
//! the same changes; where it does not reach, the store is asked.

use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::core::{Key, Pair, StateError, Value, Visit, VisitorKey, Walk};

/// Touches kept of all visitors together: about 40 MiB.
const KEPT: u64 = 500_000;
/// Visitors that there is room for at the beginning.
const VISITORS: usize = 20_000;
/// Touches kept at each end: more than a walk takes.
const PER_END: usize = 256;
/// Up to so many of a visitor are kept whole, and at the late end between cuts.
const WHOLE: usize = 2 * PER_END;
/// Longer and larger than what follows the visitor in any key.
const BEYOND: [u8; 25] = [0xff; 25];

/// Touches that a store keeps in memory.
pub(crate) struct Touches(Mutex<Kept>);

struct Kept {
    visitors: Cache<VisitorKey, Arc<Ends>, Weight, RandomState>,
    /// Commits so far: what was read before one is not kept after it.
    commits: u64,
}

#[derive(Clone)]
struct Weight;

impl Weighter<VisitorKey, Arc<Ends>> for Weight {
    fn weight(&self, _: &VisitorKey, ends: &Arc<Ends>) -> u64 {
        (ends.early.len() + ends.late.len() + 2) as u64
    }
}

/// A visitor's touches in order: all of them, or the first and the last with a gap between.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    early: Vec<(Key, Value)>,
    /// After the gap; empty if there is none.
    late: Vec<(Key, Value)>,
}

/// Reads pairs of the store: at most so many of a walk.
pub(crate) type Read<'a> = dyn Fn(Walk<'_>, usize) -> Result<Vec<Pair>, StateError> + 'a;

impl Touches {
    pub(crate) fn none() -> Self {
        let visitors = Cache::with(VISITORS, KEPT, Weight, RandomState::default(), Default::default());
        Self(Mutex::new(Kept { visitors, commits: 0 }))
    }

    /// Forgets everything: the state becomes another.
    pub(crate) fn begin_anew(&self) {
        let mut kept = self.0.lock();
        kept.commits += 1;
        kept.visitors.clear();
    }

    /// The touches of a visitor, read now if they are not kept.
    pub(crate) fn of(&self, visitor: &VisitorKey, read: &Read<'_>) -> Result<Arc<Ends>, StateError> {
        let before = {
            let kept = self.0.lock();
            if let Some(ends) = kept.visitors.get(visitor) {
                return Ok(ends.clone());
            }
            kept.commits
        };
        let ends = Arc::new(Ends::read(visitor, read)?);
        let mut kept = self.0.lock();
        if kept.commits == before {
            kept.visitors.insert(*visitor, ends.clone());
        }
        Ok(ends)
    }

    /// Takes over what was committed of touches.
    pub(crate) fn commit<'a>(
        &self,
        changes: impl Iterator<Item = (VisitorKey, &'a [u8], Option<&'a Value>)>,
    ) {
        let mut kept = self.0.lock();
        kept.commits += 1;
        for (visitor, key, change) in changes {
            match change {
                Some(value) => {
                    if let Some(mut ends) = kept.visitors.get_mut(&visitor) {
                        Arc::make_mut(&mut *ends).insert(key, value);
                    }
                }
                // No touch ever goes; should one, it is simply not known.
                None => {
                    kept.visitors.remove(&visitor);
                }
            }
        }
    }
}

impl Ends {
    fn read(visitor: &VisitorKey, read: &Read<'_>) -> Result<Self, StateError> {
        let end = [visitor.as_slice(), &BEYOND].concat();
        let walk = |backward| Walk { from: visitor, to: &end, backward };
        let touch = |(key, value): Pair| (Key::from_vec(key), Value::from(value));
        let mut early: Vec<_> = read(walk(false), WHOLE)?.into_iter().map(touch).collect();
        if early.len() < WHOLE {
            return Ok(Self { early, late: Vec::new() });
        }
        early.truncate(PER_END);
        let mut late: Vec<_> = read(walk(true), PER_END)?.into_iter().map(touch).collect();
        late.reverse();
        Ok(Self { early, late })
    }

    fn insert(&mut self, key: &[u8], value: &Value) {
        let is_whole = self.late.is_empty();
        let end = match (self.early.last(), self.late.first()) {
            (Some((last, _)), Some(_)) if key <= last.as_slice() => &mut self.early,
            (_, Some((first, _))) if key >= first.as_slice() => &mut self.late,
            // It falls into the gap, where the store is asked.
            (_, Some(_)) => return,
            (_, None) => &mut self.early,
        };
        match end.binary_search_by(|(known, _)| known.as_slice().cmp(key)) {
            Ok(at) => end[at].1 = value.clone(),
            Err(at) => end.insert(at, (Key::from_slice(key), value.clone())),
        }
        if is_whole && self.early.len() > WHOLE {
            self.late = self.early.split_off(self.early.len() - PER_END);
        }
        if !self.late.is_empty() {
            self.early.truncate(PER_END);
        }
        if self.late.len() > WHOLE {
            self.late.drain(..self.late.len() - PER_END);
        }
    }

    /// Shows what is known of a walk, and gives the bounds of what is left of it.
    pub(crate) fn visit(&self, walk: Walk<'_>, visit: &mut Visit<'_>) -> Option<(Key, Key)> {
        let Walk { from, to, backward } = walk;
        let (Some((last, _)), Some((first, _))) = (self.early.last(), self.late.first()) else {
            show(&self.early, walk, visit);
            return None;
        };
        if backward && to > first.as_slice() {
            let goes_on = show(&self.late, walk, visit);
            (goes_on && from < first.as_slice()).then(|| (Key::from_slice(from), first.clone()))
        } else if !backward && from <= last.as_slice() {
            let goes_on = show(&self.early, walk, visit);
            let mut after = last.clone();
            after.push(0);
            (goes_on && to > after.as_slice()).then(|| (after, Key::from_slice(to)))
        } else {
            Some((Key::from_slice(from), Key::from_slice(to)))
        }
    }
}

/// Shows the touches of a walk; false if it was enough.
fn show(touches: &[(Key, Value)], Walk { from, to, backward }: Walk<'_>, visit: &mut Visit<'_>) -> bool {
    let place = |bound: &[u8]| touches.partition_point(|(key, _)| key.as_slice() < bound);
    let range = touches.get(place(from)..place(to)).unwrap_or_default();
    let mut shown = |(key, value): &(Key, Value)| visit(key, value);
    if backward { range.iter().rev().all(&mut shown) } else { range.iter().all(&mut shown) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::core::State;

    const VISITOR: VisitorKey = [b't'; 20];

    fn key(at: u16) -> Vec<u8> {
        [VISITOR.as_slice(), &at.to_be_bytes(), &[7; 22]].concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_walk_shows_what_the_store_has(
            before in prop::collection::btree_set(0_u16..3_000, 0..1_500), asked_first: bool,
            commits in prop::collection::vec(prop::collection::vec(0_u16..3_000, 0..300), 0..6),
            walks in prop::collection::vec((0_u16..3_000, 0_u16..3_000, 0_usize..400, any::<bool>()), 1..9),
        ) {
            let mut state: BTreeMap<Vec<u8>, Vec<u8>> = before.into_iter().map(|at| (key(at), vec![1])).collect();
            let touches = Touches::none();
            let of = |state: &BTreeMap<Vec<u8>, Vec<u8>>| {
                touches.of(&VISITOR, &|walk, limit| state.scan(walk.from, walk.to, limit, walk.backward)).unwrap()
            };
            if asked_first {
                of(&state);
            }
            for commit in commits {
                let changes: Vec<_> = commit.into_iter().map(|at| (key(at), Value::from([2]))).collect();
                state.extend(changes.iter().map(|(key, value)| (key.clone(), value.to_vec())));
                touches.commit(changes.iter().map(|(key, value)| (VISITOR, key.as_slice(), Some(value))));
            }
            for (from, to, limit, backward) in walks {
                let (from, to) = (key(from), key(to));
                let mut found = Vec::new();
                let mut see = |key: &[u8], value: &[u8]| {
                    found.push((key.to_vec(), value.to_vec()));
                    found.len() < limit
                };
                let left = if from < to && limit > 0 {
                    of(&state).visit(Walk { from: &from, to: &to, backward }, &mut see)
                } else {
                    None
                };
                if let Some((from, to)) = left {
                    state.visit(Walk { from: &from, to: &to, backward }, &mut see).unwrap();
                }
                let wanted = if from < to { state.scan(&from, &to, limit, backward).unwrap() } else { Vec::new() };
                prop_assert_eq!(found, wanted);
            }
        }
    }
}
