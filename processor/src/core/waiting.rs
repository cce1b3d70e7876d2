//! Events that arrive before what they refer to: conversions before their click, refunds before their conversion.

use schemas::event::{Body, Event};
use schemas::fact::{Fact, OutcomeStatus, Parked, Unparked, reason};
use schemas::id::{SourceId, WorkspaceNumber};
use schemas::time::Timestamp;

use super::conversion::Reported;
use super::decide::{Case, Decider, Settled};
use super::dedupe;
use super::head::Head;
use super::key::{self, Awaited};
use super::keys::Key;
use super::refund::Returned;
use super::state::{Overlay, State, StateError, is_any};
use super::stored::ParkedValue;
use super::{OPEN_PARKED_LIMIT, PARKED_LIMIT, WAIT_MICROS};

/// Waits ended by one tick; the rest goes with the next.
const WAITS_PER_TICK: usize = 1_000;
/// Waiting events that one click or conversion may settle; the rest ends when its wait does.
const WAITS_PER_ARRIVAL: usize = 1_000;
/// What the end of a wait gives beside the event itself: its attribution and the outcome.
const WAIT_BYTES: usize = 1024;

/// Whether a wait or a hold has ended by this clock, so that a tick is wanted.
pub fn is_timer_due(state: &dyn State, head: &Head, now_micros: i64) -> Result<bool, StateError> {
    let now = Timestamp::from_micros(now_micros);
    Ok(is_anything_waiting(head) && is_any(state, key::due_until(now))?
        || is_any(state, key::holds_until(now))?)
}

const fn is_anything_waiting(head: &Head) -> bool {
    head.counters.outcomes[OutcomeStatus::Parked as usize] > 0
}

impl Decider<'_, '_> {
    /// Lets an event wait. One that has waited already has waited long enough: it is rejected for `reason`.
    pub(super) fn park(&mut self, case: &Case<'_>, reason: &str) -> Result<(), StateError> {
        let event = case.event;
        if case.mark.is_none() {
            return self.reject(case, reason);
        }
        let quota = Quota::of(event)?;
        if quota.used(self.state)? >= quota.limit() {
            return self.reject(case, reason::TOO_MANY_PARKED);
        }
        let due = self.state.head().core_time.saturating_add(WAIT_MICROS);
        self.emit(Fact::Parked(Box::new(Parked { event: event.clone(), due })))?;
        self.settle(case, OutcomeStatus::Parked, Settled::because(reason))
    }

    /// Decides the events that waited for this, in the order in which they came.
    pub(super) fn settle_waiting(
        &mut self,
        workspace: WorkspaceNumber,
        arrived: Awaited,
    ) -> Result<(), StateError> {
        // Almost always nothing waits at all, and then no arrival costs a read.
        if !is_anything_waiting(self.state.head()) {
            return Ok(());
        }
        let (from, to) = key::parked_for(workspace, arrived);
        for (_, bytes) in self.state.scan(&from, &to, WAITS_PER_ARRIVAL, false)? {
            if self.is_full() {
                break;
            }
            self.end_wait(&bytes)?;
        }
        Ok(())
    }

    /// Ends the waits that are due.
    pub(super) fn end_due_waits(&mut self) -> Result<(), StateError> {
        let (from, to) = key::due_until(self.state.head().core_time);
        for (due, parked) in self.state.scan(&from, &to, WAITS_PER_TICK, false)? {
            if self.is_full() {
                break;
            }
            match self.state.get(&parked)? {
                Some(bytes) => self.end_wait(&bytes)?,
                // Its wait was ended just now by another that was due: a refund by its conversion.
                None if self.state.get(&due)?.is_none() => {}
                None => return Err(StateError::Unreadable("parked event")),
            }
        }
        Ok(())
    }

    /// Ends the wait of a parked event and decides it again, whether what it waited for came or not.
    fn end_wait(&mut self, parked: &[u8]) -> Result<(), StateError> {
        self.add_bytes(parked.len() + WAIT_BYTES);
        let ParkedValue { event, due } = ParkedValue::decode(parked)?;
        self.emit(Fact::Unparked(Unparked { event: event.id, workspace: event.workspace, due }))?;
        match &event.body {
            Body::Conversion(conversion) => self.conversion(&Reported::new(&event, conversion, None)),
            Body::Refund(refund) => self.refund(&Returned::new(&event, refund, None)),
            Body::Click(_) | Body::Impression(_) | Body::Command(_) | Body::Delayed(_) | Body::Tick => {
                Err(StateError::Unreadable("parked event"))
            }
        }
    }
}

/// What an event waits for; `None` for one that cannot wait.
fn awaited(event: &Event) -> Option<Awaited> {
    match &event.body {
        Body::Conversion(conversion) => conversion.click.map(Awaited::Click),
        Body::Refund(refund) => Some(match refund.conversion {
            Some(conversion) => Awaited::Conversion(conversion),
            None => Awaited::Key(dedupe::key_of_refunded(event, refund)),
        }),
        Body::Click(_) | Body::Impression(_) | Body::Command(_) | Body::Delayed(_) | Body::Tick => None,
    }
}

/// Whose places for waiting events these are. Each source has its own, and senders that anybody can be have fewer, apart from
/// the others: with made-up clicks they take no place of those who are trusted.
struct Quota {
    workspace: WorkspaceNumber,
    is_trusted: bool,
    source: Option<SourceId>,
}

impl Quota {
    fn of(event: &Event) -> Result<Self, StateError> {
        let (trust, source) = match &event.body {
            Body::Conversion(conversion) => (conversion.trust, conversion.source),
            Body::Refund(refund) => (refund.trust, refund.source),
            Body::Click(_) | Body::Impression(_) | Body::Command(_) | Body::Delayed(_) | Body::Tick => {
                return Err(StateError::Unreadable("parked event"));
            }
        };
        Ok(Self { workspace: event.workspace, is_trusted: trust.may_approve(), source })
    }

    const fn limit(&self) -> u64 {
        if self.is_trusted { PARKED_LIMIT } else { OPEN_PARKED_LIMIT }
    }

    fn key(&self) -> Key {
        key::parked_count(self.workspace, self.is_trusted, self.source)
    }

    /// How many events wait.
    fn used(&self, state: &Overlay<'_>) -> Result<u64, StateError> {
        let Some(bytes) = state.get(&self.key())? else { return Ok(0) };
        let bytes = bytes[..].try_into().map_err(|_| StateError::Unreadable("number of parked events"))?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn set(&self, state: &mut Overlay<'_>, used: u64) {
        if used == 0 {
            state.remove(self.key());
        } else {
            state.put(self.key(), used.to_be_bytes());
        }
    }
}

pub(super) fn apply_parked(state: &mut Overlay<'_>, parked: &Parked) -> Result<(), StateError> {
    let Some(awaited) = awaited(&parked.event) else { return Err(StateError::Unreadable("parked event")) };
    let workspace = parked.event.workspace;
    let key = key::parked(workspace, awaited, state.head().next_seq);
    state.put(key::due(parked.due, parked.event.id), key.as_slice());
    state.put(key, ParkedValue::encode(&parked.event, parked.due));
    let quota = Quota::of(&parked.event)?;
    quota.set(state, quota.used(state)?.saturating_add(1));
    Ok(())
}

pub(super) fn apply_unparked(state: &mut Overlay<'_>, unparked: &Unparked) -> Result<(), StateError> {
    let due = key::due(unparked.due, unparked.event);
    let parked = state.get(&due)?.ok_or(StateError::Unreadable("wait of a parked event"))?;
    let bytes = state.get(&parked)?.ok_or(StateError::Unreadable("parked event"))?;
    let quota = Quota::of(&ParkedValue::decode(&bytes)?.event)?;
    state.remove(due);
    state.remove(&parked[..]);
    quota.set(state, quota.used(state)?.saturating_sub(1));
    Ok(())
}
