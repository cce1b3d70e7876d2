//! Which rule says what a partner earns.

use schemas::event::{Status, Trust, label};
use schemas::fact::OutcomeStatus;

use crate::scene::{
    Core, FAVOURITE, HOUR, OFFER, OTHER_OFFER, PARTNER, Traffic, click_id, outcome, revision,
};

#[test]
fn a_partners_own_payout_goes_before_the_goals() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    for (partner, offer, goal, payout, rule) in [
        (FAVOURITE, OFFER, "sale", 20, "partner_offer_goal"),
        (FAVOURITE, OFFER, "lead", 40, "partner_offer"),
        (FAVOURITE, OFFER, "trial", 40, "partner_offer"),
        (FAVOURITE, OTHER_OFFER, "sale", 8, "offer_goal"),
        (FAVOURITE, OTHER_OFFER, "lead", 0, "partner_offer_goal"),
        (PARTNER, OFFER, "sale", 8, "offer_goal"),
        (PARTNER, OFFER, "trial", 0, "offer_goal"),
    ] {
        let click = edge.click(0, |it| (it.partner, it.offer) = (Some(partner), offer));
        core.feed(&click);
        let facts = core.feed(&edge.conversion(HOUR, |it| {
            (it.click, it.goal) = (Some(click_id(&click)), goal.to_owned());
        }));
        let revision = revision(&facts);
        assert_eq!((revision.after.payout_micros, revision.payout_rule.as_str()), (payout * 1_000_000, rule));
        assert_eq!(revision.gross.payout_micros, payout * 1_000_000);
        assert!(revision.attributed.labels.is_empty(), "{goal}");
    }
}

#[test]
fn a_goal_that_the_offer_does_not_have_is_paid_only_where_it_is_named() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    for (goal, payout, rule) in [("gift", 7, "partner_offer_goal"), ("unheard-of", 0, "none")] {
        let facts = core.feed(&edge.conversion(HOUR, |it| {
            (it.partner, it.offer, it.goal) = (Some(FAVOURITE), Some(OFFER), goal.to_owned());
        }));
        let revision = revision(&facts);
        assert_eq!((revision.after.payout_micros, revision.payout_rule.as_str()), (payout * 1_000_000, rule));
        assert_eq!(revision.attributed.labels, [label::UNKNOWN_GOAL]);
    }
}

#[test]
fn without_an_offer_no_rule_applies() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let facts = core.feed(&edge.conversion(HOUR, |it| it.partner = Some(FAVOURITE)));
    assert_eq!((revision(&facts).after.payout_micros, revision(&facts).payout_rule.as_str()), (0, "none"));
}

#[test]
fn a_more_trusted_report_is_valued_by_the_same_rule() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let mut report = |trust| {
        core.feed(&edge.conversion(HOUR, |it| {
            (it.partner, it.offer, it.goal) = (Some(FAVOURITE), Some(OFFER), "lead".to_owned());
            (it.trust, it.transaction_id) = (trust, "t1".to_owned());
            if trust == Trust::Publishable {
                it.amount = None;
            }
        }))
    };
    let first = report(Trust::Publishable);
    assert_eq!(
        (revision(&first).after.payout_micros, revision(&first).payout_rule.as_str()),
        (0, "partner_offer")
    );
    let confirmed = report(Trust::Secret);
    assert_eq!(outcome(&confirmed), (OutcomeStatus::Updated, ""));
    let revision = revision(&confirmed);
    assert_eq!((revision.after.status, revision.after.payout_micros), (Status::Approved, 40_000_000));
    assert_eq!(revision.payout_rule, "partner_offer");
}
