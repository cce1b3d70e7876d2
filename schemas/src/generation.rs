//! Generations: one past in more than one reading. Each has facts, tables and state of its own, under names of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::topic;

/// The number of a generation, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(u32);

impl Generation {
    /// The one that every installation begins with. Its names are the plain ones.
    pub const FIRST: Self = Self(1);

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The generation with this number.
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The one after it.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The topic of its facts. It has as many partitions as [`topic::EVENTS`].
    pub fn facts(self) -> &'static str {
        // Topics are named once for all, as they are compared and copied everywhere; an installation sees a handful of generations.
        static NAMES: Mutex<BTreeMap<u32, &'static str>> = Mutex::new(BTreeMap::new());
        if self == Self::FIRST {
            return topic::FACTS;
        }
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        names.entry(self.0).or_insert_with(|| format!("{}-{}", topic::FACTS, self.0).leak())
    }

    /// The database of its tables, where the first one's is `first`.
    pub fn database(self, first: &str) -> String {
        if self == Self::FIRST { first.to_owned() } else { format!("{first}_g{}", self.0) }
    }

    /// Where it keeps what the first one keeps as `name`: files of states, objects of snapshots.
    pub fn place(self, name: &str) -> String {
        if self == Self::FIRST { name.to_owned() } else { format!("g{}/{name}", self.0) }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_has_the_plain_names_and_each_other_has_its_own() {
        let first = Generation::FIRST;
        assert_eq!((first.facts(), &*first.database("d"), &*first.place("p3")), ("facts", "d", "p3"));
        let second = first.next();
        assert_eq!(
            (second.facts(), &*second.database("d"), &*second.place("p3")),
            ("facts-2", "d_g2", "g2/p3")
        );
        assert!(std::ptr::eq(second.facts(), Generation::new(2).unwrap().facts()));
        assert_eq!((Generation::new(0), second.to_string()), (None, "2".to_owned()));
    }
}
