//! Attribution once more, written down as plainly as it can be and with nothing of the core's: both must agree on any history.

use std::collections::BTreeMap;

use catalog::Model;
use proptest::prelude::*;
use schemas::event::{Body, Event, label};
use schemas::fact::{Lost, Revision, Touch};

use crate::scene::{Core, DAY, MINUTE, OFFER, OTHER_OFFER, Traffic, click_id, id, revision};

const VISITOR: u8 = 9;

/// A touch of a history: minutes before the conversion, and what it is.
#[derive(Debug, Clone)]
struct Told {
    age_min: i64,
    is_click: bool,
    is_other_offer: bool,
    label: Option<&'static str>,
    partner: u8,
}

#[derive(Debug, Clone)]
struct Terms {
    model: Model,
    min_time_min: i64,
    half_life_days: i64,
    weights: [u8; 3],
    /// Which touch the conversion names, if that is a click.
    named: usize,
}

/// What is expected of one touch.
#[derive(Debug, PartialEq)]
struct Expected {
    lost: Option<Lost>,
    /// Last touch, first touch, linear, position based.
    credits: [u16; 4],
}

/// A touch as the reference sees it.
struct Seen {
    bytes: [u8; 16],
    at_min: i64,
    told: Told,
    is_named: bool,
}

fn judge(seen: &Seen, terms: &Terms) -> Option<Lost> {
    let told = &seen.told;
    let window_min = match (told.is_click, told.is_other_offer) {
        (true, false) => 30 * 24 * 60,
        (false, _) | (true, true) => 24 * 60,
    };
    let skew_min = if seen.is_named { 5 } else { 0 };
    match told.label {
        Some(label::BOT | label::CAP) => return Some(Lost::ExcludedLabel),
        Some(label::RATE) if !seen.is_named => return Some(Lost::ExcludedLabel),
        _ => {}
    }
    if told.age_min < -skew_min {
        Some(Lost::AfterConversion)
    } else if told.age_min > window_min {
        Some(Lost::OutsideLookback)
    } else if told.age_min.max(0) < terms.min_time_min {
        Some(Lost::TooSoon)
    } else {
        None
    }
}

/// Of two touches by time and id: the later, then the one with the smaller id.
fn is_preferred(one: (i64, [u8; 16]), other: (i64, [u8; 16])) -> bool {
    one.0 > other.0 || (one.0 == other.0 && one.1 < other.1)
}

/// Whole shares: the whole parts first, then point by point to whoever is furthest below its exact share.
fn share(weights: &[i128], order: &[(i64, [u8; 16])]) -> Vec<u16> {
    let sum: i128 = weights.iter().sum();
    let mut given: Vec<i128> = weights.iter().map(|weight| weight * 10_000 / sum).collect();
    let mut served = vec![false; weights.len()];
    while given.iter().sum::<i128>() < 10_000 {
        let mut best: Option<usize> = None;
        for at in (0..weights.len()).filter(|at| !served[*at]) {
            let missing = |at: usize| weights[at] * 10_000 % sum;
            let is_better = best.is_none_or(|best| {
                let tie = is_preferred(order[at], order[best]);
                missing(at) > missing(best) || (missing(at) == missing(best) && tie)
            });
            if is_better {
                best = Some(at);
            }
        }
        let best = best.unwrap();
        given[best] += 1;
        served[best] = true;
    }
    given.into_iter().map(|points| points as u16).collect()
}

/// All to this one of so many.
fn all_to(place: usize, of: usize) -> Vec<u16> {
    (0..of).map(|at| if at == place { 10_000 } else { 0 }).collect()
}

/// The shares of each model, and who has most under the payable one.
fn shares(order: &[(i64, [u8; 16])], terms: &Terms) -> ([Vec<u16>; 4], usize) {
    let count = order.len();
    let (mut last, mut first) = (0, 0);
    for at in 1..count {
        if is_preferred(order[at], order[last]) {
            last = at;
        }
        if order[at].0 < order[first].0 || (order[at].0 == order[first].0 && order[at].1 < order[first].1) {
            first = at;
        }
    }
    let mut end = None;
    for at in (0..count).filter(|at| *at != first) {
        let is_later = end.is_none_or(|end: usize| is_preferred(order[at], order[end]));
        if is_later {
            end = Some(at);
        }
    }
    let [f, m, l] = terms.weights.map(i128::from);
    let inner = count.saturating_sub(2) as i128;
    let mut position: Vec<i128> = vec![m; count];
    position[first] = f * inner.max(1);
    if let Some(end) = end {
        position[end] = l * inner.max(1);
    }
    if position.iter().sum::<i128>() == 0 {
        position = vec![1; count];
    }
    let linear = share(&vec![1; count], order);
    let position = share(&position, order);
    let most = |shares: &[u16]| {
        let mut best = 0;
        for at in 1..count {
            let tie = is_preferred(order[at], order[best]);
            if shares[at] > shares[best] || (shares[at] == shares[best] && tie) {
                best = at;
            }
        }
        best
    };
    let winner = match terms.model {
        Model::LastTouch | Model::TimeDecay => last,
        Model::FirstTouch => first,
        Model::Linear => most(&linear),
        Model::PositionBased => most(&position),
    };
    ([all_to(last, count), all_to(first, count), linear, position], winner)
}

/// What the core must say of each touch, by its id, and whose the conversion is.
fn expect(seen: &[Seen], terms: &Terms) -> (BTreeMap<[u8; 16], Expected>, Option<u8>) {
    let mut lost: Vec<Option<Lost>> = seen.iter().map(|seen| judge(seen, terms)).collect();
    let has_click = seen.iter().zip(&lost).any(|(seen, lost)| lost.is_none() && seen.told.is_click);
    for (seen, lost) in seen.iter().zip(&mut lost) {
        if has_click && !seen.told.is_click && lost.is_none() {
            *lost = Some(Lost::LowerType);
        }
    }
    let eligible: Vec<usize> = (0..seen.len()).filter(|at| lost[*at].is_none()).collect();
    let mut wanted: BTreeMap<_, _> =
        seen.iter().zip(lost).map(|(seen, lost)| (seen.bytes, Expected { lost, credits: [0; 4] })).collect();
    if eligible.is_empty() {
        return (wanted, None);
    }
    let order: Vec<_> = eligible.iter().map(|at| (seen[*at].at_min, seen[*at].bytes)).collect();
    let (shares, winner) = shares(&order, terms);
    let outrun = if terms.model == Model::LastTouch { Lost::Earlier } else { Lost::LessCredit };
    for (at, (_, bytes)) in order.iter().enumerate() {
        let credits = std::array::from_fn(|model| shares[model][at]);
        wanted.insert(*bytes, Expected { lost: (at != winner).then_some(outrun), credits });
    }
    (wanted, Some(seen[eligible[winner]].told.partner))
}

/// Which of the history the core considers: those of the named click's offer, from twice the longest window on.
fn is_considered(told: &Told, named: Option<&Told>) -> bool {
    let is_of_offer = named.is_none_or(|named| named.is_other_offer == told.is_other_offer);
    let is_long = told.is_click && named.is_none_or(|named| !named.is_other_offer);
    let longest_min = if is_long { 30 * 24 * 60 } else { 24 * 60 };
    is_of_offer && told.age_min >= -5 && told.age_min <= 2 * longest_min
}

fn played(history: &[Told], terms: &Terms) -> (Vec<Seen>, Revision) {
    let mut core = Core::with(|workspace| {
        workspace.attribution.payable_model = terms.model;
        workspace.attribution.min_time_to_convert_micros = terms.min_time_min * MINUTE;
        workspace.attribution.time_decay_half_life_micros = terms.half_life_days * DAY;
        workspace.attribution.position_weights = terms.weights;
    });
    let mut edge = Traffic::of_edge(1);
    let mut events: Vec<Event> = Vec::new();
    for told in history {
        let edit = |hit: &mut schemas::event::Hit| {
            hit.visitor = Some(id(VISITOR));
            hit.partner = Some(id(told.partner));
            hit.offer = if told.is_other_offer { OTHER_OFFER } else { OFFER };
            hit.labels.extend(told.label.map(str::to_owned));
        };
        let at = -told.age_min * MINUTE;
        events.push(if told.is_click { edge.click(at, edit) } else { edge.impression(at, edit) });
    }
    events.iter().for_each(|event| drop(core.feed_fast(event)));
    let named = history.get(terms.named).filter(|told| told.is_click);
    let click = named.map(|_| click_id(&events[terms.named]));
    let facts = core.feed_fast(&edge.conversion(0, |it| (it.click, it.visitor) = (click, Some(id(VISITOR)))));
    let bytes = |event: &Event| match &event.body {
        Body::Click(click) => *click.id.bytes(),
        Body::Impression(impression) => *impression.id.bytes(),
        Body::Conversion(_) | Body::Refund(_) | Body::Command(_) | Body::Delayed(_) | Body::Tick => {
            panic!("not a touch")
        }
    };
    let seen = (0..history.len()).map(|at| Seen {
        bytes: bytes(&events[at]),
        at_min: -history[at].age_min,
        told: history[at].clone(),
        is_named: named.is_some() && at == terms.named,
    });
    let seen = seen.filter(|seen| seen.is_named || is_considered(&seen.told, named)).collect();
    (seen, revision(&facts).clone())
}

fn told() -> impl Strategy<Value = Told> {
    let age_min = prop_oneof![-10_i64..120, 0_i64..3_000, 0_i64..60_000, Just(24 * 60), Just(60)];
    let labels =
        [None, None, None, None, Some(label::BOT), Some(label::CAP), Some(label::RATE), Some(label::GPC)];
    (age_min, 0..10_u8, 0..5_u8, prop::sample::select(labels.to_vec()), 1..3_u8).prop_map(
        |(age_min, click, offer, label, partner)| Told {
            age_min,
            is_click: click < 7,
            is_other_offer: offer == 0,
            label,
            partner,
        },
    )
}

fn terms() -> impl Strategy<Value = Terms> {
    let weights =
        prop::sample::select(vec![[40, 20, 40], [0, 100, 0], [33, 33, 34], [100, 0, 0], [0, 0, 100]]);
    let model = prop::sample::select(Model::ALL.to_vec());
    let min_time = prop::sample::select(vec![0_i64, 0, 1, 60]);
    (model, min_time, 1..30_i64, weights, 0..24_usize).prop_map(
        |(model, min_time_min, half_life_days, weights, named)| Terms {
            model,
            min_time_min,
            half_life_days,
            weights,
            named,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_core_and_the_reference_agree_on_any_history(
        history in prop::collection::vec(told(), 0..12), terms in terms(),
    ) {
        let (seen, revision) = played(&history, &terms);
        let (wanted, partner) = expect(&seen, &terms);
        let found: BTreeMap<[u8; 16], Expected> = revision.touches.iter().map(|touch: &Touch| {
            let it = touch.credits;
            let credits = [it.last_touch, it.first_touch, it.linear, it.position_based];
            (*touch.id.bytes(), Expected { lost: touch.lost, credits })
        }).collect();
        prop_assert_eq!(&found, &wanted);
        prop_assert_eq!(revision.attributed.partner, partner.map(id));
        // Time decay: near what floating point says, and all of it together.
        let shared: Vec<&Touch> = revision.touches.iter().filter(|touch| touch.credits.linear > 0).collect();
        let newest = shared.iter().map(|touch| touch.at.micros()).max().unwrap_or(0);
        let weight = |touch: &&Touch| {
            let age = (newest - touch.at.micros()) as f64;
            (-age / (terms.half_life_days * DAY) as f64).exp2()
        };
        let sum: f64 = shared.iter().map(weight).sum();
        for touch in &shared {
            let exact = 10_000.0 * weight(touch) / sum;
            prop_assert!((f64::from(touch.credits.time_decay) - exact).abs() < 1.01, "{touch:?} {exact}");
        }
        let total: u32 = shared.iter().map(|touch| u32::from(touch.credits.time_decay)).sum();
        prop_assert_eq!(total, if shared.is_empty() { 0 } else { 10_000 });
    }
}
