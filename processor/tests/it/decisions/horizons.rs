//! What is too old to matter, and what stands when its reasons are not known any more.

use processor::core::TOUCH_HORIZON_MICROS;
use schemas::event::{Conversion, Hit, Status};
use schemas::fact::{Change, Fact, OutcomeStatus, Revision};
use schemas::id::{ClickId, PartnerId};
use schemas::money::{Currency, Money};

use crate::scene::id;
use crate::scene::{Core, DAY, HOUR, PARTNER, Traffic, click_id, outcome, revision, revisions, usd};

fn euros(units: i64) -> Option<Money> {
    Some(Money { currency: Currency::from_code("EUR").unwrap(), ..usd(units) })
}

/// A visitor who clicked, and how the log's time goes on.
struct Scene {
    core: Core,
    edge: Traffic,
    click: ClickId,
    /// Whether the store forgets whatever it may.
    forgets: bool,
}

impl Scene {
    fn new(forgets: bool) -> Self {
        let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
        let click = edge.click(0, |it| it.visitor = Some(id(9)));
        core.feed(&click);
        Self { core, edge, click: click_id(&click), forgets }
    }

    fn go_on(&mut self, now: i64) {
        self.core.now = now;
        if self.forgets {
            self.core.forget();
        }
    }

    fn sale(&mut self, now: i64, edit: impl FnOnce(&mut Conversion)) -> Vec<Fact> {
        self.go_on(now);
        let sale = self.edge.conversion(now, edit);
        self.core.feed(&sale)
    }

    fn late_click(&mut self, now: i64, at: i64, edit: impl FnOnce(&mut Hit)) -> Vec<Fact> {
        self.go_on(now);
        let click = self.edge.click(at, |it| {
            it.visitor = Some(id(9));
            edit(it);
        });
        self.core.feed(&click)
    }

    fn touches(&self) -> usize {
        self.core.state.keys().filter(|key| [b'c', b't', b'i'].contains(&key[0])).count()
    }
}

fn partner(revision: &Revision) -> Option<PartnerId> {
    revision.attributed.partner
}

#[test]
fn a_touch_is_known_up_to_the_horizon_forgotten_or_not() {
    for forgets in [false, true] {
        for (age, considered) in [(TOUCH_HORIZON_MICROS, 1), (TOUCH_HORIZON_MICROS + 1_000, 0)] {
            let mut scene = Scene::new(forgets);
            // It happened within the window, and came when the click was almost out of sight.
            let facts = scene.sale(age, |it| {
                it.visitor = Some(id(9));
                it.occurred_at = it.occurred_at.saturating_add(20 * DAY - age);
            });
            assert_eq!(revision(&facts).touches.len(), considered, "{forgets} {age}");
            assert_eq!(partner(revision(&facts)), (considered == 1).then_some(PARTNER));
            assert_eq!(scene.touches(), if forgets && considered == 0 { 0 } else { 2 });
        }
    }
}

#[test]
fn a_conversion_that_names_a_click_beyond_the_horizon_counts_and_belongs_to_nobody() {
    for forgets in [false, true] {
        let mut scene = Scene::new(forgets);
        let click = Some(scene.click);
        let facts = scene.sale(TOUCH_HORIZON_MICROS + 1_000, |it| it.click = click);
        assert_eq!(outcome(&facts).0, OutcomeStatus::Recorded);
        let sale = revision(&facts);
        assert_eq!((partner(sale), sale.touches.len()), (None, 0));
        assert_eq!(sale.after.revenue_micros, 80_000_000);
    }
}

#[test]
fn a_rate_that_comes_when_the_click_is_out_of_sight_takes_the_conversion_from_nobody() {
    for forgets in [false, true] {
        let mut scene = Scene::new(forgets);
        let click = Some(scene.click);
        let facts = scene.sale(20 * DAY, |it| (it.click, it.amount) = (click, euros(80)));
        assert_eq!(
            (partner(revision(&facts)), revision(&facts).after.status),
            (Some(PARTNER), Status::Pending)
        );
        scene.go_on(TOUCH_HORIZON_MICROS + DAY);
        scene.core.put_rate("2026-11-30", "EUR", "2");
        let facts = scene.core.tick();
        let revised = revision(&facts);
        assert_eq!((revised.change, partner(revised)), (Change::Rate, Some(PARTNER)));
        assert_eq!((revised.after.payout_micros, revised.after.status), (16_000_000, Status::Approved));
        assert!(revised.attributed_before.is_none());
    }
}

#[test]
fn a_touch_that_came_too_late_does_not_come_in_with_a_rate() {
    let mut scene = Scene::new(false);
    let click = Some(scene.click);
    scene.sale(2 * HOUR, |it| (it.visitor, it.click, it.amount) = (Some(id(9)), click, euros(80)));
    let facts = scene.late_click(9 * DAY, HOUR, |it| it.partner = Some(id(2)));
    let Some(Fact::Click(late)) = facts.first() else { panic!("{facts:?}") };
    assert!(late.click.hit.labels.iter().any(|label| label == "late"));
    scene.core.put_rate("2026-11-10", "EUR", "2");
    let facts = scene.core.tick();
    assert_eq!((revision(&facts).change, partner(revision(&facts))), (Change::Rate, Some(PARTNER)));
}

#[test]
fn a_last_report_long_after_changes_the_amount_and_not_whose_it_is() {
    for forgets in [false, true] {
        for age in [30 * DAY, TOUCH_HORIZON_MICROS + DAY] {
            let mut scene = Scene::new(forgets);
            let click = Some(scene.click);
            let report = |units| {
                move |it: &mut Conversion| {
                    (it.goal, it.click, it.transaction_id) = ("last".into(), click, "t1".into());
                    it.amount = Some(usd(units));
                }
            };
            let first = scene.sale(HOUR, report(80));
            assert_eq!(partner(revision(&first)), Some(PARTNER));
            // Of somebody else, in the window, and too late.
            scene.late_click(20 * DAY, 0, |it| it.partner = Some(id(2)));
            let facts = scene.sale(age, report(40));
            assert_eq!(outcome(&facts).0, OutcomeStatus::Updated, "{age}");
            let revised = revision(&facts);
            assert_eq!((revised.change, partner(revised)), (Change::Report, Some(PARTNER)));
            assert_eq!(revised.after.amount_micros, Some(40_000_000));
            assert_eq!(revisions(&facts).len(), 1);
        }
    }
}
