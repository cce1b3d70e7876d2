//! The five models by which a conversion is shared among its touches, in whole basis points.
//!
//! Each model gives every touch a weight; its share of 10,000 basis points is `10,000 · weight / sum of weights`, made whole by the
//! method of largest remainder (Hamilton's, 1792): all shares are rounded down, and the points that are left go one each to those
//! that lost most by it. Of two that lost the same the later touch is first, then the one with the smaller id.
//!
//! Weights of `n` touches in order of time, the conversion after them:
//! - last touch: 1 to the last, 0 to all others; of two at one instant the one with the smaller id.
//! - first touch: 1 to the first, by the same rule.
//! - linear: 1 to each.
//! - time decay: `2^(-age / half_life)`, ages counted from the youngest touch, which changes no share. It is reckoned in whole
//!   numbers ([`decay`]), so that every machine gives the same shares.
//! - position based, with the weights `f`, `m`, `l` of first, middle, last: `f` to the first, `l` to the last and
//!   `m / (n - 2)` to each between. Of two touches `f` and `l` to them; one has everything. Where that would leave a weight of 0 to
//!   all, each has the same.

use catalog::{Attribution, Model};
use schemas::fact::{Credits, TouchId};
use schemas::time::Timestamp;

/// All of a conversion, in basis points.
const WHOLE: u16 = 10_000;
/// The weight of the youngest touch under time decay.
const ONE: u64 = 1 << 62;
/// Bits of a fraction of a half-life that count: about a millisecond of a week.
const FRACTION_BITS: u32 = 30;

/// A touch that shares a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sharer {
    pub(super) at: Timestamp,
    pub(super) id: TouchId,
}

/// The shares of each of these touches, in their order. Without any there is nothing to share.
pub(super) fn credits(touches: &[Sharer], attribution: &Attribution) -> Vec<Credits> {
    let shares = |model| shares(touches, &weights(model, touches, attribution));
    let [last, first, linear, decay, position] = Model::ALL.map(shares);
    (0..touches.len())
        .map(|at| Credits {
            last_touch: last[at],
            first_touch: first[at],
            linear: linear[at],
            time_decay: decay[at],
            position_based: position[at],
        })
        .collect()
}

/// The share that a model gives.
pub(super) const fn credit(credits: &Credits, model: Model) -> u16 {
    match model {
        Model::LastTouch => credits.last_touch,
        Model::FirstTouch => credits.first_touch,
        Model::Linear => credits.linear,
        Model::TimeDecay => credits.time_decay,
        Model::PositionBased => credits.position_based,
    }
}

/// The touch that a model gives most; of several the latest, then the one with the smaller id.
pub(super) fn favourite(touches: &[Sharer], credits: &[Credits], model: Model) -> Option<TouchId> {
    let shared = touches.iter().zip(credits);
    let most = shared.max_by_key(|(touch, credits)| (credit(credits, model), later(touch)));
    most.map(|(touch, _)| touch.id)
}

/// Orders touches by which one is preferred: the later, then the one with the smaller id.
fn later(touch: &Sharer) -> (Timestamp, std::cmp::Reverse<TouchId>) {
    (touch.at, std::cmp::Reverse(touch.id))
}

fn weights(model: Model, touches: &[Sharer], attribution: &Attribution) -> Vec<u64> {
    let last = || places(touches).max_by_key(|(_, touch)| later(touch)).map(|(at, _)| at);
    let first = || places(touches).min_by_key(|(_, touch)| (touch.at, touch.id)).map(|(at, _)| at);
    let only = |place: Option<usize>| (0..touches.len()).map(|at| u64::from(Some(at) == place)).collect();
    match model {
        Model::LastTouch => only(last()),
        Model::FirstTouch => only(first()),
        Model::Linear => vec![1; touches.len()],
        Model::TimeDecay => {
            let youngest = touches.iter().map(|touch| touch.at).max().unwrap_or_default();
            let half_life = attribution.time_decay_half_life_micros;
            touches.iter().map(|touch| decay(youngest.micros_since(touch.at), half_life)).collect()
        }
        Model::PositionBased => positions(touches, first(), attribution.position_weights),
    }
}

fn places(touches: &[Sharer]) -> impl Iterator<Item = (usize, &Sharer)> {
    touches.iter().enumerate()
}

fn positions(touches: &[Sharer], first: Option<usize>, [f, m, l]: [u8; 3]) -> Vec<u64> {
    let others = places(touches).filter(|(at, _)| Some(*at) != first);
    let last = others.max_by_key(|(_, touch)| later(touch)).map(|(at, _)| at);
    let between = touches.len().saturating_sub(2).max(1) as u64;
    let middle = if touches.len() > 2 { u64::from(m) } else { 0 };
    let weights: Vec<u64> = (0..touches.len())
        .map(|at| match at {
            at if Some(at) == first => u64::from(f) * between,
            at if Some(at) == last => u64::from(l) * between,
            _ => middle,
        })
        .collect();
    if weights.iter().all(|weight| *weight == 0) { vec![1; touches.len()] } else { weights }
}

/// Powers `2^(-1/2)`, `2^(-1/4)`, … as multiples of `2^-62`, each the root of the one before, rounded down.
const ROOTS: [u64; FRACTION_BITS as usize] = {
    let mut roots = [0; FRACTION_BITS as usize];
    let mut power = (ONE / 2) as u128;
    let mut at = 0;
    while at < roots.len() {
        power = (power << 62).isqrt();
        roots[at] = power as u64;
        at += 1;
    }
    roots
};

/// `2^(-age / half_life)` as a multiple of `2^-62`, rounded down; 0 from about 62 half-lives on.
fn decay(age_micros: i64, half_life_micros: i64) -> u64 {
    let (age, half_life) = (age_micros.max(0).unsigned_abs(), half_life_micros.max(1).unsigned_abs());
    let whole = age / half_life;
    let fraction = (u128::from(age % half_life) << FRACTION_BITS) / u128::from(half_life);
    let mut weight = u128::from(ONE);
    for (at, root) in ROOTS.iter().enumerate() {
        if fraction >> (FRACTION_BITS as usize - 1 - at) & 1 == 1 {
            weight = (weight * u128::from(*root)) >> 62;
        }
    }
    u32::try_from(whole).ok().and_then(|whole| (weight as u64).checked_shr(whole)).unwrap_or(0)
}

/// Whole shares by largest remainder.
fn shares(touches: &[Sharer], weights: &[u64]) -> Vec<u16> {
    let sum: u128 = weights.iter().copied().map(u128::from).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: &u64| u128::from(*weight) * u128::from(WHOLE);
    let mut shares: Vec<u16> =
        weights.iter().map(|weight| u16::try_from(exact(weight) / sum).unwrap_or(WHOLE)).collect();
    let given: u16 = shares.iter().sum();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|at| std::cmp::Reverse((exact(&weights[*at]) % sum, later(&touches[*at]))));
    for at in by_remainder.into_iter().take(usize::from(WHOLE - given)) {
        shares[at] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::id::ClickId;

    use super::*;

    const DAY: i64 = 24 * 3_600 * 1_000_000;

    fn sharers(days: &[i64]) -> Vec<Sharer> {
        let touch = |(at, day): (usize, &i64)| Sharer {
            at: Timestamp::from_micros(day * DAY),
            id: TouchId::Click(ClickId::from_bytes([at as u8; 16])),
        };
        days.iter().enumerate().map(touch).collect()
    }

    fn of(days: &[i64], model: Model, attribution: &Attribution) -> Vec<u16> {
        credits(&sharers(days), attribution).iter().map(|credits| credit(credits, model)).collect()
    }

    #[test]
    fn the_models_share_as_they_say() {
        let plain = Attribution::default();
        for (model, days, wanted) in [
            (Model::LastTouch, &[0, 1, 2][..], &[0, 0, 10_000][..]),
            (Model::FirstTouch, &[0, 1, 2], &[10_000, 0, 0]),
            // One point is left over; the latest of those that lost a third gets it.
            (Model::Linear, &[0, 1, 2], &[3_333, 3_333, 3_334]),
            (Model::Linear, &[0], &[10_000]),
            // 1/4, 1/2 and 1, of 7/4: 1428.57, 2857.14, 5714.29.
            (Model::TimeDecay, &[-14, -7, 0], &[1_429, 2_857, 5_714]),
            (Model::TimeDecay, &[-1_000, 0], &[0, 10_000]),
            (Model::PositionBased, &[0], &[10_000]),
            (Model::PositionBased, &[0, 1], &[5_000, 5_000]),
            (Model::PositionBased, &[0, 1, 2], &[4_000, 2_000, 4_000]),
            (Model::PositionBased, &[0, 1, 2, 3, 4], &[4_000, 666, 667, 667, 4_000]),
            // At one instant the smaller id counts, and where there are two ends it is the first.
            (Model::LastTouch, &[5, 5], &[10_000, 0]),
            (Model::FirstTouch, &[5, 5], &[10_000, 0]),
        ] {
            assert_eq!(of(days, model, &plain), wanted, "{model:?} {days:?}");
        }
        let middle = Attribution { position_weights: [0, 100, 0], ..plain };
        assert_eq!(of(&[0, 1], Model::PositionBased, &middle), [5_000, 5_000]);
        assert_eq!(of(&[0, 1, 2], Model::PositionBased, &middle), [0, 10_000, 0]);
        assert!(credits(&[], &plain).is_empty());
    }

    proptest! {
        #[test]
        fn each_models_shares_are_whole_and_near_the_exact_ones(
            days in prop::collection::vec(-90_i64..90, 1..60), half_life in 1_i64..90, first in 0_u8..=100, last in 0_u8..=100,
        ) {
            let last = last.min(100 - first);
            let attribution = Attribution {
                time_decay_half_life_micros: half_life * DAY,
                position_weights: [first, 100 - first - last, last],
                ..Attribution::default()
            };
            let sharers = sharers(&days);
            let all = credits(&sharers, &attribution);
            for model in Model::ALL {
                let shares: Vec<u16> = all.iter().map(|credits| credit(credits, model)).collect();
                prop_assert_eq!(shares.iter().map(|share| u32::from(*share)).sum::<u32>(), 10_000, "{:?}", model);
            }
            // Beside floating point, which is near enough to tell a wrong weight and no more.
            let newest = days.iter().max().copied().unwrap_or(0);
            let weights: Vec<f64> =
                days.iter().map(|day| (-((newest - day) as f64) / half_life as f64).exp2()).collect();
            let sum: f64 = weights.iter().sum();
            for (credits, weight) in all.iter().zip(weights) {
                let exact = 10_000.0 * weight / sum;
                prop_assert!((f64::from(credits.time_decay) - exact).abs() < 1.01, "{} {exact}", credits.time_decay);
            }
        }
    }
}
