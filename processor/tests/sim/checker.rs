//! What must hold after every history.

use std::collections::{BTreeMap, HashMap, HashSet};

use processor::core::Head;
use processor::store::Committed as _;
use schemas::event::{Actor, Body, Event};
use schemas::fact::{Decision, Fact, NO_RECORD, OutcomeStatus, Revision, Subject, Values};
use schemas::id::EventId;
use schemas::table::RowCounts;
use schemas::wire;

use crate::alone::{Folded, decide_all};
use crate::finish::Remains;
use crate::scene::Map;
use crate::{rows, waits};

/// Everything that must hold.
pub(crate) fn check(remains: &Remains) -> Result<(), String> {
    let folded = states_are_folds_of_the_chain(remains)?;
    if remains.states.last() != Some(&folded.state.all()) {
        return Err("the last state is not the end of the chain".into());
    }
    let head = folded.state.head().unwrap();
    if head.imbalance() != 0 {
        return Err(format!("out of balance by {}", head.imbalance()));
    }
    let decisions = folded.decisions();
    every_event_ends_once(remains, &decisions)?;
    conversions_are_sound(&decisions)?;
    revisions_follow_each_other(&decisions)?;
    cuts_count_rows(&decisions)?;
    waits::check(&decisions)?;
    rows::check(&remains.warehoused, &decisions)?;
    what_was_deleted_is_archived(remains)?;
    same_as_alone(remains, &folded)
}

/// Each state that was left behind, in a store or in a snapshot, is what the chain up to its last record gives.
pub(crate) fn states_are_folds_of_the_chain(remains: &Remains) -> Result<Folded, String> {
    let mut folded = Folded::new();
    let mut at: BTreeMap<Option<u64>, (Map, Head)> = BTreeMap::from([(None, folded.state.all())]);
    for record in &remains.facts {
        if folded.take(record)? {
            at.insert(Some(record.position), folded.state.all());
        }
    }
    for state in remains.states.iter().chain(&remains.snapshots) {
        let expected = at.get(&state.1.record).ok_or("a state stands on a record outside of the chain")?;
        if expected != state {
            return Err(format!("a state is not the fold of the chain up to {:?}", state.1.record));
        }
    }
    Ok(folded)
}

/// Archive and log together have every record that there ever was, as it was.
fn what_was_deleted_is_archived(remains: &Remains) -> Result<(), String> {
    let Some(archived) = &remains.archived else { return Ok(()) };
    for (archived, all) in archived.iter().zip([&remains.events, &remains.facts]) {
        if archived != all {
            return Err(format!(
                "archive and log give {} of {} records, or others",
                archived.len(),
                all.len()
            ));
        }
    }
    Ok(())
}

/// The chain has what one thread decides that never fails. Where its records lie is the owners' own affair.
fn same_as_alone(remains: &Remains, folded: &Folded) -> Result<(), String> {
    let (decisions, state) = decide_all(&remains.events, &folded.links);
    let chained = folded.decisions();
    if let Some((alone, chained)) = decisions.iter().zip(&chained).find(|(one, other)| one != other) {
        return Err(format!("decided alone: {alone:?}, in the chain: {chained:?}"));
    }
    if (decisions.len(), chained.len()) != (remains.events.len(), remains.events.len()) {
        return Err(format!("{} events, {} decisions", remains.events.len(), chained.len()));
    }
    let bare = |(map, head): (Map, Head)| {
        (map, Head { record: None, record_hash: NO_RECORD, last_event: NO_RECORD, ..head })
    };
    if bare(state.all()) != bare(folded.state.all()) {
        return Err("the state is not what one thread reaches alone".into());
    }
    Ok(())
}

/// Every event that was delivered has one end, after at most one wait.
pub(crate) fn every_event_ends_once(remains: &Remains, decisions: &[Decision]) -> Result<(), String> {
    let read = |payload: &bytes::Bytes| wire::decode_event(payload.clone());
    let events: Vec<Result<Event, _>> = remains.events.iter().map(|it| read(&it.payload)).collect();
    let unreadable = events.iter().filter(|event| event.is_err()).count();
    let delivered: HashSet<EventId> = events
        .iter()
        .flatten()
        .filter(|event| !matches!(event.body, Body::Tick | Body::Delayed(_)))
        .map(|event| event.id)
        .collect();
    let mut ends: HashMap<EventId, Vec<OutcomeStatus>> = HashMap::new();
    let mut ended_unreadable = 0;
    for fact in decisions.iter().flat_map(|it| &it.facts) {
        if let Fact::Outcome(outcome) = fact {
            if outcome.subject == Subject::Unreadable {
                ended_unreadable += 1;
            } else {
                ends.entry(outcome.event).or_default().push(outcome.status);
            }
        }
    }
    if unreadable != ended_unreadable {
        return Err(format!("{unreadable} unreadable events, {ended_unreadable} outcomes of them"));
    }
    for event in &delivered {
        let ended = ends.remove(event).unwrap_or_default();
        let is_end = |status: &OutcomeStatus| *status != OutcomeStatus::Parked;
        let sound = match &ended[..] {
            [end] => is_end(end),
            [OutcomeStatus::Parked, end] => is_end(end),
            _ => false,
        };
        if !sound {
            return Err(format!("event {event} ended as {ended:?}"));
        }
    }
    if ends.is_empty() { Ok(()) } else { Err(format!("outcomes of events that nobody delivered: {ends:?}")) }
}

/// A key is recorded once, and no more goes back than was there.
pub(crate) fn conversions_are_sound(decisions: &[Decision]) -> Result<(), String> {
    let mut recorded = HashSet::new();
    let mut refunded: HashMap<_, i64> = HashMap::new();
    for fact in decisions.iter().flat_map(|it| &it.facts) {
        let Fact::Revision(revision) = fact else { continue };
        let Revision { conversion, version, received, after, .. } = &**revision;
        if *version == 1 && !recorded.insert((revision.workspace, revision.dedupe_key)) {
            return Err(format!("conversion {conversion} is recorded under a key that is taken"));
        }
        let sum = refunded.entry(*conversion).or_default();
        *sum += revision.refund.as_ref().map_or(0, |refund| refund.amount_micros);
        let amount = received.amount.map_or(0, |amount| amount.micros);
        if *sum != after.refunded_micros || *sum > amount {
            let said = after.refunded_micros;
            return Err(format!("of {amount} of {conversion} went back {sum}, {said} by its revision"));
        }
    }
    Ok(())
}

/// Each revision of a conversion begins where the one before it ended.
pub(crate) fn revisions_follow_each_other(decisions: &[Decision]) -> Result<(), String> {
    let mut last: HashMap<_, &Revision> = HashMap::new();
    for fact in decisions.iter().flat_map(|it| &it.facts) {
        let Fact::Revision(revision) = fact else { continue };
        let before = last.insert(revision.conversion, revision);
        let moved_from = revision.attributed_before.as_deref().unwrap_or(&revision.attributed);
        let follows = match before {
            None => {
                revision.version == 1 && revision.before.is_none() && revision.attributed_before.is_none()
            }
            Some(before) => {
                revision.version == before.version + 1
                    && revision.before == Some(before.after)
                    && *moved_from == before.attributed
            }
        };
        if !follows {
            return Err(format!("{revision:?} does not follow {before:?}"));
        }
        if let (Actor::Key(_), Some(before)) = (revision.cause.actor, &revision.before) {
            is_a_step(revision, before)?;
        }
        let credits: u32 = revision.touches.iter().map(|touch| u32::from(touch.credits.linear)).sum();
        if ![0, 10_000].contains(&credits) {
            return Err(format!("the credits of {} add up to {credits}", revision.conversion));
        }
    }
    Ok(())
}

/// A command takes a step of the life cycle and changes nothing else.
fn is_a_step(revision: &Revision, before: &Values) -> Result<(), String> {
    let Revision { conversion, after, .. } = revision;
    if !before.status.may_become(after.status) {
        return Err(format!("{conversion} has no such step: {before:?} {after:?}"));
    }
    if (Values { status: after.status, ..*before }) != *after {
        return Err(format!("a command changes more of {conversion} than its status: {before:?} {after:?}"));
    }
    Ok(())
}

/// Cuts follow each other and count the rows of the facts before them.
pub(crate) fn cuts_count_rows(decisions: &[Decision]) -> Result<(), String> {
    let mut rows = RowCounts::default();
    let mut number = 0;
    for fact in decisions.iter().flat_map(|it| &it.facts) {
        rows.add(fact);
        if let Fact::Cut(cut) = fact {
            number += 1;
            if cut.number != number || cut.rows != rows {
                return Err(format!("{cut:?}, but it is number {number} and the rows are {rows:?}"));
            }
        }
    }
    Ok(())
}
