//! Exchange rates.

use jiff::civil::Date;
use schemas::event::CatalogRevision;
use schemas::id::WorkspaceNumber;
use schemas::money::{Currency, ExchangeRate, Money, MoneyError};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What one currency was worth in another on a day. It has no id: the day and the two currencies are its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Whose rate.
    pub workspace: WorkspaceNumber,
    /// The day from which on it holds, in UTC.
    #[serde(with = "date")]
    pub date: Date,
    /// The currency of the amounts that it converts.
    pub from: Currency,
    /// The currency into which it converts them.
    pub to: Currency,
    /// How many units of `to` one unit of `from` is worth.
    pub rate: ExchangeRate,
    /// What the fold says of it. A proposal says none of this: there may be very many rates, and records are for ever.
    #[serde(skip)]
    pub stamp: RateStamp,
}

/// What the fold says of a rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateStamp {
    /// 1, 2, …
    pub version: u64,
    /// When the proposal that brought it first was made.
    pub created_at: Timestamp,
    /// When the proposal that changed it last was made.
    pub updated_at: Timestamp,
    /// The number of the catalog's revision ([`CatalogRevision`]) that changed it last.
    pub revision: u64,
}

/// The name of a rate in its workspace. Rates are ordered by day, then by currencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RateKey {
    /// The day.
    pub date: Date,
    /// The currency of the amounts that it converts.
    pub from: Currency,
    /// The currency into which it converts them.
    pub to: Currency,
}

impl Rate {
    /// Its name in the workspace.
    pub const fn key(&self) -> RateKey {
        RateKey { date: self.date, from: self.from, to: self.to }
    }

    /// What the amount is worth, in micro-units rounded half away from zero.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] if the rate is one of another currency; [`MoneyError::TooLarge`] if the result does not
    /// fit into 64 bits of micro-units.
    pub fn convert(&self, money: Money) -> Result<Money, MoneyError> {
        if money.currency != self.from {
            return Err(MoneyError::CurrencyMismatch);
        }
        self.rate.convert(money, self.to)
    }

    /// Stamps what a proposal made at `at` puts in the place of `previous`, if there is one, with the revision that it makes.
    pub(crate) fn stamp(&mut self, previous: Option<&Self>, at: Timestamp, revision: CatalogRevision) {
        self.stamp = RateStamp {
            version: previous.map_or(1, |previous| previous.stamp.version.saturating_add(1)),
            created_at: previous.map_or(at, |previous| previous.stamp.created_at),
            updated_at: at,
            revision: revision.number,
        };
    }
}

impl RateKey {
    /// Where the keys of this day begin, whether or not there is such a rate.
    pub const fn first_of(date: Date) -> Self {
        Self { date, from: Currency::FIRST, to: Currency::FIRST }
    }
}

impl std::fmt::Display for RateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.date, self.from, self.to)
    }
}

/// Dates as `YYYY-MM-DD`.
mod date {
    use jiff::civil::Date;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(date: &Date, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(date)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        schemas::time::parse_date(&text).map_err(D::Error::custom)
    }
}
