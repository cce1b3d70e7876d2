use std::cell::RefCell;
use std::collections::HashMap;

use proptest::prelude::*;
use schemas::id::{Id, OfferId, WorkspaceNumber};

use super::*;
use crate::resource::{Meta, TargetDestination};

/// Values by field, and which of them were asked for.
#[derive(Default)]
struct Visit {
    values: HashMap<Field, String>,
    asked: RefCell<Vec<Field>>,
}

impl Subject for Visit {
    fn value(&self, field: Field) -> &str {
        self.asked.borrow_mut().push(field);
        self.values.get(&field).map_or("", String::as_str)
    }
}

fn visit(values: &[(Field, &str)]) -> Visit {
    let values = values.iter().map(|(field, value)| (*field, (*value).to_owned())).collect();
    Visit { values, asked: RefCell::default() }
}

fn test(field: Field, op: Op, values: &[&str]) -> Condition {
    Condition::Test(Test { field, op, value: values.iter().map(|value| (*value).to_owned()).collect() })
}

fn targets(weights: &[u32]) -> Vec<Target> {
    let target = |(number, weight): (u8, &u32)| Target {
        destination: TargetDestination::Offer(OfferId::from_bytes([number; 16])),
        weight: *weight,
    };
    (0..).zip(weights).map(target).collect()
}

fn rule(number: u8, when: Condition, weights: &[u32]) -> Rule {
    Rule { id: Id::from_bytes([number; 16]), when, to: targets(weights) }
}

fn link(rules: Vec<Rule>) -> Link {
    Link {
        id: Id::from_bytes([1; 16]),
        workspace: WorkspaceNumber::new(1).unwrap(),
        key: "anna".into(),
        domain: None,
        offer: Id::from_bytes([1; 16]),
        partner: None,
        creative: None,
        destination_url: None,
        redirect_status: 302,
        fallback_url: None,
        expires_at: None,
        rules,
        caps: Vec::new(),
        meta: Meta::new(Timestamp::default()),
    }
}

fn always() -> Condition {
    Condition::And(Vec::new())
}

#[test]
fn the_hash_is_the_published_one() {
    // The vectors of the reference implementation: key 00 01 … 0f, message 00 01 … of the given length.
    let key = RuleId::from_bytes(std::array::from_fn(|index| index as u8));
    let message: [u8; 15] = std::array::from_fn(|index| index as u8);
    for (length, expected) in [
        (0, 0x726f_db47_dd0e_0e31_u64),
        (1, 0x74f8_39c5_93dc_67fd),
        (8, 0x93f5_f579_9a93_2462),
        (15, 0xa129_ca61_49be_45e5),
    ] {
        assert_eq!(hash(key, &message[..length]), expected, "{length} bytes");
    }
}

#[test]
fn visitors_keep_their_targets_from_version_to_version() {
    let link = link(vec![rule(7, always(), &[50, 30, 20])]);
    let variants: Vec<u32> =
        (0_u8..16).map(|visitor| choose(&link, &visit(&[]), &[visitor; 16]).unwrap().variant).collect();
    assert_eq!(variants, [2, 1, 0, 0, 0, 2, 1, 1, 1, 0, 0, 1, 1, 0, 0, 2]);
}

#[test]
fn the_first_rule_that_matches_takes_the_click_and_no_other_is_asked() {
    let germans = test(Field::Country, Op::Eq, &["DE", "AT"]);
    let phones = test(Field::Device, Op::Eq, &["mobile"]);
    let link = link(vec![rule(1, germans, &[1]), rule(2, phones, &[1]), rule(3, always(), &[1])]);
    let chosen = |values: &[(Field, &str)]| {
        let visit = visit(values);
        let chosen = choose(&link, &visit, b"v").map(|chosen| chosen.rule.bytes()[0]);
        (chosen, visit.asked.into_inner())
    };
    let both = [(Field::Country, "de"), (Field::Device, "mobile")];
    assert_eq!(chosen(&both), (Some(1), vec![Field::Country]));
    assert_eq!(chosen(&both[1..]), (Some(2), vec![Field::Country, Field::Device]));
    assert_eq!(chosen(&[]), (Some(3), vec![Field::Country, Field::Device]));
    assert_eq!(choose(&self::link(Vec::new()), &visit(&[]), b"v"), None);
}

#[test]
fn operators_compare_as_the_contract_says() {
    let holds = |field, op, values: &[&str], actual: &str| {
        matches(&test(field, op, values), &visit(&[(field, actual)]))
    };
    for (field, op, values, actual, expected) in [
        (Field::Country, Op::Eq, &["DE", "AT"][..], "at", true),
        (Field::Country, Op::Not, &["DE", "AT"], "FR", true),
        (Field::Country, Op::Not, &["DE", "AT"], "DE", false),
        (Field::Sub(3), Op::Eq, &["Blog"], "Blog", true),
        (Field::Sub(3), Op::Eq, &["Blog"], "blog", false),
        (Field::UtmSource, Op::Contains, &["NEWS"], "my-newsletter", true),
        (Field::UtmSource, Op::Contains, &["news", "mail"], "my-email", true),
        (Field::UtmSource, Op::Contains, &["a longer text than that"], "short", false),
        (Field::Referrer, Op::Eq, &["example.com"], "example.com", true),
        (Field::Referrer, Op::Eq, &["example.com"], "News.Example.COM", true),
        (Field::Referrer, Op::Eq, &["example.com"], "evil-example.com", false),
        (Field::Referrer, Op::Eq, &["news.example.com"], "example.com", false),
        (Field::Hour, Op::Gte, &["9"], "9", true),
        (Field::Hour, Op::Gt, &["9"], "9", false),
        (Field::Hour, Op::Gt, &["9"], "10", true),
        (Field::Hour, Op::Lt, &["10"], "9", true),
        (Field::Hour, Op::Lte, &["9"], "10", false),
        (Field::City, Op::IsNull, &["true"], "", true),
        (Field::City, Op::IsNull, &["true"], "Berlin", false),
        (Field::City, Op::IsNull, &["false"], "Berlin", true),
    ] {
        assert_eq!(holds(field, op, values, actual), expected, "{field} {op:?} {values:?} {actual:?}");
    }
}

#[test]
fn an_unknown_value_equals_nothing() {
    for field in Field::all() {
        for op in [Op::Eq, Op::Gt, Op::Gte, Op::Lt, Op::Lte, Op::Contains] {
            assert!(!matches(&test(field, op, &["0", ""]), &visit(&[])), "{field} {op:?}");
        }
        assert!(matches(&test(field, Op::Not, &["DE", ""]), &visit(&[])), "{field}");
        assert!(matches(&Condition::Not(Box::new(test(field, Op::Eq, &["DE"]))), &visit(&[])), "{field}");
    }
}

#[test]
fn clocks_are_those_of_the_time_zone() {
    // 2026-03-29T00:30:00Z, a Sunday: half an hour before the clocks of Berlin go forward.
    let at = Timestamp::from_micros(1_774_744_200_000_000);
    assert_eq!((hour(at, "UTC"), weekday(at, "UTC")), ("0", "sun"));
    assert_eq!((hour(at, "Europe/Berlin"), weekday(at, "Europe/Berlin")), ("1", "sun"));
    assert_eq!((hour(at, "America/New_York"), weekday(at, "America/New_York")), ("20", "sat"));
    assert_eq!(hour(at.saturating_add(30 * 60 * 1_000_000), "Europe/Berlin"), "3");
    assert_eq!((hour(at, "Mars/Olympus"), weekday(at, "Mars/Olympus")), ("", ""));
}

#[test]
fn a_referrer_has_a_domain() {
    for (referrer, domain) in [
        ("https://www.google.com/search?q=a", "google.com"),
        ("http://user:pass@Shop.example:8080/x", "Shop.example"),
        ("https://[2001:db8::1]:8080/", "[2001:db8::1]"),
        ("https://[2001:db8::1]/", "[2001:db8::1]"),
        ("WWW.example.com", "example.com"),
        ("android-app://com.example.app/", "com.example.app"),
        ("äöü.example", "äöü.example"),
        ("", ""),
    ] {
        assert_eq!(referrer_domain(referrer), domain, "{referrer}");
    }
}

#[test]
fn shares_are_as_large_as_their_weights() {
    const VISITORS: u32 = 100_000;
    let link = link(vec![rule(9, always(), &[60, 0, 30, 10])]);
    let mut counts = [0_u32; 4];
    for visitor in 0..VISITORS {
        let chosen = choose(&link, &visit(&[]), &visitor.to_be_bytes()).unwrap();
        counts[chosen.variant as usize] += 1;
    }
    // Four standard deviations of a share of one half.
    let tolerance = 4.0 * (f64::from(VISITORS) / 4.0).sqrt();
    for (count, percent) in counts.into_iter().zip([60.0, 0.0, 30.0, 10.0]) {
        let expected = f64::from(VISITORS) * percent / 100.0;
        assert!((f64::from(count) - expected).abs() <= tolerance, "{counts:?}");
    }
    assert_eq!(counts[1], 0, "a target without weight takes nobody");
}

fn any_test() -> impl Strategy<Value = Condition> {
    let fields = prop::sample::select(Field::all().collect::<Vec<_>>());
    let values = prop::collection::vec("[a-c0-9]{0,2}", 0..3);
    (fields, prop::sample::select(Op::ALL.to_vec()), values)
        .prop_map(|(field, op, value)| Condition::Test(Test { field, op, value }))
}

fn any_condition() -> impl Strategy<Value = Condition> {
    any_test().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Condition::And),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Condition::Or),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

fn any_visit() -> impl Strategy<Value = Visit> {
    let fields = prop::sample::select(Field::all().collect::<Vec<_>>());
    prop::collection::hash_map(fields, "[a-c0-9]{0,2}", 0..8)
        .prop_map(|values| Visit { values, asked: RefCell::default() })
}

impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.values.fmt(f)
    }
}

proptest! {
    #[test]
    fn conditions_obey_the_laws_of_logic(a in any_condition(), b in any_condition(), visit in any_visit()) {
        let holds = |condition: &Condition| matches(condition, &visit);
        let not = |condition: &Condition| Condition::Not(Box::new(condition.clone()));
        let and = Condition::And(vec![a.clone(), b.clone()]);
        let or = Condition::Or(vec![a.clone(), b.clone()]);
        prop_assert_eq!(holds(&and), holds(&a) && holds(&b));
        prop_assert_eq!(holds(&or), holds(&a) || holds(&b));
        prop_assert_eq!(holds(&not(&a)), !holds(&a));
        prop_assert_eq!(holds(&not(&and)), holds(&Condition::Or(vec![not(&a), not(&b)])));
        prop_assert_eq!(holds(&not(&or)), holds(&Condition::And(vec![not(&a), not(&b)])));
        prop_assert!(holds(&Condition::And(Vec::new())) && !holds(&Condition::Or(Vec::new())));
    }

    #[test]
    fn a_not_is_the_opposite_of_its_eq(field in prop::sample::select(Field::all().collect::<Vec<_>>()),
            value in prop::collection::vec("[a-c0-9]{1,2}", 1..3), visit in any_visit()) {
        let of = |op| Condition::Test(Test { field, op, value: value.clone() });
        prop_assert_eq!(matches(&of(Op::Eq), &visit), !matches(&of(Op::Not), &visit));
    }

    #[test]
    fn a_condition_survives_the_log(condition in any_condition()) {
        let json = serde_json::to_string(&condition).unwrap();
        prop_assert_eq!(serde_json::from_str::<Condition>(&json).unwrap(), condition);
    }

    #[test]
    fn a_visitor_stays_with_a_target(weights in prop::collection::vec(1_u32..1_000_000, 1..8),
            sticky in prop::collection::vec(any::<u8>(), 0..40), number in any::<u8>()) {
        let link = link(vec![rule(number, always(), &weights)]);
        let first = choose(&link, &visit(&[]), &sticky).unwrap();
        prop_assert_eq!(choose(&link, &visit(&[(Field::Country, "DE")]), &sticky).unwrap(), first);
        prop_assert_eq!(&link.rules[0].to[first.variant as usize], first.target);
        // Weights are relative: twice all of them is the same.
        let doubled: Vec<u32> = weights.iter().map(|weight| weight * 2).collect();
        let doubled = self::link(vec![rule(number, always(), &doubled)]);
        let again = choose(&doubled, &visit(&[]), &sticky).unwrap();
        prop_assert_eq!(again.variant, first.variant);
    }

    #[test]
    fn a_later_rule_never_takes_what_an_earlier_one_matches(first in any_condition(), second in any_condition(), visit in any_visit()) {
        let link = link(vec![rule(1, first.clone(), &[1]), rule(2, second.clone(), &[1])]);
        let expected = if matches(&first, &visit) { Some(1) } else if matches(&second, &visit) { Some(2) } else { None };
        prop_assert_eq!(choose(&link, &visit, b"v").map(|chosen| chosen.rule.bytes()[0]), expected);
    }
}
