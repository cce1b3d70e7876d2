//! The order of arrival: the same touches and reports, days apart and in any order, give open conversions the same attribution.

use std::collections::BTreeMap;

use eventlog::Record;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use schemas::event::Event;
use schemas::fact::{Attributed, Fact, Lost, Revision, Touch, Values};
use schemas::id::{ClickId, ConversionId, PartnerId};
use schemas::time::Timestamp;
use schemas::wire;

use crate::alone::{CATALOGS, decide_range};
use crate::memory::Memory;
use crate::scene::{DAY, HOUR, MINUTE, T0, Traffic, click_id, id};
use processor::store::Committed as _;

/// Orders that are tried beside that of time.
const ORDERS: usize = 3;
/// From the first to the last arrival; a conversion that waits for its click waits for eight days.
const WINDOW: i64 = 7 * DAY;

/// What may not depend on the order: to whom a conversion belongs, by which click, what it is worth, and what each touch has of it.
pub(crate) type Verdict = (Option<PartnerId>, Option<ClickId>, Values, Vec<Touch>);

/// Whether every order of this seed's events gives its open conversions the same attribution.
pub(crate) fn check(seed: u64) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let (events, open) = events(&mut rng);
    let in_time = verdicts(&events, &open, &mut rng);
    if in_time.len() != open.len() {
        return Err(format!("{} of {} conversions are there", in_time.len(), open.len()));
    }
    for _ in 0..ORDERS {
        let mut events = events.clone();
        events.shuffle(&mut rng);
        same(&in_time, &verdicts(&events, &open, &mut rng))?;
    }
    Ok(())
}

/// What comes of this seed's events in the order of time.
pub(crate) fn in_time(seed: u64) -> BTreeMap<ConversionId, Verdict> {
    let mut rng = StdRng::seed_from_u64(seed);
    let (events, open) = events(&mut rng);
    let verdicts = verdicts(&events, &open, &mut rng);
    verdicts.into_iter().filter(|(_, (partner, ..))| partner.is_some()).collect()
}

/// Whether each conversion has one verdict.
pub(crate) fn same(
    one: &BTreeMap<ConversionId, Verdict>,
    other: &BTreeMap<ConversionId, Verdict>,
) -> Result<(), String> {
    match one.iter().find(|(conversion, verdict)| other.get(conversion) != Some(verdict)) {
        None => Ok(()),
        Some((conversion, verdict)) => {
            Err(format!("{conversion} is {verdict:?} in one order, {:?} in another", other.get(conversion)))
        }
    }
}

/// Touches of a few visitors, reports that say who they are, and conversions that nobody approves.
fn events(rng: &mut StdRng) -> (Vec<Event>, Vec<ConversionId>) {
    let mut edge = Traffic::of_edge(1);
    edge.catalog = CATALOGS[2].revision();
    let (mut events, mut open, mut clicks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rng.random_range(3..12) {
        let at = -rng.random_range(0..60) * HOUR - rng.random_range(0..60) * MINUTE;
        let (visitor, partner) = (id(rng.random_range(1..4)), id(rng.random_range(1..4)));
        match rng.random_range(0..10) {
            0..5 => {
                let click = edge.click(at, |it| (it.visitor, it.partner) = (Some(visitor), Some(partner)));
                clicks.push(click_id(&click));
                events.push(click);
            }
            5 | 6 => {
                events.push(
                    edge.impression(at, |it| (it.visitor, it.partner) = (Some(visitor), Some(partner))),
                );
            }
            7 => events.push(edge.conversion(at, |it| {
                (it.goal, it.visitor) = ("trial".into(), Some(visitor));
                it.customer_id = format!("c{}", rng.random_range(0..2));
            })),
            _ => {
                let event = edge.conversion(at, |it| {
                    (it.goal, it.transaction_id) = ("review".into(), format!("t{}", events.len()));
                    match (rng.random_range(0..3), clicks.choose(rng)) {
                        (0, Some(click)) => it.click = Some(*click),
                        (1, _) => it.customer_id = format!("c{}", rng.random_range(0..2)),
                        _ => it.visitor = Some(visitor),
                    }
                });
                open.push(event.id.rename());
                events.push(event);
            }
        }
    }
    events.sort_by_key(|event| event.received_at);
    (events, open)
}

/// What comes of the events in this order, at any times within the window.
fn verdicts(events: &[Event], open: &[ConversionId], rng: &mut StdRng) -> BTreeMap<ConversionId, Verdict> {
    let mut times: Vec<i64> = events.iter().map(|_| rng.random_range(0..WINDOW)).collect();
    times.sort_unstable();
    let state = Memory::default();
    let mut revisions: BTreeMap<ConversionId, Vec<Revision>> = BTreeMap::new();
    for ((position, event), at) in (0..).zip(events).zip(times) {
        let payload = wire::encode_event(event.clone());
        let log_time = Timestamp::from_micros(T0 + at);
        let event = Record { position, log_time, key: bytes::Bytes::new(), payload };
        let (record, changes) = decide_range(&state, &[event]);
        state.commit(changes).unwrap();
        for fact in record.decisions.into_iter().flat_map(|decision| decision.facts) {
            if let Fact::Revision(revision) = fact {
                revisions.entry(revision.conversion).or_default().push(*revision);
            }
        }
    }
    revisions.into_iter().filter(|(it, _)| open.contains(it)).map(|(it, all)| (it, verdict(&all))).collect()
}

/// The last word on a conversion.
fn verdict(revisions: &[Revision]) -> Verdict {
    let last = &revisions[revisions.len() - 1];
    let Attributed { partner, click, .. } = &last.attributed;
    let touched = revisions.iter().rev().find(|revision| !revision.touches.is_empty());
    let mut touches = touched.map(|revision| revision.touches.clone()).unwrap_or_default();
    // One outside of the window changes nothing, so that nothing is revised for it.
    touches.retain(|it| !matches!(it.lost, Some(Lost::OutsideLookback | Lost::AfterConversion)));
    (*partner, click.map(|(click, _)| click), last.after, touches)
}
