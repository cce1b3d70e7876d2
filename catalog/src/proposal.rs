//! A proposal to change the catalog: one record of the log, all of it or nothing.

use schemas::id::{ProposalId, WorkspaceNumber};
use schemas::time::Timestamp;

use crate::resource::Resource;

/// Most changes in one proposal.
pub const MAX_CHANGES: usize = 1_000;
/// Longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// A proposal to change the catalog.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Its id, by which the proposer finds the verdict.
    pub id: ProposalId,
    /// The workspace in which it was made; idempotency keys are unique per workspace.
    pub workspace: WorkspaceNumber,
    /// Who made it.
    pub actor: Actor,
    /// The request by which it came.
    pub request_id: String,
    /// When it was made, by the proposer's clock.
    pub at: Timestamp,
    /// Makes a repetition give the first answer.
    pub idempotency: Option<Idempotency>,
    /// What is to change, in order: a later change sees the earlier ones.
    pub changes: Vec<Change>,
}

/// Who made a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// What it is.
    pub kind: ActorKind,
    /// Which one: a key's id; empty for the system.
    pub id: String,
}

/// What makes proposals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// The program itself.
    System,
    /// The holder of an API key.
    Key,
}

/// Makes a repetition give the first answer, for a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// The hash of what the client sent with it.
    pub payload_sha256: [u8; 32],
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Creates a resource, or replaces it as a whole.
    Put {
        /// The resource as it shall be; the fold sets version and times.
        resource: Resource,
        /// What must be there before.
        expected: Expected,
    },
}

/// What must be there before a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing with this id.
    New,
    /// The resource in this version.
    Version(u64),
    /// Anything or nothing.
    Any,
}
