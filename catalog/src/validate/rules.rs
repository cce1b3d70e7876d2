//! What is wrong in the rules and caps of a link, and in the caps of an offer.

use std::collections::HashSet;

use jiff::tz::TimeZone;

use super::{Faults, MAX_NAME_CHARS, destination};
use crate::host::domain_name;
use crate::resource::{
    Cap, CapMetric, Condition, Field, OnExceed, Op, Rule, Target, TargetDestination, Test,
};

/// Most rules of a link.
pub const MAX_RULES: usize = 32;
/// Most targets of a rule.
pub const MAX_TARGETS: usize = 32;
/// Deepest nesting of a condition.
pub const MAX_CONDITION_DEPTH: usize = 8;
/// Most tests in a condition.
pub const MAX_TESTS: usize = 64;
/// Most values of a test: there are fewer countries.
pub const MAX_VALUES: usize = 250;
/// Most bytes of values in all rules of a link: every role holds them in memory.
pub const MAX_RULES_BYTES: usize = 64 * 1024;
/// The largest weight of a target.
pub const MAX_WEIGHT: u32 = 1_000_000;
/// Most caps of an offer or a link.
pub const MAX_CAPS: usize = 16;
/// The largest value of a cap.
pub const MAX_CAP_VALUE: u64 = 1_000_000_000_000;

/// The classes of devices.
pub const DEVICES: [&str; 6] = ["desktop", "mobile", "tablet", "tv", "bot", "other"];
/// The days of the week.
pub const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

pub(super) fn rules_faults(faults: &mut Faults, rules: &[Rule]) {
    faults.unless(rules.len() <= MAX_RULES, "rules", format!("must be at most {MAX_RULES}"));
    let mut ids = HashSet::new();
    let mut bytes = 0;
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("rules[{index}]");
        if !ids.insert(rule.id) {
            faults.add(format!("{at}.id"), "is another rule's");
        }
        let mut seen = Seen::default();
        condition_faults(faults, &format!("{at}.when"), &rule.when, 1, &mut seen);
        let message = format!("must hold at most {MAX_TESTS} tests");
        faults.unless(seen.tests <= MAX_TESTS, &format!("{at}.when"), message);
        bytes += seen.bytes;
        targets_faults(faults, &at, &rule.to);
    }
    let message = format!("must hold at most {MAX_RULES_BYTES} bytes of values");
    faults.unless(bytes <= MAX_RULES_BYTES, "rules", message);
}

/// What a condition is made of.
#[derive(Default)]
struct Seen {
    tests: usize,
    bytes: usize,
}

fn condition_faults(faults: &mut Faults, at: &str, condition: &Condition, depth: usize, seen: &mut Seen) {
    if depth > MAX_CONDITION_DEPTH {
        return faults.add(at, format!("must be nested at most {MAX_CONDITION_DEPTH} deep"));
    }
    // Every fault costs a text: a condition that is too large has said enough.
    if seen.tests > MAX_TESTS {
        return;
    }
    match condition {
        Condition::And(inner) => {
            // Only as a whole condition it has a use: it matches every click.
            let holds = depth == 1 || !inner.is_empty();
            faults.unless(holds, &format!("{at}.and"), "must not be empty");
            list_faults(faults, &format!("{at}.and"), inner, depth, seen);
        }
        Condition::Or(inner) => {
            faults.unless(!inner.is_empty(), &format!("{at}.or"), "must not be empty");
            list_faults(faults, &format!("{at}.or"), inner, depth, seen);
        }
        Condition::Not(inner) => condition_faults(faults, &format!("{at}.not"), inner, depth + 1, seen),
        Condition::Test(test) => {
            seen.tests += 1;
            seen.bytes += test.value.iter().map(String::len).sum::<usize>();
            test_faults(faults, at, test);
        }
    }
}

fn list_faults(faults: &mut Faults, at: &str, list: &[Condition], depth: usize, seen: &mut Seen) {
    for (index, condition) in list.iter().enumerate() {
        condition_faults(faults, &format!("{at}[{index}]"), condition, depth + 1, seen);
    }
}

fn test_faults(faults: &mut Faults, at: &str, test: &Test) {
    let Test { field, op, value } = test;
    let at_value = format!("{at}.value");
    if !takes(*field, *op) {
        return faults.add(format!("{at}.op"), format!("{} is no operator of {field}", op.as_str()));
    }
    let most = match op {
        Op::Eq | Op::Not | Op::Contains => MAX_VALUES,
        Op::Gt | Op::Gte | Op::Lt | Op::Lte | Op::IsNull => 1,
    };
    if !(1..=most).contains(&value.len()) {
        let message =
            if most == 1 { "must be one value".to_owned() } else { format!("must be 1 to {most} values") };
        return faults.add(at_value, message);
    }
    for text in value {
        let wanted = match op {
            Op::IsNull => one_of(text, &["true", "false"]),
            Op::Contains => plain(text),
            Op::Eq | Op::Not | Op::Gt | Op::Gte | Op::Lt | Op::Lte => value_of(*field, text),
        };
        if let Err(message) = wanted {
            return faults.add(at_value, message);
        }
    }
}

/// Whether a field can be compared that way.
const fn takes(field: Field, op: Op) -> bool {
    match op {
        Op::Eq | Op::Not | Op::IsNull => true,
        Op::Gt | Op::Gte | Op::Lt | Op::Lte => matches!(field, Field::Hour),
        Op::Contains => match field {
            Field::City
            | Field::Os
            | Field::Browser
            | Field::Referrer
            | Field::UtmSource
            | Field::UtmMedium
            | Field::UtmCampaign
            | Field::UtmTerm
            | Field::UtmContent
            | Field::Sub(_) => true,
            Field::Country
            | Field::Region
            | Field::Device
            | Field::Language
            | Field::Hour
            | Field::Weekday
            | Field::Visitor
            | Field::Bot => false,
        },
    }
}

/// Whether a field can ever have this value: what it cannot have is a mistake that would go unnoticed.
///
/// # Errors
/// What the value must be.
pub fn value_of(field: Field, text: &str) -> Result<(), String> {
    let letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic());
    let holds = |holds: bool, wanted: &str| if holds { Ok(()) } else { Err(format!("must be {wanted}")) };
    match field {
        Field::Country => holds(text.len() == 2 && letters(text), "ISO 3166-1 alpha-2 codes such as DE"),
        Field::Region => {
            let parts = text.split_once('-').filter(|(country, part)| {
                let is_part = part.bytes().all(|byte| byte.is_ascii_alphanumeric());
                country.len() == 2 && letters(country) && (1..=3).contains(&part.len()) && is_part
            });
            holds(parts.is_some(), "ISO 3166-2 codes such as DE-BE")
        }
        Field::Language => holds(
            (2..=3).contains(&text.len()) && letters(text),
            "ISO 639 codes such as de, without a region",
        ),
        Field::Device => one_of(text, &DEVICES),
        Field::Weekday => one_of(text, &WEEKDAYS),
        Field::Visitor => one_of(text, &["new", "returning"]),
        Field::Bot => one_of(text, &["true", "false"]),
        Field::Hour => {
            let hour: Option<u8> = text.parse().ok().filter(|hour: &u8| hour.to_string() == text);
            holds(hour.is_some_and(|hour| hour < 24), "hours from 0 to 23")
        }
        Field::Referrer => {
            let is_normal = domain_name(text).is_ok_and(|name| name.eq_ignore_ascii_case(text));
            holds(is_normal, "domains such as search.example, written as xn--… if they are international")
        }
        Field::City
        | Field::Os
        | Field::Browser
        | Field::UtmSource
        | Field::UtmMedium
        | Field::UtmCampaign
        | Field::UtmTerm
        | Field::UtmContent
        | Field::Sub(_) => plain(text),
    }
}

fn one_of(text: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&text) { Ok(()) } else { Err(format!("must be among {}", words.join(", "))) }
}

fn plain(text: &str) -> Result<(), String> {
    let fits = (1..=MAX_NAME_CHARS).contains(&text.chars().count());
    if fits && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(format!("must be texts of 1 to {MAX_NAME_CHARS} characters, none of them a control"))
    }
}

fn targets_faults(faults: &mut Faults, at: &str, targets: &[Target]) {
    let count = (1..=MAX_TARGETS).contains(&targets.len());
    faults.unless(count, &format!("{at}.to"), format!("must be 1 to {MAX_TARGETS} targets"));
    for (index, target) in targets.iter().enumerate() {
        let at = format!("{at}.to[{index}]");
        let weight = (1..=MAX_WEIGHT).contains(&target.weight);
        faults.unless(weight, &format!("{at}.weight"), format!("must be between 1 and {MAX_WEIGHT}"));
        match &target.destination {
            TargetDestination::Url(url) => destination(faults, &format!("{at}.destination_url"), url),
            TargetDestination::Offer(_) => {}
        }
    }
}

pub(super) fn caps_faults(faults: &mut Faults, caps: &[Cap]) {
    faults.unless(caps.len() <= MAX_CAPS, "caps", format!("must be at most {MAX_CAPS}"));
    for (index, cap) in caps.iter().enumerate() {
        let at = |field: &str| format!("caps[{index}].{field}");
        let value = (1..=MAX_CAP_VALUE).contains(&cap.value);
        faults.unless(value, &at("value"), format!("must be between 1 and {MAX_CAP_VALUE}"));
        if let Some(timezone) = &cap.timezone {
            let message = "must be an IANA time zone such as Europe/Berlin";
            faults.unless(TimeZone::get(timezone).is_ok(), &at("timezone"), message);
        }
        match (cap.metric, cap.on_exceed) {
            (CapMetric::Clicks, OnExceed::Pending | OnExceed::Reject) => {
                faults.add(at("on_exceed"), "a cap of clicks can flag or fallback");
            }
            (CapMetric::Clicks, OnExceed::Flag | OnExceed::Fallback)
            | (
                CapMetric::Conversions,
                OnExceed::Flag | OnExceed::Fallback | OnExceed::Pending | OnExceed::Reject,
            ) => {}
        }
    }
}

#[cfg(test)]
mod tests;
