//! Committed state in memory: it can be lost, and set back to what it was.

use std::cell::RefCell;

use processor::core::{Changes, Head, Pair, State, StateError};
use processor::store::Committed;

use crate::scene::{Map, commit};

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
        let (map, head) = &mut *self.0.borrow_mut();
        commit(map, head, changes);
        Ok(())
    }
}
