//! What a report counts, and how each number becomes an answer.

use schemas::event::Status;
use schemas::money::{Currency, Money};
use serde_json::{Value, json};

use crate::error::Error;

/// A number that the tables give as it is; everything else is made of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
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
}

impl Base {
    const fn name(self) -> &'static str {
        match self {
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
        }
    }

    const fn is_money(self) -> bool {
        match self {
            Self::Clicks | Self::InvalidClicks | Self::Conversions | Self::In(_) => false,
            Self::Revenue | Self::Payout => true,
        }
    }

    /// Whether the number comes from `clicks`, and not from `conversion_revisions`.
    pub(crate) const fn counts_clicks(self) -> bool {
        match self {
            Self::Clicks | Self::InvalidClicks => true,
            Self::Conversions | Self::In(_) | Self::Revenue | Self::Payout => false,
        }
    }

    /// The number over a group of rows of `clicks`.
    pub(crate) fn of_clicks(self, gross: bool) -> String {
        let count = match self {
            Self::Clicks if gross => "count()",
            Self::Clicks => "countIf(counted)",
            Self::InvalidClicks => "countIf(NOT counted)",
            Self::Conversions | Self::In(_) | Self::Revenue | Self::Payout => "0",
        };
        format!("toInt128({count})")
    }

    /// The number over a group of rows of `conversion_revisions`: a sum of signed deltas.
    pub(crate) fn of_revisions(self) -> String {
        match self {
            Self::Clicks | Self::InvalidClicks => "toInt128(0)".to_owned(),
            Self::Conversions => "sum(toInt128(conversions_delta))".to_owned(),
            Self::In(status) => {
                let word = status.as_str();
                format!("toInt128(countIf(status = '{word}')) - toInt128(countIf(status_before = '{word}'))")
            }
            Self::Revenue => "sum(toInt128(revenue_delta))".to_owned(),
            Self::Payout => "sum(toInt128(payout_delta))".to_owned(),
        }
    }
}

/// A column of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// A number as it is.
    Plain(Base),
    /// Conversions per click.
    Cr,
    /// Payout per click.
    Epc,
    /// Revenue per click.
    Rpc,
    /// Revenue per conversion.
    Aov,
}

/// Words of the contract whose numbers the tables do not give yet.
const NOT_YET: [&str; 11] = [
    "impressions",
    "unique_clicks",
    "cost",
    "profit",
    "ctr",
    "epm",
    "cpa",
    "roi",
    "approve_rate",
    "time_to_convert_p50",
    "time_to_convert_p90",
];

impl Metric {
    /// What a report shows that names no metrics.
    pub(crate) const DEFAULT: [Self; 4] = [
        Self::Plain(Base::Clicks),
        Self::Plain(Base::Conversions),
        Self::Plain(Base::Revenue),
        Self::Plain(Base::Payout),
    ];

    fn all() -> impl Iterator<Item = Self> {
        let plain = [Base::Clicks, Base::InvalidClicks, Base::Conversions, Base::Revenue, Base::Payout];
        plain.into_iter().chain(Status::ALL.into_iter().map(Base::In)).map(Self::Plain).chain([
            Self::Cr,
            Self::Epc,
            Self::Rpc,
            Self::Aov,
        ])
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
            Self::Cr => "cr",
            Self::Epc => "epc",
            Self::Rpc => "rpc",
            Self::Aov => "aov",
        }
    }

    /// Numerator and denominator of a ratio.
    pub(crate) const fn ratio(self) -> Option<(Base, Base)> {
        match self {
            Self::Plain(_) => None,
            Self::Cr => Some((Base::Conversions, Base::Clicks)),
            Self::Epc => Some((Base::Payout, Base::Clicks)),
            Self::Rpc => Some((Base::Revenue, Base::Clicks)),
            Self::Aov => Some((Base::Revenue, Base::Conversions)),
        }
    }

    /// The value in an answer: a number, money, or null for a ratio to 0. Money per click or conversion is rounded to
    /// micro-units, half away from zero.
    pub(crate) fn show(self, number: impl Fn(Base) -> i128, currency: Currency) -> Result<Value, Error> {
        let Some((numerator, denominator)) = self.ratio() else {
            let Self::Plain(base) = self else { return Ok(Value::Null) };
            let value = number(base);
            return if base.is_money() { money(value, currency) } else { Ok(json!(whole(value)?)) };
        };
        let (above, below) = (number(numerator), number(denominator));
        if below == 0 {
            return Ok(Value::Null);
        }
        if numerator.is_money() {
            return money(divided(above, below), currency);
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
        assert_eq!(all.len(), 15);
        for metric in all {
            assert_eq!(Metric::parse("metrics", metric.name()), Ok(metric));
        }
        let refused = |word: &str| Metric::parse("metrics", word).unwrap_err().body("").message;
        assert_eq!(refused("profit"), "\"profit\" is not available yet");
        assert_eq!(refused("clicks; DROP"), "\"clicks; DROP\" is not a metric");
    }

    #[test]
    fn ratios_are_fractions_money_is_exact_and_nothing_is_divided_by_nothing() {
        let show = |metric: Metric, clicks: i128, conversions: i128, revenue: i128| {
            let number = |base: Base| match base {
                Base::Clicks => clicks,
                Base::Conversions => conversions,
                Base::Revenue => revenue,
                Base::InvalidClicks | Base::In(_) | Base::Payout => 0,
            };
            metric.show(number, Currency::USD).unwrap()
        };
        assert_eq!(show(Metric::Cr, 400, 13, 0), json!(0.0325));
        assert_eq!(show(Metric::Cr, 0, 13, 0), Value::Null);
        assert_eq!(show(Metric::Rpc, 3, 0, 2_000_000), json!({"amount": "0.666667", "currency": "USD"}));
        assert_eq!(show(Metric::Aov, 0, 2, -3), json!({"amount": "-0.000002", "currency": "USD"}));
        assert_eq!(
            show(Metric::Plain(Base::Revenue), 0, 0, 80_000_000),
            json!({"amount": "80.00", "currency": "USD"})
        );
    }
}
