//! What can go wrong with the catalog.

use schemas::error_code::FieldError;

use crate::fold::Rejected;

/// Why the catalog cannot go on. Nothing is skipped: the follower halts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// The record is not the next one.
    #[error("the next record of the catalog is {expected}, got {found}")]
    Position {
        /// The next position.
        expected: u64,
        /// The record's position.
        found: u64,
    },
    /// Not a proposal of ours at all.
    #[error("record {position} of the catalog is broken: {reason}")]
    Broken {
        /// The record's position.
        position: u64,
        /// What is wrong with it.
        reason: RecordError,
    },
}

/// Why bytes are no proposal of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not protobuf of this shape at all.
    #[error("broken encoding")]
    Encoding,
    /// Written by a version that this build does not know.
    #[error("version {0} is not known here")]
    UnknownVersion(u32),
    /// There is more in it than this build knows.
    #[error("holds a field that is not known here")]
    UnknownField,
    /// A field is missing or holds what it cannot hold.
    #[error("{0} is missing or impossible")]
    Impossible(&'static str),
    /// A resource's body is none of this build.
    #[error("the body of a {kind} is not known here: {reason}")]
    Body {
        /// Which kind of resource.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a follower does not follow.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FollowError {
    /// The log's error.
    #[error("the catalog's log: {0}")]
    Log(#[from] eventlog::Error),
    /// A record that this build cannot fold.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The log's first records are gone, and with them the catalog.
    #[error("the catalog's log starts at {start}, must start at 0")]
    Truncated {
        /// The log's first position.
        start: u64,
    },
    /// It did not get there in time.
    #[error("the catalog did not reach the log's end in time")]
    Timeout,
    /// It was shut down.
    #[error("the catalog's follower is shut down")]
    Stopped,
}

/// Why a proposal has no accepted verdict.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// It was not appended: these fields are wrong.
    #[error("{} fields are invalid", .0.len())]
    Invalid(Vec<FieldError>),
    /// It cannot be written to the log.
    #[error("the proposal cannot be written: {0}")]
    Unwritable(RecordError),
    /// The log's order decided against it.
    #[error("rejected: {0}")]
    Rejected(Rejected),
    /// It was not appended, or, at a deadline, perhaps.
    #[error("the catalog's log: {0}")]
    Log(#[from] eventlog::Error),
    /// Too many proposals wait for their verdict.
    #[error("too many proposals wait for their verdict")]
    Busy,
    /// It is on the log; its verdict did not come in time.
    #[error("the verdict did not come in time")]
    Timeout,
    /// This node no longer follows the log.
    #[error("the catalog is halted: {0}")]
    Halted(String),
}
