//! Goals of which the last report stands, and goals of which each report counts.

use schemas::event::{Conversion, Status, Trust};
use schemas::fact::{Change, Fact, OutcomeStatus};
use schemas::id::ClickId;
use schemas::money::{Currency, Money};

use crate::scene::{Core, DAY, HOUR, Traffic, click_id, id, outcome, outcomes, revision, revisions, usd};

/// Changes a report.
type Edit = fn(&mut Conversion);

struct Shop {
    core: Core,
    edge: Traffic,
    goal: &'static str,
    click: ClickId,
}

impl Shop {
    fn of(goal: &'static str) -> Self {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        let click = edge.click(0, |_| {});
        core.feed(&click);
        Self { core, edge, goal, click: click_id(&click) }
    }

    fn report(&mut self, edit: impl FnOnce(&mut Conversion)) -> Vec<Fact> {
        let (goal, click) = (self.goal, self.click);
        let event = self.edge.conversion(HOUR, |it| {
            (it.goal, it.click, it.transaction_id) = (goal.into(), Some(click), "t1".into());
            edit(it);
        });
        self.core.feed(&event)
    }
}

#[test]
fn each_report_counts_and_a_refund_finds_the_first() {
    let mut shop = Shop::of("each");
    let mut conversions = Vec::new();
    for amount in [80, 80, 20] {
        let facts = shop.report(|it| it.amount = Some(usd(amount)));
        assert_eq!(outcome(&facts), (OutcomeStatus::Recorded, ""));
        conversions.push(revision(&facts).conversion);
    }
    conversions.dedup();
    assert_eq!(conversions.len(), 3);
    let facts = shop.core.feed(&shop.edge.refund(HOUR, |it| it.goal = "each".into()));
    assert_eq!(
        (revision(&facts).conversion, revision(&facts).after.status),
        (conversions[0], Status::Reversed)
    );
    let facts = shop.report(|_| {});
    assert_eq!(outcome(&facts).0, OutcomeStatus::Recorded, "whatever became of the first");
}

#[test]
fn the_last_report_stands_with_what_it_says_and_the_rest_stays() {
    let mut shop = Shop::of("last");
    let facts = shop.report(|it| it.metadata = "{\"a\":1}".into());
    let first = revision(&facts).clone();
    assert_eq!(outcome(&shop.report(|_| {})).0, OutcomeStatus::Duplicate);
    let facts = shop.report(|it| (it.amount, it.coupon) = (Some(usd(50)), "new".into()));
    assert_eq!(outcome(&facts), (OutcomeStatus::Updated, "hold_days"));
    let last = revision(&facts);
    assert_eq!((last.conversion, last.version, last.change), (first.conversion, 2, Change::Report));
    assert_eq!(
        (last.before, last.after.revenue_micros, last.after.payout_micros),
        (Some(first.after), 50_000_000, 5_000_000)
    );
    assert_eq!((last.after.status, last.hold_until), (Status::Hold, first.hold_until), "the hold goes on");
    assert_eq!((last.received.coupon.as_str(), last.received.metadata.as_str()), ("new", "{\"a\":1}"));
    assert_eq!(last.attributed_before, None);
    let facts = shop.report(|it| (it.amount, it.status) = (Some(usd(60)), Some(Status::Approved)));
    assert_eq!(
        (revision(&facts).after.status, revision(&facts).after.payout_micros),
        (Status::Approved, 6_000_000)
    );
    let facts = shop.report(|it| (it.amount, it.metadata) = (Some(usd(60)), "{\"b\":2}".into()));
    assert_eq!((revision(&facts).version, revision(&facts).after.status), (4, Status::Approved));
    // The whole chain is there: each revision begins where the one before it ended.
    assert_eq!(revision(&facts).before.unwrap().payout_micros, 6_000_000);
}

#[test]
fn another_click_in_the_last_report_moves_the_conversion_even_if_it_comes_later() {
    let mut shop = Shop::of("last");
    let facts = shop.report(|_| {});
    let first = revision(&facts).clone();
    let other = shop.edge.click(0, |it| it.partner = Some(id(2)));
    let click = Some(click_id(&other));
    assert_eq!(outcome(&shop.report(|it| it.click = click)), (OutcomeStatus::Parked, "unknown_click"));
    let facts = shop.core.feed(&other);
    let moved = revision(&facts);
    assert_eq!((moved.conversion, moved.attributed.partner), (first.conversion, Some(id(2))));
    assert_eq!(moved.attributed_before.as_deref(), Some(&first.attributed));
    let settled: Vec<_> = outcomes(&facts).iter().map(|outcome| outcome.status).collect();
    assert_eq!(settled, [OutcomeStatus::Recorded, OutcomeStatus::Updated]);
}

#[test]
fn what_cannot_stand_is_a_conflict_and_changes_nothing() {
    let cases: [(&str, Edit); 3] = [
        ("untrusted_sender", |it| (it.trust, it.amount) = (Trust::Open, Some(usd(1)))),
        ("untrusted_sender", |it| (it.trust, it.amount) = (Trust::Token, Some(usd(1)))),
        ("status_not_reachable", |it| (it.status, it.amount) = (Some(Status::Paid), Some(usd(1)))),
    ];
    for (reason, edit) in cases {
        let mut shop = Shop::of("last");
        shop.report(|_| {});
        let facts = shop.report(edit);
        assert_eq!(outcome(&facts), (OutcomeStatus::Conflict, reason));
        assert!(revisions(&facts).is_empty());
    }
    let mut shop = Shop::of("last");
    shop.report(|_| {});
    let part = shop.edge.refund(HOUR, |it| (it.goal, it.amount) = ("last".into(), Some(usd(30))));
    shop.core.feed(&part);
    assert_eq!(
        outcome(&shop.report(|it| it.amount = Some(usd(20)))),
        (OutcomeStatus::Conflict, "refund_exceeds_amount")
    );
    let facts = shop.report(|it| it.amount = Some(usd(60)));
    assert_eq!(
        (revision(&facts).after.revenue_micros, revision(&facts).after.payout_micros),
        (30_000_000, 3_000_000)
    );
    let rest = shop.edge.refund(HOUR, |it| (it.goal, it.refund_id) = ("last".into(), "r2".into()));
    shop.core.feed(&rest);
    assert_eq!(
        outcome(&shop.report(|it| it.amount = Some(usd(90)))),
        (OutcomeStatus::Conflict, "status_not_reachable")
    );
}

#[test]
fn a_last_report_in_a_currency_without_a_rate_waits_unless_it_was_approved() {
    let euros = Money { currency: Currency::from_code("EUR").unwrap(), ..usd(80) };
    let mut shop = Shop::of("last");
    shop.report(|_| {});
    let facts = shop.report(|it| it.amount = Some(euros));
    assert_eq!(
        (revision(&facts).after.status, revision(&facts).reason.as_str()),
        (Status::Pending, "no_rate")
    );
    let facts = shop.report(|_| {});
    assert_eq!(
        (revision(&facts).after.status, revision(&facts).reason.as_str()),
        (Status::Hold, "hold_days")
    );
    shop.core.now = 15 * DAY;
    shop.core.tick();
    assert_eq!(outcome(&shop.report(|it| it.amount = Some(euros))), (OutcomeStatus::Conflict, "no_rate"));
}
