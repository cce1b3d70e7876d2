//! The state of one partition as the core sees it: ordered keys and values, read through a speculative copy.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::head::Head;

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

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Read access to the committed state of a partition.
pub trait State {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;

    /// Up to `limit` pairs with `from <= key < to`, from the start, or from the end if `backward`.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize, backward: bool) -> Result<Vec<Pair>, StateError>;
}

/// What a range of events changes: the head, and keys with their new value or `None` for gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The head after the changes.
    pub head: Head,
    /// The keys.
    pub keys: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// The state with changes on top that are not committed yet.
pub struct Overlay<'a> {
    base: &'a dyn State,
    changes: Changes,
}

impl<'a> Overlay<'a> {
    /// A fresh overlay on the committed state.
    pub fn new(base: &'a dyn State, head: Head) -> Self {
        Self { base, changes: Changes { head, keys: BTreeMap::new() } }
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

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.keys.insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.changes.keys.insert(key, None);
    }
}

impl State for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        match self.changes.keys.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize, backward: bool) -> Result<Vec<Pair>, StateError> {
        let range = (Bound::Included(from), Bound::Excluded(to));
        if from >= to {
            return Ok(Vec::new());
        }
        let changed: Vec<_> = self.changes.keys.range::<[u8], _>(range).collect();
        // Each removed key may hide one pair of the base, so that many more are asked for.
        let hidden = changed.iter().filter(|(_, value)| value.is_none()).count();
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> =
            self.base.scan(from, to, limit.saturating_add(hidden), backward)?.into_iter().collect();
        for (key, value) in changed {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        Ok(if backward {
            merged.into_iter().rev().take(limit).collect()
        } else {
            merged.into_iter().take(limit).collect()
        })
    }
}

/// The state as a map: for tests of the core and for the simulation.
impl State for BTreeMap<Vec<u8>, Vec<u8>> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(BTreeMap::get(self, key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize, backward: bool) -> Result<Vec<Pair>, StateError> {
        let pair = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        if from >= to {
            return Ok(Vec::new());
        }
        let range = self.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        Ok(if backward {
            range.rev().take(limit).map(pair).collect()
        } else {
            range.take(limit).map(pair).collect()
        })
    }
}
