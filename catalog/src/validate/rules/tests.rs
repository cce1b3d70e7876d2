use schemas::id::Id;

use super::*;
use crate::resource::{CapScope, CapWindow};

fn test(field: Field, op: Op, values: &[&str]) -> Condition {
    Condition::Test(Test { field, op, value: values.iter().map(|value| (*value).to_owned()).collect() })
}

fn germans() -> Condition {
    test(Field::Country, Op::Eq, &["DE"])
}

fn target(weight: u32) -> Target {
    Target { destination: TargetDestination::Url("https://shop.example/{click_id}".into()), weight }
}

fn rule(number: u8, when: Condition) -> Rule {
    Rule { id: Id::from_bytes([number; 16]), when, to: vec![target(1)] }
}

fn fields(rules: &[Rule]) -> Vec<String> {
    let mut faults = Faults::default();
    rules_faults(&mut faults, rules);
    faults.0.into_iter().map(|fault| fault.field).collect()
}

fn when(condition: Condition) -> Vec<String> {
    fields(&[rule(1, condition)])
}

fn nested(depth: usize) -> Condition {
    (1..depth).fold(germans(), |inner, _| Condition::Not(Box::new(inner)))
}

#[test]
fn values_are_those_that_a_field_can_have() {
    for (field, op, values) in [
        (Field::Country, Op::Eq, &["DE", "at"][..]),
        (Field::Region, Op::Not, &["DE-BE", "US-CA", "GB-ENG"]),
        (Field::Device, Op::Eq, &DEVICES),
        (Field::Language, Op::Eq, &["de", "gsw"]),
        (Field::Hour, Op::Eq, &["0", "23"]),
        (Field::Hour, Op::Gte, &["9"]),
        (Field::Weekday, Op::Eq, &WEEKDAYS),
        (Field::Visitor, Op::Eq, &["new"]),
        (Field::Bot, Op::Not, &["true"]),
        (Field::Referrer, Op::Eq, &["search.example", "Xn--Mller-kva.example"]),
        (Field::Referrer, Op::Contains, &["search"]),
        (Field::City, Op::IsNull, &["true"]),
        (Field::Sub(10), Op::Eq, &["anything at all, ü"]),
    ] {
        assert_eq!(when(test(field, op, values)), [""; 0], "{field} {op:?} {values:?}");
    }
    for (field, op, values) in [
        (Field::Country, Op::Eq, &["Germany"][..]),
        (Field::Country, Op::Eq, &[]),
        (Field::Country, Op::Eq, &[""]),
        (Field::Region, Op::Eq, &["Berlin"]),
        (Field::Region, Op::Eq, &["DE-"]),
        (Field::Device, Op::Eq, &["phone"]),
        (Field::Language, Op::Eq, &["de-AT"]),
        (Field::Hour, Op::Eq, &["24"]),
        (Field::Hour, Op::Eq, &["09"]),
        (Field::Hour, Op::Gte, &["9", "10"]),
        (Field::Weekday, Op::Eq, &["Monday"]),
        (Field::Visitor, Op::Eq, &["old"]),
        (Field::Bot, Op::Eq, &["yes"]),
        (Field::Referrer, Op::Eq, &["https://search.example"]),
        (Field::Referrer, Op::Eq, &["müller.example"]),
        (Field::City, Op::IsNull, &["maybe"]),
        (Field::City, Op::Eq, &["a\nb"]),
        (Field::Sub(1), Op::Contains, &[""]),
    ] {
        assert_eq!(when(test(field, op, values)), ["rules[0].when.value"], "{field} {op:?} {values:?}");
    }
    for (field, op) in [(Field::Country, Op::Gt), (Field::Sub(1), Op::Lte), (Field::Bot, Op::Contains)] {
        assert_eq!(when(test(field, op, &["1"])), ["rules[0].when.op"], "{field} {op:?}");
    }
    for field in Field::all() {
        assert_eq!(when(test(field, Op::IsNull, &["false"])), [""; 0], "{field}");
    }
}

#[test]
fn conditions_have_a_depth_and_a_size() {
    assert_eq!(when(nested(MAX_CONDITION_DEPTH)), [""; 0]);
    let path = format!("rules[0].when{}", ".not".repeat(MAX_CONDITION_DEPTH));
    assert_eq!(when(nested(MAX_CONDITION_DEPTH + 1)), [path]);
    assert_eq!(when(Condition::And(vec![germans(); MAX_TESTS])), [""; 0]);
    assert_eq!(when(Condition::Or(vec![germans(); MAX_TESTS + 1])), ["rules[0].when"]);
    assert_eq!(when(Condition::Or(vec![Condition::And(vec![germans(); 40]); 40])), ["rules[0].when"]);
    let countries = vec!["DE"; MAX_VALUES];
    assert_eq!(when(test(Field::Country, Op::Eq, &countries)), [""; 0]);
    assert_eq!(
        when(test(Field::Country, Op::Eq, &[&countries[..], &["AT"]].concat())),
        ["rules[0].when.value"]
    );
    let long = "x".repeat(MAX_NAME_CHARS);
    let heavy = test(Field::Sub(1), Op::Eq, &vec![long.as_str(); MAX_VALUES]);
    assert_eq!(fields(&[rule(1, heavy.clone())]), [""; 0]);
    assert_eq!(fields(&[rule(1, heavy.clone()), rule(2, heavy)]), ["rules"]);
}

#[test]
fn only_a_whole_condition_may_be_empty() {
    assert_eq!(when(Condition::And(Vec::new())), [""; 0]);
    assert_eq!(when(Condition::Or(Vec::new())), ["rules[0].when.or"]);
    let inner = Condition::Or(vec![germans(), Condition::And(Vec::new())]);
    assert_eq!(when(inner), ["rules[0].when.or[1].and"]);
}

#[test]
fn rules_and_targets_are_counted() {
    let many = |count: usize| (0..count).map(|number| rule(number as u8, germans())).collect::<Vec<_>>();
    assert_eq!(fields(&many(MAX_RULES)), [""; 0]);
    assert_eq!(fields(&many(MAX_RULES + 1)), ["rules"]);
    assert_eq!(fields(&[rule(1, germans()), rule(1, germans())]), ["rules[1].id"]);
    let with = |to: Vec<Target>| fields(&[Rule { to, ..rule(1, germans()) }]);
    assert_eq!(with(vec![target(MAX_WEIGHT); MAX_TARGETS]), [""; 0]);
    assert_eq!(with(vec![target(1); MAX_TARGETS + 1]), ["rules[0].to"]);
    assert_eq!(with(Vec::new()), ["rules[0].to"]);
    assert_eq!(with(vec![target(1), target(0)]), ["rules[0].to[1].weight"]);
    assert_eq!(with(vec![target(MAX_WEIGHT + 1)]), ["rules[0].to[0].weight"]);
    let nowhere = Target { destination: TargetDestination::Url("https://{sub1}".into()), weight: 1 };
    assert_eq!(with(vec![nowhere]), ["rules[0].to[0].destination_url"]);
}

#[test]
fn caps_have_bounds_and_clicks_are_never_refused() {
    let cap = |metric, on_exceed| Cap {
        metric,
        window: CapWindow::Day,
        timezone: Some("Europe/Berlin".into()),
        value: 1,
        per: CapScope::All,
        on_exceed,
    };
    let fields = |caps: &[Cap]| {
        let mut faults = Faults::default();
        caps_faults(&mut faults, caps);
        faults.0.into_iter().map(|fault| fault.field).collect::<Vec<_>>()
    };
    let clicks = cap(CapMetric::Clicks, OnExceed::Fallback);
    assert_eq!(fields(&vec![clicks.clone(); MAX_CAPS]), [""; 0]);
    assert_eq!(fields(&vec![clicks.clone(); MAX_CAPS + 1]), ["caps"]);
    for on_exceed in [OnExceed::Pending, OnExceed::Reject] {
        assert_eq!(fields(&[cap(CapMetric::Conversions, on_exceed)]), [""; 0]);
        assert_eq!(fields(&[cap(CapMetric::Clicks, on_exceed)]), ["caps[0].on_exceed"]);
    }
    let wrong = Cap { value: 0, timezone: Some("Mars".into()), ..clicks.clone() };
    assert_eq!(fields(&[clicks.clone(), wrong]), ["caps[1].value", "caps[1].timezone"]);
    assert_eq!(fields(&[Cap { value: MAX_CAP_VALUE + 1, ..clicks }]), ["caps[0].value"]);
}
