//! Exchange rates.

use std::ops::Bound;

use jiff::civil::{Date, date};
use schemas::money::{ExchangeRate, Money, MoneyError};

use super::*;
use crate::{MAX_RATE_AGE_DAYS, MAX_RATES};

fn currency(code: &str) -> Currency {
    Currency::from_code(code).unwrap()
}

/// The dollars that one unit of a currency is worth on a day of November.
pub(super) fn rate(workspace: u32, day: u8, from: &str, rate: &str) -> Rate {
    Rate {
        workspace: workspace_number(workspace),
        date: november(day),
        from: currency(from),
        to: Currency::USD,
        rate: ExchangeRate::parse(rate).unwrap(),
        stamp: RateStamp::default(),
    }
}

fn november(day: u8) -> Date {
    // The day 0 is the last one of October.
    date(2026, 10, 31).checked_add(jiff::Span::new().days(day)).unwrap()
}

/// What euros are worth in dollars on a day of November, in the first workspace.
fn found(catalog: &Catalog, on: Date) -> Option<String> {
    let rate = catalog.rate(workspace_number(1), currency("EUR"), Currency::USD, on);
    rate.map(|rate| rate.rate.to_string())
}

fn with_rates(rates: &[Rate]) -> Catalog {
    let mut catalog = catalog();
    let changes = rates.iter().map(|rate| put(rate.clone(), Expected::Any)).collect();
    fold(&mut catalog, &proposal(3, changes)).unwrap();
    catalog
}

fn changed_after(catalog: &Catalog, workspace: u32, revision: u64) -> Vec<String> {
    let changed = catalog.rates_changed_after(workspace_number(workspace), revision);
    changed.map(|rate| format!("{} {}", rate.key(), rate.rate)).collect()
}

#[test]
fn the_newest_rate_of_the_last_days_holds() {
    let catalog =
        with_rates(&[rate(1, 2, "EUR", "1.2"), rate(1, 6, "EUR", "1.6"), rate(1, 20, "EUR", "1.9")]);
    let limit = MAX_RATE_AGE_DAYS as u8;
    for (day, wanted) in [
        (1, None),
        (2, Some("1.2")),
        (5, Some("1.2")),
        (6, Some("1.6")),
        (6 + limit, Some("1.6")),
        (7 + limit, None),
        (19, None),
        (20, Some("1.9")),
    ] {
        assert_eq!(found(&catalog, november(day)).as_deref(), wanted, "November {day}");
    }
    for on in [Date::MIN, Date::MAX, date(1, 1, 1)] {
        assert_eq!(found(&catalog, on), None);
    }
}

#[test]
fn a_rate_holds_in_its_workspace_its_currencies_and_its_direction() {
    let catalog = with_rates(&[rate(1, 2, "EUR", "1.2"), rate(2, 2, "GBP", "1.3")]);
    let holds = |workspace, from, to| {
        catalog.rate(workspace_number(workspace), currency(from), currency(to), november(2)).is_some()
    };
    assert!(holds(1, "EUR", "USD") && holds(2, "GBP", "USD"));
    for (workspace, from, to) in [
        (2, "EUR", "USD"),
        (1, "GBP", "USD"),
        (1, "USD", "EUR"),
        (1, "EUR", "GBP"),
        (3, "EUR", "USD"),
        (1, "USD", "USD"),
    ] {
        assert!(!holds(workspace, from, to), "{workspace} {from} {to}");
    }
    let euros = Money { micros: 10_000_000, currency: currency("EUR") };
    let found = catalog.rate(workspace_number(1), euros.currency, Currency::USD, november(2)).unwrap();
    assert_eq!(found.convert(euros), Ok(Money { micros: 12_000_000, currency: Currency::USD }));
    let pounds = Money { micros: 1, currency: currency("GBP") };
    assert_eq!(found.convert(pounds), Err(MoneyError::CurrencyMismatch));
}

#[test]
fn the_same_key_again_replaces_the_rate_and_counts_its_versions() {
    let mut catalog = catalog();
    let key = rate(1, 2, "EUR", "1").key();
    let at = |catalog: &mut Catalog, at, text, expected| {
        let verdict = fold(catalog, &proposal(at, vec![put(rate(1, 2, "EUR", text), expected)]));
        verdict.map(|accepted| match accepted.resources.as_slice() {
            [Resource::Rate(rate)] => (rate.rate.to_string(), rate.stamp),
            other => panic!("{other:?}"),
        })
    };
    let missing = Rejected::NotFound { kind: ResourceKind::Rate, id: "2026-11-02/EUR/USD".into() };
    assert_eq!(at(&mut catalog, 10, "1.2", Expected::Version(1)), Err(missing));
    let (_, first) = at(&mut catalog, 11, "1.2", Expected::Any).unwrap();
    let (text, second) = at(&mut catalog, 12, "1.3", Expected::Version(1)).unwrap();
    assert_eq!((first.version, second.version, text.as_str()), (1, 2, "1.3"));
    let times = [first.created_at, first.updated_at, second.created_at, second.updated_at];
    assert_eq!(times.map(Timestamp::micros), [11, 11, 11, 12]);
    assert_eq!(second.revision, catalog.revision().number);
    let old = at(&mut catalog, 13, "1.4", Expected::Version(1));
    assert_eq!(old, Err(Rejected::VersionConflict { current: 2 }));
    let taken = at(&mut catalog, 14, "1.4", Expected::New);
    assert!(
        matches!(taken, Err(Rejected::Exists { kind: ResourceKind::Rate, field: "id", .. })),
        "{taken:?}"
    );
    let stored = catalog.rate_of(workspace_number(1), &key).unwrap();
    assert_eq!((stored.rate.to_string().as_str(), stored.stamp), ("1.3", second));
    let foreign = try_one(&mut catalog, put(rate(3, 2, "EUR", "1"), Expected::Any));
    assert_eq!(foreign, Err(Rejected::UnknownReference { field: "workspace" }));
}

#[test]
fn what_changed_since_a_revision_is_told() {
    let mut catalog = catalog();
    assert_eq!(catalog.rates_revision(workspace_number(1)), 0);
    let put_all = |catalog: &mut Catalog, rates: &[Rate]| {
        let changes = rates.iter().map(|rate| put(rate.clone(), Expected::Any)).collect();
        fold(catalog, &proposal(10, changes)).unwrap();
        catalog.revision().number
    };
    let first = put_all(&mut catalog, &[rate(1, 2, "EUR", "1.2"), rate(1, 1, "GBP", "1.3")]);
    let elsewhere = put_all(&mut catalog, &[rate(2, 2, "EUR", "1.5")]);
    let revisions = |catalog: &Catalog| [1, 2].map(|number| catalog.rates_revision(workspace_number(number)));
    assert_eq!(revisions(&catalog), [first, elsewhere]);
    let second = put_all(&mut catalog, &[rate(1, 2, "EUR", "1.4")]);
    assert_eq!(revisions(&catalog), [second, elsewhere]);
    let (pounds, euros) = ("2026-11-01/GBP/USD 1.3", "2026-11-02/EUR/USD 1.4");
    assert_eq!(changed_after(&catalog, 1, 0), [pounds, euros]);
    assert_eq!(changed_after(&catalog, 1, first), [euros]);
    for (workspace, revision) in [(1, second), (1, u64::MAX), (2, elsewhere), (3, 0)] {
        assert_eq!(changed_after(&catalog, workspace, revision), [""; 0], "{workspace} {revision}");
    }
    // What is rejected, and what is no rate, changes nothing.
    let half = vec![put(rate(1, 2, "EUR", "9"), Expected::Any), put(link(1, 1, "a", 7, None), Expected::New)];
    assert!(fold(&mut catalog, &proposal(11, half)).is_err());
    try_one(&mut catalog, put(partner(1, 2, None), Expected::New)).unwrap();
    assert_eq!(revisions(&catalog), [second, elsewhere]);
    assert_eq!(found(&catalog, november(2)).as_deref(), Some("1.4"));
}

#[test]
fn rates_are_listed_by_day_and_then_by_currency() {
    let all =
        [rate(1, 3, "AED", "1"), rate(1, 2, "GBP", "2"), rate(1, 2, "EUR", "3"), rate(1, 1, "EUR", "4")];
    let catalog = with_rates(&all);
    let listed = |first, last| {
        let rates = catalog.rates(workspace_number(1), first, last);
        rates.map(|rate| rate.rate.to_string()).collect::<Vec<_>>().concat()
    };
    let of = |day| RateKey::first_of(november(day));
    assert_eq!(listed(Bound::Unbounded, Bound::Unbounded), "4321");
    assert_eq!(listed(Bound::Included(of(2)), Bound::Unbounded), "321");
    assert_eq!(listed(Bound::Included(of(2)), Bound::Excluded(of(3))), "32");
    let key = all[2].key();
    assert_eq!(listed(Bound::Included(key), Bound::Included(key)), "3");
    assert_eq!(listed(Bound::Excluded(key), Bound::Excluded(all[0].key())), "2");
    // Bounds that hold nothing are an empty list.
    for (first, last) in [
        (Bound::Included(of(3)), Bound::Included(of(2))),
        (Bound::Excluded(key), Bound::Excluded(key)),
        (Bound::Excluded(key), Bound::Included(key)),
        (Bound::Included(key), Bound::Excluded(key)),
    ] {
        assert_eq!(listed(first, last), "", "{first:?} {last:?}");
    }
    let elsewhere = catalog.rates(workspace_number(2), Bound::Unbounded, Bound::Unbounded);
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn a_workspace_has_so_many_rates_and_no_more() {
    let mut catalog = catalog();
    let one = rate(1, 1, "EUR", "1");
    let mut day = date(1970, 1, 1);
    // Into the tables at once: as proposals they would take minutes.
    for _ in 0..MAX_RATES {
        catalog.tables.put(Rate { date: day, ..one.clone() }.into());
        day = day.tomorrow().unwrap();
    }
    let mut try_put = |rate: Rate| try_one(&mut catalog, put(rate, Expected::Any)).map(drop);
    let full = Err(Rejected::Limit { what: "rates", limit: MAX_RATES as u64 });
    assert_eq!(try_put(rate(1, 1, "GBP", "1")), full);
    assert_eq!(try_put(rate(1, 1, "EUR", "2")), Ok(()), "it is no new one");
    assert_eq!(try_put(rate(2, 1, "EUR", "1")), Ok(()), "the limit is one per workspace");
}

#[test]
fn a_rate_on_the_log_holds_nothing_that_the_fold_says() {
    let payload =
        record::encode(&proposal(1, vec![put(rate(1, 2, "EUR", "1.0842"), Expected::Any)])).unwrap();
    let body = r#"{"workspace":1,"date":"2026-11-02","from":"EUR","to":"USD","rate":"1.0842"}"#;
    assert!(payload.windows(body.len()).any(|window| window == body.as_bytes()), "{payload:?}");
}
