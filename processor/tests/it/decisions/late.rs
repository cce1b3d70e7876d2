//! Touches that arrive after the conversion that they belong to.

use proptest::prelude::*;
use schemas::event::{Event, Hit, Status, label};
use schemas::fact::{Change, Fact, Lost, OutcomeStatus};

use crate::scene::{
    Core, DAY, HOUR, MINUTE, OTHER_OFFER, Traffic, click_id, id, outcome, revision, revisions,
};

const VISITOR: u8 = 9;

/// A click of the visitor by this partner.
fn click(edge: &mut Traffic, at: i64, partner: u8) -> Event {
    edge.click(at, |it| (it.visitor, it.partner) = (Some(id(VISITOR)), Some(id(partner))))
}

/// A conversion of the visitor that waits for a person.
fn pending(edge: &mut Traffic, at: i64) -> Event {
    edge.conversion(at, |it| (it.goal, it.visitor) = ("review".into(), Some(id(VISITOR))))
}

fn labels(facts: &[Fact]) -> &[String] {
    match facts.first() {
        Some(Fact::Click(fact)) => &fact.click.hit.labels,
        Some(Fact::Impression(fact)) => &fact.impression.hit.labels,
        _ => panic!("no touch: {facts:?}"),
    }
}

fn is_late(facts: &[Fact]) -> bool {
    labels(facts).iter().any(|known| known == label::LATE)
}

#[test]
fn a_late_touch_takes_a_conversion_that_is_not_approved_yet() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    core.feed(&click(&mut edge, -2 * HOUR, 1));
    let facts = core.feed(&pending(&mut edge, 0));
    let first = revision(&facts).clone();
    assert_eq!(first.attributed.partner, Some(id(1)));
    let late = click(&mut edge, -HOUR, 2);
    let facts = core.feed(&late);
    assert!(!is_late(&facts), "it came in time for what it belongs to");
    assert_eq!(outcome(&facts), (OutcomeStatus::Recorded, ""));
    let moved = revision(&facts);
    assert_eq!((moved.conversion, moved.version, moved.change), (first.conversion, 2, Change::Attribution));
    assert_eq!(moved.attributed.partner, Some(id(2)));
    assert_eq!(moved.attributed_before.as_deref(), Some(&first.attributed));
    assert_eq!((moved.before, moved.after), (Some(first.after), first.after));
    assert_eq!(moved.touches.iter().map(|touch| touch.lost).collect::<Vec<_>>(), [Some(Lost::Earlier), None]);
    // One that only loses is told, too.
    let facts = core.feed(&click(&mut edge, -3 * HOUR, 2));
    let told = revision(&facts);
    assert_eq!((told.touches.len(), told.attributed_before.as_deref()), (3, None));
    // What belongs elsewhere, or came after it, changes nothing.
    let others = [
        edge.click(-HOUR, |it| (it.visitor, it.offer) = (Some(id(1)), OTHER_OFFER)),
        edge.click(MINUTE, |it| it.visitor = Some(id(VISITOR))),
        edge.click(-31 * DAY, |it| it.visitor = Some(id(VISITOR))),
        edge.click(-HOUR, |it| (it.visitor, it.labels) = (Some(id(VISITOR)), vec![label::BOT.into()])),
    ];
    for other in others {
        let facts = core.feed(&other);
        assert!(revisions(&facts).is_empty() && !is_late(&facts), "{facts:?}");
    }
}

#[test]
fn a_late_impression_counts_where_no_click_does() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    core.feed(&pending(&mut edge, 0));
    let view = edge.impression(-HOUR, |it| (it.visitor, it.partner) = (Some(id(VISITOR)), Some(id(2))));
    let facts = core.feed(&view);
    assert_eq!(revision(&facts).attributed.partner, Some(id(2)));
    let facts = core.feed(&click(&mut edge, -2 * HOUR, 1));
    assert_eq!(revision(&facts).attributed.partner, Some(id(1)), "any click is more");
}

#[test]
fn what_is_approved_and_nobodys_finds_its_partner_and_is_approved_by_its_terms() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let goals = [("sale", Status::Approved, ""), ("review", Status::Pending, "manual_approval")];
    for (visitor, (goal, status, reason)) in (1..).zip(goals) {
        let facts =
            core.feed(&edge.conversion(0, |it| (it.goal, it.visitor) = (goal.into(), Some(id(visitor)))));
        let first = revision(&facts).clone();
        assert_eq!((first.after.status, first.attributed.partner), (Status::Approved, None));
        let facts = core.feed(&edge.click(-HOUR, |it| it.visitor = Some(id(visitor))));
        assert!(!is_late(&facts));
        let found = revision(&facts);
        assert_eq!((found.attributed.partner, found.after.status), (Some(id(1)), status));
        assert_eq!((found.reason.as_str(), found.after.payout_micros > 0), (reason, true));
        // Now somebody may have been paid.
        let facts = core.feed(&edge.click(-MINUTE, |it| {
            (it.visitor, it.partner) = (Some(id(visitor)), Some(id(2)));
        }));
        assert_eq!(is_late(&facts), status == Status::Approved);
    }
}

#[test]
fn what_is_approved_or_long_past_stays_and_the_touch_is_labelled() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    core.feed(&click(&mut edge, -2 * HOUR, 1));
    core.feed(&edge.conversion(0, |it| it.visitor = Some(id(VISITOR))));
    let facts = core.feed(&click(&mut edge, -HOUR, 1));
    assert!(is_late(&facts) && revisions(&facts).is_empty(), "{facts:?}");
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    core.feed(&click(&mut edge, -2 * HOUR, 1));
    core.feed(&pending(&mut edge, 0));
    core.now = 8 * DAY;
    assert_eq!(revisions(&core.feed(&click(&mut edge, -HOUR, 1))).len(), 1, "the last moment");
    core.now += 1;
    let facts = core.feed(&click(&mut edge, -MINUTE, 2));
    assert!(is_late(&facts) && revisions(&facts).is_empty(), "{facts:?}");
    // Nobody but the core knows.
    let claimed = edge.click(DAY, |it| it.labels = vec![label::LATE.into()]);
    assert!(!is_late(&core.feed(&claimed)));
}

#[test]
fn any_order_of_arrival_gives_the_same_attribution() {
    let events = || {
        let mut edge = Traffic::of_edge(1);
        let mut events =
            vec![click(&mut edge, -3 * HOUR, 1), click(&mut edge, -HOUR, 2), click(&mut edge, -2 * HOUR, 1)];
        let named = click_id(&events[2]);
        events.push(edge.impression(-MINUTE, |it| it.visitor = Some(id(VISITOR))));
        events.push(edge.conversion(0, |it| (it.goal, it.click) = ("review".into(), Some(named))));
        events
    };
    let mut orders = vec![Vec::new()];
    for _ in 0..5 {
        let longer = |order: &Vec<usize>| {
            (0..5).filter(|at| !order.contains(at)).map(|at| [order.as_slice(), &[at]].concat()).collect()
        };
        orders = orders.iter().flat_map(longer as fn(&Vec<usize>) -> Vec<Vec<usize>>).collect();
    }
    assert_eq!(orders.len(), 120);
    let mut seen = Vec::new();
    for order in orders {
        let (mut core, events) = (Core::new(), events());
        let facts: Vec<Fact> = order.iter().flat_map(|at| core.feed(&events[*at])).collect();
        let last = (*revisions(&facts).last().unwrap()).clone();
        seen.push((last.attributed, last.touches, last.after));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

/// What one of the events below is, made from a number: a click, an impression, or somebody who signs up.
fn made(edge: &mut Traffic, (what, visitor, hours): (u8, u8, i64)) -> Event {
    let at = -hours * HOUR;
    let of_visitor = |it: &mut Hit| (it.visitor, it.partner) = (Some(id(visitor)), Some(id(visitor)));
    match what {
        0 => edge.click(at, of_visitor),
        1 => edge.impression(at, of_visitor),
        _ => edge.conversion(at, |it| {
            (it.goal, it.visitor) = ("trial".into(), Some(id(visitor)));
            it.customer_id = format!("c{}", what % 2);
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn whatever_is_joined_and_touched_in_whatever_order_an_open_conversion_comes_out_the_same(
        parts in prop::collection::vec((0_u8..4, 1_u8..4, 0_i64..40), 1..9),
        by_customer: bool,
        order in any::<prop::sample::Index>(),
        seed: u64,
    ) {
        let attribution = |shuffled: bool| {
            let mut edge = Traffic::of_edge(1);
            let mut events: Vec<Event> = parts.iter().map(|part| made(&mut edge, *part)).collect();
            let open = edge.conversion(0, |it| {
                it.goal = "review".into();
                if by_customer { it.customer_id = "c0".into() } else { it.visitor = Some(id(1)) }
            });
            let conversion = open.id.rename();
            events.insert(order.index(events.len() + 1), open);
            if shuffled {
                let mut state = seed;
                for at in (1..events.len()).rev() {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    events.swap(at, (state >> 33) as usize % (at + 1));
                }
            }
            let mut core = Core::new();
            let facts: Vec<Fact> = events.iter().flat_map(|event| core.feed(event)).collect();
            let revisions = revisions(&facts);
            let last = revisions.iter().rev().find(|revision| revision.conversion == conversion).unwrap();
            let touched = revisions.iter().rev().find(|it| it.conversion == conversion && !it.touches.is_empty());
            let mut touches = touched.map(|it| it.touches.clone()).unwrap_or_default();
            // One outside the window changes nothing, so that nothing is revised for it.
            touches.retain(|it| !matches!(it.lost, Some(Lost::OutsideLookback | Lost::AfterConversion)));
            (last.attributed.partner, last.attributed.click, last.after, touches)
        };
        prop_assert_eq!(attribution(false), attribution(true));
    }
}
