//! Which generation an owner or a sink works on, and where that one's things are.

use std::fmt;

use catalog::Projection;
use eventlog::Partition;
use schemas::event::CatalogRevision;
use schemas::generation::Generation;
use schemas::topic;

/// A generation, and its place among the others as the process knew it when the work began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// What is made of the events.
    pub projection: Projection,
    /// Whether anybody is answered from it.
    pub standing: Standing,
}

/// A generation's place among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is filled beside the live one.
    Planned,
    /// It answers.
    Live,
    /// A later one answers. This one may have events to decide that were stamped with an older revision.
    Former {
        /// The one that answers.
        by: Generation,
        /// A revision at which it does.
        since: CatalogRevision,
    },
}

impl Standing {
    /// Whether facts of such a generation still become rows.
    pub(crate) const fn is_loaded(self) -> bool {
        match self {
            Self::Planned | Self::Live => true,
            Self::Former { .. } => false,
        }
    }

    /// Whether readiness and metrics of the process speak of it.
    pub(crate) const fn is_live(self) -> bool {
        match self {
            Self::Live => true,
            Self::Planned | Self::Former { .. } => false,
        }
    }
}

impl Default for Assignment {
    /// What an installation begins with.
    fn default() -> Self {
        Self { projection: Projection::FIRST, standing: Standing::Live }
    }
}

impl Assignment {
    /// The generation.
    pub const fn generation(&self) -> Generation {
        self.projection.generation
    }

    /// Whether who works as the one says does what the other wants.
    pub(crate) fn is_same_work(&self, other: &Self) -> bool {
        let standing = |it: &Self| std::mem::discriminant(&it.standing);
        self.projection == other.projection && standing(self) == standing(other)
    }

    /// One of its partitions.
    pub(crate) const fn partition(&self, number: u32) -> PartitionOf {
        PartitionOf { generation: self.generation(), number }
    }
}

/// A partition in one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOf {
    /// The generation.
    pub generation: Generation,
    /// The partition's number, which is the same in each.
    pub number: u32,
}

impl PartitionOf {
    /// A partition of the first generation.
    pub const fn first(number: u32) -> Self {
        Self { generation: Generation::FIRST, number }
    }

    /// Where its facts are.
    pub fn facts(self) -> Partition {
        Partition { topic: self.generation.facts(), number: self.number }
    }

    /// The events that all generations share.
    pub const fn events(self) -> Partition {
        Partition { topic: topic::EVENTS, number: self.number }
    }
}

impl fmt::Display for PartitionOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.generation == Generation::FIRST {
            self.number.fmt(f)
        } else {
            write!(f, "{} of generation {}", self.number, self.generation)
        }
    }
}
