//! A core that checks itself at every step.

use std::collections::BTreeMap;

use bytes::Bytes;
use catalog::{Catalog, Workspace};
use processor::core::{Changes, Head, Input, Overlay, apply_decision, decide, is_over};
use schemas::event::Event;
use schemas::fact::{Decision, Fact, Outcome, OutcomeStatus, Revision};
use schemas::time::Timestamp;
use schemas::wire;

use super::installation::put_rate;
use super::{T0, Traffic, catalog_with};

pub(crate) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A partition: the state that decides, and one that only applies what was decided.
pub(crate) struct Core {
    pub(crate) state: Map,
    pub(crate) head: Head,
    applied: (Map, Head),
    catalog: Catalog,
    /// The log's clock.
    pub(crate) now: i64,
    ticks: Traffic,
}

impl Core {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A core whose workspace has other terms.
    pub(crate) fn with(edit: impl FnOnce(&mut Workspace)) -> Self {
        Self {
            state: Map::new(),
            head: Head::default(),
            applied: (Map::new(), Head::default()),
            catalog: catalog_with(edit),
            now: 0,
            ticks: Traffic::of_edge(255),
        }
    }

    /// Decides an event as the log has it, and checks what must hold after every step.
    pub(crate) fn feed(&mut self, event: &Event) -> Vec<Fact> {
        self.feed_bytes(wire::encode_event(event.clone()))
    }

    pub(crate) fn feed_bytes(&mut self, payload: Bytes) -> Vec<Fact> {
        let decision = self.decide(payload);
        let (state, head) = &mut self.applied;
        let mut overlay = Overlay::new(state, head.clone());
        apply_decision(&mut overlay, &decision).unwrap();
        let mut changes = overlay.into_changes();
        // Which catalog it was stands in the record, not in its decisions.
        changes.head.catalog = self.catalog.revision();
        commit(state, head, changes);
        assert_eq!(
            (&self.applied.0, &self.applied.1),
            (&self.state, &self.head),
            "applying gives what deciding gave"
        );
        decision.facts
    }

    /// Decides without the costly comparison, for long histories.
    pub(crate) fn feed_fast(&mut self, event: &Event) -> Vec<Fact> {
        self.decide(wire::encode_event(event.clone())).facts
    }

    fn decide(&mut self, payload: Bytes) -> Decision {
        let position = self.head.source;
        let log_time = Timestamp::from_micros(T0 + self.now);
        let record = eventlog::Record { position, log_time, key: Bytes::new(), payload };
        let mut overlay = Overlay::new(&self.state, self.head.clone());
        let decision = decide(&mut overlay, &self.catalog, Input::read(&record)).unwrap();
        let changes = overlay.into_changes();
        commit(&mut self.state, &mut self.head, changes);
        assert_eq!(decision.source, position);
        assert!(!decision.facts.is_empty(), "an event left no fact");
        let counters = self.head.counters;
        assert_eq!(self.head.imbalance(), 0, "{counters:?}");
        assert_eq!(
            counters.ticks + counters.redelivered + self.head.received(),
            self.head.source,
            "{counters:?}"
        );
        decision
    }

    /// Puts an exchange rate into dollars into the catalog.
    pub(crate) fn put_rate(&mut self, date: &str, from: &str, rate: &str) {
        put_rate(&mut self.catalog, date, from, rate);
    }

    /// Forgets what a store may forget by itself.
    pub(crate) fn forget(&mut self) {
        let now = Timestamp::from_micros(T0 + self.now);
        self.state.retain(|key, value| !is_over(key, value, now));
        self.applied.0.retain(|key, value| !is_over(key, value, now));
    }

    pub(crate) fn tick(&mut self) -> Vec<Fact> {
        let tick = self.ticks.tick(self.now);
        self.feed(&tick)
    }

    pub(crate) const fn count(&self, status: OutcomeStatus) -> u64 {
        self.head.counters.outcomes[status as usize]
    }
}

pub(crate) fn commit(state: &mut Map, head: &mut Head, changes: Changes) {
    *head = changes.head;
    for (key, value) in changes.keys {
        match value {
            Some(value) => state.insert(key.to_vec(), value.to_vec()),
            None => state.remove(key.as_slice()),
        };
    }
}

pub(crate) fn outcomes(facts: &[Fact]) -> Vec<&Outcome> {
    facts.iter().filter_map(|fact| if let Fact::Outcome(it) = fact { Some(&**it) } else { None }).collect()
}

/// The only outcome: its status and reason.
pub(crate) fn outcome(facts: &[Fact]) -> (OutcomeStatus, &str) {
    let [outcome] = outcomes(facts)[..] else { panic!("not one outcome: {facts:?}") };
    (outcome.status, &outcome.reason)
}

/// The only revision.
pub(crate) fn revision(facts: &[Fact]) -> &Revision {
    let [revision] = revisions(facts)[..] else { panic!("not one revision: {facts:?}") };
    revision
}

/// All revisions, in order.
pub(crate) fn revisions(facts: &[Fact]) -> Vec<&Revision> {
    facts.iter().filter_map(|fact| if let Fact::Revision(it) = fact { Some(&**it) } else { None }).collect()
}
