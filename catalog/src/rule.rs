//! The one evaluation of smart links, for the edge and for `simulate`.
//!
//! The first rule that matches takes the click. Which of its targets a visitor gets follows from the visitor alone, so it
//! is the same on every node, after every restart, and for as long as the targets and their weights stay as they are:
//!
//! - The hash is SipHash-2-4 with 64 bits (Aumasson and Bernstein, 2012). Its key is the rule's id, so that one visitor's
//!   shares in two rules have nothing to do with each other; its message is what the visitor is known by.
//! - With `total` the sum of the weights, the visitor's point is `(hash × total) >> 64`, from 0 to `total - 1`.
//! - The targets lie one after the other on that line, each as long as its weight; the point lies in one of them.
//!
//! A value that is not known is the empty text. It equals nothing, so it matches no `eq` and every `not`.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use schemas::id::RuleId;
use schemas::time::Timestamp;
use siphasher::sip::SipHasher24;

use crate::resource::{Condition, Field, Link, Op, Rule, Target, Test};

/// What rules ask about: a click, or what a click could be.
pub trait Subject {
    /// The field's value, empty if it is not known. Asked only for fields that a test needs to know.
    fn value(&self, field: Field) -> &str;
}

/// What a link's rules chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen<'l> {
    /// The rule that matched.
    pub rule: RuleId,
    /// Which of its targets, from 0.
    pub variant: u32,
    /// That target.
    pub target: &'l Target,
}

/// The target that a link's rules choose for a click; `None` if no rule matches and the link's own destination stands.
/// `sticky` is what the visitor is known by: equal bytes get equal targets.
pub fn choose<'l>(link: &'l Link, subject: &impl Subject, sticky: &[u8]) -> Option<Chosen<'l>> {
    let rule = link.rules.iter().find(|rule| matches(&rule.when, subject))?;
    let (variant, target) = share(rule, sticky)?;
    Some(Chosen { rule: rule.id, variant, target })
}

/// Whether a condition holds.
pub fn matches(condition: &Condition, subject: &impl Subject) -> bool {
    match condition {
        Condition::And(all) => all.iter().all(|condition| matches(condition, subject)),
        Condition::Or(any) => any.iter().any(|condition| matches(condition, subject)),
        Condition::Not(condition) => !matches(condition, subject),
        Condition::Test(test) => holds(test, subject.value(test.field)),
    }
}

fn holds(test: &Test, actual: &str) -> bool {
    match test.op {
        Op::Eq => equals_one(test, actual),
        Op::Not => !equals_one(test, actual),
        Op::Gt => compares(test, actual, |actual, wanted| actual > wanted),
        Op::Gte => compares(test, actual, |actual, wanted| actual >= wanted),
        Op::Lt => compares(test, actual, |actual, wanted| actual < wanted),
        Op::Lte => compares(test, actual, |actual, wanted| actual <= wanted),
        Op::Contains => !actual.is_empty() && test.value.iter().any(|part| contains(actual, part)),
        Op::IsNull => test.value.iter().any(|wanted| (wanted == "true") == actual.is_empty()),
    }
}

fn equals_one(test: &Test, actual: &str) -> bool {
    !actual.is_empty() && test.value.iter().any(|wanted| equals(test.field, actual, wanted))
}

fn equals(field: Field, actual: &str, wanted: &str) -> bool {
    match field {
        // These are the customer's own words.
        Field::Sub(_)
        | Field::UtmSource
        | Field::UtmMedium
        | Field::UtmCampaign
        | Field::UtmTerm
        | Field::UtmContent => actual == wanted,
        Field::Referrer => is_domain_or_below(actual, wanted),
        Field::Country
        | Field::Region
        | Field::City
        | Field::Device
        | Field::Os
        | Field::Browser
        | Field::Language
        | Field::Hour
        | Field::Weekday
        | Field::Visitor
        | Field::Bot => actual.eq_ignore_ascii_case(wanted),
    }
}

/// Whether a host is this domain or a name below it.
fn is_domain_or_below(host: &str, domain: &str) -> bool {
    let Some(start) = host.len().checked_sub(domain.len()) else { return false };
    let (above, end) = host.as_bytes().split_at(start);
    end.eq_ignore_ascii_case(domain.as_bytes()) && above.last().is_none_or(|byte| *byte == b'.')
}

fn compares(test: &Test, actual: &str, order: impl Fn(u32, u32) -> bool) -> bool {
    let Ok(actual) = actual.parse() else { return false };
    test.value.iter().any(|wanted| wanted.parse().is_ok_and(|wanted| order(actual, wanted)))
}

/// Whether a part stands in a text, whatever the case of its ASCII letters.
fn contains(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    part.is_empty() || text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

/// The target that a visitor gets.
fn share<'l>(rule: &'l Rule, sticky: &[u8]) -> Option<(u32, &'l Target)> {
    let total: u64 = rule.to.iter().map(|target| u64::from(target.weight)).sum();
    let mut point = (u128::from(hash(rule.id, sticky)) * u128::from(total)) >> 64;
    for (variant, target) in (0_u32..).zip(&rule.to) {
        match point.checked_sub(u128::from(target.weight)) {
            None => return Some((variant, target)),
            Some(rest) => point = rest,
        }
    }
    None
}

fn hash(rule: RuleId, sticky: &[u8]) -> u64 {
    SipHasher24::new_with_key(rule.bytes()).hash(sticky)
}

/// The hour of a time on the clocks of a time zone, as [`Field::Hour`] has it.
pub fn hour(at: Timestamp, timezone: &str) -> &'static str {
    const HOURS: [&str; 24] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17",
        "18", "19", "20", "21", "22", "23",
    ];
    let hour = local(at, timezone).and_then(|local| usize::try_from(local.hour()).ok());
    hour.and_then(|hour| HOURS.get(hour)).copied().unwrap_or_default()
}

/// The day of the week of a time in a time zone, as [`Field::Weekday`] has it.
pub fn weekday(at: Timestamp, timezone: &str) -> &'static str {
    local(at, timezone).map_or("", |local| match local.weekday() {
        Weekday::Monday => "mon",
        Weekday::Tuesday => "tue",
        Weekday::Wednesday => "wed",
        Weekday::Thursday => "thu",
        Weekday::Friday => "fri",
        Weekday::Saturday => "sat",
        Weekday::Sunday => "sun",
    })
}

/// `None` for times and zones that this build does not know: the value is unknown then.
fn local(at: Timestamp, timezone: &str) -> Option<jiff::civil::DateTime> {
    let zone = TimeZone::get(timezone).ok()?;
    Some(zone.to_datetime(jiff::Timestamp::from_microsecond(at.micros()).ok()?))
}

/// The domain of a referrer, as [`Field::Referrer`] has it: without scheme, user, port, path and `www.`.
pub fn referrer_domain(referrer: &str) -> &str {
    let after = referrer.split_once("://").map_or(referrer, |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // An address of version 6 stands in brackets, and its colons are no port's.
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
        Some(_) | None => host,
    };
    match host.split_at_checked(4) {
        Some((www, domain)) if www.eq_ignore_ascii_case("www.") => domain,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests;
