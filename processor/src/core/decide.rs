//! Deciding: one record of `events` in, its facts out.

use bytes::Bytes;
use catalog::Catalog;
use schemas::event::{Body, Click, Event, Hit, Impression, Refund};
use schemas::fact::{
    ClickFact, Cut, Decision, Fact, ImpressionFact, Outcome, OutcomeStatus, Revision, Subject, Unparked,
    reason,
};
use schemas::id::{ConversionId, EventId, WorkspaceNumber};
use schemas::time::Timestamp;
use schemas::wire;
use sha2::{Digest, Sha256};

use super::apply::{apply, begin};
use super::conversion::Reported;
use super::head::Head;
use super::key;
use super::mark;
use super::state::{Overlay, State, StateError};
use super::stored::ParkedValue;
use super::{BYTES_PER_CUT, FACTS_PER_CUT};

/// Waits ended by one tick; the rest goes with the next.
const WAITS_PER_TICK: usize = 1_000;
/// Waiting conversions that one click may settle; the rest ends when its wait does.
const WAITS_PER_CLICK: usize = 1_000;

/// Bytes of facts about waits that one event may give, by estimate: all of an event's facts lie in one record of the log.
const WAIT_BYTES_PER_EVENT: usize = 1024 * 1024;
/// What the end of a wait gives beside the conversion itself: its attribution and the outcome.
const WAIT_BYTES: usize = 1024;
/// What one touch takes.
const TOUCH_BYTES: usize = 128;

/// A record of `events`.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its position.
    pub position: u64,
    /// When the log took it.
    pub log_time: Timestamp,
    /// Its bytes, kept for the id of one that cannot be read.
    pub payload: Bytes,
    /// What they mean, or why they mean nothing.
    pub event: Result<Event, wire::WireError>,
}

impl Input {
    /// Decodes a record.
    pub fn read(record: &eventlog::Record) -> Self {
        Self {
            position: record.position,
            log_time: record.log_time,
            payload: record.payload.clone(),
            event: wire::decode_event(record.payload.clone()),
        }
    }
}

/// Decides one record and applies its facts to `state`.
///
/// `catalog` must stand at the revision that the event carries, or, if it was there before, beyond it.
///
/// # Errors
/// Only if the state cannot be read; no input makes it fail.
pub fn decide(state: &mut Overlay<'_>, catalog: &Catalog, input: &Input) -> Result<Decision, StateError> {
    let core_time = state.head().core_time.max(input.log_time);
    begin(state, input.position, core_time);
    state.head_mut().catalog = catalog.revision();
    let mut decider = Decider { state, catalog, facts: Vec::with_capacity(2), wait_bytes: 0 };
    match &input.event {
        Ok(event) => decider.event(event)?,
        Err(_) => decider.unreadable(input)?,
    }
    decider.cut_if_full()?;
    let facts = decider.facts;
    Ok(Decision { source: input.position, core_time, facts })
}

/// Whether a wait has ended by this clock, so that a tick is wanted.
pub fn is_wait_due(state: &dyn State, head: &Head, now_micros: i64) -> Result<bool, StateError> {
    if head.counters.outcomes[OutcomeStatus::Parked as usize] == 0 {
        return Ok(false);
    }
    let (from, to) = key::due_until(Timestamp::from_micros(now_micros));
    Ok(!state.scan(&from, &to, 1, false)?.is_empty())
}

pub(super) struct Decider<'a, 'state> {
    pub(super) state: &'a mut Overlay<'state>,
    pub(super) catalog: &'a Catalog,
    facts: Vec<Fact>,
    /// Bytes that the facts about waits take, by estimate.
    wait_bytes: usize,
}

/// What an outcome says beyond its status.
pub(super) struct Settled<'a> {
    pub(super) reason: &'a str,
    pub(super) conversion: Option<ConversionId>,
    pub(super) original: Option<EventId>,
}

impl<'a> Settled<'a> {
    pub(super) const fn because(reason: &'a str) -> Self {
        Self { reason, conversion: None, original: None }
    }

    /// What is said of an event that meets a conversion which is there already.
    pub(super) const fn meeting(existing: &Revision, reason: &'a str) -> Self {
        let original = existing.conversion.rename();
        Self { reason, conversion: Some(existing.conversion), original: Some(original) }
    }
}

impl Decider<'_, '_> {
    /// A fact takes effect as soon as it is decided: the next one of the same event may depend on it.
    pub(super) fn emit(&mut self, fact: Fact) -> Result<(), StateError> {
        apply(self.state, &fact)?;
        if let Fact::Revision(revision) = &fact {
            self.wait_bytes += revision.touches.len() * TOUCH_BYTES;
        }
        self.facts.push(fact);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), StateError> {
        if let Some(mark) = event.mark
            && mark::saw(self.state, mark)?
        {
            return self.emit(Fact::Redelivered(mark));
        }
        match &event.body {
            Body::Click(click) => self.click(event, click),
            Body::Impression(impression) => self.impression(event, impression),
            Body::Conversion(conversion) => {
                self.conversion(&Reported { event, conversion, mark: event.mark })
            }
            Body::Refund(refund) => self.refund(event, refund),
            Body::Delayed(delayed) => self.emit(Fact::Delayed(*delayed)),
            Body::Tick => self.tick(),
        }
    }

    fn click(&mut self, event: &Event, click: &Click) -> Result<(), StateError> {
        let outcome = hit_outcome(event, Subject::Click, &click.hit);
        if self.catalog.workspace(event.workspace).is_none() {
            return self.reject_hit(outcome);
        }
        self.emit(Fact::Click(Box::new(ClickFact {
            receipt: event.id,
            workspace: event.workspace,
            received_at: event.received_at,
            click: click.clone(),
        })))?;
        self.emit(Fact::Outcome(Box::new(outcome)))?;
        self.settle_waiting(event.workspace, click)
    }

    fn impression(&mut self, event: &Event, impression: &Impression) -> Result<(), StateError> {
        let outcome = hit_outcome(event, Subject::Impression, &impression.hit);
        if self.catalog.workspace(event.workspace).is_none() {
            return self.reject_hit(outcome);
        }
        self.emit(Fact::Impression(Box::new(ImpressionFact {
            receipt: event.id,
            workspace: event.workspace,
            received_at: event.received_at,
            impression: impression.clone(),
        })))?;
        self.emit(Fact::Outcome(Box::new(outcome)))
    }

    fn reject_hit(&mut self, outcome: Outcome) -> Result<(), StateError> {
        self.emit(Fact::Outcome(Box::new(Outcome {
            status: OutcomeStatus::Rejected,
            reason: reason::UNKNOWN_WORKSPACE.to_owned(),
            ..outcome
        })))
    }

    fn refund(&mut self, event: &Event, refund: &Refund) -> Result<(), StateError> {
        self.emit(Fact::Outcome(Box::new(Outcome {
            event: event.id,
            workspace: event.workspace,
            mark: event.mark,
            subject: Subject::Refund,
            status: OutcomeStatus::Rejected,
            reason: reason::UNKNOWN_CONVERSION.to_owned(),
            conversion: None,
            original: None,
            source: refund.source,
            received_at: event.received_at,
            test: refund.test,
        })))
    }

    /// Decides the conversions that waited for this click, in the order in which they came.
    fn settle_waiting(&mut self, workspace: WorkspaceNumber, click: &Click) -> Result<(), StateError> {
        // Almost always nothing waits at all, and then no click costs a read.
        if self.state.head().counters.outcomes[OutcomeStatus::Parked as usize] == 0 {
            return Ok(());
        }
        let (from, to) = key::parked_for(workspace, click.id);
        for (_, bytes) in self.state.scan(&from, &to, WAITS_PER_CLICK, false)? {
            if self.is_full() {
                break;
            }
            self.end_wait(&bytes)?;
        }
        Ok(())
    }

    /// Whether this event has given facts enough; the other waits end with later events.
    fn is_full(&self) -> bool {
        self.wait_bytes >= WAIT_BYTES_PER_EVENT
    }

    /// Ends the wait of a parked conversion and decides it again, whether its click came or not.
    fn end_wait(&mut self, parked: &[u8]) -> Result<(), StateError> {
        self.wait_bytes += parked.len() + WAIT_BYTES;
        let ParkedValue { event, due } = ParkedValue::decode(parked)?;
        let unreadable = StateError::Unreadable("parked conversion");
        let Body::Conversion(conversion) = &event.body else { return Err(unreadable) };
        let Some(click) = conversion.click else { return Err(unreadable) };
        self.emit(Fact::Unparked(Unparked { event: event.id, click, workspace: event.workspace, due }))?;
        self.conversion(&Reported { event: &event, conversion, mark: None })
    }

    fn tick(&mut self) -> Result<(), StateError> {
        self.emit(Fact::Ticked)?;
        let (from, to) = key::due_until(self.state.head().core_time);
        for (_, parked) in self.state.scan(&from, &to, WAITS_PER_TICK, false)? {
            if self.is_full() {
                break;
            }
            let Some(bytes) = self.state.get(&parked)? else {
                return Err(StateError::Unreadable("parked conversion"));
            };
            self.end_wait(&bytes)?;
        }
        if self.state.head().uncut > 0 { self.cut() } else { Ok(()) }
    }

    fn cut_if_full(&mut self) -> Result<(), StateError> {
        let head = self.state.head();
        if head.uncut >= FACTS_PER_CUT || head.uncut_bytes >= BYTES_PER_CUT { self.cut() } else { Ok(()) }
    }

    fn cut(&mut self) -> Result<(), StateError> {
        let head = self.state.head();
        let cut = Cut { number: head.cut + 1, rows: head.rows };
        self.emit(Fact::Cut(cut))
    }

    /// A record that means nothing still ends in one counted outcome. Its id is the hash of its bytes.
    fn unreadable(&mut self, input: &Input) -> Result<(), StateError> {
        let digest: [u8; 32] = Sha256::digest(&input.payload).into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        self.emit(Fact::Outcome(Box::new(Outcome {
            event: EventId::from_bytes(id),
            workspace: WorkspaceNumber::NONE,
            mark: None,
            subject: Subject::Unreadable,
            status: OutcomeStatus::Rejected,
            reason: reason::UNREADABLE.to_owned(),
            conversion: None,
            original: None,
            source: None,
            received_at: input.log_time,
            test: false,
        })))
    }

    /// Ends a conversion's event, or parks it.
    pub(super) fn settle(
        &mut self,
        reported: &Reported<'_>,
        status: OutcomeStatus,
        settled: Settled<'_>,
    ) -> Result<(), StateError> {
        self.emit(Fact::Outcome(Box::new(Outcome {
            event: reported.event.id,
            workspace: reported.event.workspace,
            mark: reported.mark,
            subject: Subject::Conversion,
            status,
            reason: settled.reason.to_owned(),
            conversion: settled.conversion,
            original: settled.original,
            source: reported.conversion.source,
            received_at: reported.event.received_at,
            test: reported.conversion.test,
        })))
    }
}

/// How a click or an impression ends unless its workspace is unknown.
const fn hit_outcome(event: &Event, subject: Subject, hit: &Hit) -> Outcome {
    Outcome {
        event: event.id,
        workspace: event.workspace,
        mark: event.mark,
        subject,
        status: OutcomeStatus::Recorded,
        reason: String::new(),
        conversion: None,
        original: None,
        source: None,
        received_at: event.received_at,
        test: hit.test,
    }
}
