//! Conversions that are assessed anew, because a touch came late or because two turned out to be one person.
//!
//! Attribution follows `occurred_at`, not arrival. So until a conversion is approved, and for 8 days of core time at most, whatever
//! order its touches arrive in gives the same attribution. One that is approved and nobody's is as open: its partner is not
//! known yet, so that nobody can have been paid. A touch that would have belonged to a conversion which stands
//! already carries the label `late`.

use catalog::Workspace;
use schemas::event::{Event, Hit, Status, label};
use schemas::fact::{Change, Revision, TouchId};
use schemas::id::OfferId;

use super::WAIT_MICROS;
use super::attribution::Windows;
use super::decide::Decider;
use super::person::{self, Converted, Person};
use super::state::StateError;
use super::stored::is_excluded;

/// The conversions that a touch could belong to.
#[derive(Default)]
pub(super) struct Reached {
    /// Those that are not decided yet.
    open: Vec<Converted>,
    /// Whether there are others.
    is_late: bool,
}

impl Reached {
    /// Labels a touch that came too late for a conversion.
    pub(super) fn label(&self, labels: &mut Vec<String>) {
        labels.retain(|known| known != label::LATE);
        if self.is_late {
            labels.push(label::LATE.to_owned());
        }
    }
}

impl Decider<'_, '_> {
    /// The conversions of a touch's visitor, and of whoever is the same person, that it could belong to.
    pub(super) fn reached_by(
        &self,
        workspace: &Workspace,
        touch: TouchId,
        hit: &Hit,
    ) -> Result<Reached, StateError> {
        let mut reached = Reached::default();
        let Some(visitor) = hit.visitor.filter(|_| !is_excluded(hit)) else { return Ok(reached) };
        let identity = person::of_visitor(visitor, hit.test);
        let converted = person::converted_since(self.state, workspace.number, &identity, hit.occurred_at)?;
        if converted.is_empty() {
            return Ok(reached);
        }
        let windows = Windows { catalog: self.catalog, workspace };
        let lookback = windows.lookback(hit.offer, matches!(touch, TouchId::Click(_)));
        for converted in &converted {
            let age = converted.occurred_at.micros_since(hit.occurred_at);
            if !(0..=lookback).contains(&age) {
                continue;
            }
            let existing = self.converted(workspace, converted)?;
            if self.asked_offer(&existing)?.is_some_and(|offer| offer != hit.offer) {
                continue;
            }
            if self.is_open(&existing) {
                reached.open.push(*converted);
            } else {
                reached.is_late = true;
            }
        }
        Ok(reached)
    }

    /// Assesses the open ones anew, now that the touch is here.
    pub(super) fn reopen_reached(
        &mut self,
        event: &Event,
        workspace: &Workspace,
        reached: &Reached,
    ) -> Result<(), StateError> {
        reached.open.iter().try_for_each(|converted| {
            let existing = self.converted(workspace, converted)?;
            self.reassess(event, workspace, &existing, Change::Attribution)
        })
    }

    /// Assesses the open conversions of a person anew who is known by more now.
    pub(super) fn reopen_joined(&mut self, event: &Event, joined: Option<Person>) -> Result<(), StateError> {
        let Some(person) = joined else { return Ok(()) };
        let Some(workspace) = self.catalog.workspace(event.workspace) else { return Ok(()) };
        for converted in &person.conversions {
            let existing = self.converted(workspace, converted)?;
            if self.is_open(&existing) {
                self.reassess(event, workspace, &existing, Change::Attribution)?;
            }
        }
        Ok(())
    }

    fn converted(&self, workspace: &Workspace, converted: &Converted) -> Result<Revision, StateError> {
        let existing = self.revision(workspace.number, converted.conversion)?;
        existing.ok_or(StateError::Unreadable("conversion of a person"))
    }

    /// Whether what a conversion belongs to can still change.
    pub(super) fn is_open(&self, existing: &Revision) -> bool {
        let age = self.state.head().core_time.micros_since(existing.recorded_at);
        is_undecided(existing) && age <= WAIT_MICROS
    }

    /// The one offer whose touches a conversion asks for, if it names one itself or by its click.
    fn asked_offer(&self, existing: &Revision) -> Result<Option<OfferId>, StateError> {
        let received = &existing.received;
        let click = self.named_click(existing.workspace, received.click)?.here();
        Ok(click.map(|click| click.offer).or(received.offer))
    }

    /// Assesses a conversion anew, and revises it if anything comes out differently. Whose it is stands once that is not open any
    /// more: touches that came too late cannot come in with a rate, and old ones are not known for ever.
    pub(super) fn reassess(
        &mut self,
        event: &Event,
        workspace: &Workspace,
        existing: &Revision,
        change: Change,
    ) -> Result<(), StateError> {
        let assessed = if self.is_open(existing) {
            let click = self.named_click(workspace.number, existing.received.click)?.here();
            self.assess(workspace, &existing.received, click, &existing.rates)?
        } else {
            self.value_anew(workspace, &existing.received, existing)
        };
        // What cannot be assessed any more, since the catalog has changed, stays what it is.
        let Ok(assessment) = assessed else { return Ok(()) };
        let Ok(next) = self.restated(event, workspace, existing, assessment, (change, None))? else {
            return Ok(());
        };
        let is_new = next.attributed_before.is_some()
            || next.touches != existing.touches
            || next.after != existing.after
            || next.reason != existing.reason
            || next.rates != existing.rates;
        if is_new { self.revise(Some(existing), next) } else { Ok(()) }
    }
}

/// Whether a conversion's attribution can still change: it is not approved, or nobody can have been paid for it.
pub(super) const fn is_undecided(revision: &Revision) -> bool {
    match revision.after.status {
        Status::Pending | Status::Hold => true,
        Status::Approved => revision.attributed.partner.is_none(),
        Status::Rejected | Status::Reversed | Status::Paid => false,
    }
}
