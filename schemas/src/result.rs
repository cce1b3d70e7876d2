//! Results of commands: what the desks wait for. The truth is the outcome among the facts; this only tells of it sooner.

use crate::event::Status;
use crate::fact::OutcomeStatus;
use crate::id::{ConversionId, EventId, WorkspaceNumber};

/// How a command ended, as it lies in the topic `results`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// Whose command.
    pub workspace: WorkspaceNumber,
    /// The command's event.
    pub event: EventId,
    /// How it ended.
    pub status: OutcomeStatus,
    /// Why, a code; empty where the status says it all.
    pub reason: String,
    /// The conversion, no older than the command left it; `None` if the workspace has no such conversion.
    pub conversion: Option<ConversionNow>,
}

/// Where a conversion stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversionNow {
    /// The conversion.
    pub id: ConversionId,
    /// Its version.
    pub version: u32,
    /// Its place in the life cycle.
    pub status: Status,
}
