//! Money as clients state it: `"amount": "12.50"` with `"currency"` beside or around it, or `"amount_minor": 1250`.
//!
//! Without a named currency the offer's is meant. Where the request names no offer either, only the click tells which
//! that is, and the click may not be known here: the amount is kept as it was stated, and priced by the core.

use schemas::event::StatedAmount;
use schemas::money::{Currency, MICROS_PER_UNIT, Money, MoneyError, split_decimal};
use serde_json::Value;

use crate::fields::Field;
use crate::reader::Reader;

pub(crate) const AMOUNT: [&str; 4] = ["amount", "payout", "revenue", "sum"];
pub(crate) const AMOUNT_MINOR: [&str; 2] = ["amount_minor", "amountCents"];
const CURRENCY: &str = "currency";
/// Digits of an amount whose currency is not known yet: 64 bits of micro-units have 19, and some are zeros in front.
const MAX_STATED_DIGITS: usize = 20;
/// No currency's smallest unit is smaller than a micro-unit.
const MAX_DECIMALS: usize = MICROS_PER_UNIT.ilog10() as usize;

/// What the sender earned, so far as the request tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Earned {
    /// The amount, if its currency is known.
    pub(crate) money: Option<Money>,
    /// The amount, if its currency is not known.
    pub(crate) stated: Option<StatedAmount>,
}

/// Takes the amount out of the fields. `offer_currency` is that of the offer which the request names.
pub(crate) fn take_money(reader: &mut Reader<'_>, offer_currency: Option<Currency>) -> Earned {
    let Some((name, stated, currency)) = take_stated(reader) else { return Earned::default() };
    let earned = match currency.or(offer_currency) {
        Some(currency) => stated
            .in_currency(currency)
            .map(|money| Earned { money: Some(money), stated: None })
            .map_err(|error| error.to_string()),
        None => check_without_currency(&stated).map(|()| Earned { money: None, stated: Some(stated) }),
    };
    earned.unwrap_or_else(|message| {
        reader.fault(name, message);
        Earned::default()
    })
}

/// The amount, the field it stood in, and the currency that the sender named. `None` if there is none or it is wrong.
fn take_stated(reader: &mut Reader<'_>) -> Option<(&'static str, StatedAmount, Option<Currency>)> {
    let flat = reader.take(&[CURRENCY]);
    let amount = reader.take(&AMOUNT);
    let minor = reader.take(&AMOUNT_MINOR);
    let (name, field) = match (amount, minor) {
        (None, None) => return None,
        (Some(_), Some((name, _))) => {
            reader.fault(name, "amount is there already; send one of them");
            return None;
        }
        (None, Some((name, value))) => {
            let currency = read_currency(reader, flat)?;
            let minor = read_minor(reader, name, &value)?;
            return Some((name, StatedAmount::Minor(minor), currency));
        }
        (Some(amount), None) => amount,
    };
    let (text, currency) = read_decimal(reader, name, field, flat)?;
    Some((name, StatedAmount::Decimal(text), currency))
}

/// Takes what a hit cost out of the fields: as an amount, but with the decimals of a price.
pub(crate) fn take_price(reader: &mut Reader<'_>, offer_currency: Currency) -> Option<Money> {
    let flat = reader.take(&[CURRENCY]);
    let (name, field) = reader.take(&["cost"])?;
    if field == Field::Text("".into()) {
        return None;
    }
    let (text, currency) = read_decimal(reader, name, field, flat)?;
    match Money::parse_price(&text, currency.unwrap_or(offer_currency)) {
        Ok(price) => Some(price),
        Err(error) => {
            reader.fault(name, error.to_string());
            None
        }
    }
}

/// A decimal string, alone or in an object with its currency, which else is the one beside it.
fn read_decimal<'a>(
    reader: &mut Reader<'a>,
    name: &str,
    field: Field<'a>,
    flat: Option<(&'static str, Field<'a>)>,
) -> Option<(String, Option<Currency>)> {
    let (text, inner) = match field {
        Field::Text(text) => (text.into_owned(), None),
        Field::Json(Value::Object(mut members)) => {
            let Some(Value::String(text)) = members.remove("amount") else {
                reader.fault(name, "must hold \"amount\", a decimal string such as \"12.50\"");
                return None;
            };
            (text, members.remove(CURRENCY).map(Field::Json))
        }
        Field::Json(_) => {
            reader.fault(name, "must be a decimal string such as \"12.50\", not a number");
            return None;
        }
    };
    let currency = read_currency(reader, inner.map(|value| (CURRENCY, value)).or(flat))?;
    Some((text, currency))
}

/// Refuses what is no amount of any currency.
fn check_without_currency(stated: &StatedAmount) -> Result<(), String> {
    let whole = match stated {
        StatedAmount::Minor(minor) => i64::try_from(*minor).ok(),
        StatedAmount::Decimal(text) => {
            let (whole, decimals) = split_decimal(text).map_err(|error| error.to_string())?;
            if whole.len() + decimals.len() > MAX_STATED_DIGITS {
                return Err(format!("must have at most {MAX_STATED_DIGITS} digits"));
            }
            if decimals.len() > MAX_DECIMALS {
                return Err("has more decimals than any currency".to_owned());
            }
            whole.parse().ok().and_then(|units: i64| units.checked_mul(MICROS_PER_UNIT))
        }
    };
    whole.map(|_| ()).ok_or_else(|| MoneyError::TooLarge.to_string())
}

/// `None` if the currency is wrong, `Some(None)` if there is none.
fn read_currency(reader: &mut Reader<'_>, field: Option<(&str, Field<'_>)>) -> Option<Option<Currency>> {
    let Some((name, field)) = field else { return Some(None) };
    let code = match field {
        Field::Text(code) => code,
        Field::Json(Value::String(code)) => code.into(),
        Field::Json(_) => {
            reader.fault(name, MoneyError::UnknownCurrency.to_string());
            return None;
        }
    };
    match Currency::from_code(&code) {
        Ok(currency) => Some(Some(currency)),
        Err(error) => {
            reader.fault(name, error.to_string());
            None
        }
    }
}

/// An integer; digits, where all values are texts.
fn read_minor(reader: &mut Reader<'_>, name: &str, value: &Field<'_>) -> Option<u64> {
    let minor = match value {
        Field::Json(value) => value.as_u64(),
        Field::Text(text) if reader.is_flat && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok()
        }
        Field::Text(_) => None,
    };
    if minor.is_none() {
        reader.fault(name, "must be a whole number of minor units, not negative");
    }
    minor
}
