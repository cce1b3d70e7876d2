//! Single histories of INSERTs that once gave rows twice: what is late, what is swallowed, what is half done.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use processor::Metrics;
use schemas::table::Table;
use schemas::wire;
use service::clock::ManualClock;

use crate::alone::{CATALOGS, decide_range};
use crate::breach::Breach;
use crate::log::{EVENTS, FACTS, SimLog};
use crate::memory::Memory;
use crate::pause::WrongClock;
use crate::place::{Outside, SinkPlace};
use crate::scene::{SECOND, T0, Traffic};
use crate::tables::{Fate, SimTables};
use crate::world::runtime;

const CLICKS: u64 = 4;

/// A log with one cut of clicks, and what a sink makes of it where the INSERTs into their table have these fates. What is late lands
/// at the end. Gives the numbers of the rows.
fn loaded(fates: impl IntoIterator<Item = Fate>, seconds: u64) -> Vec<u64> {
    let runtime = runtime();
    let _inside = runtime.enter();
    let clock = ManualClock::at(T0 + 5 * SECOND);
    let log = SimLog::new(0, clock.clone());
    let mut edge = Traffic::of_edge(1);
    edge.catalog = CATALOGS[2].revision();
    let mut events: Vec<_> = (0..CLICKS).map(|_| wire::encode_event(edge.click(0, |_| {}))).collect();
    events.push(wire::encode_event(edge.tick(0)));
    log.append_now(EVENTS, events);
    let (record, _) = decide_range(&Memory::default(), &log.read(EVENTS));
    log.append_now(FACTS, vec![wire::encode_record(record)]);
    let tables = SimTables::new(0, (clock.clone(), clock.clone()), Breach::None);
    tables.script(fates);
    let outside = Outside {
        log,
        tables: Arc::new(tables.clone()),
        objects: None,
        metrics: Metrics::register(&prometheus::Registry::new()).unwrap(),
        has_newer_core: Rc::default(),
        halted: Rc::default(),
    };
    let mut sink = SinkPlace::new("the sink", WrongClock::new(clock.clone()));
    for _ in 0..seconds {
        for _ in 0..200 {
            sink.poll(&outside);
        }
        clock.advance(Duration::from_secs(1));
        runtime.block_on(tokio::time::advance(Duration::from_secs(1)));
    }
    assert_eq!(tables.last_finished(), 1, "the cut is not finished in time");
    tables.settle();
    let remains = tables.remains();
    assert_eq!(remains.problems, Vec::<String>::new());
    remains.tables[&Table::Clicks].iter().map(|row| row.row_seq).collect()
}

#[test]
fn rows_that_are_late_while_others_are_swallowed_are_there_once() {
    let swallowed = || Fate::Swallowed { is_remembered: false };
    assert_eq!(loaded([Fate::Late, swallowed()], 5), [1, 2, 3, 4]);
    assert_eq!(loaded([Fate::Late, swallowed(), swallowed(), Fate::Unknown], 5), [1, 2, 3, 4]);
}

#[test]
fn rows_that_are_late_behind_a_beginning_are_there_once() {
    let part = |is_answered| Fate::Part { is_answered };
    assert_eq!(loaded([part(true), Fate::Late], 5), [1, 2, 3, 4]);
    assert_eq!(loaded([Fate::Late, part(false), Fate::Late, part(true)], 5), [1, 2, 3, 4]);
}

#[test]
fn rows_that_are_gone_though_their_token_is_remembered_come_with_the_next_span() {
    let gone = [Fate::Late, Fate::Swallowed { is_remembered: true }];
    assert_eq!(loaded(gone, 620), [1, 2, 3, 4]);
}
