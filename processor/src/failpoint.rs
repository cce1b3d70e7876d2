//! Named points on the way of facts at which a test may end the process.
//!
//! The product puts nothing there, and no setting of it does: only a program that is made for tests can. What a point is called
//! says what is durable when it is reached.

use std::fmt;
use std::sync::Arc;

/// A point on the way of facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// Facts are decided and not appended yet.
    BeforeAppend,
    /// Facts are in the log and not read back yet.
    AfterAppend,
    /// A record was read back as accepted; the state is not committed yet.
    BeforeCommit,
    /// The state is committed.
    AfterCommit,
    /// Rows of a table are about to be sent.
    BeforeInsert,
    /// The warehouse has answered an INSERT, and nobody has looked at the answer.
    AfterInsert,
    /// Rows of a cut are in one table, and those of the next one are not sent yet.
    BetweenTables,
    /// All rows of a cut are in their tables; the row that says so is not sent yet.
    BeforeProgress,
}

impl Failpoint {
    /// All of them, those of the processor first.
    pub const ALL: [Self; 8] = [
        Self::BeforeAppend,
        Self::AfterAppend,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::BeforeInsert,
        Self::AfterInsert,
        Self::BetweenTables,
        Self::BeforeProgress,
    ];

    /// The point's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeAppend => "before_append",
            Self::AfterAppend => "after_append",
            Self::BeforeCommit => "before_commit",
            Self::AfterCommit => "after_commit",
            Self::BeforeInsert => "before_insert",
            Self::AfterInsert => "after_insert",
            Self::BetweenTables => "between_tables",
            Self::BeforeProgress => "before_progress",
        }
    }
}

/// What happens at the points: nothing, by default.
#[derive(Clone, Default)]
pub struct Failpoints {
    reached: Option<Arc<dyn Fn(Failpoint) + Send + Sync>>,
}

impl Failpoints {
    /// Calls `reached` whenever a point is reached.
    pub fn calling(reached: impl Fn(Failpoint) + Send + Sync + 'static) -> Self {
        Self { reached: Some(Arc::new(reached)) }
    }

    pub(crate) fn at(&self, point: Failpoint) {
        if let Some(reached) = &self.reached {
            reached(point);
        }
    }
}

impl fmt::Debug for Failpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failpoints").field("set", &self.reached.is_some()).finish()
    }
}
