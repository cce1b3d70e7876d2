//! Caps: what an offer takes at most in a window of time.

use processor::core::live_cap_counts;
use schemas::cap::CapCount;
use schemas::event::{Conversion, Event, Hit, Mark, Status, Trust, label};
use schemas::fact::{Fact, OutcomeStatus};
use schemas::id::{ClickId, EdgeId, OfferId};
use schemas::time::Timestamp;

use crate::scene::{
    CAPPED_OFFER, Core, DAY, HOUR, REJECTING_OFFER, T0, Traffic, click_id, id, outcome, revision, usd,
};

/// The counts whose windows are not over, those that end last first.
fn counts(core: &Core) -> Vec<CapCount> {
    live_cap_counts(&core.state, core.head.core_time, 100).unwrap()
}

fn totals(core: &Core) -> Vec<u64> {
    counts(core).iter().map(|count| count.total).collect()
}

fn labels(facts: &[Fact]) -> &[String] {
    let Some(Fact::Click(click)) = facts.first() else { panic!("no click: {facts:?}") };
    &click.click.hit.labels
}

fn capped(edge: &mut Traffic, at: i64, edit: impl FnOnce(&mut Hit)) -> Event {
    edge.click(at, |it| {
        it.offer = CAPPED_OFFER;
        edit(it);
    })
}

#[test]
fn clicks_are_counted_exactly_by_window_and_edge_and_those_beyond_are_labelled() {
    let (mut core, mut edge, mut other) = (Core::new(), Traffic::of_edge(1), Traffic::of_edge(2));
    for n in 0..3 {
        assert!(labels(&core.feed(&capped(&mut edge, n * HOUR, |_| {}))).is_empty());
    }
    assert_eq!(labels(&core.feed(&capped(&mut other, 4 * HOUR, |_| {}))), [label::CAP]);
    let [count] = &counts(&core)[..] else { panic!("one count") };
    assert_eq!((count.total, count.place.window_start), (4, Timestamp::from_micros(T0)));
    assert_eq!((count.place.ends_by, count.place.partner), (Timestamp::from_micros(T0 + 25 * HOUR), None));
    assert_eq!(count.of_edges, [(id(1), 3), (id(2), 1)]);
    // The next day is another window, whatever the sender says of the time.
    let tomorrow = capped(&mut edge, DAY, |it| it.occurred_at = Timestamp::from_micros(T0));
    assert!(labels(&core.feed(&tomorrow)).is_empty());
    assert_eq!(totals(&core), [1, 4]);
}

#[test]
fn what_no_person_did_and_what_was_turned_away_counts_nowhere() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    for label in label::NOT_COUNTED {
        core.feed(&capped(&mut edge, 0, |it| it.labels = vec![label.into()]));
    }
    core.feed(&capped(&mut edge, 0, |it| it.test = true));
    // The edge had seen the cap reached and sent it to the fallback.
    core.feed(&capped(&mut edge, 0, |it| it.labels = vec![label::CAP.into()]));
    core.feed(&edge.click(0, |_| {}));
    assert!(counts(&core).is_empty());
    let click = capped(&mut edge, 0, |_| {});
    core.feed(&click);
    core.feed(&click);
    assert_eq!(totals(&core), [1], "a delivery that came again is the same click");
}

/// A shop behind one click on an offer.
struct Shop {
    core: Core,
    edge: Traffic,
    click: ClickId,
    sales: u32,
}

impl Shop {
    fn of(offer: OfferId) -> Self {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        let click = edge.click(0, |it| (it.offer, it.link) = (offer, None));
        core.feed(&click);
        Self { core, edge, click: click_id(&click), sales: 0 }
    }

    fn sale(&mut self, at: i64, edit: impl FnOnce(&mut Conversion)) -> Vec<Fact> {
        self.sales += 1;
        let (click, number) = (self.click, self.sales);
        let sale = self.edge.conversion(at, |it| {
            (it.click, it.transaction_id) = (Some(click), format!("t{number}"));
            edit(it);
        });
        self.core.feed(&sale)
    }

    /// The totals of the caps on conversions.
    fn totals(&self) -> Vec<u64> {
        let counts = counts(&self.core);
        counts.iter().filter(|count| count.of_edges.is_empty()).map(|count| count.total).collect()
    }
}

fn decided(facts: &[Fact]) -> (Status, &str) {
    (revision(facts).after.status, &revision(facts).reason)
}

#[test]
fn a_conversion_beyond_a_cap_is_pending_until_a_person_decides() {
    let mut shop = Shop::of(CAPPED_OFFER);
    assert_eq!(decided(&shop.sale(HOUR, |_| {})), (Status::Approved, ""));
    assert_eq!(decided(&shop.sale(HOUR, |it| it.status = Some(Status::Pending))), (Status::Pending, ""));
    let facts = shop.sale(HOUR, |it| it.status = Some(Status::Approved));
    assert_eq!((decided(&facts), outcome(&facts).1), ((Status::Pending, "cap"), "cap"));
    assert_eq!(revision(&facts).attributed.labels, [label::CAP]);
    assert_eq!(shop.totals(), [3], "it was delivered");
    // To say it again, or otherwise, lifts no cap.
    let again = |it: &mut Conversion| (it.transaction_id, it.status) = ("t3".into(), Some(Status::Approved));
    assert_eq!(outcome(&shop.sale(HOUR, again)), (OutcomeStatus::Duplicate, ""));
    let held = |it: &mut Conversion| (it.transaction_id, it.status) = ("t3".into(), Some(Status::Hold));
    assert_eq!(outcome(&shop.sale(HOUR, held)), (OutcomeStatus::Conflict, "cap"));
    let refused =
        |it: &mut Conversion| (it.transaction_id, it.status) = ("t3".into(), Some(Status::Rejected));
    assert_eq!(outcome(&shop.sale(HOUR, refused)), (OutcomeStatus::Updated, ""));
    assert_eq!(shop.totals(), [2], "what is refused counts no more");
    assert_eq!(decided(&shop.sale(DAY, |_| {})), (Status::Approved, ""), "another day");
}

#[test]
fn a_confirmation_lifts_no_cap_either_way_round() {
    for pixel_first in [true, false] {
        let mut shop = Shop::of(CAPPED_OFFER);
        for _ in 0..2 {
            shop.sale(HOUR, |_| {});
        }
        let mut last = (Status::Paid, String::new());
        for pixel in [pixel_first, !pixel_first] {
            let facts = shop.sale(HOUR, |it| {
                it.transaction_id = "t".into();
                it.trust = if pixel { Trust::Publishable } else { Trust::Secret };
            });
            if facts.iter().any(|fact| matches!(fact, Fact::Revision(_))) {
                last = (revision(&facts).after.status, revision(&facts).reason.clone());
            }
        }
        assert_eq!(last, (Status::Pending, "cap".into()), "{pixel_first}");
        assert_eq!(shop.totals(), [3]);
    }
}

#[test]
fn a_cap_that_rejects_counts_each_partner_alone_and_what_goes_back_makes_room() {
    let mut shop = Shop::of(REJECTING_OFFER);
    assert_eq!(decided(&shop.sale(0, |_| {})), (Status::Approved, ""));
    assert_eq!(decided(&shop.sale(HOUR - 1, |_| {})), (Status::Rejected, "cap"));
    assert_eq!(shop.totals(), [1], "what was rejected does not count");
    // Another partner has a count of its own, nobody has none.
    for (partner, expected) in [(Some(id(2)), vec![1, 1]), (None, vec![1, 1])] {
        let facts = shop.sale(1, |it| {
            (it.click, it.offer, it.partner) = (None, Some(REJECTING_OFFER), partner);
        });
        assert_eq!(decided(&facts), (Status::Approved, ""));
        assert_eq!(shop.totals(), expected);
    }
    // A part that goes back changes nothing, all of it makes room.
    for (part, total) in [(usd(1), 1), (usd(79), 0)] {
        let refund = shop.edge.refund(2, |it| {
            (it.refund_id, it.amount) = (part.micros.to_string(), Some(part));
        });
        shop.core.feed(&refund);
        assert!(shop.totals().contains(&1) && shop.totals().iter().sum::<u64>() == 1 + total);
    }
    assert_eq!(decided(&shop.sale(2, |_| {})), (Status::Approved, ""));
    assert_eq!(decided(&shop.sale(3, |_| {})).0, Status::Rejected);
    // A test is no traffic.
    let facts = shop.sale(4, |it| it.test = true);
    assert_eq!(decided(&facts), (Status::Approved, ""));
}

#[test]
fn counts_of_windows_long_past_are_forgotten() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    core.feed(&capped(&mut edge, 0, |_| {}));
    core.now = 25 * HOUR + 8 * DAY;
    core.tick();
    assert_eq!(live_cap_counts(&core.state, Timestamp::default(), 10).unwrap().len(), 1);
    core.now += HOUR;
    core.tick();
    assert!(live_cap_counts(&core.state, Timestamp::default(), 10).unwrap().is_empty());
}

/// A click on the capped offer by this life of an edge, which has delivered nothing before.
fn first_of_life(traffic: &mut Traffic, life: u16) -> Event {
    let mut click = capped(traffic, 0, |_| {});
    click.mark = Some(Mark { edge: edge_id(life), number: 0 });
    click
}

fn edge_id(life: u16) -> EdgeId {
    EdgeId::from_bytes(std::array::from_fn(|index| if index < 2 { life.to_be_bytes()[index] } else { 9 }))
}

#[test]
fn an_edge_that_lives_keeps_its_part_however_many_came_after_it() {
    let (mut core, mut edge, mut other) = (Core::new(), Traffic::of_edge(1), Traffic::of_edge(2));
    for _ in 0..3 {
        core.feed_fast(&capped(&mut edge, 0, |_| {}));
    }
    for life in 0..100 {
        core.feed_fast(&first_of_life(&mut other, life));
    }
    let [count] = &counts(&core)[..] else { panic!("one count") };
    assert_eq!((count.total, count.of_edges.len()), (103, 101));
    assert_eq!(count.of_edges[0], (id(1), 3));
    // A day later the others have died. What the first has delivered since was for another count.
    core.now = DAY + 1;
    core.feed_fast(&edge.click(DAY, |_| {}));
    core.feed_fast(&first_of_life(&mut other, 100));
    let [count] = &counts(&core)[..] else { panic!("one count") };
    assert_eq!((count.total, &count.of_edges[..]), (104, &[(id(1), 3), (edge_id(100), 1)][..]));
}

#[test]
fn a_count_names_no_more_lives_of_edges_than_it_has_room_for() {
    let (mut core, mut other) = (Core::new(), Traffic::of_edge(2));
    for life in 0..300 {
        core.feed_fast(&first_of_life(&mut other, life));
    }
    let [count] = &counts(&core)[..] else { panic!("one count") };
    let kept: Vec<EdgeId> = count.of_edges.iter().map(|(edge, _)| *edge).collect();
    assert_eq!(count.total, 300);
    assert_eq!(kept, (44..300).map(edge_id).collect::<Vec<_>>(), "those that added last");
}
