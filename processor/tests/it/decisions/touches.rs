//! Which touch a conversion belongs to, and why each other one lost.

use catalog::Model;
use schemas::event::{Event, label};
use schemas::fact::{Fact, Lost, Revision, Touch, TouchId};
use schemas::id::ClickId;

use crate::scene::{Core, DAY, HOUR, MINUTE, OTHER_OFFER, SECOND, Traffic, click_id, id, revision};

const VISITOR: u8 = 9;

fn of_visitor(edge: &mut Traffic, at: i64) -> Event {
    edge.click(at, |it| it.visitor = Some(id(VISITOR)))
}

fn lost(revision: &Revision) -> Vec<(ClickId, Option<Lost>)> {
    revision.touches.iter().map(|touch| (click_of(touch), touch.lost)).collect()
}

fn click_of(touch: &Touch) -> ClickId {
    let TouchId::Click(click) = touch.id else { panic!("not a click: {touch:?}") };
    click
}

fn credits(revision: &Revision) -> u32 {
    revision.touches.iter().map(|touch| u32::from(touch.credits.last_touch)).sum()
}

fn of_view(edge: &mut Traffic, at: i64) -> Event {
    edge.impression(at, |it| (it.visitor, it.partner) = (Some(id(VISITOR)), Some(id(2))))
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
fn of_two_touches_at_one_instant_the_smaller_id_wins_whatever_came_first() {
    for order in [[0, 1], [1, 0]] {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        let clicks = [of_visitor(&mut edge, 0), of_visitor(&mut edge, 0)];
        for at in order {
            core.feed(&clicks[at]);
        }
        let facts = convert(&mut core, &mut edge, SECOND, None);
        let winner = click_id(&clicks[0]).min(click_id(&clicks[1]));
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
    let touches: Vec<ClickId> = revision(&facts).touches.iter().map(click_of).collect();
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
        (vec![label::CAP], true, false),
        (vec![label::UNSAFE_DESTINATION], true, false),
        (vec![label::GPC, label::STALE_CATALOG], false, true),
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

#[test]
fn a_view_counts_within_its_own_window_and_only_without_a_click() {
    let view_window = DAY;
    for (view_at, click_at, wanted) in [
        (-HOUR, None, vec![None]),
        (-view_window, None, vec![None]),
        (-view_window - 1, None, vec![Some(Lost::OutsideLookback)]),
        (-HOUR, Some(-2 * DAY), vec![None, Some(Lost::LowerType)]),
        // A click that is no longer in its own window takes nothing from a view.
        (-HOUR, Some(-31 * DAY), vec![Some(Lost::OutsideLookback), None]),
    ] {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        core.feed(&of_view(&mut edge, view_at));
        if let Some(at) = click_at {
            core.feed(&of_visitor(&mut edge, at));
        }
        let facts = convert(&mut core, &mut edge, 0, None);
        let revision = revision(&facts);
        let reasons: Vec<_> = revision.touches.iter().map(|touch| touch.lost).collect();
        assert_eq!(reasons, wanted, "{view_at} {click_at:?}");
        let partner = match &wanted[..] {
            [None] | [_, None] => Some(id(2)),
            [None, _] => Some(id(1)),
            _ => None,
        };
        assert_eq!(revision.attributed.partner, partner, "{view_at} {click_at:?}");
        let has_click = wanted[..] == [None, Some(Lost::LowerType)];
        assert_eq!(revision.attributed.click.is_some(), has_click, "a view is no click");
    }
}

#[test]
fn many_views_hide_no_click() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let click = of_visitor(&mut edge, -10 * HOUR);
    core.feed_fast(&click);
    for n in 0..450 {
        core.feed_fast(&of_view(&mut edge, -HOUR + n * SECOND));
    }
    let facts = core.feed_fast(&edge.conversion(0, |it| it.visitor = Some(id(VISITOR))));
    assert_eq!(revision(&facts).attributed.click.map(|(id, _)| id), Some(click_id(&click)));
    assert_eq!(revision(&facts).touches.len(), 101, "the click, and fifty views of each end");
}

#[test]
fn every_model_shares_the_eligible_touches_and_the_payable_one_decides() {
    for (model, winner, outrun) in [
        (Model::LastTouch, 2, Lost::Earlier),
        (Model::FirstTouch, 0, Lost::LessCredit),
        (Model::Linear, 2, Lost::LessCredit),
        (Model::TimeDecay, 2, Lost::LessCredit),
        (Model::PositionBased, 2, Lost::LessCredit),
    ] {
        let mut core = Core::with(|workspace| workspace.attribution.payable_model = model);
        let mut edge = Traffic::of_edge(1);
        let clicks = [-14 * DAY, -7 * DAY, 0].map(|at| of_visitor(&mut edge, at));
        clicks.iter().for_each(|click| drop(core.feed(click)));
        let facts = convert(&mut core, &mut edge, 0, None);
        let revision = revision(&facts);
        let credits: Vec<[u16; 5]> = revision
            .touches
            .iter()
            .map(|touch| {
                let it = touch.credits;
                [it.last_touch, it.first_touch, it.linear, it.time_decay, it.position_based]
            })
            .collect();
        assert_eq!(
            credits,
            [[0, 10_000, 3_333, 1_429, 4_000], [0, 0, 3_333, 2_857, 2_000], [10_000, 0, 3_334, 5_714, 4_000]]
        );
        assert_eq!(revision.attributed.click.map(|(id, _)| id), Some(click_id(&clicks[winner])), "{model:?}");
        for (at, touch) in revision.touches.iter().enumerate() {
            assert_eq!(touch.lost, (at != winner).then_some(outrun), "{model:?} {at}");
        }
    }
}

#[test]
fn a_touch_closer_than_the_least_time_to_convert_is_too_soon() {
    for (age, wins) in [(10 * SECOND, true), (10 * SECOND - 1, false)] {
        let mut core = Core::with(|workspace| workspace.attribution.min_time_to_convert_micros = 10 * SECOND);
        let mut edge = Traffic::of_edge(1);
        let click = of_visitor(&mut edge, -age);
        core.feed(&click);
        let facts = convert(&mut core, &mut edge, 0, Some(click_id(&click)));
        let reason = if wins { None } else { Some(Lost::TooSoon) };
        assert_eq!(lost(revision(&facts)), [(click_id(&click), reason)]);
    }
}
