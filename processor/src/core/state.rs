//! The state of one partition as the core sees it: ordered keys and values, read through a speculative copy.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::head::Head;
use super::keys::{Key, Keys};

/// Why a state store could not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The store failed.
    #[error("the state store failed: {0}")]
    Store(String),
    /// A value in it cannot be read.
    #[error("the state holds an unreadable {0}")]
    Unreadable(&'static str),
}

/// A value of the state. A short one lies where the key is, a longer one is shared and not copied.
pub type Value = byteview::ByteView;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Sees a key and its value; false if that is enough.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> bool + 'a;

/// A half-open range of keys, and from which end it is walked.
#[derive(Debug, Clone, Copy)]
pub struct Walk<'a> {
    /// The first key of the range.
    pub from: &'a [u8],
    /// The first key after it.
    pub to: &'a [u8],
    /// Whether it is walked from its end.
    pub backward: bool,
}

/// Read access to the committed state of a partition.
pub trait State {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StateError>;

    /// Shows the pairs of a range one after the other, until it is enough.
    fn visit(&self, walk: Walk<'_>, visit: &mut Visit<'_>) -> Result<(), StateError>;

    /// Up to `limit` pairs with `from <= key < to`, from the start, or from the end if `backward`.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize, backward: bool) -> Result<Vec<Pair>, StateError> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        self.visit(Walk { from, to, backward }, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            found.len() < limit
        })?;
        Ok(found)
    }
}

/// Whether a state has anything in a half-open range.
pub(super) fn is_any(state: &dyn State, (from, to): (Key, Key)) -> Result<bool, StateError> {
    Ok(!state.scan(&from, &to, 1, false)?.is_empty())
}

/// What a range of events changes: the head, and keys with their new value or `None` for gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The head after the changes.
    pub head: Head,
    /// The keys.
    pub keys: Keys,
}

/// The state with changes on top that are not committed yet.
pub struct Overlay<'a> {
    base: &'a dyn State,
    changes: Changes,
}

impl<'a> Overlay<'a> {
    /// A fresh overlay on the committed state.
    pub fn new(base: &'a dyn State, head: Head) -> Self {
        Self { base, changes: Changes { head, keys: Keys::default() } }
    }

    /// The head with the changes so far.
    pub const fn head(&self) -> &Head {
        &self.changes.head
    }

    pub(super) const fn head_mut(&mut self) -> &mut Head {
        &mut self.changes.head
    }

    /// Takes the changes out.
    pub fn into_changes(self) -> Changes {
        self.changes
    }

    pub(super) fn put(&mut self, key: impl AsRef<[u8]>, value: impl Into<Value>) {
        self.changes.keys.insert(key, Some(value.into()));
    }

    pub(super) fn remove(&mut self, key: impl AsRef<[u8]>) {
        self.changes.keys.insert(key, None);
    }
}

impl State for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StateError> {
        match self.changes.keys.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    fn visit(&self, walk: Walk<'_>, visit: &mut Visit<'_>) -> Result<(), StateError> {
        merged(&self.changes.keys, self.base, walk, visit)
    }
}

/// Shows the pairs of `base` with the changes on top, in order.
fn merged(changes: &Keys, base: &dyn State, walk: Walk<'_>, visit: &mut Visit<'_>) -> Result<(), StateError> {
    let Walk { from, to, backward } = walk;
    let mut changed = changes.range(from, to);
    let mut next = changed.step(backward);
    if next.is_none() {
        return base.visit(walk, visit);
    }
    let mut goes_on = true;
    base.visit(walk, &mut |key, value| {
        while let Some((changed_key, change)) = next
            && (if backward { changed_key >= key } else { changed_key <= key })
        {
            next = changed.step(backward);
            if let Some(value) = change {
                goes_on = visit(changed_key, value);
            }
            if changed_key == key || !goes_on {
                return goes_on;
            }
        }
        goes_on = visit(key, value);
        goes_on
    })?;
    while goes_on && let Some((key, change)) = next {
        next = changed.step(backward);
        if let Some(value) = change {
            goes_on = visit(key, value);
        }
    }
    Ok(())
}

/// Changes on top of each other, the oldest first, on top of a state.
pub struct Layers<'a> {
    /// The changes.
    pub layers: &'a [&'a Keys],
    /// What lies below them.
    pub base: &'a dyn State,
}

impl State for Layers<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StateError> {
        match self.layers.iter().rev().find_map(|layer| layer.get(key)) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    fn visit(&self, walk: Walk<'_>, visit: &mut Visit<'_>) -> Result<(), StateError> {
        match self.layers.split_last() {
            Some((top, layers)) => merged(top, &Layers { layers, base: self.base }, walk, visit),
            None => self.base.visit(walk, visit),
        }
    }
}

/// The state as a map: for tests of the core and for the simulation.
impl State for BTreeMap<Vec<u8>, Vec<u8>> {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StateError> {
        Ok(BTreeMap::get(self, key).map(|value| Value::new(value)))
    }

    fn visit(&self, Walk { from, to, backward }: Walk<'_>, visit: &mut Visit<'_>) -> Result<(), StateError> {
        if from >= to {
            return Ok(());
        }
        let mut range = self.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        while let Some((key, value)) = if backward { range.next_back() } else { range.next() }
            && visit(key, value)
        {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Map = BTreeMap<Vec<u8>, Vec<u8>>;

    fn keys() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"ctk".as_slice()), 1..4)
    }

    proptest! {
        #[test]
        fn an_overlay_reads_as_its_changes_do_once_committed(
            base in prop::collection::btree_map(keys(), prop::collection::vec(0_u8..3, 0..2), 0..30),
            changes in prop::collection::vec((keys(), prop::option::of(prop::collection::vec(3_u8..5, 0..2))), 0..30),
            (from, to) in (keys(), keys()), limit in 0_usize..10, backward: bool,
        ) {
            let mut overlay = Overlay::new(&base, Head::default());
            let mut committed: Map = base.clone();
            for (key, value) in changes {
                match value {
                    Some(value) => {
                        overlay.put(key.clone(), value.clone());
                        committed.insert(key, value);
                    }
                    None => {
                        overlay.remove(key.clone());
                        committed.remove(&key);
                    }
                }
            }
            prop_assert_eq!(State::get(&overlay, &from).unwrap(), State::get(&committed, &from).unwrap());
            let scan = |state: &dyn State| state.scan(&from, &to, limit, backward).unwrap();
            prop_assert_eq!(scan(&overlay), scan(&committed));
        }
    }
}
