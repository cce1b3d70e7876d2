//! Clicks that are a visitor's first on a link or an offer in 24 hours.

use schemas::event::{Hit, label};
use schemas::fact::Fact;
use schemas::id::LinkId;
use schemas::time::Timestamp;

use crate::scene::{Core, DAY, HOUR, OTHER_OFFER, T0, Traffic, id};

const LINK: LinkId = id(1);
const OTHER_LINK: LinkId = id(2);
const BOTH: [&str; 2] = [label::UNIQUE_LINK_24H, label::UNIQUE_OFFER_24H];
const NEITHER: [&str; 0] = [];

/// A visitor's clicks on the link, all of which the log takes at the core's `now`.
struct Scene {
    core: Core,
    edge: Traffic,
}

impl Scene {
    fn new() -> Self {
        Self { core: Core::new(), edge: Traffic::of_edge(1) }
    }

    /// The labels that a click at this time of the log ends with.
    fn click(&mut self, now: i64, edit: impl FnOnce(&mut Hit)) -> Vec<String> {
        self.core.now = now;
        let event = self.edge.click(now, |it| {
            (it.visitor, it.link) = (Some(id(9)), Some(LINK));
            edit(it);
        });
        let facts = self.core.feed(&event);
        let Some(Fact::Click(click)) = facts.first() else { panic!("no click: {facts:?}") };
        click.click.hit.labels.clone()
    }

    /// Keys of unique clicks.
    fn keys(&self) -> usize {
        self.core.state.keys().filter(|key| key[0] == b'u').count()
    }
}

#[test]
fn the_first_click_is_unique_and_the_second_is_not() {
    let mut scene = Scene::new();
    assert_eq!(scene.click(0, |_| {}), BOTH);
    assert_eq!(scene.click(0, |_| {}), NEITHER);
    assert_eq!(scene.click(HOUR, |_| {}), NEITHER);
}

#[test]
fn the_window_is_24_hours_from_the_unique_click_to_the_microsecond_forgotten_or_not() {
    for forgets in [false, true] {
        let mut scene = Scene::new();
        let mut click = |now| {
            scene.core.now = now;
            if forgets {
                scene.core.forget();
            }
            scene.click(now, |_| {})
        };
        assert_eq!(click(0), BOTH);
        assert_eq!(click(DAY - 1), NEITHER, "the last of the window, which it does not extend");
        assert_eq!(click(DAY), BOTH);
        assert_eq!(click(DAY + 1), NEITHER);
        assert_eq!(click(2 * DAY - 1), NEITHER, "the second window begins with the second unique click");
        assert_eq!(click(2 * DAY), BOTH);
    }
}

#[test]
fn links_and_offers_have_windows_of_their_own() {
    let mut scene = Scene::new();
    assert_eq!(scene.click(0, |_| {}), BOTH);
    assert_eq!(scene.click(1, |it| it.link = Some(OTHER_LINK)), [label::UNIQUE_LINK_24H]);
    // A smart link leads the same visitor to another offer.
    assert_eq!(scene.click(2, |it| it.offer = OTHER_OFFER), [label::UNIQUE_OFFER_24H]);
    assert_eq!(scene.click(3, |it| it.link = None), NEITHER);
    // Both windows are over, and a click without a link opens that of the offer only.
    assert_eq!(scene.click(DAY, |it| it.link = None), [label::UNIQUE_OFFER_24H]);
    assert_eq!(scene.click(DAY, |_| {}), [label::UNIQUE_LINK_24H]);
}

#[test]
fn a_link_and_an_offer_of_the_same_bytes_are_told_apart() {
    let mut scene = Scene::new();
    assert_eq!(scene.click(0, |it| (it.link, it.offer) = (None, OTHER_OFFER)), [label::UNIQUE_OFFER_24H]);
    let of_same_bytes = Some(OTHER_OFFER.rename());
    assert_eq!(scene.click(0, |it| it.link = of_same_bytes), BOTH);
}

#[test]
fn visitors_are_told_apart_and_nobody_is_unique_without_one() {
    let mut scene = Scene::new();
    assert_eq!(scene.click(0, |it| it.visitor = None), NEITHER);
    assert_eq!(scene.keys(), 0);
    assert_eq!(scene.click(0, |_| {}), BOTH);
    assert_eq!(scene.click(0, |it| it.visitor = Some(id(8))), BOTH);
    assert_eq!(scene.click(0, |it| it.visitor = None), NEITHER);
}

#[test]
fn what_does_not_count_is_not_unique_and_takes_nothing_from_what_is() {
    let mut scene = Scene::new();
    for label in label::NOT_COUNTED {
        assert_eq!(scene.click(0, |it| it.labels = vec![label.into()]), [label]);
    }
    assert_eq!(scene.keys(), 0);
    let labelled = scene.click(0, |it| it.labels = vec![label::CAP.into()]);
    assert_eq!(labelled, [&[label::CAP][..], &BOTH].concat(), "other labels do not matter");
}

#[test]
fn tests_are_unique_among_themselves() {
    let mut scene = Scene::new();
    assert_eq!(scene.click(0, |it| it.test = true), BOTH);
    assert_eq!(scene.click(0, |_| {}), BOTH);
    assert_eq!(scene.click(0, |it| it.test = true), NEITHER);
    assert_eq!(scene.click(0, |_| {}), NEITHER);
}

#[test]
fn the_log_says_who_was_first_and_no_sender() {
    let mut scene = Scene::new();
    let at = |micros| Timestamp::from_micros(T0 + micros);
    assert_eq!(scene.click(0, |it| it.occurred_at = at(0)), BOTH);
    // From a spool: it happened days before, and the log has it now.
    assert_eq!(scene.click(1, |it| it.occurred_at = at(-3 * DAY)), NEITHER);
    assert_eq!(scene.click(2, |it| it.occurred_at = at(3 * DAY)), NEITHER);
    assert_eq!(scene.click(DAY, |it| it.occurred_at = at(0)), BOTH);
    // A log whose clock is set back does not open a window early.
    assert_eq!(scene.click(-DAY, |_| {}), NEITHER);
}

#[test]
fn a_delivery_that_comes_again_takes_no_window() {
    let mut scene = Scene::new();
    let click = scene.edge.click(0, |it| (it.visitor, it.link) = (Some(id(9)), Some(LINK)));
    scene.core.feed(&click);
    scene.core.now = DAY;
    scene.core.feed(&click);
    assert_eq!(scene.click(DAY, |_| {}), BOTH);
}

#[test]
fn what_a_sender_claims_is_taken_away() {
    let claims = || BOTH.into_iter().chain([label::GPC]).map(str::to_owned).collect::<Vec<_>>();
    let mut scene = Scene::new();
    assert_eq!(scene.click(0, |it| (it.visitor, it.labels) = (None, claims())), [label::GPC]);
    assert_eq!(scene.keys(), 0);
    let once = [&[label::GPC][..], &BOTH].concat();
    assert_eq!(scene.click(0, |it| it.labels = claims()), once, "each stands once");
    assert_eq!(scene.click(0, |it| it.labels = claims()), [label::GPC]);
    let facts = scene.core.feed(&scene.edge.impression(0, |it| it.labels = claims()));
    let Some(Fact::Impression(impression)) = facts.first() else { panic!("no impression: {facts:?}") };
    assert_eq!(impression.impression.hit.labels, [label::GPC]);
}

#[test]
fn windows_that_are_over_may_be_forgotten_and_no_other() {
    let mut scene = Scene::new();
    scene.click(0, |_| {});
    scene.click(HOUR, |it| it.visitor = Some(id(8)));
    scene.click(HOUR, |it| it.test = true);
    assert_eq!(scene.keys(), 6);
    for (now, left) in [(DAY - 1, 6), (DAY, 4), (DAY + HOUR - 1, 4), (DAY + HOUR, 0)] {
        scene.core.now = now;
        scene.core.forget();
        assert_eq!(scene.keys(), left, "{now}");
    }
}

#[test]
fn a_window_that_was_opened_again_before_it_was_forgotten_is_kept() {
    let mut scene = Scene::new();
    scene.click(0, |_| {});
    assert_eq!(scene.click(DAY, |_| {}), BOTH);
    scene.core.forget();
    assert_eq!(scene.keys(), 2);
    assert_eq!(scene.click(2 * DAY - 1, |_| {}), NEITHER);
    scene.core.now = 2 * DAY;
    scene.core.forget();
    assert_eq!(scene.keys(), 0);
}
