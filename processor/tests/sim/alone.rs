//! The core without an owner: one thread decides a log from its beginning, and the chain of a facts log is folded.

use std::sync::LazyLock;

use bytes::Bytes;
use catalog::Catalog;
use eventlog::Record;
use processor::chain::{Accepted, Chain, Judged};
use processor::core::{CORE_VERSION, Changes, Input, Overlay, apply_record, decide};
use processor::store::Committed as _;
use schemas::event::Event;
use schemas::fact::{self, Decision, RecordHash};
use schemas::wire;

use crate::memory::Memory;
use crate::scene::installation::{folded, rate_proposal};
use crate::scene::proposals;

/// Revisions of the catalog with which a history begins; later ones are made on the way.
pub(crate) const FIRST_REVISIONS: usize = 2;

/// The records of the catalog: the installation, its offers, and rates for which conversions may wait.
pub(crate) static EDITS: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let mut edits = proposals();
    for (date, rate) in [("2026-11-09", "1.25"), ("2026-11-15", "1.1"), ("2026-11-21", "1.2")] {
        edits.push(rate_proposal(edits.len() as u64, date, "EUR", rate));
    }
    edits
});

/// The catalog at each of its revisions.
pub(crate) static CATALOGS: LazyLock<Vec<Catalog>> =
    LazyLock::new(|| (0..=EDITS.len()).map(|revision| folded(EDITS[..revision].to_vec())).collect());

/// Decides the next events of a state into one record, without committing it.
pub(crate) fn decide_range(state: &Memory, events: &[Record]) -> (fact::Record, Changes) {
    decide_as(state, events, |_| {})
}

/// The same by a core of another opinion: it takes each event for what `read` makes of it.
pub(crate) fn decide_as(state: &Memory, events: &[Record], read: fn(&mut Event)) -> (fact::Record, Changes) {
    let head = state.head().unwrap();
    let mut overlay = Overlay::new(state, head.clone());
    let mut revision = head.catalog.number;
    let mut decisions = Vec::new();
    for event in events {
        let mut input = Input::read(event);
        input.event.iter_mut().for_each(read);
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

/// What one thread that never fails decides of these events, and the state that it reaches. What a core of another opinion has decided
/// and the chain has accepted stands.
pub(crate) fn decide_all(events: &[Record], chain: &[Link]) -> (Vec<Decision>, Memory) {
    let state = Memory::default();
    let mut decisions = Vec::new();
    for Link { record, position, hash } in chain.iter() {
        if record.core_version != CORE_VERSION {
            state.commit(applied(&state, record, *position, *hash).unwrap()).unwrap();
            decisions.extend(record.decisions.clone());
            continue;
        }
        for event in &events[record.source_from as usize..record.source_to as usize] {
            let (record, changes) = decide_range(&state, std::slice::from_ref(event));
            decisions.extend(record.decisions);
            state.commit(changes).unwrap();
        }
    }
    (decisions, state)
}

fn applied(
    state: &Memory,
    record: &fact::Record,
    position: u64,
    hash: RecordHash,
) -> Result<Changes, String> {
    let mut overlay = Overlay::new(state, state.head().unwrap());
    apply_record(&mut overlay, record, position, hash)
        .map_err(|error| format!("facts cannot be applied: {error}"))?;
    Ok(overlay.into_changes())
}

/// A record that the chain has accepted.
pub(crate) struct Link {
    pub(crate) record: fact::Record,
    pub(crate) position: u64,
    hash: RecordHash,
}

/// The chain of a facts log, and the state that comes of applying it.
pub(crate) struct Folded {
    pub(crate) state: Memory,
    chain: Chain,
    pub(crate) links: Vec<Link>,
}

impl Folded {
    pub(crate) fn new() -> Self {
        Self { state: Memory::default(), chain: Chain::start(0), links: Vec::new() }
    }

    /// Takes the next record of the log. True if the chain accepts it.
    pub(crate) fn take(&mut self, record: &Record) -> Result<bool, String> {
        let judged = self.chain.judge(&record.payload).map_err(|error| error.to_string())?;
        let Judged::Accepted(accepted) = judged else { return Ok(false) };
        let Accepted { record: facts, hash } = *accepted;
        self.state.commit(applied(&self.state, &facts, record.position, hash)?).unwrap();
        self.links.push(Link { record: facts, position: record.position, hash });
        Ok(true)
    }

    /// All decisions, in order.
    pub(crate) fn decisions(&self) -> Vec<Decision> {
        self.links.iter().flat_map(|link| link.record.decisions.clone()).collect()
    }
}
