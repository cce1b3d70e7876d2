//! What a report counts, and how each number becomes an answer.

use schemas::event::Status;
use schemas::money::{Currency, Money};
use serde_json::{Value, json};

use crate::error::Error;
use crate::sql::Table;

/// A number that the tables give as it is; everything else is made of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// Impressions that count, or all of them in gross.
    Impressions,
    /// Clicks that count, or all of them in gross.
    Clicks,
    /// Clicks that do not count.
    InvalidClicks,
    /// Conversions that count: pending, hold, approved and paid.
    Conversions,
    /// Conversions in one status.
    In(Status),
    /// What the workspace earns.
    Revenue,
    /// What partners earn.
    Payout,
    /// What clicks and impressions cost, as far as their cost is stated in the workspace's currency; those that do not
    /// count have cost as much.
    Cost,
    /// What is left: revenue less payout and cost.
    Profit,
    /// What was spent: payout and cost.
    Spending,
}

impl Base {
    const fn name(self) -> &'static str {
        match self {
            Self::Impressions => "impressions",
            Self::Clicks => "clicks",
            Self::InvalidClicks => "invalid_clicks",
            Self::Conversions => "conversions",
            Self::In(Status::Pending) => "conversions_pending",
            Self::In(Status::Hold) => "conversions_hold",
            Self::In(Status::Approved) => "conversions_approved",
            Self::In(Status::Rejected) => "conversions_rejected",
            Self::In(Status::Reversed) => "conversions_reversed",
            Self::In(Status::Paid) => "conversions_paid",
            Self::Revenue => "revenue",
            Self::Payout => "payout",
            Self::Cost => "cost",
            Self::Profit => "profit",
            // Only inside of ratios: in answers it has no word of its own.
            Self::Spending => "payout_and_cost",
        }
    }

    const fn is_money(self) -> bool {
        match self {
            Self::Impressions | Self::Clicks | Self::InvalidClicks | Self::Conversions | Self::In(_) => false,
            Self::Revenue | Self::Payout | Self::Cost | Self::Profit | Self::Spending => true,
        }
    }

    /// Whether rows of this table have a part in the number.
    pub(crate) const fn is_in(self, table: Table) -> bool {
        match self {
            Self::Impressions => matches!(table, Table::Impressions),
            Self::Clicks | Self::InvalidClicks => matches!(table, Table::Clicks),
            Self::Conversions | Self::In(_) | Self::Revenue | Self::Payout => {
                matches!(table, Table::Revisions)
            }
            Self::Cost => matches!(table, Table::Impressions | Table::Clicks),
            Self::Profit | Self::Spending => {
                matches!(table, Table::Impressions | Table::Clicks | Table::Revisions)
            }
        }
    }

    /// The number over a group of rows of this table. `cost` sums what its hits cost.
    pub(crate) fn over(self, table: Table, gross: bool, cost: &str) -> String {
        if !self.is_in(table) {
            return "toInt128(0)".to_owned();
        }
        match self {
            Self::Impressions | Self::Clicks if gross => "toInt128(count())".to_owned(),
            Self::Impressions | Self::Clicks => "toInt128(countIf(counted))".to_owned(),
            Self::InvalidClicks => "toInt128(countIf(NOT counted))".to_owned(),
            Self::Conversions => "sum(toInt128(conversions_delta))".to_owned(),
            Self::In(status) => {
                let word = status.as_str();
                format!("toInt128(countIf(status = '{word}')) - toInt128(countIf(status_before = '{word}'))")
            }
            Self::Revenue => "sum(toInt128(revenue_delta))".to_owned(),
            Self::Payout => "sum(toInt128(payout_delta))".to_owned(),
            Self::Cost => cost.to_owned(),
            Self::Profit if table == Table::Revisions => {
                "sum(toInt128(revenue_delta) - toInt128(payout_delta))".to_owned()
            }
            Self::Profit => format!("-{cost}"),
            Self::Spending if table == Table::Revisions => "sum(toInt128(payout_delta))".to_owned(),
            Self::Spending => cost.to_owned(),
        }
    }
}

/// A column of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// A number as it is.
    Plain(Base),
    /// Clicks per impression.
    Ctr,
    /// Conversions per click.
    Cr,
    /// Payout per click.
    Epc,
    /// Revenue per click.
    Rpc,
    /// Payout per thousand impressions.
    Epm,
    /// Payout and cost per conversion.
    Cpa,
    /// Profit per payout and cost.
    Roi,
    /// Revenue per conversion.
    Aov,
}

/// How a metric is made of the numbers that the tables give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Formula {
    /// It is this one.
    Plain(Base),
    /// It divides two of them.
    Ratio(Ratio),
}

/// A quotient of two numbers, times a factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ratio {
    pub(crate) above: Base,
    pub(crate) below: Base,
    pub(crate) factor: i128,
}

/// Words of the contract whose numbers the tables do not give yet.
const NOT_YET: [&str; 4] = ["unique_clicks", "approve_rate", "time_to_convert_p50", "time_to_convert_p90"];
/// The plain numbers that answers show, besides conversions by status.
const PLAIN: [Base; 8] = [
    Base::Impressions,
    Base::Clicks,
    Base::InvalidClicks,
    Base::Conversions,
    Base::Revenue,
    Base::Payout,
    Base::Cost,
    Base::Profit,
];

impl Metric {
    /// What a report shows that names no metrics.
    pub(crate) const DEFAULT: [Self; 4] = [
        Self::Plain(Base::Clicks),
        Self::Plain(Base::Conversions),
        Self::Plain(Base::Revenue),
        Self::Plain(Base::Payout),
    ];
    const RATIOS: [Self; 8] =
        [Self::Ctr, Self::Cr, Self::Epc, Self::Rpc, Self::Epm, Self::Cpa, Self::Roi, Self::Aov];

    fn all() -> impl Iterator<Item = Self> {
        let plain = PLAIN.into_iter().chain(Status::ALL.into_iter().map(Base::In));
        plain.map(Self::Plain).chain(Self::RATIOS)
    }

    /// The metric with this word; `field` is named if there is none.
    pub(crate) fn parse(field: &str, word: &str) -> Result<Self, Error> {
        if let Some(metric) = Self::all().find(|metric| metric.name() == word) {
            return Ok(metric);
        }
        let is_known = NOT_YET.contains(&word);
        let fault = if is_known { "is not available yet" } else { "is not a metric" };
        Err(Error::invalid(field, format!("{word:?} {fault}")))
    }

    /// The word in the contract.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain(base) => base.name(),
            Self::Ctr => "ctr",
            Self::Cr => "cr",
            Self::Epc => "epc",
            Self::Rpc => "rpc",
            Self::Epm => "epm",
            Self::Cpa => "cpa",
            Self::Roi => "roi",
            Self::Aov => "aov",
        }
    }

    /// How it is made.
    pub(crate) const fn formula(self) -> Formula {
        let (above, below, factor) = match self {
            Self::Plain(base) => return Formula::Plain(base),
            Self::Ctr => (Base::Clicks, Base::Impressions, 1),
            Self::Cr => (Base::Conversions, Base::Clicks, 1),
            Self::Epc => (Base::Payout, Base::Clicks, 1),
            Self::Rpc => (Base::Revenue, Base::Clicks, 1),
            Self::Epm => (Base::Payout, Base::Impressions, 1_000),
            Self::Cpa => (Base::Spending, Base::Conversions, 1),
            Self::Roi => (Base::Profit, Base::Spending, 1),
            Self::Aov => (Base::Revenue, Base::Conversions, 1),
        };
        Formula::Ratio(Ratio { above, below, factor })
    }

    /// The numbers that an answer shows beside this one: those that it is made of.
    pub(crate) fn parts(self) -> Vec<Self> {
        let Formula::Ratio(ratio) = self.formula() else { return Vec::new() };
        let shown = |base: Base| match base {
            Base::Spending => vec![Base::Payout, Base::Cost],
            Base::Impressions
            | Base::Clicks
            | Base::InvalidClicks
            | Base::Conversions
            | Base::In(_)
            | Base::Revenue
            | Base::Payout
            | Base::Cost
            | Base::Profit => vec![base],
        };
        [ratio.below, ratio.above].into_iter().flat_map(shown).map(Self::Plain).collect()
    }

    /// The numbers that this one is computed from.
    pub(crate) fn bases(self) -> Vec<Base> {
        match self.formula() {
            Formula::Plain(base) => vec![base],
            Formula::Ratio(ratio) => vec![ratio.above, ratio.below],
        }
    }

    /// The value in an answer: a number, money, or null for a ratio to 0. Money per click or conversion is rounded to
    /// micro-units, half away from zero.
    pub(crate) fn show(self, number: impl Fn(Base) -> i128, currency: Currency) -> Result<Value, Error> {
        let Ratio { above, below, factor } = match self.formula() {
            Formula::Plain(base) if base.is_money() => return money(number(base), currency),
            Formula::Plain(base) => return Ok(json!(whole(number(base))?)),
            Formula::Ratio(ratio) => ratio,
        };
        let is_money = above.is_money() && !below.is_money();
        let (above, below) = (number(above), number(below));
        if below == 0 {
            return Ok(Value::Null);
        }
        if is_money {
            return money(divided(above * factor, below), currency);
        }
        Ok(json!(above as f64 / below as f64))
    }
}

/// The quotient, rounded half away from zero; `below` is not 0.
fn divided(above: i128, below: i128) -> i128 {
    let (above, below) = (above * below.signum(), below.abs());
    let (quotient, rest) = (above / below, above % below);
    if rest.abs() * 2 >= below { quotient + above.signum() } else { quotient }
}

fn money(micros: i128, currency: Currency) -> Result<Value, Error> {
    let money = Money { micros: whole(micros)?, currency };
    serde_json::to_value(money).map_err(|error| Error::Internal(format!("money: {error}")))
}

fn whole(value: i128) -> Result<i64, Error> {
    i64::try_from(value).map_err(|_| Error::Internal(format!("a total of {value} does not fit into 64 bits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_its_own_metric_and_others_are_refused() {
        let all: Vec<_> = Metric::all().collect();
        assert_eq!(all.len(), 22);
        for metric in all {
            assert_eq!(Metric::parse("metrics", metric.name()), Ok(metric));
        }
        let refused = |word: &str| Metric::parse("metrics", word).unwrap_err().body("").message;
        assert_eq!(refused("unique_clicks"), "\"unique_clicks\" is not available yet");
        assert_eq!(refused("clicks; DROP"), "\"clicks; DROP\" is not a metric");
    }

    #[test]
    fn ratios_are_fractions_money_is_exact_and_nothing_is_divided_by_nothing() {
        let show = |metric: Metric, clicks: i128, conversions: i128, revenue: i128| {
            let number = |base: Base| match base {
                Base::Clicks => clicks,
                Base::Conversions => conversions,
                Base::Revenue => revenue,
                Base::Impressions => 4 * clicks,
                Base::Profit => -revenue,
                Base::Spending => 2 * revenue,
                Base::InvalidClicks | Base::In(_) | Base::Payout | Base::Cost => 0,
            };
            metric.show(number, Currency::USD).unwrap()
        };
        assert_eq!(show(Metric::Cr, 400, 13, 0), json!(0.0325));
        assert_eq!(show(Metric::Cr, 0, 13, 0), Value::Null);
        assert_eq!(show(Metric::Rpc, 3, 0, 2_000_000), json!({"amount": "0.666667", "currency": "USD"}));
        assert_eq!(show(Metric::Ctr, 7, 0, 0), json!(0.25));
        assert_eq!(show(Metric::Roi, 0, 0, 5), json!(-0.5));
        assert_eq!(show(Metric::Roi, 0, 0, 0), Value::Null);
        assert_eq!(show(Metric::Cpa, 0, 4, 6), json!({"amount": "0.000003", "currency": "USD"}));
        assert_eq!(show(Metric::Aov, 0, 2, -3), json!({"amount": "-0.000002", "currency": "USD"}));
        assert_eq!(
            show(Metric::Plain(Base::Revenue), 0, 0, 80_000_000),
            json!({"amount": "80.00", "currency": "USD"})
        );
    }
}
