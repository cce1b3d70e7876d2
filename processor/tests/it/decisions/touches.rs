//! Which touch a conversion belongs to, and why each other one lost.

use schemas::event::{Event, label};
use schemas::fact::{Fact, Lost, Revision};
use schemas::id::ClickId;

use crate::scene::{Core, DAY, HOUR, MINUTE, OTHER_OFFER, SECOND, Traffic, click_id, id, revision};

const VISITOR: u8 = 9;

fn of_visitor(edge: &mut Traffic, at: i64) -> Event {
    edge.click(at, |it| it.visitor = Some(id(VISITOR)))
}

fn lost(revision: &Revision) -> Vec<(ClickId, Option<Lost>)> {
    revision.touches.iter().map(|touch| (touch.click, touch.lost)).collect()
}

fn credits(revision: &Revision) -> u32 {
    revision.touches.iter().map(|touch| u32::from(touch.credits.last_touch)).sum()
}

fn convert(core: &mut Core, edge: &mut Traffic, at: i64, click: Option<ClickId>) -> Vec<Fact> {
    core.feed(&edge.conversion(at, |it| {
        it.click = click;
        it.visitor = Some(id(VISITOR));
    }))
}

#[test]
fn the_last_eligible_touch_wins_and_every_other_says_why_it_lost() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let old = of_visitor(&mut edge, -31 * DAY);
    let first = of_visitor(&mut edge, -2 * DAY);
    let second = edge.click(-DAY, |it| (it.visitor, it.partner) = (Some(id(VISITOR)), Some(id(2))));
    let head = edge.click(-2 * HOUR, |it| {
        (it.visitor, it.labels) = (Some(id(VISITOR)), vec![label::HEAD.into()]);
    });
    let ahead = edge.click(-HOUR, |it| {
        (it.visitor, it.labels) = (Some(id(VISITOR)), vec![label::PREFETCH.into()]);
    });
    let later = of_visitor(&mut edge, MINUTE);
    let much_later = of_visitor(&mut edge, HOUR);
    let other_offer = edge.click(-HOUR, |it| (it.visitor, it.offer) = (Some(id(VISITOR)), OTHER_OFFER));
    let other_visitor = edge.click(-HOUR, |it| it.visitor = Some(id(1)));
    // The order of arrival is not the order of time.
    for click in [&later, &second, &other_offer, &old, &ahead, &first, &much_later, &head, &other_visitor] {
        core.feed(click);
    }
    let facts = convert(&mut core, &mut edge, 0, Some(click_id(&first)));
    let revision = revision(&facts);
    assert_eq!(
        lost(revision),
        [
            (click_id(&old), Some(Lost::OutsideLookback)),
            (click_id(&first), Some(Lost::Earlier)),
            (click_id(&second), None),
            (click_id(&head), Some(Lost::ExcludedLabel)),
            (click_id(&ahead), Some(Lost::ExcludedLabel)),
            (click_id(&later), Some(Lost::AfterConversion)),
        ]
    );
    assert_eq!((credits(revision), revision.attributed.partner), (10_000, Some(id(2))));
}

#[test]
fn the_named_click_may_be_five_minutes_later_and_no_more() {
    for (later, wins) in [(0, true), (5 * MINUTE, true), (5 * MINUTE + 1, false), (DAY, false)] {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        let click = edge.click(later, |_| {});
        core.feed(&click);
        let facts = core.feed(&edge.conversion(0, |it| it.click = Some(click_id(&click))));
        let reason = if wins { None } else { Some(Lost::AfterConversion) };
        assert_eq!(lost(revision(&facts)), [(click_id(&click), reason)], "{later}");
        assert_eq!(credits(revision(&facts)), if wins { 10_000 } else { 0 });
        assert_eq!(revision(&facts).attributed.partner.is_some(), wins);
    }
}

#[test]
fn the_lookback_is_the_offers_and_holds_to_the_microsecond() {
    for (age, wins) in [(DAY, true), (DAY + 1, false)] {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        let click = edge.click(-age, |it| it.offer = OTHER_OFFER);
        core.feed(&click);
        let facts = core.feed(&edge.conversion(0, |it| {
            it.click = Some(click_id(&click));
            // Who is named beside a click that lost does not get what the click did not.
            it.partner = Some(id(2));
        }));
        let reason = if wins { None } else { Some(Lost::OutsideLookback) };
        assert_eq!(lost(revision(&facts)), [(click_id(&click), reason)]);
        assert_eq!(revision(&facts).attributed.partner, if wins { Some(id(1)) } else { None });
        assert_eq!(revision(&facts).after.payout_micros, if wins { 8_000_000 } else { 0 });
    }
}

#[test]
fn a_visitor_finds_its_last_touch_of_any_offer_within_that_offers_window() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let long = of_visitor(&mut edge, -20 * DAY);
    let short = edge.click(-2 * DAY, |it| (it.visitor, it.offer) = (Some(id(VISITOR)), OTHER_OFFER));
    core.feed(&long);
    core.feed(&short);
    let facts = convert(&mut core, &mut edge, 0, None);
    assert_eq!(
        lost(revision(&facts)),
        [(click_id(&long), None), (click_id(&short), Some(Lost::OutsideLookback))],
        "the later click is beyond its own offer's day"
    );
    assert_eq!(revision(&facts).identified_by, "visitor_id");
}

#[test]
fn of_two_touches_at_one_instant_the_larger_id_wins_whatever_came_first() {
    for order in [[0, 1], [1, 0]] {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        let clicks = [of_visitor(&mut edge, 0), of_visitor(&mut edge, 0)];
        for at in order {
            core.feed(&clicks[at]);
        }
        let facts = convert(&mut core, &mut edge, SECOND, None);
        let winner = click_id(&clicks[0]).max(click_id(&clicks[1]));
        assert_eq!(revision(&facts).attributed.click.map(|(click, _)| click), Some(winner));
    }
}

#[test]
fn of_many_touches_the_first_and_the_last_two_hundred_are_considered() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let clicks: Vec<Event> = (0..450).map(|n| of_visitor(&mut edge, -DAY + n * SECOND)).collect();
    for click in &clicks {
        core.feed_fast(click);
    }
    let facts = core.feed_fast(&edge.conversion(0, |it| it.visitor = Some(id(VISITOR))));
    let touches: Vec<ClickId> = revision(&facts).touches.iter().map(|touch| touch.click).collect();
    let expected: Vec<ClickId> = clicks[..200].iter().chain(&clicks[250..]).map(click_id).collect();
    assert_eq!(touches, expected);
    assert_eq!(credits(revision(&facts)), 10_000);
}

#[test]
fn a_conversion_that_names_nobody_is_recorded_for_nobody() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let facts = core.feed(&edge.conversion(0, |_| {}));
    let revision = revision(&facts);
    assert_eq!((revision.identified_by.as_str(), revision.touches.len()), ("", 0));
    assert_eq!((revision.after.revenue_micros, revision.after.payout_micros), (80_000_000, 0));
}

#[test]
fn a_click_beyond_a_rate_limit_counts_only_for_the_conversion_that_names_it() {
    for (labels, named, wins) in [
        (vec![label::RATE], true, true),
        (vec![label::RATE], false, false),
        (vec![label::RATE, label::BOT], true, false),
        (vec![label::BOT, label::BOT_PATTERN], true, false),
        (vec![label::PREFETCH], true, false),
        (vec![label::CAP, label::GPC, label::STALE_CATALOG], false, true),
    ] {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        let click = edge.click(-HOUR, |it| {
            it.visitor = Some(id(VISITOR));
            it.labels = labels.iter().map(|label| (*label).to_owned()).collect();
        });
        core.feed(&click);
        let facts = convert(&mut core, &mut edge, 0, named.then_some(click_id(&click)));
        let reason = if wins { None } else { Some(Lost::ExcludedLabel) };
        assert_eq!(lost(revision(&facts)), [(click_id(&click), reason)], "{labels:?} {named}");
        assert_eq!(revision(&facts).attributed.partner.is_some(), wins, "{labels:?} {named}");
    }
}

#[test]
fn a_rehearsal_earns_nobody_a_live_conversion() {
    for (click_test, test, wins) in
        [(true, false, false), (true, true, true), (false, true, true), (false, false, true)]
    {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        let click = edge.click(-HOUR, |it| it.test = click_test);
        core.feed(&click);
        let facts = core.feed(&edge.conversion(0, |it| (it.click, it.test) = (Some(click_id(&click)), test)));
        assert_eq!(revision(&facts).attributed.partner.is_some(), wins, "{click_test} {test}");
    }
}
