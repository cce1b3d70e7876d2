//! Counts of caps: what the core has counted, for the edges that must not send more.

use crate::id::{EdgeId, PartnerId, WorkspaceNumber};
use crate::time::Timestamp;

/// One count of a cap: its window, and the partner where each has a count of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CapPlace {
    /// The name of the count, by owner, metric, window, time zone and scope.
    pub cap: [u8; 16],
    /// When the window begins.
    pub window_start: Timestamp,
    /// When the window has certainly ended; a count is forgotten some days after.
    pub ends_by: Timestamp,
    /// The partner of a cap that each partner has for itself.
    pub partner: Option<PartnerId>,
}

/// How far a count is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapCount {
    /// Whose cap.
    pub workspace: WorkspaceNumber,
    /// Which count.
    pub place: CapPlace,
    /// All that was counted.
    pub total: u64,
    /// How many clicks of it each life of an edge delivered: an edge adds to the total what it has sent itself and does not
    /// find here yet. Lives that have died are left out.
    pub of_edges: Vec<(EdgeId, u64)>,
}

/// Counts of one partition of `events`, as they lie in the topic `caps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapCounts {
    /// The partition.
    pub partition: u32,
    /// The counts take in all of its events below this position. Of two records of a partition that name one count the one
    /// with the higher position is right, whatever their order: two owners may publish at once.
    pub source: u64,
    /// The counts; those not named are as they were.
    pub counts: Vec<CapCount>,
}
