//! The tables of the warehouse and how many rows each fact gives in each.

use crate::fact::Fact;

/// An append-only table whose rows prove themselves: dense `row_seq` in each log partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// One row a click.
    Clicks,
    /// One row an impression.
    Impressions,
    /// One row a revision of a conversion; before it one that takes the conversion from whom it belonged to, where that changes.
    ConversionRevisions,
    /// One row a touch considered for a revision.
    Credits,
    /// One row an outcome; a parked event has two.
    Outcomes,
}

impl Table {
    /// Every table, in the order of [`RowCounts`].
    pub const ALL: [Self; 5] =
        [Self::Clicks, Self::Impressions, Self::ConversionRevisions, Self::Credits, Self::Outcomes];

    /// The table's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clicks => "clicks",
            Self::Impressions => "impressions",
            Self::ConversionRevisions => "conversion_revisions",
            Self::Credits => "credits",
            Self::Outcomes => "outcomes",
        }
    }

    /// How many rows of this table a fact gives.
    pub fn rows_of(self, fact: &Fact) -> u64 {
        match (self, fact) {
            (Self::Clicks, Fact::Click(_))
            | (Self::Impressions, Fact::Impression(_))
            | (Self::Outcomes, Fact::Outcome(_)) => 1,
            (Self::ConversionRevisions, Fact::Revision(revision)) => {
                1 + u64::from(revision.attributed_before.is_some())
            }
            (Self::Credits, Fact::Revision(revision)) => revision.touches.len() as u64,
            (
                _,
                Fact::Click(_)
                | Fact::Impression(_)
                | Fact::Revision(_)
                | Fact::Outcome(_)
                | Fact::Parked(_)
                | Fact::Unparked(_)
                | Fact::Redelivered(_)
                | Fact::Nonce(_)
                | Fact::CapCounted(_)
                | Fact::Joined(_)
                | Fact::RateSweep(_)
                | Fact::Delayed(_)
                | Fact::Ticked
                | Fact::Cut(_),
            ) => 0,
        }
    }
}

impl Fact {
    /// Whether the sink has something to write for it, so that it waits for a cut.
    pub fn is_for_tables(&self) -> bool {
        // Its table is derived: no row of it is counted.
        matches!(self, Self::Delayed(_)) || Table::ALL.iter().any(|table| table.rows_of(self) > 0)
    }
}

/// A number of rows for each table, in the order of [`Table::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowCounts([u64; Table::ALL.len()]);

impl RowCounts {
    /// These numbers, in the order of [`Table::ALL`].
    pub const fn new(counts: [u64; Table::ALL.len()]) -> Self {
        Self(counts)
    }

    /// The numbers, in the order of [`Table::ALL`].
    pub const fn all(&self) -> &[u64; Table::ALL.len()] {
        &self.0
    }

    /// The number of one table.
    pub fn get(&self, table: Table) -> u64 {
        self.0[table as usize]
    }

    /// Adds the rows of a fact.
    pub fn add(&mut self, fact: &Fact) {
        for table in Table::ALL {
            self.0[table as usize] += table.rows_of(fact);
        }
    }
}

/// Every table that a sink writes to.
pub const NAMES: [&str; 8] = [
    "clicks",
    "impressions",
    "conversion_revisions",
    "credits",
    "outcomes",
    "conversions",
    "delayed",
    "cuts",
];

/// The migrations: number, name, SQL. A released file never changes.
pub const MIGRATIONS: &[(u32, &str, &str)] = &[(1, "spine", include_str!("../ddl/0001_spine.sql"))];
