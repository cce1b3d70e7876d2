//! Keys and what becomes of them: the changes of a range of events, which are looked up far more often than they are walked.
//!
//! Each kind of key lies as it is asked for: by itself in a hash table, a visitor's touches together, and in a tree what is walked in
//! order. Keys of the lengths that each event asks for lie in tables of their own, where they take no more room than they have.

use std::collections::{BTreeMap, HashMap, btree_map};
use std::hash::{Hash, Hasher};
use std::ops::Bound::{Excluded, Included};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::key::{self, Asked, IDENTITY_BYTES, NAMED_BYTES, TOUCH_BYTES, UNIQUE_BYTES, VISITOR_BYTES};
use super::state::{State, StateError, Value, Visit, Walk};

/// Bytes of a key that need no place of their own on the heap: almost all.
pub(super) const INLINE_BYTES: usize = 48;

/// A key of the state.
pub type Key = SmallVec<[u8; INLINE_BYTES]>;

/// The new value of a key, or `None` for gone.
type Change = Option<Value>;

type Touch = [u8; TOUCH_BYTES];

/// A key of one length, which is hashed and compared without a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fixed<const N: usize>([u8; N]);

impl<const N: usize> Hash for Fixed<N> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (words, rest) = self.0.as_chunks::<8>();
        words.iter().for_each(|word| state.write_u64(u64::from_ne_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            state.write_u64(u64::from_ne_bytes(word));
        }
    }
}

/// The order in which a table is walked leads to nothing but the order of a commit.
type Table<K, V = Change> = HashMap<K, V, RandomState>;

/// Keys with their new value, or `None` for gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// By kind, workspace and sixteen bytes.
    named: Table<Fixed<NAMED_BYTES>>,
    identities: Table<Fixed<IDENTITY_BYTES>>,
    unique: Table<Fixed<UNIQUE_BYTES>>,
    /// Whatever else is asked for by itself.
    single: Table<Key>,
    /// In order of their keys, which is almost always the order in which they come.
    by_visitor: Table<Fixed<VISITOR_BYTES>, Vec<(Touch, Change)>>,
    /// And whatever else is no key of ours.
    in_order: BTreeMap<Key, Change>,
}

/// Where a key lies.
enum Place {
    Named(Fixed<NAMED_BYTES>),
    Identity(Fixed<IDENTITY_BYTES>),
    Unique(Fixed<UNIQUE_BYTES>),
    Single,
    Touch(Fixed<VISITOR_BYTES>, Touch),
    InOrder,
}

#[inline]
fn place(key: &[u8]) -> Place {
    match key.first().map_or(Asked::InOrder, |kind| key::asked(*kind)) {
        Asked::Single => {
            if let Ok(key) = key.try_into() {
                Place::Named(Fixed(key))
            } else if let Ok(key) = key.try_into() {
                Place::Unique(Fixed(key))
            } else if let Ok(key) = key.try_into() {
                Place::Identity(Fixed(key))
            } else {
                Place::Single
            }
        }
        Asked::ByVisitor => match (visitor(key), key.try_into()) {
            (Some(visitor), Ok(touch)) => Place::Touch(visitor, touch),
            (Some(_) | None, _) => Place::InOrder,
        },
        Asked::InOrder => Place::InOrder,
    }
}

fn visitor(key: &[u8]) -> Option<Fixed<VISITOR_BYTES>> {
    key.first_chunk().copied().map(Fixed)
}

/// Sets what becomes of a touch among those of its visitor.
fn insert_touch(touches: &mut Vec<(Touch, Change)>, touch: Touch, change: Change) {
    if touches.last().is_none_or(|(last, _)| *last < touch) {
        touches.push((touch, change));
        return;
    }
    match touches.binary_search_by(|(known, _)| known.cmp(&touch)) {
        Ok(at) => touches[at].1 = change,
        Err(at) => touches.insert(at, (touch, change)),
    }
}

impl Keys {
    /// The change of a key, if it has one.
    pub fn get(&self, key: &[u8]) -> Option<&Change> {
        match place(key) {
            Place::Named(key) => self.named.get(&key),
            Place::Identity(key) => self.identities.get(&key),
            Place::Unique(key) => self.unique.get(&key),
            Place::Single => self.single.get(key),
            Place::Touch(visitor, touch) => {
                let touches = self.by_visitor.get(&visitor)?;
                let at = touches.binary_search_by(|(known, _)| known.cmp(&touch)).ok()?;
                touches.get(at).map(|(_, change)| change)
            }
            Place::InOrder => self.in_order.get(key),
        }
    }

    /// Sets what becomes of a key.
    pub fn insert(&mut self, key: impl AsRef<[u8]>, change: Change) {
        let key = key.as_ref();
        match place(key) {
            Place::Named(key) => {
                self.named.insert(key, change);
            }
            Place::Identity(key) => {
                self.identities.insert(key, change);
            }
            Place::Unique(key) => {
                self.unique.insert(key, change);
            }
            Place::Single => {
                self.single.insert(key.into(), change);
            }
            Place::Touch(visitor, touch) => {
                // Most visitors come once in a while.
                let touches = self.by_visitor.entry(visitor).or_insert_with(|| Vec::with_capacity(1));
                insert_touch(touches, touch, change);
            }
            Place::InOrder => {
                self.in_order.insert(key.into(), change);
            }
        }
    }

    /// Takes over later changes.
    pub fn take_over(&mut self, later: Self) {
        self.named.extend(later.named);
        self.identities.extend(later.identities);
        self.unique.extend(later.unique);
        self.single.extend(later.single);
        for (visitor, later) in later.by_visitor {
            let touches = self.by_visitor.entry(visitor).or_default();
            touches.reserve(later.len());
            later.into_iter().for_each(|(touch, change)| insert_touch(touches, touch, change));
        }
        self.in_order.extend(later.in_order);
    }

    /// Whether no key changes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys change.
    pub fn len(&self) -> usize {
        let touches = self.by_visitor.values().map(Vec::len).sum::<usize>();
        let of_one_length = self.named.len() + self.identities.len() + self.unique.len();
        of_one_length + self.single.len() + touches + self.in_order.len()
    }

    /// Every key once, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let touches = self.by_visitor.values().flatten();
        let touches = touches.map(|(key, change)| (key.as_slice(), change.as_deref()));
        let others = self.single.iter().map(pair).chain(touches).chain(self.in_order.iter().map(pair));
        of_length(&self.named).chain(of_length(&self.identities)).chain(of_length(&self.unique)).chain(others)
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
            let touches = self.by_visitor.get(&whose).map_or(&[][..], Vec::as_slice);
            // Almost always all of them lie between the bounds, which the two at the ends can tell.
            let place = |bound: &[u8]| match (touches.first(), touches.last()) {
                (Some((first, _)), _) if first.as_slice() >= bound => 0,
                (_, Some((last, _))) if last.as_slice() < bound => touches.len(),
                _ => touches.partition_point(|(touch, _)| touch.as_slice() < bound),
            };
            return Range::Touches(touches.get(place(from)..place(to)).unwrap_or_default().iter());
        }
        // Nothing in the core asks for this; it is right all the same.
        let mut found: Vec<_> = self.iter().filter(|(key, _)| (from..to).contains(key)).collect();
        found.sort_unstable_by_key(|(key, _)| *key);
        Range::Sorted(found.into_iter())
    }
}

fn of_length<const N: usize>(table: &Table<Fixed<N>>) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    table.iter().map(|(key, change)| (key.0.as_slice(), change.as_deref()))
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
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StateError> {
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

impl<K: AsRef<[u8]>> FromIterator<(K, Change)> for Keys {
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
        fn of_length<const N: usize>(table: Table<Fixed<N>>) -> impl Iterator<Item = (Key, Change)> {
            table.into_iter().map(|(key, change)| (Key::from_slice(&key.0), change))
        }
        let touches = self.by_visitor.into_values().flatten();
        let touches = touches.map(|(key, change)| (Key::from_slice(&key), change));
        let others = self.single.into_iter().chain(touches).chain(self.in_order);
        let of_one_length = of_length(self.named).chain(of_length(self.identities));
        Box::new(of_one_length.chain(of_length(self.unique)).chain(others))
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
        let lengths = prop::sample::select([NAMED_BYTES, IDENTITY_BYTES, UNIQUE_BYTES, 30].as_slice());
        let single = (prop::sample::select(b"cju".as_slice()), lengths, 0_u8..3);
        let single = single.prop_map(|(kind, length, fill)| [&[kind][..], &vec![fill; length - 1]].concat());
        prop_oneof![touch, single, prop::collection::vec(prop::sample::select(b"ctk".as_slice()), 0..4)]
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
            let value = |(key, change): (Vec<u8>, Option<Vec<u8>>)| (key, change.map(Value::from));
            let changes: Vec<_> = changes.into_iter().map(value).collect();
            let map: BTreeMap<_, _> = changes.iter().cloned().collect();
            let (first, later) = changes.split_at(changes.len() / 2);
            let mut found: Keys = first.iter().cloned().collect();
            found.take_over(later.iter().cloned().collect());
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
