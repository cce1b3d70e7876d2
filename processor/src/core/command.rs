//! What becomes of a command: somebody at the desk wants a conversion to have another status.
//!
//! A person decides here, so that neither a cap nor the trust in a sender stands in the way. What no person can know does: a
//! conversion whose amount has no rate is worth nobody knows what, and is not accepted.
//!
//! What a person decided stands in every later reading of the past: there the outcome decides that the command had.

use schemas::event::{Command, Event};
use schemas::fact::{OutcomeStatus, Revision, Subject, Values, reason};
use schemas::id::{ConversionId, WorkspaceNumber};
use schemas::result::ConversionNow;

use super::decide::{Case, Decider, Settled};
use super::revision::{lacks_rate, revised, stored};
use super::state::{State, StateError};

/// How a command ended originally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Its outcome.
    pub status: OutcomeStatus,
    /// The reason that the outcome gave.
    pub reason: String,
}

impl Decider<'_, '_> {
    /// Decides a command.
    pub(super) fn command(&mut self, event: &Event, command: &Command) -> Result<(), StateError> {
        let subject = Subject::Command;
        let case = Case { event, mark: event.mark, subject, source: None, test: command.test };
        if self.catalog.workspace(event.workspace).is_none() {
            return self.reject(&case, reason::UNKNOWN_WORKSPACE);
        }
        let known = match command.conversion {
            id if id.workspace() == event.workspace => self.revision(event.workspace, id)?,
            _ => None,
        };
        let Some(existing) = known.filter(|existing| existing.received.test || !command.test) else {
            return self.reject(&case, reason::UNKNOWN_CONVERSION);
        };
        let verdict = match self.original {
            Some(Original { status: OutcomeStatus::Rejected, reason }) => return self.reject(&case, reason),
            Some(original) => recall(original, command, &existing),
            None => judge(command, &existing),
        };
        let case = Case { test: existing.received.test, ..case };
        let settled = |reason| Settled::about(&existing, reason);
        match verdict {
            Verdict::Same => self.settle(&case, OutcomeStatus::Duplicate, settled("")),
            Verdict::Refused(reason) => self.settle(&case, OutcomeStatus::Conflict, settled(reason)),
            Verdict::Step => {
                let after = Values { status: command.to, ..existing.after };
                self.revise(Some(&existing), revised(event, &existing, after))?;
                self.settle(&case, OutcomeStatus::Updated, settled(""))
            }
        }
    }
}

/// What becomes of a command whose conversion is there.
enum Verdict<'a> {
    /// It takes its step.
    Step,
    /// The conversion has this status already: who says it once more is told so, and nothing changes.
    Same,
    /// It cannot be.
    Refused(&'a str),
}

fn judge(command: &Command, existing: &Revision) -> Verdict<'static> {
    let status = existing.after.status;
    if command.expected_version.is_some_and(|expected| expected != existing.version) {
        Verdict::Refused(reason::VERSION_MISMATCH)
    } else if command.to == status {
        Verdict::Same
    } else if !status.may_become(command.to) {
        Verdict::Refused(reason::STATUS_NOT_REACHABLE)
    } else if lacks_rate(existing) && command.to.is_counted() {
        Verdict::Refused(reason::NO_RATE)
    } else {
        Verdict::Step
    }
}

/// What became of a command originally. One that gave the conversion its status does so whatever version or status the conversion has
/// in this reading; one that found it there already leaves it so, or gives it.
fn recall<'a>(original: &'a Original, command: &Command, existing: &Revision) -> Verdict<'a> {
    match original.status {
        OutcomeStatus::Duplicate if command.to == existing.after.status => Verdict::Same,
        OutcomeStatus::Updated | OutcomeStatus::Duplicate | OutcomeStatus::Recorded => Verdict::Step,
        OutcomeStatus::Conflict | OutcomeStatus::Rejected | OutcomeStatus::Parked => {
            Verdict::Refused(&original.reason)
        }
    }
}

/// Where a conversion stands in a state.
pub fn conversion_now(
    state: &dyn State,
    workspace: WorkspaceNumber,
    id: ConversionId,
) -> Result<Option<ConversionNow>, StateError> {
    let stands = |it: Revision| ConversionNow { id, version: it.version, status: it.after.status };
    Ok(stored(state, workspace, id)?.map(stands))
}
