//! The core without an owner: one thread decides a log from its beginning, and the chain of a facts log is folded.

use std::sync::LazyLock;

use catalog::Catalog;
use eventlog::Record;
use processor::chain::{Chain, Judged};
use processor::core::{CORE_VERSION, Changes, Input, Overlay, apply_record, decide};
use processor::store::Committed as _;
use schemas::fact::{self, Decision};
use schemas::wire;

use crate::memory::Memory;
use crate::scene::installation::folded;
use crate::scene::proposals;

/// The catalog at each of its revisions.
pub(crate) static CATALOGS: LazyLock<Vec<Catalog>> = LazyLock::new(|| {
    let proposals = proposals();
    (0..=proposals.len()).map(|revision| folded(proposals[..revision].to_vec())).collect()
});

/// Decides the next events of a state into one record, without committing it.
pub(crate) fn decide_range(state: &Memory, events: &[Record]) -> (fact::Record, Changes) {
    let head = state.head().unwrap();
    let mut overlay = Overlay::new(state, head.clone());
    let mut revision = head.catalog.number;
    let mut decisions = Vec::new();
    for event in events {
        let input = Input::read(event);
        revision = revision.max(input.event.as_ref().map_or(0, |event| event.catalog.number));
        decisions.push(decide(&mut overlay, &CATALOGS[revision as usize], input).unwrap());
    }
    let last_event = events.last().map_or(head.last_event, |event| wire::hash_record(&event.payload));
    let record = fact::Record {
        core_version: CORE_VERSION,
        partition: 0,
        previous: head.record_hash,
        first_seq: head.next_seq,
        source_from: head.source,
        source_to: overlay.head().source,
        catalog: overlay.head().catalog,
        last_event,
        decisions,
    };
    (record, overlay.into_changes())
}

/// What one thread that never fails decides of these events, and the state that it reaches.
pub(crate) fn decide_all(events: &[Record]) -> (Vec<Decision>, Memory) {
    let state = Memory::default();
    let mut decisions = Vec::new();
    for event in events {
        let (record, changes) = decide_range(&state, std::slice::from_ref(event));
        decisions.extend(record.decisions);
        state.commit(changes).unwrap();
    }
    (decisions, state)
}

/// The chain of a facts log, and the state that comes of applying it.
pub(crate) struct Folded {
    pub(crate) state: Memory,
    chain: Chain,
    pub(crate) decisions: Vec<Decision>,
}

impl Folded {
    pub(crate) fn new() -> Self {
        Self { state: Memory::default(), chain: Chain::start(0), decisions: Vec::new() }
    }

    /// Takes the next record of the log. True if the chain accepts it.
    pub(crate) fn take(&mut self, record: &Record) -> Result<bool, String> {
        let judged = self.chain.judge(&record.payload).map_err(|error| error.to_string())?;
        let Judged::Accepted(accepted) = judged else { return Ok(false) };
        let mut overlay = Overlay::new(&self.state, self.state.head().unwrap());
        apply_record(&mut overlay, &accepted.record, record.position, accepted.hash)
            .map_err(|error| format!("facts cannot be applied: {error}"))?;
        let changes = overlay.into_changes();
        self.state.commit(changes).unwrap();
        self.decisions.extend(accepted.record.decisions);
        Ok(true)
    }
}
