//! Money that went back.

use schemas::event::{Conversion, Event, Refund, StatedAmount, Status, Trust};
use schemas::fact::{Change, Fact, OutcomeStatus, Subject, Values};
use schemas::id::ClickId;
use schemas::money::{Currency, Money};

use crate::scene::{Core, DAY, HOUR, Traffic, click_id, event_id, id, outcome, outcomes, revision, usd};

/// A shop that sold one pair of shoes for 80 dollars, of which the partner gets 8.
struct Shop {
    core: Core,
    edge: Traffic,
    click: ClickId,
    sale: Event,
}

impl Shop {
    fn new(edit: impl FnOnce(&mut Conversion)) -> Self {
        let mut shop = Self::before_the_sale(edit);
        let sale = shop.sale.clone();
        shop.core.feed(&sale);
        shop
    }

    fn before_the_sale(edit: impl FnOnce(&mut Conversion)) -> Self {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        let click = edge.click(0, |_| {});
        core.feed(&click);
        let click = click_id(&click);
        let sale = edge.conversion(HOUR, |it| {
            (it.click, it.transaction_id) = (Some(click), "t1".into());
            edit(it);
        });
        Self { core, edge, click, sale }
    }

    fn refund(&mut self, edit: impl FnOnce(&mut Refund)) -> Vec<Fact> {
        let refund = self.edge.refund(2 * HOUR, edit);
        self.core.feed(&refund)
    }

    fn part(&mut self, refund_id: &str, units: i64) -> Vec<Fact> {
        self.refund(|it| (it.refund_id, it.amount) = (refund_id.into(), Some(usd(units))))
    }
}

fn values(facts: &[Fact]) -> (Status, i64, i64, i64) {
    let Values { status, revenue_micros, payout_micros, refunded_micros, .. } = revision(facts).after;
    (status, revenue_micros, payout_micros, refunded_micros)
}

#[test]
fn a_full_refund_reverses_the_conversion_to_exactly_nothing() {
    for goal in ["sale", "lead", "review"] {
        let mut shop = Shop::new(|it| it.goal = goal.into());
        let facts = shop.refund(|it| (it.goal, it.reason) = (goal.into(), "broken".into()));
        assert_eq!(outcome(&facts), (OutcomeStatus::Recorded, ""), "{goal}");
        assert_eq!(values(&facts), (Status::Reversed, 0, 0, 80_000_000), "{goal}");
        let revision = revision(&facts);
        assert_eq!((revision.change, revision.version), (Change::Refund, 2));
        let applied = revision.refund.as_ref().unwrap();
        assert_eq!((applied.amount_micros, applied.reason.as_str()), (80_000_000, "broken"));
        assert_eq!(outcomes(&facts)[0].subject, Subject::Refund);
        assert_eq!(outcomes(&facts)[0].conversion, Some(event_id(&shop.sale).rename()));
        // Nothing brings it back, and nothing more can go.
        let again = shop.refund(|it| (it.goal, it.refund_id) = (goal.into(), "r2".into()));
        assert_eq!(outcome(&again), (OutcomeStatus::Rejected, "refund_exceeds_amount"));
    }
}

#[test]
fn parts_leave_their_share_and_rounding_never_adds_up() {
    // 8 dollars of payout on 80 of amount, in thirds that no cent can be divided into.
    let mut shop = Shop::new(|it| it.amount = Some(Money { micros: 10_000_000, ..usd(0) }));
    let part = |shop: &mut Shop, n: u32, micros| {
        let facts = shop.refund(|it| {
            (it.refund_id, it.amount) = (format!("r{n}"), Some(Money { micros, ..usd(0) }));
        });
        values(&facts)
    };
    assert_eq!(part(&mut shop, 1, 3_333_333), (Status::Approved, 6_666_667, 666_667, 3_333_333));
    assert_eq!(part(&mut shop, 2, 3_333_333), (Status::Approved, 3_333_334, 333_333, 6_666_666));
    let facts = shop.refund(|it| it.refund_id = "rest".into());
    assert_eq!(values(&facts), (Status::Reversed, 0, 0, 10_000_000));
    assert_eq!(revision(&facts).refund.as_ref().unwrap().amount_micros, 3_333_334);
}

#[test]
fn a_fixed_payout_shrinks_by_the_same_share() {
    let mut shop = Shop::new(|it| it.goal = "lead".into());
    let facts = shop.refund(|it| (it.goal, it.amount) = ("lead".into(), Some(usd(20))));
    assert_eq!(values(&facts), (Status::Approved, 6_000_000, 3_750_000, 20_000_000));
}

#[test]
fn the_same_refund_again_is_a_duplicate_and_another_amount_a_conflict() {
    let mut shop = Shop::new(|_| {});
    let first = shop.edge.refund(HOUR, |it| it.amount = Some(usd(30)));
    shop.core.feed(&first);
    for facts in [shop.part("r1", 30), shop.refund(|_| {})] {
        let [outcome] = outcomes(&facts)[..] else { panic!("{facts:?}") };
        assert_eq!((outcome.status, outcome.original), (OutcomeStatus::Duplicate, Some(event_id(&first))));
        assert_eq!(facts.len(), 1, "nothing changes: {facts:?}");
    }
    assert_eq!(outcome(&shop.part("r1", 31)), (OutcomeStatus::Conflict, "different_content"));
    assert_eq!(values(&shop.part("r2", 30)), (Status::Approved, 20_000_000, 2_000_000, 60_000_000));
}

#[test]
fn never_more_than_is_left_never_other_money_never_by_anybody() {
    let mut shop = Shop::new(|_| {});
    let euros = Money { currency: Currency::from_code("EUR").unwrap(), ..usd(10) };
    type Edit = fn(&mut Refund);
    let edits: [(&str, Edit); 9] = [
        ("refund_exceeds_amount", |it| it.amount = Some(usd(81))),
        ("invalid_amount", |it| it.amount = Some(usd(0))),
        ("invalid_amount", |it| it.stated_amount = Some(StatedAmount::Decimal("1.234".into()))),
        ("untrusted_sender", |it| it.trust = Trust::Publishable),
        ("untrusted_sender", |it| it.trust = Trust::Open),
        ("unknown_reference", |it| it.source = Some(id(9))),
        ("unknown_conversion", |it| it.transaction_id = String::new()),
        // Of another workspace.
        ("unknown_conversion", |it| it.conversion = Some(id(9))),
        ("currency_mismatch", |_| {}),
    ];
    for (reason, edit) in edits {
        let facts = shop.refund(|it| {
            it.amount = (reason == "currency_mismatch").then_some(euros);
            edit(it);
        });
        assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, reason));
        assert_eq!(facts.len(), 1);
    }
    let facts = shop.refund(|it| it.stated_amount = Some(StatedAmount::Minor(2_000)));
    assert_eq!(values(&facts), (Status::Approved, 60_000_000, 6_000_000, 20_000_000));
    // A rehearsal cannot touch a live conversion, whatever it knows of it.
    let sale = event_id(&shop.sale).rename();
    let facts = shop.refund(|it| (it.conversion, it.test, it.refund_id) = (Some(sale), true, "t".into()));
    assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, "unknown_conversion"));
}

#[test]
fn a_conversion_without_an_amount_goes_back_as_a_whole_and_once() {
    let mut shop = Shop::new(|it| (it.goal, it.amount) = ("lead".into(), None));
    let lead = |it: &mut Refund| it.goal = "lead".into();
    let facts = shop.refund(|it| (it.goal, it.amount) = ("lead".into(), Some(usd(1))));
    assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, "refund_exceeds_amount"));
    assert_eq!(values(&shop.refund(lead)), (Status::Reversed, 0, 0, 0));
    assert_eq!(outcome(&shop.refund(lead)).0, OutcomeStatus::Duplicate);
    let facts = shop.refund(|it| (it.goal, it.refund_id) = ("lead".into(), "r2".into()));
    assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, "refund_exceeds_amount"));
}

#[test]
fn the_order_in_which_sale_and_refunds_arrive_changes_nothing() {
    let last = |order: [usize; 4], by_id: bool| {
        let mut shop = Shop::before_the_sale(|_| {});
        let sale = event_id(&shop.sale).rename();
        let mut part = |refund_id: &str, units| {
            shop.edge.refund(2 * HOUR, |it| {
                (it.refund_id, it.amount) = (refund_id.into(), Some(usd(units)));
                it.conversion = by_id.then_some(sale);
            })
        };
        let events = [part("r1", 7), part("r2", 11), part("r1", 7), shop.sale.clone()];
        for at in order {
            shop.core.feed(&events[at]);
            shop.core.now += DAY;
        }
        let facts = shop.part("last", 1);
        let counters = shop.core.head.counters.outcomes;
        (values(&facts), revision(&facts).version, counters)
    };
    for by_id in [false, true] {
        let in_order = last([3, 0, 1, 2], by_id);
        assert_eq!(in_order.0, (Status::Approved, 61_000_000, 6_100_000, 19_000_000));
        for order in [[0, 1, 2, 3], [2, 3, 1, 0], [1, 0, 3, 2]] {
            assert_eq!(last(order, by_id), in_order, "{order:?}");
        }
    }
}

#[test]
fn a_refund_waits_for_its_conversion_even_where_that_waits_for_its_click() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = edge.click(0, |_| {});
    let refund = edge.refund(HOUR, |_| {});
    assert_eq!(outcome(&core.feed(&refund)), (OutcomeStatus::Parked, "unknown_conversion"));
    let sale =
        edge.conversion(HOUR, |it| (it.click, it.transaction_id) = (Some(click_id(&click)), "t1".into()));
    assert_eq!(outcome(&core.feed(&sale)), (OutcomeStatus::Parked, "unknown_click"));
    assert_eq!(core.count(OutcomeStatus::Parked), 2);
    let facts = core.feed(&click);
    let ends: Vec<_> = outcomes(&facts).iter().map(|it| (it.event, it.status)).collect();
    let recorded = |event: &Event| (event_id(event), OutcomeStatus::Recorded);
    assert_eq!(ends, [recorded(&click), recorded(&sale), recorded(&refund)]);
    assert_eq!((core.count(OutcomeStatus::Parked), core.count(OutcomeStatus::Recorded)), (0, 3));
}

#[test]
fn a_refund_whose_conversion_never_comes_is_rejected_after_eight_days() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    core.feed(&edge.refund(0, |_| {}));
    core.now = 8 * DAY;
    assert_eq!(outcome(&core.tick()), (OutcomeStatus::Rejected, "unknown_conversion"));
    assert_eq!((core.count(OutcomeStatus::Parked), core.count(OutcomeStatus::Rejected)), (0, 1));
}

#[test]
fn sale_and_refund_that_wait_may_end_with_one_tick() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let absent = edge.click(0, |_| {});
    core.feed(&edge.conversion(0, |it| {
        (it.click, it.transaction_id) = (Some(click_id(&absent)), "t1".into());
    }));
    core.feed(&edge.refund(0, |_| {}));
    core.now = 8 * DAY;
    let facts = core.tick();
    let ends: Vec<_> = outcomes(&facts).iter().map(|it| (it.status, it.reason.as_str())).collect();
    assert_eq!(
        ends,
        [(OutcomeStatus::Rejected, "unknown_click"), (OutcomeStatus::Rejected, "unknown_conversion")]
    );
}

#[test]
fn a_refund_of_what_an_untrusted_sender_reported_holds_when_a_trusted_one_confirms_it() {
    let mut shop = Shop::new(|it| it.trust = Trust::Publishable);
    assert_eq!(values(&shop.part("r1", 40)), (Status::Pending, 40_000_000, 4_000_000, 40_000_000));
    let click = shop.click;
    let confirmation =
        shop.edge.conversion(HOUR, |it| (it.click, it.transaction_id) = (Some(click), "t1".into()));
    let facts = shop.core.feed(&confirmation);
    assert_eq!(outcome(&facts).0, OutcomeStatus::Updated);
    assert_eq!(values(&facts), (Status::Approved, 40_000_000, 4_000_000, 40_000_000));
    assert_eq!(values(&shop.refund(|it| it.refund_id = "r2".into())).0, Status::Reversed);
}

#[test]
fn a_refund_that_comes_again_as_a_delivery_is_a_redelivery() {
    let mut shop = Shop::new(|_| {});
    let refund = shop.edge.refund(HOUR, |_| {});
    shop.core.feed(&refund);
    assert!(matches!(shop.core.feed(&refund)[..], [Fact::Redelivered(_)]));
}
