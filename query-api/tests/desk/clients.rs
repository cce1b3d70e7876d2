//! Reports and lists by what is told of clients, and what edges hold back.

use schemas::event::Status;
use schemas::id::{ClickKind, ConversionKind, EdgeKind, ImpressionKind, RuleKind};
use serde_json::{Value, json};

use crate::harness::{Harness, NOW};
use crate::rows::{self, Hit, NONE, Revision};

/// A hit of the first workspace.
fn hit(harness: &Harness, id: [u8; 16]) -> Hit {
    Hit {
        workspace: harness.first.number,
        at: NOW.saturating_add(-3_600_000_000),
        id,
        country: "DE",
        browser: "Firefox",
        referrer: "https://www.blog.example/post?x=1",
        utm_source: "mail",
        labels: vec![],
        rule: NONE,
        variant: 0,
        cost: 0,
        cost_currency: "",
        counted: true,
    }
}

/// Five clicks, four impressions, and two conversions of the first two clicks.
async fn traffic(harness: &mut Harness) -> [u8; 16] {
    let number = harness.first.number;
    let rule = *harness.id::<RuleKind>(NOW, number).bytes();
    let ids: Vec<[u8; 16]> = (0..5).map(|_| *harness.id::<ClickKind>(NOW, number).bytes()).collect();
    let click = |at: usize| hit(harness, ids[at]);
    let clicks = [
        Hit { rule, variant: 1, cost: 250_000, cost_currency: "USD", ..click(0) },
        Hit { country: "FR", rule, ..click(1) },
        Hit { cost: 9_000_000, cost_currency: "EUR", labels: vec!["unknown_partner"], ..click(2) },
        Hit {
            counted: false,
            cost: 50_000,
            cost_currency: "USD",
            labels: vec!["bot", "bot_client"],
            ..click(3)
        },
        Hit { country: "", browser: "", referrer: "", utm_source: "", ..click(4) },
    ];
    let shown: Vec<[u8; 16]> = (0..4).map(|_| *harness.id::<ImpressionKind>(NOW, number).bytes()).collect();
    let impression = |at: usize| hit(harness, shown[at]);
    let impressions = [
        Hit { cost: 100_000, cost_currency: "USD", ..impression(0) },
        impression(1),
        Hit { country: "FR", ..impression(2) },
        Hit { counted: false, labels: vec!["bot", "bot_pattern"], ..impression(3) },
    ];
    rows::hits(&harness.sink, "clicks", &clicks).await;
    rows::hits(&harness.sink, "impressions", &impressions).await;
    let conversions: Vec<_> = (0..2).map(|_| *harness.id::<ConversionKind>(NOW, number).bytes()).collect();
    let revisions: Vec<Revision> = conversions
        .into_iter()
        .map(|conversion| Revision {
            workspace: number,
            at: NOW.saturating_add(-1_800_000_000),
            conversion,
            version: 1,
            offer: NONE,
            partner: NONE,
            sub1: String::new(),
            goal: "sale",
            before: None,
            after: Status::Approved,
            revenue: 10_000_000,
            payout: 1_000_000,
            payout_rule: "offer_goal",
            test: false,
            cut: 1,
        })
        .collect();
    rows::revisions_of(&harness.sink, &revisions, &ids[..2]).await;
    rows::finish_cut(&harness.sink, 1, NOW).await;
    rule
}

/// The rows of a report of today, each as its dimension and its metrics.
async fn report(harness: &Harness, query: &str) -> Value {
    harness.get(&format!("/api/v1/reports?period=today&{query}")).await.ok()
}

fn usd(amount: &str) -> Value {
    json!({"amount": amount, "currency": "USD"})
}

#[tokio::test]
async fn conversions_stand_where_their_click_came_from() {
    let mut harness = Harness::start().await;
    traffic(&mut harness).await;
    let metrics = "metrics=impressions,clicks,conversions&sort=-clicks,country";
    let found = report(&harness, &format!("group_by=country&{metrics}")).await;
    assert_eq!(
        found["items"],
        json!([
            {"country": "DE", "impressions": 2, "clicks": 2, "conversions": 1},
            {"country": "FR", "impressions": 1, "clicks": 1, "conversions": 1},
            {"country": "unknown", "impressions": 0, "clicks": 1, "conversions": 0},
        ])
    );
    assert_eq!(found["totals"], json!({"impressions": 3, "clicks": 4, "conversions": 2}));
    let gross = report(&harness, "metrics=impressions,clicks,invalid_clicks&gross=true").await;
    assert_eq!(gross["totals"], json!({"impressions": 4, "clicks": 5, "invalid_clicks": 1}));
    let french = report(&harness, "metrics=clicks,conversions&country=FR&browser=Firefox").await;
    assert_eq!(french["totals"], json!({"clicks": 1, "conversions": 1}));
    let nowhere = report(&harness, "metrics=clicks,conversions&country[is_null]=true").await;
    assert_eq!(nowhere["totals"], json!({"clicks": 1, "conversions": 0}));
    harness.stop().await;
}

#[tokio::test]
async fn every_dimension_of_a_client_cuts_all_three_tables() {
    let mut harness = Harness::start().await;
    let rule = traffic(&mut harness).await;
    for (dimension, value) in [("browser", "Firefox"), ("referrer", "blog.example"), ("utm_source", "mail")] {
        let found =
            report(&harness, &format!("group_by={dimension}&metrics=clicks,impressions,conversions")).await;
        let first = json!({dimension: value, "clicks": 3, "impressions": 3, "conversions": 2});
        let second = json!({dimension: "unknown", "clicks": 1, "impressions": 0, "conversions": 0});
        assert_eq!(found["items"], json!([first, second]), "{dimension}");
    }
    for dimension in [
        "region",
        "city",
        "device",
        "os",
        "language",
        "utm_medium",
        "utm_campaign",
        "utm_term",
        "utm_content",
    ] {
        let found =
            report(&harness, &format!("group_by={dimension}&metrics=clicks,impressions,conversions")).await;
        let only = json!([{dimension: "unknown", "clicks": 4, "impressions": 3, "conversions": 2}]);
        assert_eq!(found["items"], only, "{dimension}");
    }
    let rule = schemas::id::RuleId::from_bytes(rule).to_string();
    let found = report(&harness, "group_by=rule,variant&metrics=clicks,conversions&sort=rule,variant").await;
    let named = json!({"id": rule, "name": null});
    assert_eq!(
        found["items"],
        json!([
            {"rule": named, "variant": "0", "clicks": 1, "conversions": 1},
            {"rule": named, "variant": "1", "clicks": 1, "conversions": 1},
            {"rule": null, "variant": "unknown", "clicks": 2, "conversions": 0},
        ])
    );
    let of_rule = format!("metrics=clicks,impressions,conversions&rule={rule}");
    let found = report(&harness, &of_rule).await;
    assert_eq!(found["totals"], json!({"clicks": 2, "impressions": 0, "conversions": 2}));
    harness.stop().await;
}

#[tokio::test]
async fn a_row_stands_under_each_of_its_labels_and_totals_count_it_once() {
    let mut harness = Harness::start().await;
    traffic(&mut harness).await;
    let found =
        report(&harness, "group_by=label&metrics=clicks,impressions&gross=true&sort=-clicks,label").await;
    assert_eq!(
        found["items"],
        json!([
            {"label": "unknown", "clicks": 3, "impressions": 3},
            {"label": "bot", "clicks": 1, "impressions": 1},
            {"label": "bot_client", "clicks": 1, "impressions": 0},
            {"label": "unknown_partner", "clicks": 1, "impressions": 0},
            {"label": "bot_pattern", "clicks": 0, "impressions": 1},
        ])
    );
    assert_eq!(found["totals"], json!({"clicks": 5, "impressions": 4}));
    for (filter, clicks) in [
        ("label=bot,unknown_partner", 2),
        ("label[not]=bot", 4),
        ("label[contains]=BOT_", 1),
        ("label[is_null]=true", 3),
        ("label[is_null]=false", 2),
    ] {
        let found = report(&harness, &format!("metrics=clicks&gross=true&{filter}")).await;
        assert_eq!(found["totals"], json!({"clicks": clicks}), "{filter}");
    }
    harness.stop().await;
}

#[tokio::test]
async fn cost_counts_in_the_workspaces_currency_whoever_clicked() {
    let mut harness = Harness::start().await;
    traffic(&mut harness).await;
    let metrics = "metrics=impressions,clicks,conversions,revenue,payout,cost,profit,ctr,epm,cpa,roi";
    let found = report(&harness, metrics).await;
    assert_eq!(
        found["totals"],
        json!({
            "impressions": 3, "clicks": 4, "conversions": 2, "revenue": usd("20.00"), "payout": usd("2.00"),
            "cost": usd("0.40"), "profit": usd("17.60"), "ctr": 4.0 / 3.0, "epm": usd("666.666667"),
            "cpa": usd("1.20"), "roi": 17_600_000.0 / 2_400_000.0,
        })
    );
    // A ratio brings the numbers that it is made of.
    let roi = report(&harness, "metrics=roi&group_by=country&sort=-roi").await;
    let first = &roi["items"][0];
    assert_eq!(
        (&first["country"], &first["cost"], &first["payout"]),
        (&json!("FR"), &usd("0.00"), &usd("1.00"))
    );
    assert_eq!((&first["profit"], &first["roi"]), (&usd("9.00"), &json!(9.0)));
    assert_eq!(first.as_object().unwrap().len(), 5, "{first}");
    harness.stop().await;
}

#[tokio::test]
async fn impressions_are_listed_and_hits_are_found_by_their_client() {
    let mut harness = Harness::start().await;
    let rule = traffic(&mut harness).await;
    let list = harness.get("/api/v1/impressions?sort=occurred_at&take=1").await.ok();
    assert_eq!((list["hasMore"].as_bool(), list["items"].as_array().unwrap().len()), (Some(true), 1));
    let first = &list["items"][0];
    assert!(first["id"].as_str().unwrap().starts_with("imp_"), "{first}");
    assert_eq!(
        (&first["country"], &first["cost"], &first["labels"]),
        (&json!("DE"), &usd("0.10"), &json!([]))
    );
    assert_eq!(first.get("destination_url"), None);
    let count = async |query: &str| {
        let found = harness.get(&format!("/api/v1/{query}")).await.ok();
        found["items"].as_array().unwrap().len()
    };
    let rule = schemas::id::RuleId::from_bytes(rule).to_string();
    for (query, expected) in [
        ("clicks?country=FR", 1),
        ("clicks?label=bot_client", 1),
        (&*format!("clicks?rule={rule}&variant=1"), 1),
        ("clicks?referrer=blog.example", 4),
        ("impressions?country[not]=FR", 3),
        ("impressions?label=bot", 1),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_report_names_the_edges_that_hold_events_back() {
    let mut harness = Harness::start().await;
    let number = harness.first.number;
    let [near, far] = [1, 2].map(|_| harness.id::<EdgeKind>(NOW, number));
    let since = NOW.saturating_add(-60_000_000);
    rows::delayed(&harness.sink, *near.bytes(), 1, Some(since), 5).await;
    rows::delayed(&harness.sink, *far.bytes(), 1, Some(NOW), 7).await;
    let found = report(&harness, "metrics=clicks").await;
    let held = |edge: String, since, events: u64| json!({"edge": edge, "since": since, "events": events});
    assert_eq!(
        found["delayed"],
        json!([held(near.to_string(), json!(since), 5), held(far.to_string(), json!(NOW), 7)])
    );
    // The later word stands: one edge has delivered everything, the other holds more.
    rows::delayed(&harness.sink, *near.bytes(), 2, None, 0).await;
    rows::delayed(&harness.sink, *far.bytes(), 2, Some(NOW), 9).await;
    let found = report(&harness, "metrics=clicks&group_by=partner").await;
    assert_eq!(found["delayed"], json!([held(far.to_string(), json!(NOW), 9)]));
    harness.stop().await;
}
