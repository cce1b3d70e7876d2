//! JSON values of single fields: texts, times, durations, money.

use schemas::money::{Currency, Money, Percent};
use schemas::time::Timestamp;
use serde_json::Value;

use super::fields::Fields;

const MICROS_PER_SECOND: i64 = 1_000_000;
/// The units of a duration, largest first.
const UNITS: [(char, i64); 4] = [
    ('d', 24 * 60 * 60 * MICROS_PER_SECOND),
    ('h', 60 * 60 * MICROS_PER_SECOND),
    ('m', 60 * MICROS_PER_SECOND),
    ('s', MICROS_PER_SECOND),
];

pub(crate) fn text(value: Value) -> Result<String, String> {
    if let Value::String(text) = value { Ok(text) } else { Err("must be a string".to_owned()) }
}

pub(crate) fn texts(value: Value) -> Result<Vec<String>, String> {
    let Value::Array(values) = value else { return Err("must be an array of strings".to_owned()) };
    values
        .into_iter()
        .map(|value| text(value).map_err(|_| "must be an array of strings".to_owned()))
        .collect()
}

/// One of these words.
pub(crate) fn word<T: Copy>(value: Value, words: &[(&str, T)]) -> Result<T, String> {
    let text = text(value)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("must be one of {}", words.join(", "))
    })
}

pub(crate) fn time(value: Value) -> Result<Timestamp, String> {
    text(value)?.parse().map_err(|error: schemas::time::InvalidTimestamp| format!("is {error}"))
}

pub(crate) fn currency(value: Value) -> Result<Currency, String> {
    Currency::from_code(&text(value)?).map_err(|error| format!("is {error}"))
}

pub(crate) fn percent(value: Value) -> Result<Percent, String> {
    Percent::parse(&text(value)?).map_err(|_| "must be a decimal string from \"0\" to \"10000\"".to_owned())
}

/// A duration such as `30d`, in microseconds.
pub(crate) fn duration(value: Value) -> Result<i64, String> {
    let wrong = || "must be a duration such as \"30d\", \"12h\", \"90m\" or \"45s\"".to_owned();
    let text = text(value).map_err(|_| wrong())?;
    let (_, micros) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit)).ok_or_else(wrong)?;
    let number = &text[..text.len() - 1];
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    number.parse().ok().and_then(|number: i64| number.checked_mul(micros)).ok_or_else(wrong)
}

/// The text of a duration, in its largest whole unit.
pub(crate) fn duration_text(micros: i64) -> String {
    let whole = UNITS.into_iter().find(|(_, unit)| micros % unit == 0);
    whole.map_or_else(
        || format!("{}s", micros / MICROS_PER_SECOND),
        |(unit, each)| format!("{}{unit}", micros / each),
    )
}

/// An amount in any of its forms: an object, or flat beside its currency, or in minor units.
pub(crate) fn money(fields: &mut Fields, default: Currency) -> Option<Money> {
    let forms = ["amount", "amount_minor", "amountCents"].map(|name| (name, fields.take(name)));
    let mut given = forms.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    let (Some((name, value)), None) = (given.next(), given.next()) else {
        fields.fault("amount", "is required, in one form");
        return None;
    };
    if let (true, Value::Object(_)) = (name == "amount", &value) {
        let mut inner = fields.open("amount", value)?;
        let money = flat_money(&mut inner, "amount", default);
        fields.close(inner);
        return money;
    }
    let mut currency = default;
    fields.defaulted("currency", &mut currency, default, self::currency);
    amount(fields, name, value, currency)
}

fn flat_money(fields: &mut Fields, name: &str, default: Currency) -> Option<Money> {
    let mut currency = default;
    fields.defaulted("currency", &mut currency, default, self::currency);
    let value = fields.take(name).unwrap_or(Value::Null);
    amount(fields, name, value, currency)
}

fn amount(fields: &mut Fields, name: &str, value: Value, currency: Currency) -> Option<Money> {
    let money = if name == "amount" {
        match value {
            Value::String(text) => Money::parse(&text, currency).map_err(|error| error.to_string()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Err("must be a decimal string such as \"12.50\"".to_owned())
            }
        }
    } else {
        let minor = value.as_u64().ok_or_else(|| "must be a whole number of minor units".to_owned());
        minor.and_then(|minor| Money::from_minor(minor, currency).map_err(|error| error.to_string()))
    };
    money.map_err(|message| fields.fault(name, message)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fields::Purpose;
    use super::*;

    #[test]
    fn durations_go_both_ways() {
        for (text, micros) in [
            ("30d", 2_592_000_000_000),
            ("36h", 129_600_000_000),
            ("90m", 5_400_000_000),
            ("45s", 45_000_000),
        ] {
            assert_eq!(duration(json!(text)), Ok(micros));
            assert_eq!(duration_text(micros), text);
        }
        assert_eq!(duration_text(duration(json!("24h")).unwrap()), "1d");
        for wrong in [
            json!("30"),
            json!("d"),
            json!("-1d"),
            json!("1.5d"),
            json!("1w"),
            json!("9999999999999d"),
            json!(30),
            json!("3é"),
            json!(""),
        ] {
            assert!(duration(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_amount_has_one_of_four_forms() {
        let read = |body: Value| {
            let mut fields = Fields::new(body.as_object().unwrap().clone(), Purpose::Whole);
            let money = money(&mut fields, Currency::USD);
            (money.map(|money| format!("{} {}", money.decimal(), money.currency)), fields.finish())
        };
        for (body, text) in [
            (json!({"amount": "12.5"}), "12.50 USD"),
            (json!({"amount": "12", "currency": "JPY"}), "12 JPY"),
            (json!({"amount": {"amount": "1.00", "currency": "EUR"}}), "1.00 EUR"),
            (json!({"amount_minor": 150}), "1.50 USD"),
            (json!({"amountCents": 150, "currency": "EUR"}), "1.50 EUR"),
        ] {
            assert_eq!(read(body), (Some(text.to_owned()), vec![]));
        }
        for (body, field) in [
            (json!({}), "amount"),
            (json!({"amount": 12.5}), "amount"),
            (json!({"amount": "-1"}), "amount"),
            (json!({"amount": "1e3"}), "amount"),
            (json!({"amount": "1,5"}), "amount"),
            (json!({"amount": "1.005"}), "amount"),
            (json!({"amount": "1", "amount_minor": 1}), "amount"),
            (json!({"amount_minor": -1}), "amount_minor"),
            (json!({"amount": "1", "currency": "usd"}), "currency"),
            (json!({"amount": {"amount": "1", "currency": "EUR", "x": 1}}), "amount.x"),
            (json!({"amount": {"amount": 1}}), "amount.amount"),
            (json!({"amount": {"amount": "1"}, "currency": "EUR"}), "currency"),
        ] {
            let faults = read(body.clone()).1;
            assert_eq!(faults.first().map(|fault| fault.field.as_str()), Some(field), "{body}");
        }
    }
}
