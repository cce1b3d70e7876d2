//! Committed state in memory: it can be lost, and set back to what it was.

use std::cell::RefCell;

use processor::core::{Changes, Head, State, StateError, Visit, Walk, is_over};
use processor::store::Committed;

use crate::scene::{Map, commit};

#[derive(Default, Clone)]
pub(crate) struct Memory(RefCell<(Map, Head)>);

impl Memory {
    /// Every key that is not over, and the head.
    pub(crate) fn all(&self) -> (Map, Head) {
        let all = self.clone();
        all.forget();
        all.0.into_inner()
    }

    /// Forgets what is over, as a store on disk may at any time.
    pub(crate) fn forget(&self) {
        let (map, head) = &mut *self.0.borrow_mut();
        map.retain(|key, value| !is_over(key, value, head.core_time));
    }
}

impl State for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        State::get(&self.0.borrow().0, key)
    }

    fn visit(&self, walk: Walk<'_>, visit: &mut Visit<'_>) -> Result<(), StateError> {
        self.0.borrow().0.visit(walk, visit)
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
