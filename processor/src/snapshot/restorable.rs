//! What a snapshot is taken of, and what it fills: the store on disk, or one in memory.

use crate::core::{Head, Pair, StateError};
use crate::store::{Committed, Store, View};

/// Pairs of a state, in order.
pub type Pairs<'a> = Box<dyn Iterator<Item = Result<Pair, StateError>> + 'a>;

/// A state as it is at one moment; what is committed later does not change it.
pub trait StateView: Send {
    /// Where the state stands.
    ///
    /// # Errors
    /// [`StateError`] if it cannot be read.
    fn head(&self) -> Result<Head, StateError>;

    /// Every key of the state with its value; nothing that a store may forget at any time is among them.
    ///
    /// # Errors
    /// [`StateError`] if they cannot be read.
    fn pairs(&self) -> Result<Pairs<'_>, StateError>;
}

/// A committed state that can be looked at while work goes on, and filled from a snapshot.
pub trait Restorable: Committed {
    /// The state as it is now.
    fn view(&self) -> Box<dyn StateView>;

    /// Whether nothing was ever committed, or taken in to its end.
    ///
    /// # Errors
    /// [`StateError`] if it cannot be read.
    fn is_empty(&self) -> Result<bool, StateError>;

    /// Removes everything, also what is left of an import that did not come to its end.
    ///
    /// # Errors
    /// [`StateError`] if it cannot be written.
    fn clear(&self) -> Result<(), StateError>;

    /// Takes in pairs of a snapshot. The state stays empty until [`Self::found`].
    ///
    /// # Errors
    /// [`StateError`] if they cannot be written.
    fn import(&self, pairs: Vec<Pair>) -> Result<(), StateError>;

    /// Says where the state stands of which all pairs were taken in.
    ///
    /// # Errors
    /// [`StateError`] if it cannot be written.
    fn found(&self, head: Head) -> Result<(), StateError>;
}

impl StateView for View {
    fn head(&self) -> Result<Head, StateError> {
        Self::head(self)
    }

    fn pairs(&self) -> Result<Pairs<'_>, StateError> {
        Ok(Box::new(Self::pairs(self)?))
    }
}

impl Restorable for Store {
    fn view(&self) -> Box<dyn StateView> {
        Box::new(Self::view(self))
    }

    fn is_empty(&self) -> Result<bool, StateError> {
        Self::is_empty(self)
    }

    fn clear(&self) -> Result<(), StateError> {
        Self::clear(self)
    }

    fn import(&self, pairs: Vec<Pair>) -> Result<(), StateError> {
        Self::import(self, pairs)
    }

    fn found(&self, head: Head) -> Result<(), StateError> {
        Self::found(self, head)
    }
}
