//! Deciding: one record of `events` in, its facts out.

use bytes::Bytes;
use catalog::Catalog;
use schemas::event::{Body, Click, Event, Hit, Impression, Mark, label};
use schemas::fact::{
    ClickFact, Cut, Decision, Fact, ImpressionFact, Outcome, OutcomeStatus, Revision, Subject, TouchId,
    reason,
};
use schemas::id::{ConversionId, EventId, SourceId, WorkspaceNumber};
use schemas::time::Timestamp;
use schemas::wire;

use super::apply::{apply, begin};
use super::command::Original;
use super::conversion::Reported;
use super::dedupe::digest;
use super::key::Awaited;
use super::mark;
use super::refund::Returned;
use super::state::{Overlay, StateError};
use super::unique;
use super::{BYTES_PER_CUT, FACTS_PER_CUT};

/// Bytes of facts about waits that one event may give, by estimate: all of an event's facts lie in one record of the log.
const WAIT_BYTES_PER_EVENT: usize = 1024 * 1024;
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
pub fn decide(state: &mut Overlay<'_>, catalog: &Catalog, input: Input) -> Result<Decision, StateError> {
    decide_as(state, catalog, input, None)
}

/// Decides one record as [`decide`] does, but a command as it ended originally, in an earlier generation.
///
/// # Errors
/// As [`decide`].
pub fn decide_as(
    state: &mut Overlay<'_>,
    catalog: &Catalog,
    input: Input,
    original: Option<&Original>,
) -> Result<Decision, StateError> {
    let core_time = state.head().core_time.max(input.log_time);
    begin(state, input.position, core_time);
    let before = std::mem::replace(&mut state.head_mut().catalog, catalog.revision());
    let mut decider = Decider { state, catalog, original, facts: Vec::with_capacity(2), wait_bytes: 0 };
    match input.event {
        Ok(event) => {
            let event = decider.event(event)?;
            decider.rates(&event, before.number)?;
        }
        Err(_) => decider.unreadable(&input.payload, input.log_time)?,
    }
    decider.cut_if_full()?;
    let facts = decider.facts;
    Ok(Decision { source: input.position, core_time, facts })
}

pub(super) struct Decider<'a, 'state> {
    pub(super) state: &'a mut Overlay<'state>,
    pub(super) catalog: &'a Catalog,
    /// How the command that is decided ended in an earlier generation.
    pub(super) original: Option<&'a Original>,
    facts: Vec<Fact>,
    /// Bytes that the facts about waits take, by estimate.
    wait_bytes: usize,
}

/// An event on its way to an outcome.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) event: &'a Event,
    /// `None` for one that waited: its delivery was settled when it was parked.
    pub(super) mark: Option<Mark>,
    pub(super) subject: Subject,
    pub(super) source: Option<SourceId>,
    pub(super) test: bool,
}

impl<'a> Case<'a> {
    const fn of_hit(event: &'a Event, subject: Subject, hit: &Hit) -> Self {
        Self { event, mark: event.mark, subject, source: None, test: hit.test }
    }
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

    /// What is said of an event that changes a conversion, or cannot.
    pub(super) const fn about(existing: &Revision, reason: &'a str) -> Self {
        Self { reason, conversion: Some(existing.conversion), original: None }
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

    /// Decides an event, and gives back what is left of it: by whom and when.
    fn event(&mut self, mut event: Event) -> Result<Event, StateError> {
        if let Some(mark) = event.mark
            && mark::saw(self.state, mark)?
        {
            self.emit(Fact::Redelivered(mark))?;
            return Ok(event);
        }
        match event.body {
            // What a visit says goes into its fact as it is: nothing of it is copied.
            Body::Click(click) => {
                event.body = Body::Tick;
                self.click(&event, click)?;
            }
            Body::Impression(impression) => {
                event.body = Body::Tick;
                self.impression(&event, impression)?;
            }
            Body::Conversion(ref conversion) => {
                self.conversion(&Reported::new(&event, conversion, event.mark))?;
            }
            Body::Refund(ref refund) => self.refund(&Returned::new(&event, refund, event.mark))?,
            Body::Command(ref command) => self.command(&event, command)?,
            Body::Delayed(delayed) => self.emit(Fact::Delayed(delayed))?,
            Body::Tick => self.tick(&event)?,
        }
        Ok(event)
    }

    fn click(&mut self, event: &Event, mut click: Box<Click>) -> Result<(), StateError> {
        let case = Case::of_hit(event, Subject::Click, &click.hit);
        let Some(workspace) = self.catalog.workspace(event.workspace) else {
            return self.reject(&case, reason::UNKNOWN_WORKSPACE);
        };
        let (counted_in, is_beyond) = self.caps_of_click(event, workspace, &click)?;
        let labels = &mut click.hit.labels;
        if is_beyond && !labels.iter().any(|known| known == label::CAP) {
            labels.push(label::CAP.to_owned());
        }
        self.label_unique(event.workspace, &mut click.hit)?;
        let id = click.id;
        let reached = self.reached_by(workspace, TouchId::Click(id), &click.hit)?;
        reached.label(&mut click.hit.labels);
        self.emit(Fact::Click(Box::new(ClickFact {
            receipt: event.id,
            workspace: event.workspace,
            received_at: event.received_at,
            click,
        })))?;
        self.count_click(event, counted_in)?;
        self.settle(&case, OutcomeStatus::Recorded, Settled::because(""))?;
        self.settle_waiting(event.workspace, Awaited::Click(id))?;
        self.reopen_reached(event, workspace, &reached)
    }

    fn impression(&mut self, event: &Event, mut impression: Box<Impression>) -> Result<(), StateError> {
        let case = Case::of_hit(event, Subject::Impression, &impression.hit);
        let Some(workspace) = self.catalog.workspace(event.workspace) else {
            return self.reject(&case, reason::UNKNOWN_WORKSPACE);
        };
        unique::drop_claims(&mut impression.hit);
        let reached = self.reached_by(workspace, TouchId::Impression(impression.id), &impression.hit)?;
        reached.label(&mut impression.hit.labels);
        self.emit(Fact::Impression(Box::new(ImpressionFact {
            receipt: event.id,
            workspace: event.workspace,
            received_at: event.received_at,
            impression,
        })))?;
        self.settle(&case, OutcomeStatus::Recorded, Settled::because(""))?;
        self.reopen_reached(event, workspace, &reached)
    }

    /// Takes note of bytes that this event gives.
    pub(super) const fn add_bytes(&mut self, bytes: usize) {
        self.wait_bytes += bytes;
    }

    /// Whether this event has given facts enough; the other waits end with later events.
    pub(super) const fn is_full(&self) -> bool {
        self.wait_bytes >= WAIT_BYTES_PER_EVENT
    }

    /// Assesses conversions anew for which the catalog has a rate since its revision `before`.
    fn rates(&mut self, event: &Event, before: u64) -> Result<(), StateError> {
        if self.catalog.revision().number > before {
            self.begin_rate_sweeps(before)?;
        }
        self.go_on_with_rate_sweeps(event)
    }

    fn tick(&mut self, event: &Event) -> Result<(), StateError> {
        self.emit(Fact::Ticked)?;
        self.end_due_waits()?;
        self.end_due_holds(event)?;
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
    fn unreadable(&mut self, payload: &[u8], log_time: Timestamp) -> Result<(), StateError> {
        self.emit(Fact::Outcome(Box::new(Outcome {
            event: EventId::from_bytes(digest(payload)),
            workspace: WorkspaceNumber::NONE,
            mark: None,
            subject: Subject::Unreadable,
            status: OutcomeStatus::Rejected,
            reason: reason::UNREADABLE.to_owned(),
            conversion: None,
            original: None,
            source: None,
            received_at: log_time,
            test: false,
        })))
    }

    /// Ends an event, or parks it.
    pub(super) fn settle(
        &mut self,
        case: &Case<'_>,
        status: OutcomeStatus,
        settled: Settled<'_>,
    ) -> Result<(), StateError> {
        self.emit(Fact::Outcome(Box::new(Outcome {
            event: case.event.id,
            workspace: case.event.workspace,
            mark: case.mark,
            subject: case.subject,
            status,
            reason: settled.reason.to_owned(),
            conversion: settled.conversion,
            original: settled.original,
            source: case.source,
            received_at: case.event.received_at,
            test: case.test,
        })))
    }

    /// Ends an event that cannot count.
    pub(super) fn reject(&mut self, case: &Case<'_>, reason: &str) -> Result<(), StateError> {
        self.settle(case, OutcomeStatus::Rejected, Settled::because(reason))
    }
}
