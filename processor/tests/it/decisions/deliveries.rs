//! Deliveries that stand in the log more than once, out of order, or cannot be read.

use bytes::Bytes;
use schemas::event::{Body, Event};
use schemas::fact::{Fact, OutcomeStatus, Subject};
use schemas::id::WorkspaceNumber;
use schemas::wire;

use crate::scene::{Core, DAY, HOUR, Traffic, outcome, outcomes};

#[test]
fn the_same_delivery_again_changes_nothing_but_the_count() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    for event in [edge.click(0, |_| {}), edge.conversion(0, |_| {})] {
        core.feed(&event);
        let (before, received) = (core.head.counters, core.head.received());
        let facts = core.feed(&event);
        assert!(matches!(facts[..], [Fact::Redelivered(mark)] if Some(mark) == event.mark), "{facts:?}");
        assert_eq!(core.head.counters.redelivered, before.redelivered + 1);
        assert_eq!((core.head.received(), core.head.counters.outcomes), (received, before.outcomes));
    }
}

#[test]
fn marks_hold_over_gaps_and_any_order() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let mut events: Vec<_> = (0..7).map(|n| edge.click(n, |_| {})).collect();
    edge.skip();
    events.push(edge.click(8, |_| {}));
    for at in [5, 0, 7, 2, 3, 6] {
        assert_eq!(outcome(&core.feed(&events[at])).0, OutcomeStatus::Recorded, "{at}");
    }
    for at in [0, 2, 3, 5, 6, 7] {
        assert!(matches!(core.feed(&events[at])[..], [Fact::Redelivered(_)]), "{at}");
    }
    for at in [4, 1] {
        assert_eq!(outcome(&core.feed(&events[at])).0, OutcomeStatus::Recorded, "{at}");
    }
    // The same number in another life of an edge is another delivery.
    let mut other = Traffic::of_edge(2);
    assert_eq!(outcome(&core.feed(&other.click(0, |_| {}))).0, OutcomeStatus::Recorded);
}

#[test]
fn marks_of_a_silent_edge_are_kept_eight_days_and_then_forgotten() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = edge.click(0, |_| {});
    core.feed(&click);
    core.now = 8 * DAY;
    core.tick();
    assert!(matches!(core.feed(&click)[..], [Fact::Redelivered(_)]));
    let keys = core.state.len();
    core.now = 16 * DAY + HOUR;
    core.tick();
    assert_eq!(core.state.len(), keys - 1, "the edge's marks are gone");
}

#[test]
fn an_unreadable_record_ends_in_one_rejected_outcome() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let whole = wire::encode_event(edge.click(0, |_| {}));
    let with_more = Bytes::from([&whole[..], b"\xf8\x7f\x01"].concat());
    for bytes in
        [Bytes::new(), Bytes::from_static(b"\xff\xff\xff"), whole.slice(..whole.len() - 3), with_more]
    {
        let facts = core.feed_bytes(bytes);
        let [outcome] = outcomes(&facts)[..] else { panic!("{facts:?}") };
        assert_eq!((outcome.status, outcome.subject), (OutcomeStatus::Rejected, Subject::Unreadable));
        assert_eq!((outcome.reason.as_str(), facts.len()), ("unreadable_event", 1));
    }
    assert_eq!(core.head.received(), 4);
}

#[test]
fn core_time_never_goes_back() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    core.now = HOUR;
    core.feed(&edge.click(0, |_| {}));
    let reached = core.head.core_time;
    core.now = 0;
    core.feed(&edge.click(0, |_| {}));
    assert_eq!(core.head.core_time, reached);
}

#[test]
fn an_older_life_of_an_edge_is_drained_from_its_spool_days_later_in_any_order() {
    let (mut core, mut old, mut new) = (Core::new(), Traffic::of_edge(1), Traffic::of_edge(2));
    let spooled: Vec<_> = (0..6).map(|n| old.click(n, |_| {})).collect();
    core.feed(&spooled[3]);
    core.now = 7 * DAY;
    core.tick();
    core.feed(&new.click(core.now, |_| {}));
    for at in [5, 0, 4, 1, 2] {
        assert_eq!(outcome(&core.feed(&spooled[at])).0, OutcomeStatus::Recorded, "{at}");
        core.feed(&new.click(core.now, |_| {}));
    }
    // What was drained twice is told apart for as long as a spool may be late, counted from the last of that life.
    core.now = 15 * DAY;
    core.tick();
    for event in &spooled {
        assert!(matches!(core.feed(event)[..], [Fact::Redelivered(_)]));
    }
    assert_eq!(core.count(OutcomeStatus::Recorded), 12);
}

#[test]
fn an_edge_that_says_what_it_holds_back_is_no_delivery() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    for events in [3, 0] {
        let said = edge.delayed(0, events);
        let facts = core.feed(&said);
        let [Fact::Delayed(delayed)] = facts[..] else { panic!("{facts:?}") };
        assert_eq!((delayed.events, delayed.since.is_some()), (events, events > 0));
        assert_eq!((core.head.received(), core.head.counters.redelivered), (0, 0));
        // It asks for a cut, though it has no row of its own.
        assert!(matches!(core.tick()[..], [Fact::Ticked, Fact::Cut(_)]));
    }
}

#[test]
fn an_impression_is_recorded_with_everything_that_it_brought() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let shown = edge.impression(0, |it| it.country = "DE".into());
    let facts = core.feed(&shown);
    let Body::Impression(impression) = &shown.body else { panic!("no impression") };
    let [Fact::Impression(stored), Fact::Outcome(outcome)] = &facts[..] else { panic!("{facts:?}") };
    assert_eq!((&stored.impression, stored.receipt), (impression, shown.id));
    assert_eq!((outcome.status, outcome.subject), (OutcomeStatus::Recorded, Subject::Impression));
    let stranger = Event { workspace: WorkspaceNumber::new(9).unwrap(), ..edge.impression(0, |_| {}) };
    let facts = core.feed(&stranger);
    assert_eq!(
        (crate::scene::outcome(&facts), facts.len()),
        ((OutcomeStatus::Rejected, "unknown_workspace"), 1)
    );
}
