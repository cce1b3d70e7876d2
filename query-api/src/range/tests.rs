use super::*;

/// 2026-11-20T13:00:00Z.
const NOW: Timestamp = Timestamp::from_micros(1_795_179_600_000_000);

fn zone(name: &str) -> Zone {
    Zone::parse("timezone", name).unwrap()
}

fn take(query: &str, zone_name: &str) -> Result<Range, Error> {
    let mut params = Params::parse(query).unwrap();
    let range = Range::take(&mut params, &zone(zone_name), NOW)?;
    params.finish().map(|()| range)
}

fn shown(query: &str, zone_name: &str) -> (String, String) {
    let range = take(query, zone_name).unwrap();
    (zone(zone_name).show(range.from), zone(zone_name).show(range.to))
}

fn hours(query: &str, zone_name: &str) -> i64 {
    let range = take(query, zone_name).unwrap();
    range.to.micros_since(range.from) / 3_600_000_000
}

fn refused(query: &str) -> String {
    let error = take(query, "UTC").unwrap_err();
    assert_eq!(error.code(), schemas::error_code::ErrorCode::ValidationFailed);
    error.body("").field.unwrap()
}

#[test]
fn days_are_as_long_as_the_clock_makes_them() {
    assert_eq!(hours("from=2026-03-08&to=2026-03-09", "America/New_York"), 23);
    assert_eq!(hours("from=2026-11-01&to=2026-11-02", "America/New_York"), 25);
    assert_eq!(hours("from=2026-11-01&to=2026-11-02", "Asia/Kathmandu"), 24);
    assert_eq!(hours("from=2026-04-05&to=2026-04-06", "Pacific/Chatham"), 25);
    assert_eq!(hours("from=2026-09-27&to=2026-09-28", "Pacific/Chatham"), 23);
}

#[test]
fn a_day_begins_where_its_zone_says() {
    let (from, to) = shown("from=2026-11-01&to=2026-11-02", "America/New_York");
    assert_eq!((from.as_str(), to.as_str()), ("2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"));
    let (from, _) = shown("from=2026-11-01&to=2026-11-02", "Asia/Kathmandu");
    assert_eq!(from, "2026-11-01T00:00:00+05:45");
    let (from, to) = shown("from=2026-04-05&to=2026-04-06", "Pacific/Chatham");
    assert_eq!((from.as_str(), to.as_str()), ("2026-04-05T00:00:00+13:45", "2026-04-06T00:00:00+12:45"));
    // Beirut's clocks skip midnight in spring: the day begins at one.
    let (from, _) = shown("from=2026-03-29&to=2026-03-30", "Asia/Beirut");
    assert_eq!(from, "2026-03-29T01:00:00+03:00");
}

#[test]
fn periods_include_today() {
    let of = |period: &str, zone: &str| shown(&format!("period={period}"), zone);
    let new_york = "America/New_York";
    let end = "2026-11-21T00:00:00-05:00".to_owned();
    assert_eq!(of("today", new_york), ("2026-11-20T00:00:00-05:00".to_owned(), end.clone()));
    assert_eq!(of("7d", new_york), ("2026-11-14T00:00:00-05:00".to_owned(), end.clone()));
    assert_eq!(of("30d", new_york), ("2026-10-22T00:00:00-04:00".to_owned(), end.clone()));
    assert_eq!(of("mtd", new_york), ("2026-11-01T00:00:00-04:00".to_owned(), end));
    assert_eq!(
        of("last_month", new_york),
        ("2026-10-01T00:00:00-04:00".to_owned(), "2026-11-01T00:00:00-04:00".to_owned())
    );
    assert_eq!(shown("", new_york), of("30d", new_york));
    // It is the 21st in Kiribati already.
    assert_eq!(of("today", "Pacific/Kiritimati").0, "2026-11-21T00:00:00+14:00");
}

#[test]
fn times_are_taken_as_they_stand_and_half_ranges_are_completed() {
    let (from, to) = shown("from=2026-11-01T10:20:30.5%2B02:00&to=2026-11-01T08:20:31Z", "UTC");
    assert_eq!((from.as_str(), to.as_str()), ("2026-11-01T08:20:30.5+00:00", "2026-11-01T08:20:31+00:00"));
    // The plus was not encoded.
    assert_eq!(shown("from=2026-11-01T10:20:30+02:00", "UTC").0, "2026-11-01T08:20:30+00:00");
    assert_eq!(shown("to=2026-11-01", "UTC").0, "2026-10-02T00:00:00+00:00");
}

#[test]
fn what_is_no_range_is_refused_and_named() {
    assert_eq!(refused("from=2026-11-02&to=2026-11-02"), "to");
    assert_eq!(refused("from=2026-11-02&to=2026-11-01"), "to");
    assert_eq!(refused("from=2026-11-31"), "from");
    assert_eq!(refused("from=yesterday"), "from");
    assert_eq!(refused("from=2026-11-01T00:00:00"), "from");
    assert_eq!(refused("to="), "to");
    assert_eq!(refused("period=7d&from=2026-11-01"), "period");
    assert_eq!(refused("period=fortnight"), "period");
    assert_eq!(refused("from=1970-01-01&to=1971-01-01"), "from");
    assert_eq!(refused("from=2000-01-01&to=2026-01-01"), "from");
    assert_eq!(refused("from=2148-01-01&to=9999-12-31"), "to");
    assert_eq!(refused("from=-9999-01-01&to=2026-11-01"), "from");
}

#[test]
fn zones_that_do_not_exist_are_refused() {
    for name in
        ["", "Mars/Olympus", "Etc/Unknown", "UTC'; DROP TABLE clicks; --", "../../etc/passwd", "EST5EDT,M3"]
    {
        assert!(Zone::parse("timezone", name).is_err(), "{name}");
    }
    assert_eq!(zone("america/new_york").name(), "America/New_York");
}

#[test]
fn offsets_are_those_of_the_range() {
    let of = |query: &str, name: &str| {
        let offsets = Offsets::within(take(query, name).unwrap(), &zone(name)).unwrap();
        offsets.sql("t", |piece| piece.offset_seconds)
    };
    assert_eq!(of("from=2026-11-01&to=2026-12-01", "Asia/Kathmandu"), "20700");
    assert_eq!(
        of("from=2026-01-01&to=2027-01-01", "America/New_York"),
        "multiIf(t < 1772953200, -18000, t < 1793512800, -14400, -18000)"
    );
    assert_eq!(of("from=2026-11-02&to=2026-11-20", "America/New_York"), "-18000");
}
