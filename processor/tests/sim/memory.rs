//! Committed state in memory: it can be lost, and set back to what it was.

use std::cell::RefCell;
use std::collections::BTreeMap;

use processor::core::{Changes, Head, Pair, State, StateError};
use processor::store::Committed;

pub(crate) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default, Clone)]
pub(crate) struct Memory(RefCell<(Map, Head)>);

impl Memory {
    /// Every key, and the head.
    pub(crate) fn all(&self) -> (Map, Head) {
        self.0.borrow().clone()
    }
}

impl State for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        State::get(&self.0.borrow().0, key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize, backward: bool) -> Result<Vec<Pair>, StateError> {
        self.0.borrow().0.scan(from, to, limit, backward)
    }
}

impl Committed for Memory {
    fn head(&self) -> Result<Head, StateError> {
        Ok(self.0.borrow().1.clone())
    }

    fn commit(&self, changes: Changes) -> Result<(), StateError> {
        let mut state = self.0.borrow_mut();
        for (key, value) in changes.keys {
            match value {
                Some(value) => state.0.insert(key, value),
                None => state.0.remove(&key),
            };
        }
        state.1 = changes.head;
        Ok(())
    }
}
