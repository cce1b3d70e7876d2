//! Many histories, and a few that were broken on purpose.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use schemas::event::{Actor, Status};
use schemas::fact::{Cut, Decision, Fact, OutcomeStatus, Revision, Subject};

use crate::alone::Folded;
use crate::checker::{
    check, conversions_are_sound, cuts_count_rows, every_event_ends_once, revisions_follow_each_other,
};
use crate::finish::Remains;
use crate::world::history;
use crate::{newer, order};

const SEEDS: u64 = 200;
/// In the histories of so many seeds there is one with a newer core.
const NEWER_CORE_EVERY: u64 = 8;
/// So many are told of each thread before it gives up.
const MOST_FAILURES: usize = 5;

#[expect(clippy::disallowed_methods, reason = "the seeds of a simulation are no settings of the program")]
fn number(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap())
}

#[test]
fn whatever_goes_wrong_the_chain_is_what_one_thread_decides_alone() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let tries = |first| {
            let seeds = seeds.clone().skip(first).step_by(threads);
            scope.spawn(move || {
                seeds.filter_map(|seed| try_seed(seed).err()).take(MOST_FAILURES).collect::<Vec<_>>()
            })
        };
        let running: Vec<_> = (0..threads).map(tries).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn try_seed(seed: u64) -> Result<(), String> {
    let all = || {
        check(&history(seed))?;
        order::check(seed)?;
        if seed.is_multiple_of(NEWER_CORE_EVERY) { newer::check(seed) } else { Ok(()) }
    };
    outcome_of(all).map_err(|problem| {
        format!("{problem}\n  seed {seed}; again with SIM_SEED={seed} cargo test -p processor --test sim")
    })
}

/// What a check says, or what was said when a history could not be brought to its end.
pub(crate) fn outcome_of(check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        Err(said.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned())).unwrap_or_default())
    })
}

/// What has to go wrong somewhere.
const WANTED: [&str; 10] = [
    "another opinion",
    "deduplicated",
    "deleted",
    "deleted on the way",
    "forgotten",
    "halted",
    "part",
    "refused",
    "restored",
    "swallowed",
];

/// A simulation in which nothing goes wrong would show nothing.
#[test]
fn histories_have_something_of_everything() {
    let (mut ignored, mut decisions, mut seen) = (0, Vec::new(), BTreeSet::new());
    // What is seldom may take some more seeds.
    for seed in 0..100 {
        if seed >= 20 && WANTED.iter().all(|wanted| seen.contains(wanted)) {
            break;
        }
        let remains = history(seed);
        let mut folded = Folded::new();
        seen.extend(remains.seen.union(&remains.warehoused.seen).copied());
        ignored += remains.facts.iter().filter(|record| !folded.take(record).unwrap()).count();
        decisions.extend(folded.decisions());
    }
    assert!(ignored > 0, "no record came too late");
    for wanted in WANTED {
        assert!(seen.contains(wanted), "nothing was {wanted}: {seen:?}");
    }
    let has = |is: fn(&Fact) -> bool| decisions.iter().flat_map(|it| &it.facts).any(is);
    assert!(has(|fact| matches!(fact, Fact::Redelivered(_))));
    assert!(has(|fact| matches!(fact, Fact::Revision(it) if it.refund.is_some())));
    assert!(has(|fact| matches!(fact, Fact::RateSweep(_))));
    assert!(has(|fact| matches!(fact, Fact::Nonce(_))));
    assert!(has(|fact| matches!(fact, Fact::CapCounted(_))));
    assert!(has(|fact| matches!(fact, Fact::Revision(it) if matches!(it.cause.actor, Actor::Key(_)))));
    let ended = |status, is_after_wait| {
        decisions.iter().flat_map(|it| &it.facts).any(|fact| {
            matches!(fact, Fact::Outcome(it) if it.status == status && (it.mark.is_none() == is_after_wait))
        })
    };
    let commanded = |status| {
        let is_it = |fact: &Fact| matches!(fact, Fact::Outcome(it) if it.subject == Subject::Command && it.status == status);
        decisions.iter().flat_map(|it| &it.facts).any(is_it)
    };
    assert!(commanded(OutcomeStatus::Conflict) && commanded(OutcomeStatus::Rejected));
    for status in OutcomeStatus::ALL {
        assert!(ended(status, false), "no event was {}", status.as_str());
    }
    assert!(ended(OutcomeStatus::Recorded, true), "nothing that waited was recorded");
    assert!(ended(OutcomeStatus::Rejected, true), "nothing waited in vain");
}

#[test]
fn a_seed_always_gives_the_same_history() {
    for seed in 1..4 {
        let (one, other) = (history(seed), history(seed));
        assert!(one.events == other.events && one.facts == other.facts && one.states == other.states);
        assert_eq!(one.warehoused.tables, other.warehoused.tables);
    }
}

/// A history in which something of everything happens, and its decisions.
pub(crate) fn sound() -> (Remains, Vec<Decision>) {
    let remains = history(3);
    check(&remains).unwrap();
    let decisions = folded(&remains);
    (remains, decisions)
}

pub(crate) fn decisions_of(seed: u64) -> Vec<Decision> {
    folded(&history(seed))
}

fn folded(remains: &Remains) -> Vec<Decision> {
    let mut folded = Folded::new();
    for record in &remains.facts {
        folded.take(record).unwrap();
    }
    folded.decisions()
}

fn facts_of(decisions: &mut [Decision]) -> impl Iterator<Item = &mut Fact> {
    decisions.iter_mut().flat_map(|decision| &mut decision.facts)
}

#[test]
fn an_outcome_too_many_or_too_few_is_found() {
    let (remains, decisions) = sound();
    every_event_ends_once(&remains, &decisions).unwrap();
    let is_end = |fact: &Fact| matches!(fact, Fact::Outcome(it) if it.status != OutcomeStatus::Parked);
    let ended = decisions.iter().position(|decision| decision.facts.iter().any(is_end)).unwrap();
    let mut doubled = decisions.clone();
    doubled.push(decisions[ended].clone());
    assert!(every_event_ends_once(&remains, &doubled).is_err());
    let mut missing = decisions;
    missing.remove(ended);
    assert!(every_event_ends_once(&remains, &missing).is_err());
}

#[test]
fn a_conversion_that_is_recorded_twice_or_refunded_too_much_is_found() {
    let (_, decisions) = sound();
    let recorded = decisions
        .iter()
        .find(|decision| decision.facts.iter().any(|fact| matches!(fact, Fact::Revision(_))))
        .unwrap();
    let twice = [recorded.clone(), recorded.clone()];
    assert!(conversions_are_sound(&twice).unwrap_err().contains("a key that is taken"));
    let mut generous = vec![recorded.clone()];
    for fact in facts_of(&mut generous) {
        if let Fact::Revision(revision) = fact {
            revision.after.refunded_micros = i64::MAX;
        }
    }
    assert!(conversions_are_sound(&generous).unwrap_err().contains("went back"));
}

#[test]
fn a_revision_that_does_not_follow_on_and_a_step_that_there_is_not_are_found() {
    let is_commanded = |it: &Revision| matches!(it.cause.actor, Actor::Key(_));
    let decisions = (0..).map(decisions_of).find(|decisions| {
        let mut facts = decisions.iter().flat_map(|decision| &decision.facts);
        facts.any(|fact| matches!(fact, Fact::Revision(it) if is_commanded(it)))
    });
    let decisions = decisions.expect("a history in which a command moves something");
    revisions_follow_each_other(&decisions).unwrap();
    let broken = |edit: fn(&mut Revision)| {
        let mut decisions = decisions.clone();
        let revisions = facts_of(&mut decisions)
            .filter_map(|fact| if let Fact::Revision(it) = fact { Some(&mut **it) } else { None });
        revisions.filter(|it| is_commanded(it)).take(1).for_each(edit);
        revisions_follow_each_other(&decisions).unwrap_err()
    };
    assert!(broken(|it| it.version += 1).contains("does not follow"));
    assert!(broken(|it| it.after.status = Status::Pending).contains("no such step"));
    assert!(broken(|it| it.after.revenue_micros += 1).contains("changes more"));
}

#[test]
fn a_cut_that_miscounts_is_found() {
    let (_, mut decisions) = sound();
    let cut = facts_of(&mut decisions).find(|fact| matches!(fact, Fact::Cut(_))).unwrap();
    *cut = Fact::Cut(Cut { number: 1, rows: schemas::table::RowCounts::default() });
    assert!(cuts_count_rows(&decisions).is_err());
}

#[test]
fn a_chain_or_a_state_that_was_tampered_with_is_found() {
    let (mut remains, _) = sound();
    let key = remains.states.last().unwrap().0.keys().next().unwrap().clone();
    remains.states.last_mut().unwrap().0.remove(&key);
    assert!(check(&remains).unwrap_err().contains("not the fold of the chain"));

    let (mut remains, _) = sound();
    remains.events.pop();
    assert!(check(&remains).is_err());

    let (mut remains, _) = sound();
    remains.facts.remove(0);
    assert!(check(&remains).is_err());
}
