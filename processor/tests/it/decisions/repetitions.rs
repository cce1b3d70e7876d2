//! One transaction reported more than once.

use schemas::event::{Conversion, Event, Status, Trust};
use schemas::fact::{Change, Fact, OutcomeStatus};
use schemas::id::ClickId;
use schemas::money::{Currency, Money};

use crate::scene::{Core, HOUR, SECOND, Traffic, click_id, event_id, id, outcome, outcomes, revision, usd};

struct Shop {
    core: Core,
    edge: Traffic,
    click: ClickId,
}

impl Shop {
    fn new() -> Self {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        let click = edge.click(0, |_| {});
        core.feed(&click);
        Self { core, edge, click: click_id(&click) }
    }

    fn event(&mut self, edit: impl FnOnce(&mut Conversion)) -> Event {
        let click = self.click;
        self.edge.conversion(HOUR, |it| {
            (it.click, it.transaction_id) = (Some(click), "t1".into());
            edit(it);
        })
    }

    fn report(&mut self, edit: impl FnOnce(&mut Conversion)) -> Vec<Fact> {
        let event = self.event(edit);
        self.core.feed(&event)
    }
}

#[test]
fn the_same_transaction_again_is_a_duplicate_that_names_the_original() {
    let mut shop = Shop::new();
    let first = shop.event(|_| {});
    shop.core.feed(&first);
    let facts = shop.report(|_| {});
    let [outcome] = outcomes(&facts)[..] else { panic!("{facts:?}") };
    assert_eq!((outcome.status, outcome.original), (OutcomeStatus::Duplicate, Some(event_id(&first))));
    assert_eq!(outcome.conversion, Some(event_id(&first).rename()));
    assert_eq!(facts.len(), 1, "nothing changes: {facts:?}");
}

#[test]
fn another_amount_click_customer_or_coupon_under_the_same_key_is_a_conflict() {
    let edits: [fn(&mut Conversion); 5] = [
        |it| it.amount = Some(usd(81)),
        |it| it.amount = Some(Money { currency: Currency::from_code("EUR").unwrap(), ..usd(80) }),
        |it| it.click = Some(id(9)),
        |it| it.customer_id = "other".into(),
        |it| it.coupon = "other".into(),
    ];
    for edit in edits {
        let mut shop = Shop::new();
        shop.report(|it| (it.customer_id, it.coupon) = ("c".into(), "d".into()));
        let facts = shop.report(|it| {
            (it.customer_id, it.coupon) = ("c".into(), "d".into());
            edit(it);
        });
        assert_eq!(outcome(&facts), (OutcomeStatus::Conflict, "different_content"));
        assert_eq!(facts.len(), 1);
    }
}

#[test]
fn source_goal_and_test_make_another_conversion_and_the_senders_key_decides() {
    let mut shop = Shop::new();
    let edits: [fn(&mut Conversion); 7] = [
        |_| {},
        |it| it.goal = "lead".into(),
        |it| it.source = Some(id(3)),
        |it| it.test = true,
        |it| it.transaction_id = "t2".into(),
        |it| (it.transaction_id, it.client_event_id) = (String::new(), "t1".into()),
        |it| it.transaction_id = String::new(),
    ];
    for edit in edits {
        assert_eq!(outcome(&shop.report(edit)).0, OutcomeStatus::Recorded);
    }
    for edit in edits {
        assert_eq!(outcome(&shop.report(edit)).0, OutcomeStatus::Duplicate);
    }
    // With a transaction id the client's event id does not count; with neither nor a click each report is its own.
    assert_eq!(outcome(&shop.report(|it| it.client_event_id = "x".into())).0, OutcomeStatus::Duplicate);
    for _ in 0..2 {
        let facts = shop.report(|it| (it.transaction_id, it.click) = (String::new(), None));
        assert_eq!(outcome(&facts).0, OutcomeStatus::Recorded);
    }
}

#[test]
fn another_status_is_a_step_in_the_life_cycle_or_a_conflict() {
    let mut shop = Shop::new();
    let recorded = shop.report(|it| it.status = Some(Status::Pending));
    let recorded = revision(&recorded).clone();
    for (status, outcome_status, reason) in [
        (Status::Reversed, OutcomeStatus::Conflict, "status_not_reachable"),
        (Status::Approved, OutcomeStatus::Updated, ""),
        (Status::Pending, OutcomeStatus::Conflict, "status_not_reachable"),
        (Status::Paid, OutcomeStatus::Updated, ""),
        (Status::Paid, OutcomeStatus::Duplicate, ""),
        (Status::Reversed, OutcomeStatus::Updated, ""),
    ] {
        let facts = shop.report(|it| it.status = Some(status));
        assert_eq!(outcome(&facts), (outcome_status, reason), "{status:?}");
        if outcome_status == OutcomeStatus::Updated {
            let revision = revision(&facts);
            assert_eq!((revision.conversion, revision.change), (recorded.conversion, Change::Status));
            assert_eq!((revision.after.status, revision.after.payout_micros), (status, 8_000_000));
            assert!(revision.touches.is_empty(), "the credits stand in version 1");
            assert_eq!(revision.attributed, recorded.attributed);
        }
    }
    let facts = shop.report(|it| (it.trust, it.status) = (Trust::Open, Some(Status::Approved)));
    assert_eq!(outcome(&facts), (OutcomeStatus::Conflict, "untrusted_sender"));
}

#[test]
fn versions_follow_each_other_and_each_holds_the_values_before() {
    let mut shop = Shop::new();
    let mut before = None;
    for (version, status) in
        [(1, Status::Pending), (2, Status::Hold), (3, Status::Approved), (4, Status::Reversed)]
    {
        let facts = shop.report(|it| it.status = Some(status));
        assert_eq!((revision(&facts).version, revision(&facts).before), (version, before));
        before = Some(revision(&facts).after);
    }
}

#[test]
fn a_trusted_sender_confirms_what_an_untrusted_one_reported() {
    let mut shop = Shop::new();
    let facts = shop.report(|it| it.trust = Trust::Publishable);
    assert_eq!(outcome(&facts), (OutcomeStatus::Recorded, "untrusted_sender"));
    let facts = shop.report(|it| it.trust = Trust::Open);
    assert_eq!(outcome(&facts).0, OutcomeStatus::Duplicate, "no more trusted than the first");
    let facts = shop.report(|_| {});
    assert_eq!(outcome(&facts), (OutcomeStatus::Updated, ""));
    let confirmed = revision(&facts);
    assert_eq!((confirmed.after.status, confirmed.after.payout_micros), (Status::Approved, 8_000_000));
    assert_eq!(confirmed.before.unwrap().status, Status::Pending);
    assert_eq!(outcome(&shop.report(|_| {})).0, OutcomeStatus::Duplicate, "once");
}

#[test]
fn who_is_first_does_not_change_what_a_trusted_report_is_worth() {
    // The goal, whether the pixel knows the amount, and what the server says of the status.
    for (goal, pixel_amount, status) in [
        ("sale", Some(usd(80)), None),
        ("sale", None, None),
        ("review", Some(usd(80)), None),
        ("review", None, None),
        ("review", Some(usd(80)), Some(Status::Approved)),
        ("euro", Some(usd(80)), None),
        ("euro", Some(usd(80)), Some(Status::Approved)),
        ("lead", None, Some(Status::Rejected)),
    ] {
        let last_values = |server_first: bool| {
            let mut shop = Shop::new();
            let mut last = None;
            for server in [server_first, !server_first] {
                let facts = shop.report(|it| {
                    it.goal = goal.to_owned();
                    if server {
                        it.status = status;
                    } else {
                        (it.trust, it.amount) = (Trust::Publishable, pixel_amount);
                    }
                });
                let revised = facts.iter().any(|fact| matches!(fact, Fact::Revision(_)));
                last = if revised {
                    Some((revision(&facts).after, revision(&facts).reason.clone()))
                } else {
                    last
                };
            }
            last.unwrap()
        };
        assert_eq!(last_values(true), last_values(false), "{goal} {pixel_amount:?} {status:?}");
    }
}

#[test]
fn an_amount_that_comes_second_is_never_dropped_without_a_word() {
    let mut shop = Shop::new();
    shop.report(|it| it.amount = None);
    assert_eq!(outcome(&shop.report(|_| {})), (OutcomeStatus::Conflict, "different_content"));
    let mut shop = Shop::new();
    shop.report(|_| {});
    assert_eq!(outcome(&shop.report(|it| it.amount = None)).0, OutcomeStatus::Duplicate);
}

#[test]
fn repetitions_within_one_second_are_told_apart_by_the_logs_order() {
    let mut shop = Shop::new();
    let (late, early) =
        (shop.event(|it| it.occurred_at = it.occurred_at.saturating_add(SECOND)), shop.event(|_| {}));
    assert_eq!(outcome(&shop.core.feed(&early)).0, OutcomeStatus::Recorded);
    assert_eq!(outcome(&shop.core.feed(&late)).0, OutcomeStatus::Duplicate);
}

#[test]
fn the_more_trusted_of_two_senders_sets_the_status_whoever_is_first() {
    let pending = Some(Status::Pending);
    for (one, other, expected) in [
        ((Trust::Token, None), (Trust::Secret, pending), Status::Pending),
        ((Trust::Token, pending), (Trust::Secret, None), Status::Approved),
        ((Trust::Publishable, Some(Status::Approved)), (Trust::Token, pending), Status::Pending),
        ((Trust::Open, None), (Trust::Token, Some(Status::Rejected)), Status::Rejected),
        ((Trust::Open, None), (Trust::Publishable, None), Status::Pending),
    ] {
        for order in [[one, other], [other, one]] {
            let mut shop = Shop::new();
            let mut last = None;
            for (trust, status) in order {
                let facts = shop.report(|it| (it.trust, it.status) = (trust, status));
                if facts.iter().any(|fact| matches!(fact, Fact::Revision(_))) {
                    last = Some(revision(&facts).after.status);
                }
            }
            assert_eq!(last, Some(expected), "{order:?}");
        }
    }
}

#[test]
fn what_was_decided_since_no_sender_begins_anew() {
    let mut shop = Shop::new();
    shop.report(|it| it.trust = Trust::Token);
    shop.report(|it| (it.trust, it.status) = (Trust::Token, Some(Status::Hold)));
    let facts = shop.report(|it| it.status = Some(Status::Pending));
    assert_eq!(outcome(&facts), (OutcomeStatus::Conflict, "status_not_reachable"));
    assert_eq!(outcome(&shop.report(|_| {})).0, OutcomeStatus::Duplicate);
    assert_eq!(outcome(&shop.report(|it| it.status = Some(Status::Approved))).0, OutcomeStatus::Updated);
}

#[test]
fn a_touch_between_two_senders_decides_nothing_about_the_status() {
    let mut shop = Shop::new();
    let say = |trust, status| {
        move |it: &mut Conversion| {
            (it.click, it.visitor, it.trust, it.status) = (None, Some(id(8)), trust, status);
        }
    };
    shop.report(say(Trust::Token, Some(Status::Approved)));
    let late = shop.edge.click(0, |it| it.visitor = Some(id(8)));
    let facts = shop.core.feed(&late);
    assert_eq!((revision(&facts).version, revision(&facts).change), (2, Change::Attribution));
    let facts = shop.report(say(Trust::Secret, Some(Status::Pending)));
    assert_eq!(outcome(&facts).0, OutcomeStatus::Updated);
    assert_eq!(revision(&facts).after.status, Status::Pending);
}
