//! By what somebody is known: visitors, customers, e-mail addresses and coupons.

use catalog::Identifier;
use schemas::event::{Conversion, Event, Trust};
use schemas::fact::{Fact, Lost};

use crate::scene::{COUPON, Core, HOUR, MINUTE, Traffic, click_id, id, revision, revisions};

/// Changes a report.
type Edit = fn(&mut Conversion);

fn joined(facts: &[Fact]) -> usize {
    facts.iter().filter(|fact| matches!(fact, Fact::Joined(_))).count()
}

/// A click of a visitor by the partner of the same number.
fn click(edge: &mut Traffic, at: i64, number: u8) -> Event {
    edge.click(at, |it| (it.visitor, it.partner) = (Some(id(number)), Some(id(number))))
}

fn lead(edge: &mut Traffic, edit: impl FnOnce(&mut Conversion)) -> Event {
    edge.conversion(0, |it| {
        it.goal = "trial".into();
        edit(it);
    })
}

#[test]
fn a_customer_who_signed_up_with_a_click_is_known_by_id_and_by_address() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let first = click(&mut edge, -HOUR, 2);
    core.feed(&first);
    let facts = core.feed(&lead(&mut edge, |it| {
        (it.click, it.customer_id, it.email_sha256) = (Some(click_id(&first)), "c1".into(), Some([7; 32]));
    }));
    assert_eq!(joined(&facts), 1);
    let ways: [(&str, Edit); 2] =
        [("customer_id", |it| it.customer_id = "c1".into()), ("email", |it| it.email_sha256 = Some([7; 32]))];
    for (by, edit) in ways {
        let facts = core.feed(&edge.conversion(0, edit));
        let revision = revision(&facts);
        assert_eq!((revision.identified_by.as_str(), revision.attributed.partner), (by, Some(id(2))), "{by}");
        assert_eq!(revision.attributed.visitor, Some(id(2)));
    }
    let facts = core.feed(&edge.conversion(0, |it| it.customer_id = "c2".into()));
    assert_eq!((revision(&facts).identified_by.as_str(), revision(&facts).attributed.partner), ("", None));
    let facts = core.feed(&edge.conversion(0, |it| (it.customer_id, it.test) = ("c1".into(), true)));
    assert_eq!(revision(&facts).attributed.partner, None, "a rehearsal knows nobody");
}

#[test]
fn two_that_turn_out_to_be_one_have_their_touches_in_common_and_their_open_conversions_too() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    core.feed(&click(&mut edge, -2 * HOUR, 1));
    core.feed(&click(&mut edge, -HOUR, 2));
    let facts = core.feed(&edge.conversion(0, |it| (it.goal, it.visitor) = ("review".into(), Some(id(1)))));
    assert_eq!(revision(&facts).attributed.partner, Some(id(1)));
    core.feed(&lead(&mut edge, |it| (it.visitor, it.customer_id) = (Some(id(2)), "c".into())));
    let facts = core.feed(&lead(&mut edge, |it| (it.visitor, it.customer_id) = (Some(id(1)), "c".into())));
    assert_eq!(joined(&facts), 1);
    let [_, reopened] = revisions(&facts)[..] else { panic!("{facts:?}") };
    assert_eq!(
        (reopened.attributed.partner, reopened.version),
        (Some(id(2)), 2),
        "the later click of the same person"
    );
    assert_eq!(reopened.touches.len(), 2);
    // The same again joins nobody.
    let facts = core.feed(&lead(&mut edge, |it| (it.visitor, it.customer_id) = (Some(id(1)), "c".into())));
    assert_eq!(joined(&facts), 0);
    // A late click of the one reaches the conversion of the other.
    let facts = core.feed(&click(&mut edge, -MINUTE, 2));
    assert_eq!(revisions(&facts).len(), 1, "{facts:?}");
}

#[test]
fn who_joins_first_does_not_matter() {
    let pairs = [("v1", "c1"), ("v2", "c1"), ("v2", "e1"), ("v3", "e1")];
    let mut seen = Vec::new();
    for first in 0..pairs.len() {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        for visitor in 1..=3 {
            core.feed(&click(&mut edge, -i64::from(visitor) * HOUR, visitor));
        }
        for at in 0..pairs.len() {
            let (visitor, other) = pairs[(first + at) % pairs.len()];
            let visitor = visitor[1..].parse().unwrap();
            core.feed(&lead(&mut edge, |it| {
                it.visitor = Some(id(visitor));
                if other == "c1" {
                    it.customer_id = other.into();
                } else {
                    it.email_sha256 = Some([1; 32]);
                }
            }));
        }
        let facts = core.feed(&edge.conversion(0, |it| it.customer_id = "c1".into()));
        let revision = revision(&facts);
        seen.push((
            revision.attributed.click,
            revision.touches.iter().map(|touch| touch.id).collect::<Vec<_>>(),
        ));
    }
    seen.dedup();
    assert_eq!((seen.len(), seen[0].1.len()), (1, 3), "{seen:?}");
}

#[test]
fn whom_nobody_trusts_joins_nobody() {
    for trust in [Trust::Publishable, Trust::Open] {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        core.feed(&click(&mut edge, -HOUR, 2));
        let facts = core.feed(&lead(&mut edge, |it| {
            (it.visitor, it.customer_id, it.trust) = (Some(id(2)), "c".into(), trust);
        }));
        assert_eq!(joined(&facts), 0);
        let facts = core.feed(&edge.conversion(0, |it| it.customer_id = "c".into()));
        assert_eq!(revision(&facts).attributed.partner, None, "{trust:?}");
    }
}

#[test]
fn an_id_that_many_have_in_common_is_nobodys() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let mut joins = 0;
    for number in 1..=80 {
        core.feed(&click(&mut edge, -HOUR, number));
        let facts = core
            .feed(&lead(&mut edge, |it| (it.visitor, it.customer_id) = (Some(id(number)), "test".into())));
        joins += joined(&facts);
    }
    assert_eq!(joins, 63, "64 things are one person's, with the customer's id");
}

#[test]
fn a_coupon_is_its_partners_where_nothing_else_is_known_and_before_all_where_the_workspace_says_so() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    core.feed(&click(&mut edge, -HOUR, 2));
    let facts = core.feed(&edge.conversion(0, |it| (it.coupon, it.offer) = ("anna10".into(), Some(id(1)))));
    let alone = revision(&facts);
    assert_eq!((alone.identified_by.as_str(), alone.attributed.partner), ("coupon", Some(id(1))));
    assert_eq!(alone.after.payout_micros, 8_000_000);
    let with_visitor = |it: &mut Conversion| (it.coupon, it.visitor) = (COUPON.into(), Some(id(2)));
    let facts = core.feed(&edge.conversion(0, with_visitor));
    assert_eq!(revision(&facts).attributed.partner, Some(id(2)), "the touch comes first");

    let mut core = Core::with(|workspace| workspace.attribution.identify_by.rotate_right(1));
    let click = click(&mut edge, -HOUR, 2);
    core.feed(&click);
    let facts = core.feed(&edge.conversion(0, with_visitor));
    let first = revision(&facts);
    assert_eq!((first.identified_by.as_str(), first.attributed.partner), ("coupon", Some(id(1))));
    assert_eq!(first.attributed.offer, Some(id(1)), "what was sold, the touch still tells");
    let [touch] = &first.touches[..] else { panic!("{first:?}") };
    assert_eq!((touch.lost, touch.credits), (Some(Lost::Coupon), schemas::fact::Credits::default()));
    let facts =
        core.feed(&edge.conversion(0, |it| (it.coupon, it.visitor) = ("unknown".into(), Some(id(2)))));
    assert_eq!(revision(&facts).attributed.partner, Some(id(2)), "a coupon of nobody's");
}

#[test]
fn the_order_of_identification_is_the_workspaces() {
    let order = [
        Identifier::CustomerId,
        Identifier::VisitorId,
        Identifier::ClickId,
        Identifier::Email,
        Identifier::Coupon,
    ];
    let mut core = Core::with(|workspace| workspace.attribution.identify_by = order);
    let mut edge = Traffic::of_edge(1);
    core.feed(&click(&mut edge, -2 * HOUR, 1));
    core.feed(&click(&mut edge, -HOUR, 2));
    core.feed(&lead(&mut edge, |it| (it.visitor, it.customer_id) = (Some(id(1)), "c".into())));
    // From a page that everybody can read nothing is joined: the first that leads to somebody decides.
    let facts = core.feed(&edge.conversion(0, |it| {
        (it.visitor, it.customer_id, it.trust) = (Some(id(2)), "c".into(), Trust::Publishable);
    }));
    let revision = revision(&facts);
    assert_eq!((revision.identified_by.as_str(), revision.attributed.partner), ("customer_id", Some(id(1))));
}
