//! Exchange rates: exact decimals. Never a float.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Currency, Money, MoneyError, split_decimal};

/// How many units of one currency one unit of another is worth: more than 0, at most 100,000,000, with up to ten decimals. Its
/// text form is a decimal string such as `"1.0842"`.
///
/// Ten decimals leave the smallest rates between two currencies of the world five digits that count; the largest ones are
/// some millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeRate {
    /// Units of 10⁻¹⁰.
    mantissa: i64,
}

/// Why a text is no exchange rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Not digits with at most one point between them.
    #[error("must be a decimal number such as \"1.0842\", without sign, exponent or comma")]
    NotDecimal,
    /// Nothing is worth nothing.
    #[error("must be more than 0")]
    Zero,
    /// More decimals than are kept: whoever sends them rounds them, not we.
    #[error("has more than {} decimals", ExchangeRate::DECIMALS)]
    TooManyDecimals,
    /// More than the largest rate.
    #[error("must be at most {}", ExchangeRate::MAX)]
    TooLarge,
}

impl ExchangeRate {
    /// The largest rate.
    pub const MAX: i64 = 100_000_000;
    /// How many decimals a rate may have.
    pub const DECIMALS: usize = 10;
    /// Units of the mantissa in the rate 1.
    const UNIT: i64 = 10_i64.pow(Self::DECIMALS as u32);
    /// What stands for what is worth the same.
    pub const ONE: Self = Self { mantissa: Self::UNIT };

    /// Parses a decimal string.
    ///
    /// # Errors
    /// [`RateError`] for anything but a plain decimal number within the bounds.
    pub fn parse(text: &str) -> Result<Self, RateError> {
        let (whole, decimals) = split_decimal(text).map_err(|_| RateError::NotDecimal)?;
        if decimals.len() > Self::DECIMALS {
            return Err(RateError::TooManyDecimals);
        }
        let units: i64 = whole.parse().map_err(|_| RateError::TooLarge)?;
        if units > Self::MAX {
            return Err(RateError::TooLarge);
        }
        let mut mantissa = units * Self::UNIT;
        let mut place = Self::UNIT;
        for digit in decimals.bytes() {
            place /= 10;
            mantissa += i64::from(digit - b'0') * place;
        }
        match mantissa {
            0 => Err(RateError::Zero),
            _ if mantissa > Self::MAX * Self::UNIT => Err(RateError::TooLarge),
            _ => Ok(Self { mantissa }),
        }
    }

    /// What the amount is worth in the currency `to`, in micro-units rounded half away from zero. Whether the rate is one of the
    /// amount's currency is for the caller to know.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] if it does not fit into 64 bits of micro-units.
    pub fn convert(self, money: Money, to: Currency) -> Result<Money, MoneyError> {
        let product = i128::from(money.micros) * i128::from(self.mantissa);
        let unit = i128::from(Self::UNIT);
        let rounded = (product + product.signum() * unit / 2) / unit;
        let micros = i64::try_from(rounded).map_err(|_| MoneyError::TooLarge)?;
        Ok(Money { micros, currency: to })
    }
}

impl fmt::Display for ExchangeRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:010}", self.mantissa % Self::UNIT);
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        write!(f, "{}{point}{decimals}", self.mantissa / Self::UNIT)
    }
}

impl Serialize for ExchangeRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExchangeRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(text: &str) -> ExchangeRate {
        ExchangeRate::parse(text).unwrap()
    }

    fn dollars(micros: i64) -> Money {
        Money { micros, currency: Currency::USD }
    }

    fn converted(micros: i64, rate: ExchangeRate) -> Result<i64, MoneyError> {
        rate.convert(dollars(micros), Currency::from_code("EUR").unwrap()).map(|money| money.micros)
    }

    #[test]
    fn a_rate_is_a_plain_decimal_within_bounds() {
        for (text, shown) in [
            ("1.0842", "1.0842"),
            ("1.08420", "1.0842"),
            ("01", "1"),
            ("0.0000000001", "0.0000000001"),
            ("100000000", "100000000"),
            ("100000000.0", "100000000"),
            ("137000.55", "137000.55"),
        ] {
            assert_eq!(
                ExchangeRate::parse(text).map(|rate| rate.to_string()).as_deref(),
                Ok(shown),
                "{text}"
            );
        }
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "1 ", " 1", "0x1", "１", "NaN", "1.2.3"]
        {
            assert_eq!(ExchangeRate::parse(text), Err(RateError::NotDecimal), "{text:?}");
        }
        for (text, error) in [
            ("0", RateError::Zero),
            ("0.0000000000", RateError::Zero),
            ("0.00000000001", RateError::TooManyDecimals),
            ("1.00000000000", RateError::TooManyDecimals),
            ("100000000.0000000001", RateError::TooLarge),
            ("100000001", RateError::TooLarge),
            ("99999999999999999999", RateError::TooLarge),
        ] {
            assert_eq!(ExchangeRate::parse(text), Err(error), "{text}");
        }
        let messages = [RateError::TooManyDecimals, RateError::TooLarge].map(|error| error.to_string());
        assert_eq!(messages, ["has more than 10 decimals", "must be at most 100000000"]);
    }

    #[test]
    fn what_is_converted_is_rounded_half_away_from_zero() {
        for (micros, text, wanted) in [
            (12_500_000, "1.0842", Ok(13_552_500)),
            (1, "0.5", Ok(1)),
            (-1, "0.5", Ok(-1)),
            (1, "0.4999999999", Ok(0)),
            (-1, "0.4999999999", Ok(0)),
            (3, "0.5", Ok(2)),
            (i64::MAX, "1", Ok(i64::MAX)),
            (i64::MIN, "1", Ok(i64::MIN)),
            (i64::MAX, "1.0000000001", Err(MoneyError::TooLarge)),
            (i64::MIN, "100000000", Err(MoneyError::TooLarge)),
            (0, "100000000", Ok(0)),
        ] {
            assert_eq!(converted(micros, rate(text)), wanted, "{micros} × {text}");
        }
        let euro = Currency::from_code("EUR").unwrap();
        assert_eq!(ExchangeRate::ONE.convert(dollars(1), euro).unwrap().currency, euro);
    }

    fn any_rate() -> impl Strategy<Value = ExchangeRate> {
        let largest = ExchangeRate::MAX * ExchangeRate::UNIT;
        prop_oneof![1..=largest, 1..=20 * ExchangeRate::UNIT].prop_map(|mantissa| ExchangeRate { mantissa })
    }

    proptest! {
        #[test]
        fn a_rate_is_what_its_text_says(rate in any_rate()) {
            prop_assert_eq!(ExchangeRate::parse(&rate.to_string()), Ok(rate));
            let json = serde_json::to_string(&rate).unwrap();
            prop_assert_eq!(serde_json::from_str::<ExchangeRate>(&json).unwrap(), rate);
        }

        #[test]
        fn no_text_panics(text in ".*", digits in "[0-9]{0,30}\\.?[0-9]{0,30}") {
            let _ = ExchangeRate::parse(&text);
            let _ = ExchangeRate::parse(&digits);
        }

        #[test]
        fn the_rate_1_changes_no_amount(micros in any::<i64>()) {
            prop_assert_eq!(converted(micros, ExchangeRate::ONE), Ok(micros));
        }

        #[test]
        fn the_larger_amount_and_the_higher_rate_are_worth_no_less(
            (less, more) in (any::<i64>(), any::<i64>()).prop_map(|(a, b)| (a.min(b), a.max(b))),
            (low, high) in (any_rate(), any_rate()).prop_map(|(a, b)| (a.min(b), a.max(b))),
        ) {
            if let (Ok(of_less), Ok(of_more)) = (converted(less, low), converted(more, low)) {
                prop_assert!(of_less <= of_more);
            }
            if let (Ok(at_low), Ok(at_high)) = (converted(more, low), converted(more, high)) {
                let (fewer, larger) = if more < 0 { (at_high, at_low) } else { (at_low, at_high) };
                prop_assert!(fewer <= larger);
            }
        }

        #[test]
        fn a_debt_is_worth_what_the_amount_is(micros in -i64::MAX..=i64::MAX, rate in any_rate()) {
            prop_assert_eq!(converted(-micros, rate), converted(micros, rate).map(|micros| -micros));
        }

        #[test]
        fn the_error_is_at_most_half_a_micro_unit(micros in any::<i64>(), rate in any_rate()) {
            let exact = i128::from(micros) * i128::from(rate.mantissa);
            let unit = i128::from(ExchangeRate::UNIT);
            match converted(micros, rate) {
                Ok(found) => prop_assert!((i128::from(found) * unit - exact).abs() * 2 <= unit),
                Err(_) => prop_assert!(exact.abs() / unit >= i128::from(i64::MAX)),
            }
        }
    }
}
