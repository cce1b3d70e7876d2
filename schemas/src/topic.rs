//! The topics of the event log.

/// Facts as received, one order per workspace.
pub const EVENTS: &str = "events";
/// What is now true, and what it replaces; that of the first [generation](crate::generation). As many partitions as [`EVENTS`].
pub const FACTS: &str = "facts";
/// Proposals to change the catalog; one partition, never compacted.
pub const CATALOG: &str = "catalog";
/// Exact counts of caps, for the edges; one partition, written by the owners of the partitions of [`EVENTS`].
pub const CAPS: &str = "caps";
/// How commands ended, for the desks that wait; one partition, written by the owners of the partitions of [`EVENTS`].
pub const RESULTS: &str = "results";
