//! What must hold of those that wait: each wait ends once, by what it waited for or with the first tick after eight days.

use std::collections::BTreeMap;

use schemas::fact::{Decision, Fact, Outcome, OutcomeStatus};
use schemas::id::EventId;
use schemas::time::Timestamp;

use crate::scene::DAY;

/// Waits that one tick ends at most.
const WAITS_PER_TICK: usize = 1_000;

/// What an event waits for, and how long.
#[derive(Debug, Clone, Default)]
struct Wait {
    due: Timestamp,
    reason: String,
    is_over: bool,
}

/// Every wait ends at its time.
pub(crate) fn check(decisions: &[Decision]) -> Result<(), String> {
    let mut waits: BTreeMap<EventId, Wait> = BTreeMap::new();
    for Decision { core_time, facts, source } in decisions {
        for fact in facts {
            if let Fact::Parked(parked) = fact {
                let due = core_time.saturating_add(8 * DAY);
                let wait = Wait { due, ..Wait::default() };
                if parked.due != due || waits.insert(parked.event.id, wait).is_some() {
                    return Err(format!("event {} waits until {}, not {due}", parked.event.id, parked.due));
                }
            } else if let Fact::Unparked(unparked) = fact {
                let wait = waits.get_mut(&unparked.event).filter(|wait| !wait.is_over);
                let wait = wait.ok_or("a wait ends that did not begin, or has ended")?;
                wait.is_over = true;
            } else if let Fact::Outcome(outcome) = fact
                && let Some(wait) = waits.get_mut(&outcome.event)
            {
                is_at_its_time(wait, outcome, *core_time)?;
            }
        }
        let is_tick = facts.iter().any(|fact| matches!(fact, Fact::Ticked));
        let due = waits.values().filter(|wait| !wait.is_over && wait.due <= *core_time).count();
        if is_tick && (1..WAITS_PER_TICK).contains(&due) {
            return Err(format!(
                "{due} wait on, though event {source}, a tick at {core_time}, ends their waits"
            ));
        }
    }
    let open = waits.values().filter(|wait| !wait.is_over).count();
    if open == 0 { Ok(()) } else { Err(format!("{open} wait for ever")) }
}

/// Nothing is given up for want of what it waits for before its time is over.
fn is_at_its_time(wait: &mut Wait, outcome: &Outcome, now: Timestamp) -> Result<(), String> {
    let Outcome { event, status, reason, .. } = outcome;
    if *status == OutcomeStatus::Parked {
        wait.reason.clone_from(reason);
    } else if !wait.is_over {
        return Err(format!("event {event} ends while it waits"));
    } else if *status == OutcomeStatus::Rejected && *reason == wait.reason && now < wait.due {
        return Err(format!("event {event} is given up at {now}, before {}", wait.due));
    }
    Ok(())
}
