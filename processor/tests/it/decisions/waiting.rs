//! Conversions that arrive before their click.

use processor::core::{OPEN_PARKED_LIMIT, PARKED_LIMIT, WAIT_MICROS, is_timer_due};
use schemas::event::{Event, Status, Trust};
use schemas::fact::{Fact, OutcomeStatus};
use schemas::id::ClickId;

use crate::scene::{
    Core, DAY, HOUR, SECOND, T0, Traffic, click_id, event_id, id, outcome, outcomes, revision,
};

fn naming(edge: &mut Traffic, click: ClickId, transaction: &str) -> Event {
    edge.conversion(0, |it| (it.click, it.transaction_id) = (Some(click), transaction.into()))
}

#[test]
fn a_conversion_waits_for_its_click_and_is_recorded_when_it_comes() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = edge.click(-HOUR, |_| {});
    let conversion = naming(&mut edge, click_id(&click), "t1");
    let facts = core.feed(&conversion);
    assert_eq!(outcome(&facts), (OutcomeStatus::Parked, "unknown_click"));
    assert_eq!((core.count(OutcomeStatus::Parked), core.count(OutcomeStatus::Recorded)), (1, 0));

    core.now = 7 * DAY;
    let facts = core.feed(&click);
    let settled = outcomes(&facts);
    assert_eq!(
        settled.iter().map(|it| it.event).collect::<Vec<_>>(),
        [event_id(&click), event_id(&conversion)]
    );
    assert!(settled[1].mark.is_none(), "its delivery was settled when it was parked");
    assert_eq!(revision(&facts).after.status, Status::Approved);
    assert_eq!((core.count(OutcomeStatus::Parked), core.count(OutcomeStatus::Recorded)), (0, 2));
    assert!(!is_timer_due(&core.state, &core.head, i64::MAX).unwrap(), "nothing is left to wait for");
}

#[test]
fn those_who_wait_for_one_click_are_settled_in_the_logs_order_whatever_their_clocks_say() {
    let (mut core, mut fast) = (Core::new(), Traffic::of_edge(1));
    let mut slow = Traffic::of_edge(2);
    let click = fast.click(0, |_| {});
    // The edge whose clock is ahead is first in the log.
    let first =
        fast.conversion(DAY, |it| (it.click, it.transaction_id) = (Some(click_id(&click)), "t".into()));
    let second = naming(&mut slow, click_id(&click), "t");
    assert!(event_id(&second) < event_id(&first));
    core.feed(&first);
    core.feed(&second);
    let facts = core.feed(&click);
    let ends: Vec<_> = outcomes(&facts)[1..].iter().map(|it| (it.event, it.status)).collect();
    assert_eq!(
        ends,
        [(event_id(&first), OutcomeStatus::Recorded), (event_id(&second), OutcomeStatus::Duplicate)]
    );
}

#[test]
fn after_eight_days_of_core_time_the_next_tick_rejects_it() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = edge.click(0, |_| {});
    core.feed(&naming(&mut edge, click_id(&click), "t1"));
    core.now = WAIT_MICROS - 1;
    assert!(!is_timer_due(&core.state, &core.head, T0 + core.now).unwrap());
    assert!(outcomes(&core.tick()).is_empty());
    core.now = WAIT_MICROS;
    assert!(is_timer_due(&core.state, &core.head, T0 + core.now).unwrap());
    assert_eq!(outcome(&core.tick()), (OutcomeStatus::Rejected, "unknown_click"));
    assert_eq!((core.count(OutcomeStatus::Parked), core.count(OutcomeStatus::Rejected)), (0, 1));
    assert!(!is_timer_due(&core.state, &core.head, i64::MAX).unwrap());
    // The click that comes after all finds nobody waiting, and a new report finds the click.
    assert_eq!(outcome(&core.feed(&click)).0, OutcomeStatus::Recorded);
    assert_eq!(outcome(&core.feed(&naming(&mut edge, click_id(&click), "t1"))).0, OutcomeStatus::Recorded);
}

#[test]
fn a_parked_delivery_that_comes_again_is_a_redelivery() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = edge.click(0, |_| {});
    let conversion = naming(&mut edge, click_id(&click), "t1");
    core.feed(&conversion);
    assert!(matches!(core.feed(&conversion)[..], [Fact::Redelivered(_)]));
    core.feed(&click);
    assert!(matches!(core.feed(&conversion)[..], [Fact::Redelivered(_)]));
    assert_eq!(core.count(OutcomeStatus::Recorded), 2);
}

#[test]
fn one_click_or_tick_settles_no_more_than_fits_into_a_record_and_later_ticks_the_rest() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = edge.click(0, |_| {});
    let metadata = format!("{{\"x\":\"{}\"}}", "x".repeat(9_000));
    for n in 0..300 {
        core.feed_fast(&edge.conversion(0, |it| {
            (it.click, it.transaction_id) = (Some(click_id(&click)), format!("t{n}"));
            it.metadata.clone_from(&metadata);
        }));
    }
    let bytes = |facts: &[Fact]| -> usize {
        let revisions =
            facts.iter().filter_map(|fact| if let Fact::Revision(it) = fact { Some(it) } else { None });
        revisions.map(|it| schemas::wire::encode_revision(it, &it.touches).len()).sum()
    };
    let facts = core.feed_fast(&click);
    assert!((500_000..2_000_000).contains(&bytes(&facts)), "{}", bytes(&facts));
    core.now = WAIT_MICROS;
    let mut ticks = 0;
    while is_timer_due(&core.state, &core.head, T0 + core.now).unwrap() {
        let tick = edge.tick(core.now);
        assert!(bytes(&core.feed_fast(&tick)) < 2_000_000);
        ticks += 1;
    }
    assert!((1..10).contains(&ticks), "{ticks}");
    assert_eq!(core.count(OutcomeStatus::Recorded), 301, "the click and every conversion");
}

#[test]
fn more_than_the_quota_do_not_wait() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = edge.click(0, |_| {});
    for n in 0..PARKED_LIMIT {
        core.feed_fast(&edge.conversion(SECOND, |it| {
            (it.click, it.transaction_id) = (Some(click_id(&click)), n.to_string());
        }));
    }
    assert_eq!(core.count(OutcomeStatus::Parked), PARKED_LIMIT);
    let facts = core.feed_fast(&naming(&mut edge, click_id(&click), "one more"));
    assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, "too_many_parked"));
    // Whoever stops waiting makes room.
    core.feed_fast(&click);
    let absent = edge.click(0, |_| {});
    let facts = core.feed_fast(&naming(&mut edge, click_id(&absent), "again"));
    assert_eq!(outcome(&facts).0, OutcomeStatus::Parked);
}

#[test]
fn made_up_clicks_of_open_senders_take_no_place_of_others() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = click_id(&edge.click(0, |_| {}));
    let mut waits = |core: &mut Core, n: u64, source: Option<u8>, trust: Trust| {
        let facts = core.feed_fast(&edge.conversion(SECOND, |it| {
            (it.click, it.transaction_id) = (Some(click), format!("{n}"));
            (it.source, it.trust) = (source.map(id), trust);
        }));
        outcome(&facts) == (OutcomeStatus::Parked, "unknown_click")
    };
    for n in 0..OPEN_PARKED_LIMIT {
        assert!(waits(&mut core, n, None, Trust::Publishable));
    }
    assert!(!waits(&mut core, OPEN_PARKED_LIMIT, None, Trust::Publishable));
    assert!(!waits(&mut core, OPEN_PARKED_LIMIT, None, Trust::Open));
    // Those who are trusted wait all the same, and so do the open senders of another source.
    for (source, trust) in [(None, Trust::Secret), (Some(3), Trust::Token), (Some(3), Trust::Open)] {
        assert!(waits(&mut core, OPEN_PARKED_LIMIT, source, trust), "{source:?} {trust:?}");
    }
}
