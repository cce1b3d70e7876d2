//! Holds: conversions that are approved some days after they were recorded, because their goal says so.
//!
//! A hold ends by core time, at a tick. Whoever approves, rejects or reverses the conversion before ends it, too; one that a
//! person has put on hold has no end.

use schemas::event::{Event, Status};
use schemas::fact::{Revision, Values};

use super::decide::Decider;
use super::key;
use super::revision::{is_held, revised};
use super::state::{Overlay, State, StateError};

/// Holds ended by one tick; the rest goes with the next.
const HOLDS_PER_TICK: usize = 1_000;
/// What a revision gives, by estimate.
const REVISION_BYTES: usize = 1024;

impl Decider<'_, '_> {
    /// Approves what was held long enough.
    pub(super) fn end_due_holds(&mut self, tick: &Event) -> Result<(), StateError> {
        let (from, to) = key::holds_until(self.state.head().core_time);
        for (hold, _) in self.state.scan(&from, &to, HOLDS_PER_TICK, false)? {
            if self.is_full() {
                break;
            }
            let held = key::held_conversion(&hold).ok_or(StateError::Unreadable("hold"))?;
            let existing =
                self.revision(held.0, held.1)?.ok_or(StateError::Unreadable("conversion on hold"))?;
            self.add_bytes(REVISION_BYTES + existing.received.metadata.len());
            let after = Values { status: Status::Approved, ..existing.after };
            self.revise(Some(&existing), revised(tick, &existing, after))?;
        }
        Ok(())
    }
}

/// Sets the end of a hold that begins, or forgets that of one that is over.
pub(super) fn apply_revision(state: &mut Overlay<'_>, revision: &Revision) {
    let Some(until) = revision.hold_until else { return };
    let key = key::hold(until, revision.workspace, revision.conversion);
    if is_held(revision.after.status, &revision.reason) {
        state.put(key, []);
    } else {
        state.remove(key);
    }
}
