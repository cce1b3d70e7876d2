//! Money as clients state it: `"amount": "12.50"` with `"currency"` beside or around it, or `"amount_minor": 1250`.

use schemas::money::{Currency, Money, MoneyError};
use serde_json::Value;

use crate::conversion_fields::Reader;

const AMOUNT: [&str; 4] = ["amount", "payout", "revenue", "sum"];
const AMOUNT_MINOR: [&str; 2] = ["amount_minor", "amountCents"];
const CURRENCY: &str = "currency";

/// An amount, and whether its currency was the sender's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatedMoney {
    pub(crate) money: Money,
    pub(crate) is_default_currency: bool,
}

/// Takes the amount out of the fields. `default` is the currency of an amount without one.
pub(crate) fn take_money(reader: &mut Reader, default: Currency) -> Option<StatedMoney> {
    let flat = reader.take(&[CURRENCY]);
    let amount = reader.take(&AMOUNT);
    let minor = reader.take(&AMOUNT_MINOR);
    let (name, text, inner) = match (amount, minor) {
        (None, None) => return None,
        (Some(_), Some((name, _))) => {
            reader.fault(name, "amount is there already; send one of them");
            return None;
        }
        (None, Some((name, value))) => {
            let currency = read_currency(reader, flat)?;
            let minor = read_minor(reader, name, &value)?;
            let money = Money::from_minor(minor, currency.unwrap_or(default));
            return state(reader, name, money, currency);
        }
        (Some((name, Value::String(text))), None) => (name, text, None),
        (Some((name, Value::Object(mut members))), None) => {
            let Some(Value::String(text)) = members.remove("amount") else {
                reader.fault(name, "must hold \"amount\", a decimal string such as \"12.50\"");
                return None;
            };
            (name, text, members.remove(CURRENCY))
        }
        (Some((name, _)), None) => {
            reader.fault(name, "must be a decimal string such as \"12.50\", not a number");
            return None;
        }
    };
    let currency = read_currency(reader, inner.map(|value| (CURRENCY, value)).or(flat))?;
    let money = Money::parse(&text, currency.unwrap_or(default));
    state(reader, name, money, currency)
}

fn state(
    reader: &mut Reader,
    name: &str,
    money: Result<Money, MoneyError>,
    stated: Option<Currency>,
) -> Option<StatedMoney> {
    match money {
        Ok(money) => Some(StatedMoney { money, is_default_currency: stated.is_none() }),
        Err(error) => {
            reader.fault(name, error.to_string());
            None
        }
    }
}

/// `None` if the currency is wrong, `Some(None)` if there is none.
fn read_currency(reader: &mut Reader, field: Option<(&str, Value)>) -> Option<Option<Currency>> {
    let Some((name, value)) = field else { return Some(None) };
    let Value::String(code) = value else {
        reader.fault(name, MoneyError::UnknownCurrency.to_string());
        return None;
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
fn read_minor(reader: &mut Reader, name: &str, value: &Value) -> Option<u64> {
    let minor = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) if reader.is_flat && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok()
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    if minor.is_none() {
        reader.fault(name, "must be a whole number of minor units, not negative");
    }
    minor
}
