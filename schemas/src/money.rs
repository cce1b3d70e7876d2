//! Money: an integer of micro-units of an ISO 4217 currency. Never a float.

use std::fmt;

use iso_currency::Currency as Iso;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod rate;

pub use rate::{ExchangeRate, RateError};

/// Micro-units in one unit of any currency.
pub const MICROS_PER_UNIT: i64 = 1_000_000;
const MICRO_DIGITS: u32 = 6;

/// An ISO 4217 currency that has minor units (test codes and metals have none and are refused).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(Iso);

/// Why a text is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a currency of ISO 4217.
    #[error("not an ISO 4217 currency code")]
    UnknownCurrency,
    /// Not digits with at most one point between them.
    #[error("must be a decimal number such as \"12.50\", without sign, exponent or comma")]
    NotDecimal,
    /// More decimals than the currency has.
    #[error("has more decimals than {code}'s {exponent}")]
    TooManyDecimals {
        /// The currency's code.
        code: &'static str,
        /// How many decimals it has.
        exponent: u32,
    },
    /// Does not fit into 64 bits of micro-units.
    #[error("is too large")]
    TooLarge,
    /// Amounts of two currencies met.
    #[error("amounts of different currencies")]
    CurrencyMismatch,
}

impl Currency {
    /// The US dollar, a workspace's default.
    pub const USD: Self = Self(Iso::USD);
    /// The first in the order of codes: where a range of currencies begins.
    pub const FIRST: Self = Self(Iso::AED);

    /// The currency with this code, capitals only.
    pub fn from_code(code: &str) -> Result<Self, MoneyError> {
        Iso::from_code(code)
            .filter(|iso| iso.exponent().is_some_and(|exponent| u32::from(exponent) <= MICRO_DIGITS))
            .map(Self)
            .ok_or(MoneyError::UnknownCurrency)
    }

    /// Its three letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals its amounts have.
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }

    /// Micro-units in the currency's smallest unit.
    pub fn micros_per_minor(self) -> i64 {
        10_i64.pow(MICRO_DIGITS.saturating_sub(self.exponent()))
    }
}

/// By code.
impl Ord for Currency {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code().cmp(other.code())
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::from_code(&code).map_err(D::Error::custom)
    }
}

/// An amount in a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// Micro-units; negative in deltas only.
    pub micros: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// Parses an amount as it stands in a request: digits, at most one point, no sign, no exponent.
    pub fn parse(amount: &str, currency: Currency) -> Result<Self, MoneyError> {
        let (whole, decimals) = split_decimal(amount)?;
        if decimals.len() > currency.exponent() as usize {
            return Err(MoneyError::TooManyDecimals { code: currency.code(), exponent: currency.exponent() });
        }
        Self::of_digits(whole, decimals, currency)
    }

    /// Parses a price, which may be finer than the currency's smallest unit: a click costs less than a cent.
    ///
    /// # Errors
    /// As [`Money::parse`], but up to six decimals are taken in every currency.
    pub fn parse_price(amount: &str, currency: Currency) -> Result<Self, MoneyError> {
        let (whole, decimals) = split_decimal(amount)?;
        if decimals.len() > MICRO_DIGITS as usize {
            return Err(MoneyError::TooManyDecimals { code: currency.code(), exponent: MICRO_DIGITS });
        }
        Self::of_digits(whole, decimals, currency)
    }

    /// Digits only, and no more decimals than a micro-unit has.
    fn of_digits(whole: &str, decimals: &str, currency: Currency) -> Result<Self, MoneyError> {
        let units: i64 = whole.parse().map_err(|_| MoneyError::TooLarge)?;
        let mut micros = units.checked_mul(MICROS_PER_UNIT).ok_or(MoneyError::TooLarge)?;
        let mut place = MICROS_PER_UNIT;
        for digit in decimals.bytes() {
            place /= 10;
            micros = micros.checked_add(i64::from(digit - b'0') * place).ok_or(MoneyError::TooLarge)?;
        }
        Ok(Self { micros, currency })
    }

    /// The amount with this many of the currency's smallest units (cents).
    pub fn from_minor(minor: u64, currency: Currency) -> Result<Self, MoneyError> {
        let minor = i64::try_from(minor).map_err(|_| MoneyError::TooLarge)?;
        let micros = minor.checked_mul(currency.micros_per_minor()).ok_or(MoneyError::TooLarge)?;
        Ok(Self { micros, currency })
    }

    /// The sum; the currencies must be the same.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch);
        }
        let micros = self.micros.checked_add(other.micros).ok_or(MoneyError::TooLarge)?;
        Ok(Self { micros, currency: self.currency })
    }

    /// This share of the amount, in micro-units rounded half away from zero.
    pub fn share(self, percent: Percent) -> Result<Self, MoneyError> {
        let product = i128::from(self.micros) * i128::from(percent.micros);
        let whole = i128::from(100 * MICROS_PER_UNIT);
        let rounded = (product + product.signum() * whole / 2) / whole;
        let micros = i64::try_from(rounded).map_err(|_| MoneyError::TooLarge)?;
        Ok(Self { micros, currency: self.currency })
    }

    /// The decimal form, with at least the currency's decimals and more only where the amount has them.
    pub fn decimal(&self) -> String {
        let magnitude = self.micros.unsigned_abs();
        let unit = MICROS_PER_UNIT.unsigned_abs();
        let mut decimals = format!("{:06}", magnitude % unit);
        while decimals.len() > self.currency.exponent() as usize && decimals.ends_with('0') {
            decimals.pop();
        }
        let sign = if self.micros < 0 { "-" } else { "" };
        let point = if decimals.is_empty() { "" } else { "." };
        format!("{sign}{}{point}{decimals}", magnitude / unit)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut money = serializer.serialize_struct("Money", 2)?;
        money.serialize_field("amount", &self.decimal())?;
        money.serialize_field("currency", &self.currency)?;
        money.end()
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parts {
            amount: String,
            currency: Currency,
        }
        let parts = Parts::deserialize(deserializer)?;
        Self::parse(&parts.amount, parts.currency).map_err(D::Error::custom)
    }
}

/// The digits before and after the point: no sign, no exponent, no comma, digits on both sides of a point.
///
/// # Errors
/// [`MoneyError::NotDecimal`] for any other text.
pub fn split_decimal(amount: &str) -> Result<(&str, &str), MoneyError> {
    let (whole, decimals) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || (amount.contains('.') && !digits(decimals)) {
        return Err(MoneyError::NotDecimal);
    }
    Ok((whole, decimals))
}

/// A percentage with up to six decimals, 0 to 10,000; its text form is a decimal string such as `"12.5"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent {
    /// Millionths of one percent.
    micros: i64,
}

impl Percent {
    /// The largest percentage that is taken.
    pub const MAX: i64 = 10_000;

    /// Parses a decimal string.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > MICRO_DIGITS as usize {
            return Err(MoneyError::NotDecimal);
        }
        let units: i64 = whole.parse().map_err(|_| MoneyError::TooLarge)?;
        if units > Self::MAX {
            return Err(MoneyError::TooLarge);
        }
        let fraction: i64 = format!("{decimals:0<6}").parse().map_err(|_| MoneyError::NotDecimal)?;
        let micros = units * MICROS_PER_UNIT + fraction;
        if micros > Self::MAX * MICROS_PER_UNIT { Err(MoneyError::TooLarge) } else { Ok(Self { micros }) }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:06}", self.micros % MICROS_PER_UNIT);
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        write!(f, "{}{point}{decimals}", self.micros / MICROS_PER_UNIT)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::from_code(code).unwrap()
    }

    #[test]
    fn decimals_follow_the_currency() {
        for (text, code, micros) in [
            ("12.50", "EUR", Ok(12_500_000)),
            ("12.5", "EUR", Ok(12_500_000)),
            ("12.500", "EUR", Err(MoneyError::TooManyDecimals { code: "EUR", exponent: 2 })),
            ("1200.0", "JPY", Err(MoneyError::TooManyDecimals { code: "JPY", exponent: 0 })),
            ("1200", "JPY", Ok(1_200_000_000)),
            ("1.234", "KWD", Ok(1_234_000)),
            ("0", "USD", Ok(0)),
            ("12.505", "EUR", Err(MoneyError::TooManyDecimals { code: "EUR", exponent: 2 })),
            ("1.5", "JPY", Err(MoneyError::TooManyDecimals { code: "JPY", exponent: 0 })),
            ("9223372036854.775807", "EUR", Err(MoneyError::TooManyDecimals { code: "EUR", exponent: 2 })),
            ("9223372036854.77", "EUR", Ok(9_223_372_036_854_770_000)),
            ("9223372036855", "EUR", Err(MoneyError::TooLarge)),
        ] {
            assert_eq!(Money::parse(text, currency(code)).map(|money| money.micros), micros, "{text} {code}");
        }
    }

    #[test]
    fn currencies_are_in_the_order_of_their_codes() {
        let letters = || 'A'..='Z';
        let codes = letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| [a, b, c])));
        let all: Vec<Currency> =
            codes.filter_map(|code| Currency::from_code(&String::from_iter(code)).ok()).collect();
        assert!(all.len() > 100 && all.is_sorted());
        assert_eq!(all.first(), Some(&Currency::FIRST));
    }

    #[test]
    fn a_price_may_be_finer_than_a_cent() {
        for (text, micros) in [
            ("0.0023", Ok(2_300)),
            ("1", Ok(1_000_000)),
            ("0.000001", Ok(1)),
            ("0.0000001", Err(MoneyError::TooManyDecimals { code: "USD", exponent: 6 })),
            ("-1", Err(MoneyError::NotDecimal)),
            ("9223372036855", Err(MoneyError::TooLarge)),
        ] {
            assert_eq!(Money::parse_price(text, Currency::USD).map(|money| money.micros), micros, "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_decimal_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "1 ", " 1", "0x1", "１", "NaN", "1.2.3"]
        {
            assert_eq!(Money::parse(text, Currency::USD), Err(MoneyError::NotDecimal), "{text:?}");
        }
        assert_eq!(Currency::from_code("usd"), Err(MoneyError::UnknownCurrency));
        assert_eq!(Currency::from_code("XAU"), Err(MoneyError::UnknownCurrency));
    }

    #[test]
    fn a_share_rounds_half_away_from_zero() {
        let percent = |text: &str| Percent::parse(text).unwrap();
        let money = |micros| Money { micros, currency: Currency::USD };
        assert_eq!(money(80_000_000).share(percent("10")), Ok(money(8_000_000)));
        assert_eq!(money(5).share(percent("10")), Ok(money(1)));
        assert_eq!(money(-5).share(percent("10")), Ok(money(-1)));
        assert_eq!(money(4).share(percent("10")), Ok(money(0)));
        assert_eq!(money(i64::MAX).share(percent("101")), Err(MoneyError::TooLarge));
        assert_eq!(percent("12.50").to_string(), "12.5");
        assert_eq!(Percent::parse("10000.000001"), Err(MoneyError::TooLarge));
    }

    proptest! {
        #[test]
        fn decimal_text_round_trips(minor in 0..i64::MAX as u64 / 1_000_000, code in prop::sample::select(
            vec!["EUR", "JPY", "KWD", "CLF", "USD"])) {
            if let Ok(money) = Money::from_minor(minor, currency(code)) {
                prop_assert_eq!(Money::parse(&money.decimal(), money.currency), Ok(money));
            }
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = Money::parse(&text, Currency::USD);
            let _ = Percent::parse(&text);
        }
    }
}
