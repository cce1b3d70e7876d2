//! Promises that are broken on purpose: each must be found out within a few seeds.

use std::collections::BTreeMap;

use processor::core::CORE_VERSION;
use schemas::fact::{Decision, Fact, OutcomeStatus};
use schemas::id::ConversionId;

use crate::blocks::Row;
use crate::breach::Breach;
use crate::checker::check;
use crate::histories::{decisions_of, outcome_of, sound};
use crate::newer;
use crate::order::{self, Verdict};
use crate::rows;
use crate::scene::SECOND;
use crate::waits;
use crate::world::broken_history;

/// Seeds within which a breach must be found.
const SEEDS: u64 = 60;

/// Whether somebody says one of these of the breach, in one of a few histories.
fn is_found(breach: Breach, said: &[&str]) {
    let found = (0..SEEDS).find_map(|seed| outcome_of(|| check(&broken_history(seed, breach))).err());
    let found = found.unwrap_or_else(|| panic!("{breach:?} is not found"));
    assert!(said.iter().any(|said| found.contains(said)), "{breach:?}: {found}");
}

/// What is said of rows that are there twice.
const TWICE: [&str; 3] = ["halted: table", "appears behind", "is finished at"];

#[test]
fn tables_that_take_late_rows_forget_tokens_or_lose_rows_are_found() {
    is_found(Breach::TakesLateRows, &TWICE);
    is_found(Breach::ForgetsTokens, &TWICE);
    is_found(Breach::LosesRows, &["halted: table", "is finished at", "the facts give", "row 1 of"]);
}

#[test]
fn a_sink_that_believes_answers_or_does_not_wait_for_them_is_found() {
    is_found(Breach::BelievesAnswers, &TWICE);
    is_found(Breach::BelievesConversions, &["conversions are at"]);
    is_found(Breach::FinishesFirst, &["is finished at"]);
}

#[test]
fn a_sink_that_sends_every_row_under_other_tokens_or_under_one_for_ever_is_found() {
    is_found(Breach::ChangesTokens, &TWICE);
    is_found(Breach::KeepsToOneToken, &["does not come to its end"]);
}

#[test]
fn somebody_who_goes_on_behind_a_record_is_found() {
    // A core that is no newer halts nobody.
    let found = outcome_of(|| newer::check_with(0, CORE_VERSION)).unwrap_err();
    assert!(found.contains("only these halted: []"), "{found}");
}

#[test]
fn a_snapshot_that_lacks_a_key_is_found() {
    is_found(Breach::SnapshotsLackAKey, &["not the fold of the chain", "halted: "]);
}

#[test]
fn a_log_that_deletes_what_is_not_archived_is_found() {
    is_found(Breach::DeletesTooMuch, &["halted: ", "neither has the log", "ends before"]);
}

/// What happens to the rows of a table.
type Edit = fn(&mut Vec<Row>);

#[test]
fn a_row_that_is_missing_doubled_or_of_another_event_is_found() {
    let (remains, decisions) = sound();
    rows::check(&remains.warehoused, &decisions).unwrap();
    let edits: [(Edit, &str); 4] = [
        (|rows| drop(rows.pop()), "the facts give"),
        (|rows| drop(rows.remove(0)), "row 1 of"),
        (|rows| rows.push(rows[0].clone()), "row 2 of"),
        (|rows| rows[0].of[3] ^= 1, "must be"),
    ];
    for (edit, said) in edits {
        let mut remains = sound().0;
        remains.warehoused.tables.values_mut().filter(|rows| !rows.is_empty()).take(1).for_each(edit);
        let problem = rows::check(&remains.warehoused, &decisions).unwrap_err();
        assert!(problem.contains(said), "{problem}");
    }
    let mut remains = sound().0;
    *remains.warehoused.versions.values_mut().next().unwrap() += 1;
    assert!(rows::check(&remains.warehoused, &decisions).unwrap_err().starts_with("conversions are at"));
}

/// Decisions in which somebody waits in vain.
fn with_a_wait() -> Vec<Decision> {
    let is_vain = |decision: &Decision| {
        let is_it = |fact: &Fact| matches!(fact, Fact::Outcome(it) if it.status == OutcomeStatus::Rejected && it.reason == "unknown_click" && it.mark.is_none());
        decision.facts.iter().any(is_it)
    };
    (0..).map(decisions_of).find(|decisions| decisions.iter().any(is_vain)).unwrap()
}

#[test]
fn a_wait_that_ends_too_late_too_early_or_never_is_found() {
    let decisions = with_a_wait();
    waits::check(&decisions).unwrap();
    let ends = |decision: &Decision| decision.facts.iter().any(|fact| matches!(fact, Fact::Unparked(_)));
    let last = decisions.iter().rposition(ends).unwrap();
    let said = |edit: &dyn Fn(&mut Vec<Decision>)| {
        let mut decisions = decisions.clone();
        edit(&mut decisions);
        waits::check(&decisions).unwrap_err()
    };
    let never = said(&|decisions| drop(decisions.remove(last)));
    assert!(never.contains("wait for ever") || never.contains("wait on"), "{never}");
    let twice = said(&|decisions| decisions.push(decisions[last].clone()));
    assert!(twice.contains("has ended"), "{twice}");
    let late = said(&|decisions| {
        let facts = decisions[last].facts.iter_mut();
        facts.for_each(|fact| {
            if let Fact::Unparked(_) = fact {
                *fact = Fact::Ticked
            }
        });
    });
    assert!(late.contains("while it waits"), "{late}");
    let early = said(&|decisions| decisions[last].core_time = decisions[0].core_time);
    assert!(early.contains("is given up at"), "{early}");
    let other = said(&|decisions| {
        for fact in decisions.iter_mut().flat_map(|it| &mut it.facts) {
            if let Fact::Parked(parked) = fact {
                parked.due = parked.due.saturating_add(SECOND);
            }
        }
    });
    assert!(other.contains("waits until"), "{other}");
}

#[test]
fn an_attribution_that_depends_on_the_order_is_found() {
    let sound = (0..).map(order::in_time).find(|verdicts| !verdicts.is_empty()).unwrap();
    order::same(&sound, &sound).unwrap();
    let edits: [fn(&mut Verdict); 3] = [
        |verdict| verdict.0 = None,
        |verdict| verdict.2.payout_micros += 1,
        |verdict| verdict.3.iter_mut().for_each(|touch| touch.credits.linear += 1),
    ];
    for edit in edits {
        let mut other: BTreeMap<ConversionId, Verdict> = sound.clone();
        other.values_mut().for_each(edit);
        assert!(order::same(&sound, &other).unwrap_err().contains("in one order"));
    }
}
