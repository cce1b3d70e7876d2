//! A record that the log takes before the one that it was built on: calls at once keep no order.

use std::rc::Rc;
use std::sync::Arc;

use processor::store::Committed as _;
use processor::{Metrics, ProcessorSettings};
use schemas::wire;
use service::clock::ManualClock;

use crate::alone::{CATALOGS, EDITS};
use crate::breach::Breach;
use crate::log::{CATALOG, EVENTS, SimLog};
use crate::pause::WrongClock;
use crate::place::{Outside, OwnerPlace};
use crate::scene::{SECOND, T0, Traffic};
use crate::tables::SimTables;
use crate::world::runtime;

#[test]
fn a_record_before_the_one_it_was_built_on_is_dropped_and_halts_nobody() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let clock = ManualClock::at(T0 + 5 * SECOND);
    let log = SimLog::new(0, clock.clone());
    log.append_now(CATALOG, EDITS.to_vec());
    let mut edge = Traffic::of_edge(1);
    edge.catalog = CATALOGS[2].revision();
    log.append_now(EVENTS, (0..8).map(|_| wire::encode_event(edge.click(0, |_| {}))).collect());
    log.overtake();
    let outside = Outside {
        log,
        tables: Arc::new(SimTables::new(0, (clock.clone(), clock.clone()), Breach::None)),
        objects: None,
        metrics: Metrics::register(&prometheus::Registry::new()).unwrap(),
        has_newer_core: Rc::default(),
        halted: Rc::default(),
    };
    let mut owner = OwnerPlace::new("the owner", WrongClock::new(clock.clone()));
    let settings =
        ProcessorSettings { max_batch_events: 1, batch_linger_ms: 0, ..ProcessorSettings::default() };
    owner.begin(&outside, settings);
    // Without a pause: it does not have to begin anew.
    for _ in 0..2_000 {
        owner.poll();
    }
    let head = owner.store.head().unwrap();
    assert!(head.source >= 8, "{head:?}");
    let facts = outside.log.read(crate::log::FACTS);
    let mut folded = crate::alone::Folded::new();
    let dropped = facts.iter().filter(|record| !folded.take(record).unwrap()).count();
    assert!(dropped > 0, "nothing was overtaken");
    assert_eq!(owner.store.all(), folded.state.all());
}
