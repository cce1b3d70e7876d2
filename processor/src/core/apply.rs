//! Applying facts: the only place where state changes.

use schemas::event::{Body, Hit};
use schemas::fact::{Decision, Fact, Outcome, OutcomeStatus, Parked, Record, Revision, Unparked};
use schemas::id::WorkspaceNumber;
use schemas::table::Table;
use schemas::time::Timestamp;
use schemas::wire;

use super::WAIT_MICROS;
use super::key;
use super::mark;
use super::state::{Overlay, State, StateError};
use super::stored::{ParkedValue, StoredClick};

/// How often stale delivery marks are looked for, in core time.
const SWEEP_MICROS: i64 = 3_600 * 1_000_000;
/// Edges looked at in one sweep, the oldest lives first: edge ids begin with their time.
const SWEPT_EDGES: usize = 10_000;

/// Applies a whole accepted record, also one that somebody else decided.
///
/// `position` and `hash` are the record's own: the state stands on it afterwards.
pub fn apply_record(
    state: &mut Overlay<'_>,
    record: &Record,
    position: u64,
    hash: schemas::fact::RecordHash,
) -> Result<(), StateError> {
    for decision in &record.decisions {
        apply_decision(state, decision)?;
    }
    let head = state.head_mut();
    head.source = record.source_to;
    head.last_event = record.last_event;
    head.catalog = record.catalog;
    head.record = Some(position);
    head.record_hash = hash;
    Ok(())
}

/// Applies what was decided on one event.
pub fn apply_decision(state: &mut Overlay<'_>, decision: &Decision) -> Result<(), StateError> {
    begin(state, decision.source, decision.core_time);
    decision.facts.iter().try_for_each(|fact| apply(state, fact))
}

/// Moves the state to an event, before its facts.
pub(super) fn begin(state: &mut Overlay<'_>, source: u64, core_time: Timestamp) {
    let head = state.head_mut();
    head.source = source + 1;
    head.core_time = core_time;
}

pub(super) fn apply(state: &mut Overlay<'_>, fact: &Fact) -> Result<(), StateError> {
    let head = state.head_mut();
    head.next_seq += 1;
    head.rows.add(fact);
    if Table::ALL.iter().any(|table| table.rows_of(fact) > 0) {
        head.uncut += 1;
        head.uncut_bytes += row_bytes(fact);
    }
    match fact {
        Fact::Click(fact) => {
            let click = StoredClick::of(&fact.click);
            if let Some(visitor) = click.visitor {
                state.put(key::touch(fact.workspace, visitor, click.at, click.id), Vec::new());
            }
            state.put(key::click(fact.workspace, click.id), click.encode());
            Ok(())
        }
        Fact::Impression(_) => Ok(()),
        Fact::Revision(revision) => {
            apply_revision(state, revision);
            Ok(())
        }
        Fact::Outcome(outcome) => apply_outcome(state, outcome),
        Fact::Parked(parked) => apply_parked(state, parked),
        Fact::Unparked(unparked) => apply_unparked(state, unparked),
        Fact::Redelivered(mark) => {
            state.head_mut().counters.redelivered += 1;
            mark::see(state, *mark)
        }
        Fact::Delayed(_) => {
            state.head_mut().counters.ticks += 1;
            Ok(())
        }
        Fact::Ticked => {
            state.head_mut().counters.ticks += 1;
            sweep_marks(state)
        }
        Fact::Cut(cut) => {
            let head = state.head_mut();
            head.cut = cut.number;
            (head.uncut, head.uncut_bytes) = (0, 0);
            Ok(())
        }
    }
}

/// About how many bytes a fact's rows have; what matters is the part that a sender can make large.
fn row_bytes(fact: &Fact) -> u64 {
    /// Ids, times and numbers of a row.
    const FIXED: usize = 256;
    let texts = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
    let hit_bytes = |hit: &Hit| {
        let params = hit.params.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let seen = hit.referrer.len() + hit.user_agent.len();
        FIXED + params + seen + texts(&hit.subs) + texts(&hit.labels)
    };
    let bytes = match fact {
        Fact::Click(fact) => hit_bytes(&fact.click.hit) + fact.click.destination_url.len(),
        Fact::Impression(fact) => hit_bytes(&fact.impression.hit),
        Fact::Revision(revision) => {
            let received = &revision.received;
            let named = received.metadata.len() + received.customer_id.len() + received.transaction_id.len();
            2 * FIXED + named + texts(&revision.attributed.subs) + revision.touches.len() * FIXED
        }
        Fact::Outcome(_)
        | Fact::Parked(_)
        | Fact::Unparked(_)
        | Fact::Redelivered(_)
        | Fact::Delayed(_)
        | Fact::Ticked
        | Fact::Cut(_) => FIXED,
    };
    bytes as u64
}

fn apply_revision(state: &mut Overlay<'_>, revision: &Revision) {
    let conversion = revision.conversion;
    state.put(key::dedupe(revision.workspace, &revision.dedupe_key), conversion.bytes().to_vec());
    state.put(key::conversion(revision.workspace, conversion), wire::encode_revision(revision));
}

fn apply_outcome(state: &mut Overlay<'_>, outcome: &Outcome) -> Result<(), StateError> {
    // The outcome that ends a wait takes the event from the level of the parked.
    let settles_parked = outcome.mark.is_none() && outcome.subject == schemas::fact::Subject::Conversion;
    let counters = &mut state.head_mut().counters;
    if settles_parked {
        let parked = &mut counters.outcomes[OutcomeStatus::Parked as usize];
        *parked = parked.saturating_sub(1);
    }
    counters.outcomes[outcome.status as usize] += 1;
    outcome.mark.map_or(Ok(()), |mark| mark::see(state, mark))
}

fn apply_parked(state: &mut Overlay<'_>, parked: &Parked) -> Result<(), StateError> {
    let Some(click) = waits_for(parked) else { return Err(StateError::Unreadable("parked event")) };
    let workspace = parked.event.workspace;
    let key = key::parked(workspace, click, state.head().next_seq);
    state.put(key::due(parked.due, parked.event.id), key.clone());
    state.put(key, ParkedValue::encode(&parked.event, parked.due));
    let count = parked_count(state, workspace)?;
    state.put(key::parked_count(workspace), (count + 1).to_be_bytes().to_vec());
    Ok(())
}

fn waits_for(parked: &Parked) -> Option<schemas::id::ClickId> {
    match &parked.event.body {
        Body::Conversion(conversion) => conversion.click,
        Body::Click(_) | Body::Impression(_) | Body::Refund(_) | Body::Delayed(_) | Body::Tick => None,
    }
}

fn apply_unparked(state: &mut Overlay<'_>, unparked: &Unparked) -> Result<(), StateError> {
    let due = key::due(unparked.due, unparked.event);
    let parked = state.get(&due)?.ok_or(StateError::Unreadable("wait of a parked conversion"))?;
    state.remove(due);
    state.remove(parked);
    let count = parked_count(state, unparked.workspace)?.saturating_sub(1);
    state.put(key::parked_count(unparked.workspace), count.to_be_bytes().to_vec());
    Ok(())
}

/// How many conversions of a workspace wait for their clicks.
pub(super) fn parked_count(state: &Overlay<'_>, workspace: WorkspaceNumber) -> Result<u64, StateError> {
    let Some(bytes) = state.get(&key::parked_count(workspace))? else { return Ok(0) };
    let bytes = bytes.try_into().map_err(|_| StateError::Unreadable("number of parked conversions"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Forgets edges that have been silent for longer than any delivery may be late.
fn sweep_marks(state: &mut Overlay<'_>) -> Result<(), StateError> {
    let now = state.head().core_time;
    if now.micros_since(state.head().marks_swept) < SWEEP_MICROS {
        return Ok(());
    }
    state.head_mut().marks_swept = now;
    mark::sweep(state, WAIT_MICROS, SWEPT_EDGES)
}
