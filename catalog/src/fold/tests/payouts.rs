//! The payouts that partners have of their own.

use super::*;
use crate::payout::PayoutRule;

fn own(offer: u8, goal: Option<&str>, payout: Payout) -> PartnerPayout {
    PartnerPayout { offer: id(offer), goal: goal.map(str::to_owned), payout }
}

fn paid(payouts: Vec<PartnerPayout>) -> Partner {
    Partner { payouts, ..partner(1, 1, None) }
}

#[test]
fn a_payout_is_for_an_offer_that_is_there() {
    let mut catalog = catalog();
    let unknown = Err(Rejected::UnknownReference { field: "payouts" });
    fold(&mut catalog, &proposal(11, vec![put(offer(2, 9), Expected::New)])).unwrap();
    for missing in [7, 9] {
        let with = paid(vec![own(1, None, Payout::None), own(missing, None, Payout::None)]);
        assert_eq!(try_one(&mut catalog, put(with, Expected::Any)), unknown, "offer {missing}");
    }
    try_one(&mut catalog, put(paid(vec![own(1, None, Payout::None)]), Expected::Any)).unwrap();
    let mut gone = offer(1, 1);
    gone.meta.archived = true;
    try_one(&mut catalog, put(gone, Expected::Any)).unwrap();
    let more = vec![own(1, None, Payout::None), own(1, Some("sale"), Payout::None)];
    try_one(&mut catalog, put(paid(more), Expected::Any)).unwrap();
    let other = Partner { payouts: vec![own(1, None, Payout::None)], ..partner(1, 5, None) };
    assert_eq!(try_one(&mut catalog, put(other, Expected::New)), unknown, "it is archived");
}

#[test]
fn the_most_specific_rule_wins() {
    let ten = Payout::Percent("10".parse_percent());
    let (five, six) = (Payout::Percent("5".parse_percent()), Payout::Percent("6".parse_percent()));
    let rule =
        |payouts: Vec<PartnerPayout>, goal| PayoutRule::most_specific(&offer(1, 1), &paid(payouts), goal);
    let (whole, sale) = (own(1, None, five), own(1, Some("sale"), six));
    assert_eq!(rule(vec![own(2, None, five)], "sale"), Some((PayoutRule::OfferGoal, ten)));
    assert_eq!(rule(vec![whole.clone()], "sale"), Some((PayoutRule::PartnerOffer, five)));
    for both in [vec![whole.clone(), sale.clone()], vec![sale, whole.clone()]] {
        assert_eq!(rule(both, "sale"), Some((PayoutRule::PartnerOfferGoal, six)));
    }
    assert_eq!(rule(vec![whole], "gift"), None, "the offer has no such goal");
    let gift = own(1, Some("gift"), Payout::None);
    assert_eq!(rule(vec![gift], "gift"), Some((PayoutRule::PartnerOfferGoal, Payout::None)));
    for rule in PayoutRule::ALL {
        assert_eq!(PayoutRule::from_word(rule.as_str()), Some(rule));
    }
    assert_eq!(PayoutRule::from_word("none"), None);
}
