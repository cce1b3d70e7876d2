//! Money once more, written down as plainly as it can be and with nothing of the core's: both must agree on any history of a
//! conversion, its rate and its refunds.

use proptest::prelude::*;
use schemas::event::Status;
use schemas::fact::{Fact, Revision};
use schemas::money::{Currency, Money};

use crate::scene::{Core, FAVOURITE, HOUR, OFFER, PARTNER, Traffic, revisions};

const CENT: i128 = 10_000;
const GOALS: [&str; 6] = ["sale", "lead", "review", "trial", "euro", "share"];

/// A history, in cents and millionths.
#[derive(Debug, Clone)]
struct Told {
    goal: &'static str,
    cents: i64,
    is_in_euros: bool,
    is_favourite: bool,
    /// Dollars for a million euros, if anybody says.
    rate: Option<i64>,
    is_rate_late: bool,
    /// In cents; `None` is all that is left.
    refunds: Vec<Option<i64>>,
}

/// What is expected in the end, in micro-units.
#[derive(Debug, PartialEq)]
struct Expected {
    amount: Option<i128>,
    revenue: i128,
    payout: i128,
    refunded: i128,
    is_reversed: bool,
}

/// `numerator / denominator`, half away from zero; neither is below it.
fn rounded(numerator: i128, denominator: i128) -> i128 {
    (2 * numerator + denominator) / (2 * denominator)
}

fn expected(told: &Told) -> Expected {
    let in_dollars = |micros: i128, is_in_euros: bool| match (is_in_euros, told.rate) {
        (false, _) => Some(micros),
        (true, Some(rate)) => Some(rounded(micros * i128::from(rate), 1_000_000)),
        (true, None) => None,
    };
    let percent = |micros: Option<i128>, percent: i128| micros.map_or(0, |it| rounded(it * percent, 100));
    let original = i128::from(told.cents) * CENT;
    let amount = in_dollars(original, told.is_in_euros);
    let revenue = match told.goal {
        "lead" => 8_000_000,
        "review" => percent(amount, 50),
        _ => amount.unwrap_or(0),
    };
    let payout = match (told.is_favourite, told.goal) {
        (true, "sale") => 20_000_000,
        (true, _) => percent(amount, 50),
        (false, "sale" | "review") => percent(amount, 10),
        (false, "lead") => 5_000_000,
        (false, "euro") => in_dollars(3_000_000, true).unwrap_or(0),
        (false, "share") => percent(amount, 10_000),
        (false, _) => 0,
    };
    let (mut refunded, mut is_reversed) = (0, false);
    for refund in &told.refunds {
        let left = original - refunded;
        let back = match refund {
            Some(cents) => i128::from(*cents) * CENT,
            None if left == 0 && (original > 0 || is_reversed) => continue,
            None => left,
        };
        let is_good = back > 0 || refund.is_none();
        if is_good && back <= left {
            refunded += back;
            is_reversed = refunded >= original;
        }
    }
    let left = |earned: i128| match (refunded, is_reversed) {
        (0, false) => earned,
        (_, true) => 0,
        (refunded, false) => rounded(earned * (original - refunded), original),
    };
    Expected { amount, revenue: left(revenue), payout: left(payout), refunded, is_reversed }
}

fn decided(told: &Told) -> Revision {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let rate = told.rate.map(|rate| format!("{}.{:06}", rate / 1_000_000, rate % 1_000_000));
    let put = |core: &mut Core| {
        if let Some(rate) = &rate {
            core.put_rate("2026-11-09", "EUR", rate);
        }
    };
    if !told.is_rate_late {
        put(&mut core);
    }
    let currency = if told.is_in_euros { Currency::from_code("EUR").unwrap() } else { Currency::USD };
    let money = |cents: i64| Money { micros: cents * 10_000, currency };
    let mut facts: Vec<Fact> = core.feed(&edge.conversion(0, |it| {
        (it.goal, it.transaction_id, it.amount) = (told.goal.into(), "t1".into(), Some(money(told.cents)));
        (it.offer, it.partner) = (Some(OFFER), Some(if told.is_favourite { FAVOURITE } else { PARTNER }));
    }));
    for (number, refund) in told.refunds.iter().enumerate() {
        facts.extend(core.feed(&edge.refund(HOUR, |it| {
            (it.goal, it.refund_id) = (told.goal.into(), format!("r{number}"));
            it.amount = refund.map(money);
        })));
    }
    if told.is_rate_late {
        put(&mut core);
        facts.extend(core.tick());
    }
    (*revisions(&facts).last().unwrap()).clone()
}

fn told() -> impl Strategy<Value = Told> {
    let refunds = prop::collection::vec(prop::option::weighted(0.8, 0_i64..60_000), 0..4);
    (prop::sample::select(&GOALS), 0_i64..100_000, prop::bool::ANY, prop::bool::ANY, prop::bool::ANY)
        .prop_flat_map(move |(goal, cents, is_in_euros, is_favourite, is_rate_late)| {
            (prop::option::weighted(0.8, 1_i64..3_000_000), refunds.clone()).prop_map(
                move |(rate, refunds)| Told {
                    goal,
                    cents,
                    is_in_euros,
                    is_favourite,
                    rate,
                    is_rate_late,
                    refunds,
                },
            )
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_core_and_the_reference_agree_on_money(told in told()) {
        let last = decided(&told);
        let found = Expected {
            amount: last.after.amount_micros.map(i128::from),
            revenue: last.after.revenue_micros.into(),
            payout: last.after.payout_micros.into(),
            refunded: last.after.refunded_micros.into(),
            is_reversed: last.after.status == Status::Reversed,
        };
        prop_assert_eq!(found, expected(&told), "{:?}", last);
    }
}
