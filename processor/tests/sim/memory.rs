//! Committed state in memory: it can be lost, set back to what it was, and filled from a snapshot.

use std::cell::{Cell, RefCell};

use processor::core::{Changes, Head, Pair, State, StateError, Value, Visit, Walk, is_over};
use processor::snapshot::{Pairs, Restorable, StateView};
use processor::store::Committed;

use crate::scene::{Map, commit};

/// What becomes of a commit.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    #[default]
    Committed,
    /// The disk is full.
    Lost,
    /// Committed, and answered as if it were not.
    Unknown,
}

#[derive(Default, Clone)]
pub(crate) struct Memory {
    state: RefCell<(Map, Head)>,
    /// Whether anything was ever committed, or taken in to its end.
    is_begun: Cell<bool>,
    /// What becomes of the next commit.
    next: Cell<Fate>,
    /// After a commit has failed nothing more is taken until the store is opened anew.
    has_failed: Cell<bool>,
    /// Whether it was filled from a snapshot.
    pub(crate) was_restored: Cell<bool>,
    /// Where a view shall lack a key, so that somebody notices.
    pub(crate) hides_a_key: Cell<bool>,
}

impl Memory {
    /// Every key that is not over, and the head.
    pub(crate) fn all(&self) -> (Map, Head) {
        if !self.is_begun.get() {
            // What is left of an import that was stopped counts for nothing.
            return (Map::new(), Head::default());
        }
        let all = self.clone();
        all.forget();
        all.state.into_inner()
    }

    /// Has the next commit end like this.
    pub(crate) fn next_commit(&self, fate: Fate) {
        self.next.set(fate);
    }

    /// Opens the store anew, as the runner does for each attempt.
    pub(crate) fn reopen(&self) {
        self.has_failed.set(false);
    }

    /// Forgets what is over, as a store on disk may at any time.
    pub(crate) fn forget(&self) {
        let (map, head) = &mut *self.state.borrow_mut();
        map.retain(|key, value| !is_over(key, value, head.core_time));
    }
}

impl State for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StateError> {
        State::get(&self.state.borrow().0, key)
    }

    fn visit(&self, walk: Walk<'_>, visit: &mut Visit<'_>) -> Result<(), StateError> {
        self.state.borrow().0.visit(walk, visit)
    }
}

impl Committed for Memory {
    fn head(&self) -> Result<Head, StateError> {
        Ok(self.state.borrow().1.clone())
    }

    fn commit(&self, changes: Changes) -> Result<(), StateError> {
        let fate = self.next.take();
        let failed = || StateError::Store("by the seed".into());
        if self.has_failed.get() || fate == Fate::Lost {
            self.has_failed.set(true);
            return Err(failed());
        }
        let (map, head) = &mut *self.state.borrow_mut();
        commit(map, head, changes);
        self.is_begun.set(true);
        if fate == Fate::Unknown {
            self.has_failed.set(true);
            return Err(failed());
        }
        Ok(())
    }
}

/// A state as it was.
struct Seen(Map, Head);

impl StateView for Seen {
    fn head(&self) -> Result<Head, StateError> {
        Ok(self.1.clone())
    }

    fn pairs(&self) -> Result<Pairs<'_>, StateError> {
        Ok(Box::new(self.0.iter().map(|(key, value)| Ok((key.clone(), value.clone())))))
    }
}

impl Restorable for Memory {
    fn view(&self) -> Box<dyn StateView> {
        let (mut map, head) = self.all();
        if self.hides_a_key.get() {
            map.pop_first();
        }
        Box::new(Seen(map, head))
    }

    fn is_empty(&self) -> Result<bool, StateError> {
        Ok(!self.is_begun.get())
    }

    fn clear(&self) -> Result<(), StateError> {
        *self.state.borrow_mut() = (Map::new(), Head::default());
        self.is_begun.set(false);
        Ok(())
    }

    fn import(&self, pairs: Vec<Pair>) -> Result<(), StateError> {
        self.state.borrow_mut().0.extend(pairs);
        Ok(())
    }

    fn found(&self, head: Head) -> Result<(), StateError> {
        self.state.borrow_mut().1 = head;
        self.is_begun.set(true);
        self.was_restored.set(true);
        Ok(())
    }
}
