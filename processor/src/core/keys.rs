//! Keys and what becomes of them: the changes of a range of events, which are looked up far more often than they are walked.
//!
//! Each kind of key lies as it is asked for: by itself in a hash table, a visitor's touches together, and in a tree what is walked in
//! order.

use std::collections::{BTreeMap, HashMap, btree_map};
use std::ops::Bound::{Excluded, Included};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::key::{self, Asked, TOUCH_BYTES, VISITOR_BYTES};
use super::state::{State, StateError, Visit, Walk};

/// A key of the state. Almost all fit into it without a place of their own on the heap.
pub type Key = SmallVec<[u8; 48]>;

/// The new value of a key, or `None` for gone.
type Change = Option<Vec<u8>>;

type Touch = [u8; TOUCH_BYTES];

/// Keys with their new value, or `None` for gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// The order in which a table is walked leads to nothing but the order of a commit.
    single: HashMap<Key, Change, RandomState>,
    /// In order of their keys, which is almost always the order in which they come.
    by_visitor: HashMap<[u8; VISITOR_BYTES], Vec<(Touch, Change)>, RandomState>,
    /// And whatever else is no key of ours.
    in_order: BTreeMap<Key, Change>,
}

/// Where a key lies.
enum Place {
    Single,
    Touch(Touch),
    InOrder,
}

fn place(key: &[u8]) -> Place {
    match key.first().map_or(Asked::InOrder, |kind| key::asked(*kind)) {
        Asked::Single => Place::Single,
        Asked::ByVisitor => key.try_into().map_or(Place::InOrder, Place::Touch),
        Asked::InOrder => Place::InOrder,
    }
}

fn visitor(key: &[u8]) -> Option<&[u8; VISITOR_BYTES]> {
    key.first_chunk()
}

impl Keys {
    /// The change of a key, if it has one.
    pub fn get(&self, key: &[u8]) -> Option<&Change> {
        match place(key) {
            Place::Single => self.single.get(key),
            Place::Touch(touch) => {
                let touches = self.by_visitor.get(visitor(key)?)?;
                let at = touches.binary_search_by(|(known, _)| known.cmp(&touch)).ok()?;
                touches.get(at).map(|(_, change)| change)
            }
            Place::InOrder => self.in_order.get(key),
        }
    }

    /// Sets what becomes of a key.
    pub fn insert(&mut self, key: impl Into<Key>, change: Change) {
        let key = key.into();
        match (place(&key), visitor(&key)) {
            (Place::Single, _) => {
                self.single.insert(key, change);
            }
            (Place::Touch(touch), Some(visitor)) => {
                let touches = self.by_visitor.entry(*visitor).or_default();
                if touches.last().is_none_or(|(last, _)| *last < touch) {
                    touches.push((touch, change));
                    return;
                }
                match touches.binary_search_by(|(known, _)| known.cmp(&touch)) {
                    Ok(at) => touches[at].1 = change,
                    Err(at) => touches.insert(at, (touch, change)),
                }
            }
            (Place::InOrder | Place::Touch(_), _) => {
                self.in_order.insert(key, change);
            }
        }
    }

    /// Whether no key changes.
    pub fn is_empty(&self) -> bool {
        self.single.is_empty() && self.by_visitor.is_empty() && self.in_order.is_empty()
    }

    /// How many keys change.
    pub fn len(&self) -> usize {
        self.single.len() + self.by_visitor.values().map(Vec::len).sum::<usize>() + self.in_order.len()
    }

    /// Every key once, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let touches = self.by_visitor.values().flatten();
        let touches = touches.map(|(key, change)| (key.as_slice(), change.as_deref()));
        self.single.iter().map(pair).chain(touches).chain(self.in_order.iter().map(pair))
    }

    /// The changes of `from <= key < to`, in order.
    pub fn range<'a>(&'a self, from: &'a [u8], to: &'a [u8]) -> Range<'a> {
        if from >= to {
            return Range::Sorted(Vec::new().into_iter());
        }
        let in_order = self.in_order.range::<[u8], _>((Included(from), Excluded(to)));
        let (first, last) = (from.first().copied().unwrap_or(0), to.first().copied().unwrap_or(0));
        // A bound of one letter is the end of the kind before it.
        let last = if to.len() == 1 { last.saturating_sub(1) } else { last };
        if (first..=last).all(|kind| key::asked(kind) == Asked::InOrder) {
            return Range::Tree(in_order);
        }
        if let Some(whose) = visitor(from).filter(|whose| Some(*whose) == visitor(to))
            && in_order.clone().next().is_none()
            && key::asked(first) == Asked::ByVisitor
        {
            let touches = self.by_visitor.get(whose).map_or(&[][..], Vec::as_slice);
            let place = |bound: &[u8]| touches.partition_point(|(touch, _)| touch.as_slice() < bound);
            return Range::Touches(touches.get(place(from)..place(to)).unwrap_or_default().iter());
        }
        // Nothing in the core asks for this; it is right all the same.
        let mut found: Vec<_> = self.iter().filter(|(key, _)| (from..to).contains(key)).collect();
        found.sort_unstable_by_key(|(key, _)| *key);
        Range::Sorted(found.into_iter())
    }
}

fn pair<'a>((key, change): (&'a Key, &'a Change)) -> (&'a [u8], Option<&'a [u8]>) {
    (key, change.as_deref())
}

/// Changes in order.
pub enum Range<'a> {
    /// Those of one visitor's touches.
    Touches(std::slice::Iter<'a, (Touch, Change)>),
    /// Those of kinds that are walked in order.
    Tree(btree_map::Range<'a, Key, Change>),
    /// Any, collected.
    Sorted(std::vec::IntoIter<(&'a [u8], Option<&'a [u8]>)>),
}

impl<'a> Range<'a> {
    /// The next change from the start, or from the end if `backward`.
    pub fn step(&mut self, backward: bool) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        match self {
            Self::Touches(touches) => {
                let (key, change) = if backward { touches.next_back() } else { touches.next() }?;
                Some((key, change.as_deref()))
            }
            Self::Tree(tree) => if backward { tree.next_back() } else { tree.next() }.map(pair),
            Self::Sorted(sorted) => {
                if backward {
                    sorted.next_back()
                } else {
                    sorted.next()
                }
            }
        }
    }
}

/// A state that is nothing but changes.
impl State for Keys {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(Self::get(self, key).cloned().flatten())
    }

    fn visit(&self, walk: Walk<'_>, visit: &mut Visit<'_>) -> Result<(), StateError> {
        let mut range = self.range(walk.from, walk.to);
        while let Some((key, change)) = range.step(walk.backward) {
            if change.is_some_and(|value| !visit(key, value)) {
                break;
            }
        }
        Ok(())
    }
}

impl<K: Into<Key>> FromIterator<(K, Change)> for Keys {
    fn from_iter<I: IntoIterator<Item = (K, Change)>>(pairs: I) -> Self {
        let mut keys = Self::default();
        pairs.into_iter().for_each(|(key, change)| keys.insert(key, change));
        keys
    }
}

impl IntoIterator for Keys {
    type Item = (Key, Change);
    type IntoIter = Box<dyn Iterator<Item = Self::Item>>;

    /// Every key once, in no order.
    fn into_iter(self) -> Self::IntoIter {
        let touches = self.by_visitor.into_values().flatten();
        let touches = touches.map(|(key, change)| (Key::from_slice(&key), change));
        Box::new(self.single.into_iter().chain(touches).chain(self.in_order))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys of every kind of place, touches of two visitors among them.
    fn keys() -> impl Strategy<Value = Vec<u8>> {
        let touch = (prop::sample::select(b"ti".as_slice()), 0_u8..2, 0_u8..3, 0_u8..3);
        let touch = touch.prop_map(|(kind, visitor, at, id)| {
            [&[kind][..], &[visitor; VISITOR_BYTES - 1], &[at; 8], &[id; 16]].concat()
        });
        prop_oneof![touch, prop::collection::vec(prop::sample::select(b"ctk".as_slice()), 0..4)]
    }

    fn bounds() -> impl Strategy<Value = Vec<u8>> {
        let of_visitor = (keys(), VISITOR_BYTES..TOUCH_BYTES).prop_map(|(mut key, length)| {
            key.truncate(length);
            key
        });
        prop_oneof![keys(), of_visitor]
    }

    proptest! {
        #[test]
        fn changes_lie_anywhere_and_are_found_as_in_a_map(
            changes in prop::collection::vec((keys(), prop::option::of(prop::collection::vec(0_u8..3, 0..2))), 0..60),
            key in keys(), (from, to) in (bounds(), bounds()), backward: bool,
        ) {
            let map: BTreeMap<_, _> = changes.iter().cloned().collect();
            let found: Keys = changes.into_iter().collect();
            prop_assert_eq!(found.get(&key), map.get(&key));
            prop_assert_eq!((found.len(), found.is_empty()), (map.len(), map.is_empty()));
            let mut wanted: Vec<_> =
                map.iter().filter(|(key, _)| (&from..&to).contains(key)).map(|(k, v)| (&k[..], v.as_deref())).collect();
            if backward {
                wanted.reverse();
            }
            let mut range = found.range(&from, &to);
            prop_assert_eq!(std::iter::from_fn(|| range.step(backward)).collect::<Vec<_>>(), wanted);
            let all: BTreeMap<Vec<u8>, _> = found.into_iter().map(|(key, change)| (key.to_vec(), change)).collect();
            prop_assert_eq!(all, map);
        }
    }
}
