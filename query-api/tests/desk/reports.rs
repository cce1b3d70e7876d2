//! Reports against naive sums over the same rows.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::tz::TimeZone;
use schemas::event::Status;
use schemas::id::{ClickKind, ConversionKind, EventKind};
use schemas::time::Timestamp;
use serde_json::{Value, json};

use crate::harness::{Harness, NOW};
use crate::rows::{self, Click, NONE, Revision};
use crate::traffic::{Rows, loaded};

const HOUR: i64 = 3_600_000_000;
const ZONES: [&str; 5] =
    ["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham", "Australia/Lord_Howe"];

/// Every item of a report, page after page, with the first page's totals.
pub(crate) async fn all(harness: &Harness, query: &str) -> (Vec<Value>, Value) {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = harness.get(&format!("/api/v1/reports?{query}&take=97{cursor}")).await.ok();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        if page["nextCursor"].is_null() {
            assert_eq!(page["hasMore"], false);
            return (items, page["totals"].clone());
        }
        cursor = format!("&cursor={}", page["nextCursor"].as_str().unwrap());
    }
}

fn micros(money: &Value) -> i64 {
    schemas::money::Money::parse(money["amount"].as_str().unwrap(), schemas::money::Currency::USD)
        .unwrap()
        .micros
}

/// The start of an instant's bucket, by walking back a minute at a time while the local clock shows the same bucket.
fn label(at: Timestamp, zone: &TimeZone, interval: &str) -> String {
    let time = jiff::Timestamp::from_microsecond(at.micros()).unwrap();
    let local = time.to_zoned(zone.clone());
    let date = local.date();
    match interval {
        "day" => date.to_string(),
        "week" => (date - i64::from(date.weekday().to_monday_zero_offset()).days()).to_string(),
        "month" => date.first_of_month().to_string(),
        _ => {
            let minutes = if interval == "15m" { 15 } else { 60 };
            let mut start = time
                - jiff::SignedDuration::from_nanos(time.as_nanosecond().rem_euclid(60_000_000_000) as i64);
            let bucket = |time: jiff::Timestamp| {
                let local = time.to_zoned(zone.clone());
                (local.date(), local.hour(), local.minute() / minutes, local.offset())
            };
            while bucket(start - 1.minute()) == bucket(time) {
                start -= 1.minute();
            }
            start.display_with_offset(local.offset()).to_string()
        }
    }
}

/// Clicks, conversions, revenue and payout by bucket and partner, summed up one row at a time.
fn naive(
    rows: &Rows,
    harness: &Harness,
    zone: &str,
    interval: &str,
    within: impl Fn(Timestamp) -> bool,
) -> BTreeMap<(String, String), [i64; 4]> {
    let zone = TimeZone::get(zone).unwrap();
    let name = |partner: [u8; 16]| {
        let at = harness.first.partners.iter().position(|id| *id.bytes() == partner);
        at.map_or("null".to_owned(), |at| ["Anna", "Ben", "Cleo"][at].to_owned())
    };
    let ours = |number, test: bool, at| number == harness.first.number && !test && within(at);
    let mut sums: BTreeMap<(String, String), [i64; 4]> = BTreeMap::new();
    for click in rows.clicks.iter().filter(|row| ours(row.workspace, row.test, row.at)) {
        let sum = sums.entry((label(click.at, &zone, interval), name(click.partner))).or_default();
        sum[0] += i64::from(click.counted);
    }
    for row in rows.revisions.iter().filter(|row| ours(row.workspace, row.test, row.at)) {
        let sum = sums.entry((label(row.at, &zone, interval), name(row.partner))).or_default();
        sum[1] += row.delta();
        sum[2] += row.delta() * row.revenue;
        sum[3] += row.delta() * row.payout;
    }
    sums
}

fn numbers(row: &Value) -> [i64; 4] {
    let [clicks, conversions] = ["clicks", "conversions"].map(|name| row[name].as_i64().unwrap());
    [clicks, conversions, micros(&row["revenue"]), micros(&row["payout"])]
}

fn reported(items: &[Value], interval: &str) -> BTreeMap<(String, String), [i64; 4]> {
    let mut found = BTreeMap::new();
    for row in items {
        let partner = row["partner"]["name"].as_str().unwrap_or("null").to_owned();
        let bucket = row[interval].as_str().unwrap().to_owned();
        assert_eq!(found.insert((bucket, partner), numbers(row)), None, "twice: {row}");
    }
    found
}

#[tokio::test]
async fn days_weeks_and_months_by_partner_are_the_naive_sums_in_every_zone() {
    let (harness, rows) = loaded().await;
    for zone in ZONES {
        let tz = TimeZone::get(zone).unwrap();
        let date = |at: Timestamp| {
            jiff::Timestamp::from_microsecond(at.micros()).unwrap().to_zoned(tz.clone()).date().to_string()
        };
        // Dates order as texts do.
        let within = |at: Timestamp| date(at).as_str() >= "2026-03-08" && date(at).as_str() < "2026-11-02";
        for interval in ["day", "week", "month"] {
            let query =
                format!("from=2026-03-08&to=2026-11-02&timezone={zone}&interval={interval}&group_by=partner");
            let (items, totals) = all(&harness, &query).await;
            let expected = naive(&rows, &harness, zone, interval, within);
            assert!(expected.len() > 20, "{zone} {interval}");
            assert_eq!(reported(&items, interval), expected, "{zone} {interval}");
            let mut sum = [0; 4];
            expected.values().for_each(|row| (0..4).for_each(|at| sum[at] += row[at]));
            assert_eq!(numbers(&totals), sum, "{zone} {interval}");
        }
    }
    harness.stop().await;
}

#[tokio::test]
async fn hours_and_quarters_are_exact_where_clocks_change() {
    let (harness, rows) = loaded().await;
    for zone in ZONES {
        for (from, to) in
            [("2026-04-03", "2026-04-07"), ("2026-09-25", "2026-10-06"), ("2026-10-31", "2026-11-03")]
        {
            let bounds = [from, to].map(|date| format!("{date}T00:00:00Z").parse::<Timestamp>().unwrap());
            for interval in ["hour", "15m"] {
                let query = format!(
                    "from={from}T00:00:00Z&to={to}T00:00:00Z&timezone={zone}&interval={interval}&group_by=partner"
                );
                let (items, _) = all(&harness, &query).await;
                let expected = naive(&rows, &harness, zone, interval, |at| at >= bounds[0] && at < bounds[1]);
                assert!(expected.len() > 15, "{zone} {interval} {from}");
                assert_eq!(reported(&items, interval), expected, "{zone} {interval} {from}");
            }
        }
    }
    harness.stop().await;
}

#[tokio::test]
async fn statuses_are_those_of_the_last_revision_and_add_up() {
    let (harness, rows) = loaded().await;
    let mut last: BTreeMap<[u8; 16], &Revision> = BTreeMap::new();
    for row in rows.revisions.iter().filter(|row| row.workspace == harness.first.number && !row.test) {
        last.insert(row.conversion, row);
    }
    let range = "from=2026-01-01&to=2027-01-01";
    let (items, _) = all(
        &harness,
        &format!("{range}&group_by=status&metrics=conversions,revenue,conversions_rejected,conversions_paid"),
    )
    .await;
    for status in Status::ALL {
        let of: Vec<_> = last.values().filter(|row| row.after == status).collect();
        let row = items.iter().find(|row| row["status"] == status.as_str());
        let Some(row) = row else {
            assert!(of.is_empty(), "{}", status.as_str());
            continue;
        };
        let counted = if status.is_counted() { of.len() } else { 0 };
        assert_eq!(row["conversions"], counted, "{row}");
        let revenue: i64 = of.iter().filter(|_| status.is_counted()).map(|row| row.revenue).sum();
        assert_eq!(micros(&row["revenue"]), revenue, "{row}");
        assert_eq!(
            row["conversions_rejected"],
            if status == Status::Rejected { of.len() } else { 0 },
            "{row}"
        );
        assert_eq!(row["conversions_paid"], if status == Status::Paid { of.len() } else { 0 }, "{row}");
    }
    // A filter on the status leaves the clicks alone: this is the rate of paid sales.
    let query = format!("{range}&status=paid,approved&goal=sale&metrics=clicks,conversions,cr");
    let row = &all(&harness, &query).await.0[0];
    let paid = last
        .values()
        .filter(|row| matches!(row.after, Status::Paid | Status::Approved) && row.goal == "sale")
        .count();
    let clicks = rows
        .clicks
        .iter()
        .filter(|row| row.workspace == harness.first.number && row.counted && !row.test)
        .count();
    assert_eq!(
        (row["conversions"].as_u64(), row["clicks"].as_u64()),
        (Some(paid as u64), Some(clicks as u64))
    );
    assert_eq!(row["cr"], json!(paid as f64 / clicks as f64));
    harness.stop().await;
}

#[tokio::test]
async fn filters_test_rows_and_gross_are_what_they_say() {
    let (harness, rows) = loaded().await;
    let count = |wanted: &dyn Fn(&Click) -> bool| {
        rows.clicks.iter().filter(|row| row.workspace == harness.first.number && wanted(row)).count() as u64
    };
    let anna = *harness.first.partners[0].bytes();
    let anna_id = harness.first.partners[0];
    let rita = harness.second.partners[0];
    for (query, expected) in [
        (String::new(), count(&|row| row.counted && !row.test)),
        ("gross=true".to_owned(), count(&|row| !row.test)),
        ("include_test=true".to_owned(), count(&|row| row.counted)),
        ("include_test=only".to_owned(), count(&|row| row.counted && row.test)),
        (format!("partner={anna_id}"), count(&|row| row.counted && !row.test && row.partner == anna)),
        ("partner=anna".to_owned(), count(&|row| row.counted && !row.test && row.partner == anna)),
        (format!("partner[not]={anna_id}"), count(&|row| row.counted && !row.test && row.partner != anna)),
        ("partner[is_null]=true".to_owned(), count(&|row| row.counted && !row.test && row.partner == NONE)),
        ("partner=".to_owned(), count(&|row| row.counted && !row.test && row.partner == NONE)),
        (
            "partner=anna,".to_owned(),
            count(&|row| row.counted && !row.test && [anna, NONE].contains(&row.partner)),
        ),
        ("partner[not]=".to_owned(), count(&|row| row.counted && !row.test && row.partner != NONE)),
        (format!("partner={rita}"), 0),
        (
            "sub1=s1,s2".to_owned(),
            count(&|row| row.counted && !row.test && ["s1", "s2"].contains(&row.sub1.as_str())),
        ),
        ("sub1[not]=s1".to_owned(), count(&|row| row.counted && !row.test && row.sub1 != "s1")),
        ("sub1[contains]=S3".to_owned(), count(&|row| row.counted && !row.test && row.sub1 == "s3")),
        ("sub2=".to_owned(), count(&|row| row.counted && !row.test)),
        ("sub2=x".to_owned(), 0),
    ] {
        let (items, _) =
            all(&harness, &format!("from=2026-01-01&to=2027-01-01&metrics=clicks,invalid_clicks&{query}"))
                .await;
        assert_eq!(items[0]["clicks"], expected, "{query}");
    }
    let invalid = count(&|row| !row.counted && !row.test);
    let (items, _) = all(&harness, "from=2026-01-01&to=2027-01-01&metrics=invalid_clicks").await;
    assert_eq!(items, [json!({"invalid_clicks": invalid})]);
    harness.stop().await;
}

#[tokio::test]
async fn pages_hold_every_row_once_in_every_order_while_rows_arrive() {
    let (harness, rows) = loaded().await;
    let range = "from=2026-03-01&to=2026-11-21&interval=day&group_by=partner,sub1";
    for sort in [
        "",
        "sort=-cr,partner",
        "sort=cr",
        "sort=-revenue",
        "sort=aov,-day",
        "sort=-sub1",
        "sort=-partner,day",
    ] {
        let query = format!("{range}&metrics=cr,aov&{sort}");
        let first = harness.get(&format!("/api/v1/reports?{query}&take=200")).await.ok();
        let (items, totals) = all(&harness, &query).await;
        let mut keys: Vec<String> =
            items.iter().map(|row| format!("{}{}{}", row["day"], row["partner"], row["sub1"])).collect();
        assert_eq!(items[..200], first["items"].as_array().unwrap()[..], "{sort}");
        keys.sort();
        let rows = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), rows, "{sort}");
        let clicks: i64 = items.iter().map(|row| row["clicks"].as_i64().unwrap()).sum();
        assert_eq!(totals["clicks"], clicks, "{sort}");
        if let Some(metric) = sort.strip_prefix("sort=").map(|keys| keys.split(',').next().unwrap()) {
            let (name, sign) = metric.strip_prefix('-').map_or((metric, 1.0), |name| (name, -1.0));
            if name == "cr" {
                let rates: Vec<f64> = items
                    .iter()
                    .map(|row| row[name].as_f64().map_or(f64::INFINITY, |rate| rate * sign))
                    .collect();
                assert!(rates.is_sorted(), "{sort}");
            }
        }
    }
    // A cut that is finished between two pages changes neither of them.
    let query = format!("/api/v1/reports?{range}&take=50");
    let first = harness.get(&query).await.ok();
    let later: Vec<Click> = rows.clicks.iter().map(|row| Click { cut: 2, ..row.clone() }).collect();
    rows::clicks(&harness.sink, &later).await;
    let unfinished = harness.get(&query).await.ok();
    assert_eq!(unfinished["totals"], first["totals"], "rows beyond the last finished cut are not counted");
    rows::finish_cut(&harness.sink, 2, NOW).await;
    let second = harness.get(&format!("{query}&cursor={}", first["nextCursor"].as_str().unwrap())).await.ok();
    assert_eq!(second["totals"], first["totals"]);
    assert_eq!(second["data_through"], first["data_through"]);
    let anew = harness.get(&query).await.ok();
    assert_eq!(
        anew["totals"]["clicks"].as_i64(),
        first["totals"]["clicks"].as_i64().map(|clicks| 2 * clicks)
    );
    harness.stop().await;
}

#[tokio::test]
async fn every_dimension_and_every_metric_can_be_asked_for_and_sorted_by() {
    let (harness, _) = loaded().await;
    let metrics = "invalid_clicks,conversions_hold,conversions_pending,conversions_reversed,cr,epc,rpc,aov";
    for words in [
        "offer,campaign,link,creative,source_id,goal",
        "sub1,sub2,sub3,sub4,sub5,month",
        "sub6,sub7,sub8,sub9,sub10,15m",
    ] {
        let by_metric = metrics.split(',').filter(|_| words.starts_with("offer"));
        for sort in words.split(',').chain(by_metric) {
            let address = format!(
                "/api/v1/reports?from=2026-03-01&to=2026-11-01&group_by={words}&metrics={metrics}&sort=-{sort}&take=1"
            );
            let first = harness.get(&address).await.ok();
            let next = first["nextCursor"].as_str().unwrap();
            let second = harness.get(&format!("{address}&cursor={next}")).await.ok();
            assert_ne!(first["items"], second["items"], "{address}");
            assert_eq!(first["totals"], second["totals"], "{address}");
        }
    }
    harness.stop().await;
}

#[tokio::test]
async fn an_answer_looks_as_the_contract_says() {
    let mut harness = Harness::start().await;
    let empty = harness.get("/api/v1/reports?period=today&metrics=cr,epc").await.ok();
    insta::assert_json_snapshot!("report_without_any_cut", empty);

    let anna = *harness.first.partners[0].bytes();
    let number = harness.first.number;
    let clicks: Vec<_> = (0..4_i64)
        .map(|n| {
            let at = Timestamp::from_micros(NOW.micros() - n * HOUR);
            let id = *harness.id::<ClickKind>(at, number).bytes();
            let receipt = *harness.id::<EventKind>(at, number).bytes();
            let partner = if n == 3 { NONE } else { anna };
            Click {
                workspace: number,
                at,
                id,
                receipt,
                partner,
                sub1: "blog".to_owned(),
                counted: n != 2,
                test: false,
                cut: 1,
            }
        })
        .collect();
    rows::clicks(&harness.sink, &clicks).await;
    let at = NOW;
    let conversion = *harness.id::<ConversionKind>(at, number).bytes();
    let (revenue, payout) = (80_000_000, 8_000_000);
    let sale = Revision {
        workspace: number,
        at,
        conversion,
        version: 1,
        offer: NONE,
        partner: anna,
        sub1: "blog".to_owned(),
        goal: "sale",
        before: None,
        after: Status::Approved,
        revenue,
        payout,
        payout_rule: "offer_goal",
        test: false,
        cut: 1,
    };
    rows::revisions(&harness.sink, &[sale]).await;
    rows::finish_cut(&harness.sink, 1, NOW).await;
    let day = harness
        .get("/api/v1/reports?from=2026-11-20&to=2026-11-21&group_by=day,partner,sub1&metrics=clicks,cr,epc,aov")
        .await
        .ok();
    insta::assert_json_snapshot!("report_by_day_and_partner", day);
    // Dimensions stand first, in the order asked for, then the metrics in theirs.
    let asked = "/api/v1/reports?period=today&group_by=sub1,day&metrics=revenue,clicks&sort=-clicks";
    let text = harness.get(asked).await.text;
    let row = "{\"items\":[{\"sub1\":\"blog\",\"day\":\"2026-11-20\",\"revenue\":{\"amount\":\"80.00\",\"currency\":\"USD\"},\"clicks\":3}]";
    assert!(text.starts_with(row), "{text}");
    let hour = harness
        .get("/api/v1/reports?period=today&interval=hour&timezone=Asia/Kathmandu&metrics=clicks")
        .await
        .ok();
    insta::assert_json_snapshot!("report_by_hour", hour["items"]);
    harness.stop().await;
}
