//! What a conversion is worth, to whom, and the status that it begins with.

use schemas::event::{Conversion, Fault, StatedAmount, Status, Trust, label};
use schemas::fact::{Fact, OutcomeStatus, Values};
use schemas::id::WorkspaceNumber;
use schemas::money::{Currency, Money};

use crate::scene::{Core, EURO_OFFER, HOUR, OFFER, PARTNER, Traffic, click_id, id, outcome, revision, usd};

fn values(status: Status, amount: Option<i64>, revenue: i64, payout: i64) -> Values {
    let micros = |units: i64| units * 1_000_000;
    Values {
        status,
        currency: Currency::USD,
        amount_micros: amount.map(micros),
        revenue_micros: micros(revenue),
        payout_micros: micros(payout),
        refunded_micros: 0,
    }
}

#[test]
fn a_click_is_recorded_with_everything_that_it_brought() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = edge.click(0, |_| {});
    let facts = core.feed(&click);
    assert_eq!(outcome(&facts), (OutcomeStatus::Recorded, ""));
    let Fact::Click(stored) = &facts[0] else { panic!("{facts:?}") };
    assert_eq!(
        (stored.receipt, stored.workspace, stored.click.id),
        (click.id, click.workspace, click_id(&click))
    );
    assert_eq!(
        (stored.click.hit.subs[0].as_str(), stored.click.hit.user_agent.as_str()),
        ("s1", "Mozilla/5.0")
    );
}

#[test]
fn a_conversion_by_click_id_pays_the_clicks_partner() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = edge.click(0, |_| {});
    core.feed(&click);
    let conversion = edge.conversion(HOUR, |it| it.click = Some(click_id(&click)));
    let facts = core.feed(&conversion);
    assert_eq!(outcome(&facts), (OutcomeStatus::Recorded, ""));
    let revision = revision(&facts);
    assert_eq!(revision.after, values(Status::Approved, Some(80), 80, 8));
    assert_eq!((revision.version, revision.before, revision.identified_by.as_str()), (1, None, "click_id"));
    let to = &revision.attributed;
    assert_eq!((to.offer, to.partner, to.link), (Some(OFFER), Some(PARTNER), Some(id(1))));
    assert_eq!(
        (to.click.unwrap().0, to.subs[0].as_str(), to.source_id.as_str()),
        (click_id(&click), "s1", "site")
    );
    assert_eq!(revision.payout_rule, "offer_goal");
}

#[test]
fn each_goal_has_its_own_payout_and_revenue() {
    for (goal, status, amount, revenue, payout, labels) in [
        ("sale", Status::Approved, 80, 80, 8, vec![]),
        ("lead", Status::Approved, 80, 8, 5, vec![]),
        ("review", Status::Pending, 80, 40, 8, vec![]),
        ("trial", Status::Approved, 80, 80, 0, vec![]),
        ("unheard-of", Status::Approved, 80, 80, 0, vec![label::UNKNOWN_GOAL.to_owned()]),
    ] {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        let click = edge.click(0, |_| {});
        core.feed(&click);
        let facts = core.feed(&edge.conversion(HOUR, |it| {
            it.click = Some(click_id(&click));
            it.goal = goal.to_owned();
        }));
        let revision = revision(&facts);
        assert_eq!(revision.after, values(status, Some(amount), revenue, payout), "{goal}");
        assert_eq!(revision.attributed.labels, labels, "{goal}");
        assert_eq!(revision.reason, if goal == "review" { "manual_approval" } else { "" });
    }
}

#[test]
fn nobody_is_paid_where_there_is_no_partner() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = edge.click(0, |it| it.partner = None);
    core.feed(&click);
    let facts = core.feed(&edge.conversion(HOUR, |it| it.click = Some(click_id(&click))));
    assert_eq!(revision(&facts).after, values(Status::Approved, Some(80), 80, 0));
    assert_eq!(revision(&facts).payout_rule, "none");
}

#[test]
fn a_conversion_without_a_click_pays_the_partner_that_it_names_if_there_is_such_a_partner() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let report = |edge: &mut Traffic, partner| {
        edge.conversion(HOUR, |it| (it.partner, it.offer) = (Some(id(partner)), Some(OFFER)))
    };
    let facts = core.feed(&report(&mut edge, 2));
    assert_eq!(revision(&facts).after, values(Status::Approved, Some(80), 80, 8));
    assert_eq!(
        (revision(&facts).attributed.partner, revision(&facts).identified_by.as_str()),
        (Some(id(2)), "partner")
    );
    assert!(revision(&facts).touches.is_empty());

    let facts = core.feed(&report(&mut edge, 77));
    assert_eq!(revision(&facts).after, values(Status::Approved, Some(80), 80, 0));
    assert_eq!(revision(&facts).attributed.partner, None);
    assert_eq!(revision(&facts).attributed.labels, [label::UNKNOWN_PARTNER]);
}

#[test]
fn an_amount_whose_currency_nobody_named_is_in_the_offers() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = edge.click(0, |it| it.offer = EURO_OFFER);
    core.feed(&click);
    // The edge could not know the offer: 80.00 of what, only the click tells.
    let mut report = |stated: &str| {
        core.feed(&edge.conversion(HOUR, |it| {
            (it.click, it.transaction_id) = (Some(click_id(&click)), "t1".into());
            (it.amount, it.stated_amount) = (None, Some(StatedAmount::Decimal(stated.to_owned())));
        }))
    };
    assert_eq!(outcome(&report("80.005")), (OutcomeStatus::Rejected, "invalid_amount"));
    let facts = report("80.00");
    let amount = revision(&facts).received.amount.unwrap();
    assert_eq!((amount.decimal().as_str(), amount.currency.code()), ("80.00", "EUR"));
    assert_eq!(outcome(&facts), (OutcomeStatus::Recorded, "no_rate"));
    assert_eq!(outcome(&report("80.00")), (OutcomeStatus::Duplicate, ""));
    assert_eq!(outcome(&report("81.00")), (OutcomeStatus::Conflict, "different_content"));
}

#[test]
fn an_invented_source_or_offer_is_no_second_way_to_count() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    for invent in
        [|it: &mut Conversion| it.source = Some(id(99)), |it: &mut Conversion| it.offer = Some(id(99))]
    {
        let facts = core.feed(&edge.conversion(HOUR, invent));
        assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, "unknown_reference"));
    }
}

#[test]
fn an_amount_without_a_rate_counts_as_nothing_and_waits() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = edge.click(0, |_| {});
    core.feed(&click);
    let euros = Money { micros: 80_000_000, currency: Currency::from_code("EUR").unwrap() };
    let facts = core.feed(&edge.conversion(HOUR, |it| {
        (it.click, it.amount, it.transaction_id) = (Some(click_id(&click)), Some(euros), "t1".into());
    }));
    assert_eq!(outcome(&facts), (OutcomeStatus::Recorded, "no_rate"));
    assert_eq!(revision(&facts).after, values(Status::Pending, None, 0, 0));
    // Nor does a sender's word make a sum of nothing an approved one; a rejection needs no sum.
    let mut say = |status| {
        let facts = core.feed(&edge.conversion(2 * HOUR, |it| {
            (it.click, it.transaction_id, it.amount) = (Some(click_id(&click)), "t1".into(), Some(euros));
            it.status = Some(status);
        }));
        let (status, reason) = outcome(&facts);
        (status, reason.to_owned())
    };
    assert_eq!(say(Status::Approved), (OutcomeStatus::Conflict, "no_rate".to_owned()));
    assert_eq!(say(Status::Rejected), (OutcomeStatus::Updated, String::new()));
    assert_eq!(say(Status::Approved), (OutcomeStatus::Conflict, "no_rate".to_owned()));
    // A payout in another currency has no rate either.
    let facts = core.feed(&edge.conversion(HOUR, |it| {
        (it.click, it.goal) = (Some(click_id(&click)), "euro".into());
    }));
    assert_eq!(revision(&facts).after, values(Status::Pending, Some(80), 80, 0));
}

#[test]
fn an_untrusted_sender_cannot_approve() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    for (trust, status, expected, reason) in [
        (Trust::Open, None, Status::Pending, "untrusted_sender"),
        (Trust::Publishable, Some(Status::Approved), Status::Pending, "untrusted_sender"),
        (Trust::Publishable, Some(Status::Rejected), Status::Pending, "untrusted_sender"),
        (Trust::Token, None, Status::Approved, ""),
        (Trust::Secret, Some(Status::Hold), Status::Hold, ""),
        (Trust::Secret, Some(Status::Rejected), Status::Rejected, ""),
    ] {
        let facts = core.feed(&edge.conversion(0, |it| (it.trust, it.status) = (trust, status)));
        assert_eq!((revision(&facts).after.status, revision(&facts).reason.as_str()), (expected, reason));
    }
}

#[test]
fn no_conversion_begins_as_paid_or_reversed() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    for status in [Status::Paid, Status::Reversed] {
        let facts = core.feed(&edge.conversion(0, |it| it.status = Some(status)));
        assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, "status_not_reachable"));
    }
}

#[test]
fn what_cannot_count_is_rejected_with_its_reason() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let fault = Fault { reason: "invalid_amount".into(), field: "amount".into(), message: "no".into() };
    let facts = core.feed(&edge.conversion(0, |it| it.fault = Some(fault)));
    assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, "invalid_amount"));

    let mut stranger = edge.conversion(0, |_| {});
    stranger.workspace = WorkspaceNumber::new(9).unwrap();
    assert_eq!(outcome(&core.feed(&stranger)), (OutcomeStatus::Rejected, "unknown_workspace"));
    let mut stranger = edge.click(0, |_| {});
    stranger.workspace = WorkspaceNumber::new(9).unwrap();
    assert_eq!(outcome(&core.feed(&stranger)), (OutcomeStatus::Rejected, "unknown_workspace"));

    let facts = core.feed(&edge.conversion(0, |it| it.click = Some(id(5))));
    assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, "unknown_click"), "a click of another workspace");

    let click = edge.click(0, |_| {});
    core.feed(&click);
    let facts = core.feed(&edge.conversion(0, |it| {
        (it.click, it.goal) = (Some(click_id(&click)), "share".into());
        it.amount = Some(Money { micros: i64::MAX, ..usd(0) });
    }));
    assert_eq!(outcome(&facts), (OutcomeStatus::Rejected, "amount_out_of_range"));
    assert_eq!(core.count(OutcomeStatus::Rejected), 5);
}
