//! Applying facts: the only place where state changes.

use schemas::event::Hit;
use schemas::fact::{Decision, Fact, Outcome, OutcomeStatus, Record, Revision, Subject, Touch, TouchId};
use schemas::time::Timestamp;
use schemas::wire;

use super::WAIT_MICROS;
use super::cap;
use super::hold;
use super::key;
use super::mark;
use super::nonce;
use super::person;
use super::rates;
use super::refund::apply_refund;
use super::reopening::is_undecided;
use super::revision::stored;
use super::state::{Overlay, StateError};
use super::stored::encode_touch;
use super::unique;
use super::waiting::{apply_parked, apply_unparked};

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
    if fact.is_for_tables() {
        head.uncut += 1;
        head.uncut_bytes += row_bytes(fact);
    }
    match fact {
        Fact::Click(fact) => {
            let (click, hit) = (fact.click.id, &fact.click.hit);
            if let Some(visitor) = hit.visitor {
                let key = key::touch(fact.workspace, visitor, hit.occurred_at, TouchId::Click(click));
                state.put(key, hit.offer.bytes());
            }
            state.put(key::click(fact.workspace, click), encode_touch(hit));
            unique::apply_click(state, fact.workspace, hit);
            Ok(())
        }
        Fact::Impression(fact) => {
            let (view, hit) = (TouchId::Impression(fact.impression.id), &fact.impression.hit);
            // Nothing leads to an impression but its visitor.
            if let Some(visitor) = hit.visitor {
                state.put(key::touch(fact.workspace, visitor, hit.occurred_at, view), encode_touch(hit));
            }
            Ok(())
        }
        Fact::Revision(revision) => apply_revision(state, revision),
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
            nonce::sweep(state)?;
            sweep(state)
        }
        Fact::Nonce(used) => {
            nonce::apply_nonce(state, used);
            Ok(())
        }
        Fact::RateSweep(sweep) => rates::apply_sweep(state, sweep),
        Fact::Joined(joined) => person::apply_joined(state, joined),
        Fact::CapCounted(counted) => cap::apply_counted(state, counted),
        Fact::Cut(cut) => {
            let head = state.head_mut();
            head.cut = cut.number;
            (head.uncut, head.uncut_bytes) = (0, 0);
            nonce::sweep(state)
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
            let said = revision.cause.reason.len() + revision.cause.note.len();
            let named = received.metadata.len() + received.customer_id.len() + received.transaction_id.len();
            2 * FIXED + named + said + texts(&revision.attributed.subs) + revision.touches.len() * FIXED
        }
        Fact::Outcome(_)
        | Fact::Parked(_)
        | Fact::Unparked(_)
        | Fact::Redelivered(_)
        | Fact::Nonce(_)
        | Fact::CapCounted(_)
        | Fact::Joined(_)
        | Fact::RateSweep(_)
        | Fact::Delayed(_)
        | Fact::Ticked
        | Fact::Cut(_) => FIXED,
    };
    bytes as u64
}

fn apply_revision(state: &mut Overlay<'_>, revision: &Revision) -> Result<(), StateError> {
    let (workspace, conversion) = (revision.workspace, revision.conversion);
    let key = key::conversion(workspace, conversion);
    let before = match revision.before {
        None => None,
        Some(_) => Some(stored(state, workspace, conversion)?.ok_or(StateError::Unreadable("conversion"))?),
    };
    let touches = kept_touches(before.as_ref(), revision);
    state.put(key::dedupe(workspace, &revision.dedupe_key), conversion.bytes());
    state.put(key, wire::encode_revision(revision, touches));
    if let Some(refund) = &revision.refund {
        apply_refund(state, revision, refund);
    }
    hold::apply_revision(state, revision);
    rates::apply_revision(state, before.as_ref(), revision);
    if before.is_none() { person::apply_recorded(state, revision) } else { Ok(()) }
}

/// The touches that the state keeps with a conversion: those considered last, as long as others may still come.
fn kept_touches<'a>(before: Option<&'a Revision>, revision: &'a Revision) -> &'a [Touch] {
    match before {
        _ if !is_undecided(revision) => &[],
        Some(before) if revision.touches.is_empty() => &before.touches,
        Some(_) | None => &revision.touches,
    }
}

fn apply_outcome(state: &mut Overlay<'_>, outcome: &Outcome) -> Result<(), StateError> {
    // The outcome that ends a wait takes the event from the level of the parked.
    let settles_parked =
        outcome.mark.is_none() && matches!(outcome.subject, Subject::Conversion | Subject::Refund);
    let counters = &mut state.head_mut().counters;
    if settles_parked {
        let parked = &mut counters.outcomes[OutcomeStatus::Parked as usize];
        *parked = parked.saturating_sub(1);
    }
    counters.outcomes[outcome.status as usize] += 1;
    outcome.mark.map_or(Ok(()), |mark| mark::see(state, mark))
}

/// Forgets edges that have been silent for longer than any delivery may be late, and counts of caps that are over.
fn sweep(state: &mut Overlay<'_>) -> Result<(), StateError> {
    let now = state.head().core_time;
    if now.micros_since(state.head().marks_swept) < SWEEP_MICROS {
        return Ok(());
    }
    state.head_mut().marks_swept = now;
    cap::sweep(state)?;
    mark::sweep(state, WAIT_MICROS, SWEPT_EDGES)
}
