//! Conversions that wait for an exchange rate, and what happens when one comes.
//!
//! A rate is of a day and holds for the days after it until a newer one does, at most
//! [`MAX_RATE_AGE_DAYS`]. When the catalog has a new one, all conversions of those days are assessed anew that
//! lack a rate of its currency, as many with each event as a record can take. What has a rate keeps it.

use catalog::MAX_RATE_AGE_DAYS;
use jiff::ToSpan as _;
use jiff::civil::Date;
use schemas::event::Event;
use schemas::fact::{Change, Fact, RateSweep, Revision, SweepReached};
use schemas::id::{ConversionId, WorkspaceNumber};
use schemas::money::Currency;
use schemas::time::Timestamp;
use schemas::wire;

use super::decide::Decider;
use super::key;
use super::state::{Overlay, State, StateError, is_any};

/// Conversions assessed anew with one event at most, as the design has it; the rest goes with the next ones.
const ASSESSED_PER_EVENT: usize = 1_000;
/// What one revision gives beside its touches and its metadata, by estimate.
const REVISION_BYTES: usize = 1024;

/// Whether a newer catalog may have what a conversion waits for.
pub fn is_waiting_for_rates(state: &dyn State) -> Result<bool, StateError> {
    is_any(state, key::all_lacking_rates(None))
}

impl Decider<'_, '_> {
    /// Begins a sweep for each rate that the catalog has since `revision` and that somebody waits for.
    pub(super) fn begin_rate_sweeps(&mut self, revision: u64) -> Result<(), StateError> {
        let catalog = self.catalog;
        for workspace in catalog.workspaces() {
            let number = workspace.number;
            if catalog.rates_revision(number) <= revision
                || !is_any(self.state, key::all_lacking_rates(Some(number)))?
            {
                continue;
            }
            let fresh = catalog.rates_changed_after(number, revision);
            for rate in fresh.filter(|rate| rate.to == workspace.currency) {
                let (from, date) = (rate.from, rate.date);
                if is_any(self.state, key::lacking_rate(number, from, days_of(date)))? {
                    let reached = SweepReached::Start;
                    self.emit(Fact::RateSweep(RateSweep { workspace: number, from, date, reached }))?;
                }
            }
        }
        Ok(())
    }

    /// Goes on with the sweeps that are under way.
    pub(super) fn go_on_with_rate_sweeps(&mut self, event: &Event) -> Result<(), StateError> {
        let mut left = ASSESSED_PER_EVENT;
        while self.state.head().rate_sweeps > 0 && left > 0 && !self.is_full() {
            let (from, to) = key::rate_sweeps();
            let found = self.state.scan(&from, &to, 1, false)?.pop();
            let (_, value) = found.ok_or(StateError::Unreadable("sweep"))?;
            let sweep = wire::decode_rate_sweep(value.into()).map_err(|_| StateError::Unreadable("sweep"))?;
            left = left.saturating_sub(self.go_on_with(event, sweep, left)?.max(1));
        }
        Ok(())
    }

    /// Goes on with one sweep, and says how many conversions it assessed.
    fn go_on_with(&mut self, event: &Event, sweep: RateSweep, limit: usize) -> Result<usize, StateError> {
        let (mut first, last) = key::lacking_rate(sweep.workspace, sweep.from, days_of(sweep.date));
        if let SweepReached::Conversion(occurred_at, conversion) = sweep.reached {
            first = key::lacks_rate(sweep.workspace, sweep.from, occurred_at, conversion);
            // Behind it.
            first.push(0);
        }
        let found = self.state.scan(&first, &last, limit, false)?;
        let mut assessed = 0;
        let mut reached = SweepReached::End;
        for (key, _) in &found {
            let (occurred_at, conversion) =
                key::conversion_lacking_rate(key).ok_or(StateError::Unreadable("wait for a rate"))?;
            self.revalue(event, sweep.workspace, conversion)?;
            assessed += 1;
            if self.is_full() || assessed == limit {
                reached = SweepReached::Conversion(occurred_at, conversion);
                break;
            }
        }
        self.emit(Fact::RateSweep(RateSweep { reached, ..sweep }))?;
        Ok(assessed)
    }

    fn revalue(
        &mut self,
        event: &Event,
        workspace: WorkspaceNumber,
        conversion: ConversionId,
    ) -> Result<(), StateError> {
        let existing = self.revision(workspace, conversion)?;
        let existing = existing.ok_or(StateError::Unreadable("conversion that waits for a rate"))?;
        self.add_bytes(REVISION_BYTES + existing.received.metadata.len());
        let Some(workspace) = self.catalog.workspace(workspace) else { return Ok(()) };
        self.reassess(event, workspace, &existing, Change::Rate)
    }
}

/// The instants of the days for which a rate of this one can hold.
fn days_of(date: Date) -> std::ops::Range<Timestamp> {
    let days = i64::try_from(MAX_RATE_AGE_DAYS).unwrap_or(i64::MAX).saturating_add(1);
    let end = date.checked_add(days.days()).unwrap_or(Date::MAX);
    Timestamp::at_start_of(date)..Timestamp::at_start_of(end)
}

/// Notes how far a sweep got.
pub(super) fn apply_sweep(state: &mut Overlay<'_>, sweep: &RateSweep) -> Result<(), StateError> {
    let key = key::rate_sweep(sweep.workspace, sweep.from, Timestamp::at_start_of(sweep.date));
    let is_known = state.get(&key)?.is_some();
    let sweeps = &mut state.head_mut().rate_sweeps;
    match sweep.reached {
        SweepReached::Start | SweepReached::Conversion(..) => {
            *sweeps += u64::from(!is_known);
            state.put(key, wire::encode_rate_sweep(sweep));
        }
        SweepReached::End => {
            *sweeps = sweeps.saturating_sub(u64::from(is_known));
            state.remove(key);
        }
    }
    Ok(())
}

/// Notes for which currencies a conversion lacks a rate, and forgets those for which `before` did.
pub(super) fn apply_revision(state: &mut Overlay<'_>, before: Option<&Revision>, revision: &Revision) {
    let key = |of: &Revision, from: &Currency| {
        key::lacks_rate(of.workspace, *from, of.received.occurred_at, of.conversion)
    };
    for currency in before.iter().flat_map(|before| &before.lacks_rates_of) {
        state.remove(key(revision, currency));
    }
    for currency in &revision.lacks_rates_of {
        state.put(key(revision, currency), []);
    }
}
