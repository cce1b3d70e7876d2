//! Lists: filters, order, pages, and one conversion explained.

use axum::body::Body;
use axum::http::Request;
use catalog::{Goal, Meta, Offer, Partner, PartnerPayout, Payout, Resource};
use schemas::event::Status;
use schemas::id::{ClickKind, ConversionId, ConversionKind};
use schemas::time::Timestamp;
use serde_json::Value;

use crate::harness::{Harness, NOW};
use crate::rows::{self, Click, Credit, NONE, Revision};

const MINUTE: i64 = 60_000_000;

/// Conversions in threes at one instant, so that ids must break ties.
fn conversions(harness: &mut Harness, count: i64) -> Vec<Revision> {
    let number = harness.first.number;
    (0..count)
        .map(|n| {
            let at = Timestamp::from_micros(NOW.micros() - n / 3 * MINUTE);
            Revision {
                workspace: number,
                at,
                conversion: *harness.id::<ConversionKind>(at, number).bytes(),
                version: 1,
                offer: NONE,
                partner: *harness.first.partners[usize::try_from(n % 3).unwrap()].bytes(),
                sub1: String::new(),
                goal: if n % 2 == 0 { "sale" } else { "lead" },
                before: None,
                after: Status::Pending,
                revenue: 10_000 * n,
                payout: 1_000 * n,
                payout_rule: "offer_goal",
                test: false,
                cut: 1,
            }
        })
        .collect()
}

async fn ids(harness: &Harness, query: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = harness.get(&format!("/api/v1/conversions?{query}&take=7{cursor}")).await.ok();
        found.extend(
            page["items"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["nextCursor"].as_str() else { return found };
        cursor = format!("&cursor={next}");
    }
}

fn texts(rows: &[Revision], wanted: impl Fn(&Revision) -> bool) -> Vec<String> {
    let mut rows: Vec<_> = rows.iter().filter(|row| wanted(row)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.at, row.conversion)));
    rows.iter().map(|row| ConversionId::from_bytes(row.conversion).to_string()).collect()
}

#[tokio::test]
async fn pages_follow_the_order_and_filters_keep_what_they_say() {
    let mut harness = Harness::start().await;
    let rows = conversions(&mut harness, 50);
    rows::conversions(&harness.sink, &rows, "USD").await;
    assert_eq!(ids(&harness, "").await, texts(&rows, |_| true));
    let mut ascending = texts(&rows, |_| true);
    ascending.reverse();
    assert_eq!(ids(&harness, "sort=occurred_at").await, ascending);
    assert_eq!(ids(&harness, "goal=lead").await, texts(&rows, |row| row.goal == "lead"));
    assert_eq!(
        ids(&harness, "event=sale&partner=ben").await,
        texts(&rows, |row| { row.goal == "sale" && row.partner == *harness.first.partners[1].bytes() })
    );
    let (from, to) = (rows[30].at, rows[9].at);
    assert_eq!(
        ids(&harness, &format!("occurred_at[gte]={from}&occurred_at[lt]={to}")).await,
        texts(&rows, |row| row.at >= from && row.at < to)
    );
    assert_eq!(ids(&harness, "offer=").await, texts(&rows, |_| true));
    let bens = texts(&rows, |row| row.partner == *harness.first.partners[1].bytes());
    assert_eq!(ids(&harness, "partner=,ben").await, bens);
    assert_eq!(ids(&harness, "partner[not]=").await, texts(&rows, |_| true));
    let transaction = rows::transaction(&rows[11]);
    assert_eq!(ids(&harness, &format!("transaction_id={transaction}")).await, texts(&rows[11..12], |_| true));
    assert_eq!(ids(&harness, "status=approved").await, Vec::<String>::new());

    // A row that arrives between two pages, ahead of them, moves nothing.
    let first = harness.get("/api/v1/conversions?take=7").await.ok();
    let newer = Revision { at: NOW.saturating_add(MINUTE), conversion: [1; 16], ..rows[0].clone() };
    rows::conversions(&harness.sink, &[newer], "USD").await;
    let address = format!("/api/v1/conversions?take=7&cursor={}", first["nextCursor"].as_str().unwrap());
    let second = harness.get(&address).await.ok();
    let got: Vec<_> =
        second["items"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(got, texts(&rows, |_| true)[7..14]);

    // The cursor is good for its own query alone.
    let cursor = first["nextCursor"].as_str().unwrap();
    for address in ["conversions?goal=sale&", "conversions?sort=occurred_at&", "clicks?", "reports?"] {
        let (_, _, field) = harness.get(&format!("/api/v1/{address}cursor={cursor}")).await.refused();
        assert_eq!(field.as_deref(), Some("cursor"), "{address}");
    }
    let theirs =
        harness.get_with(&harness.second.admin, &format!("/api/v1/conversions?cursor={cursor}")).await;
    assert_eq!(theirs.refused().2.as_deref(), Some("cursor"));
    harness.stop().await;
}

#[tokio::test]
async fn a_page_is_found_however_far_away_its_rows_are() {
    let mut harness = Harness::start().await;
    let mut rows = conversions(&mut harness, 3_000);
    for row in rows.iter_mut().skip(2_900) {
        row.goal = "rare";
    }
    rows::conversions(&harness.sink, &rows, "USD").await;
    assert_eq!(ids(&harness, "goal=rare").await, texts(&rows, |row| row.goal == "rare"));
    let mut ascending = texts(&rows[..102], |_| true);
    ascending.reverse();
    let from = rows[101].at;
    assert_eq!(ids(&harness, &format!("sort=occurred_at&occurred_at[gte]={from}")).await, ascending);
    harness.stop().await;
}

#[tokio::test]
async fn the_highest_version_stands_and_is_explained() {
    let mut harness = Harness::start().await;
    let number = harness.first.number;
    let mut row = conversions(&mut harness, 3).remove(2);
    rows::conversions(&harness.sink, &[row.clone()], "USD").await;
    row = Revision { version: 2, before: Some(Status::Pending), after: Status::Approved, ..row };
    rows::conversions(&harness.sink, &[row.clone()], "USD").await;
    let id = ConversionId::from_bytes(row.conversion);
    assert_eq!(harness.get("/api/v1/conversions?status=pending").await.ok()["items"], serde_json::json!([]));
    let listed = harness.get("/api/v1/conversions?status=approved").await.ok();
    let one = harness.get(&format!("/api/v1/conversions/{id}")).await.ok();
    assert_eq!(listed["items"], serde_json::json!([one]));
    insta::assert_json_snapshot!("conversion", one);

    let clicks = [2, 1].map(|minutes| {
        let at = Timestamp::from_micros(row.at.micros() - minutes * MINUTE);
        (*harness.id::<ClickKind>(at, number).bytes(), at)
    });
    let credit = |at: usize, version, lost, last_touch| Credit {
        workspace: number,
        conversion: row.conversion,
        version,
        touch: clicks[at].0,
        r#type: if at == 0 { "impression" } else { "click" },
        partner: *harness.first.partners[at].bytes(),
        at: clicks[at].1,
        lost,
        last_touch,
    };
    rows::credits(
        &harness.sink,
        &[credit(0, 1, "", 10_000), credit(0, 2, "earlier", 0), credit(1, 2, "", 10_000)],
    )
    .await;
    rows::finish_cut(&harness.sink, 1, NOW).await;
    let explained = harness.get(&format!("/api/v1/conversions/{id}/explain")).await.ok();
    insta::assert_json_snapshot!("explanation", explained);
    harness.stop().await;
}

#[tokio::test]
async fn the_terms_of_a_payout_are_told_while_they_are_certain() {
    let mut harness = Harness::start().await;
    let number = harness.first.number;
    let percent = schemas::money::Percent::parse("10").unwrap();
    let goal = Goal { payout: Payout::Percent(percent), ..Goal::new("sale".to_owned()) };
    let offer = Offer {
        id: harness.id(NOW, number),
        workspace: number,
        name: "Shoes".to_owned(),
        destination_url: "https://shop.example".to_owned(),
        currency: schemas::money::Currency::USD,
        click_id_param: "click_id".to_owned(),
        fallback_url: None,
        click_lookback_micros: None,
        view_lookback_micros: None,
        goals: vec![goal],
        allowed_hosts: Vec::new(),
        caps: Vec::new(),
        meta: Meta::new(NOW),
    };
    let id = offer.id;
    let own = Payout::Fixed(schemas::money::Money { micros: 5_000_000, currency: offer.currency });
    let anna = Partner {
        id: harness.id(NOW, number),
        workspace: number,
        name: "Anna".to_owned(),
        slug: None,
        coupons: Vec::new(),
        email: None,
        payouts: vec![PartnerPayout { offer: id, goal: Some("sale".to_owned()), payout: own }],
        meta: Meta::new(NOW),
    };
    let anna_id = anna.id;
    harness.put(number, vec![Resource::Offer(offer), Resource::Partner(anna)]).await;
    let mut rows = conversions(&mut harness, 3);
    for row in &mut rows {
        row.offer = *id.bytes();
    }
    (rows[2].partner, rows[2].payout_rule) = (*anna_id.bytes(), "partner_offer_goal");
    rows::conversions(&harness.sink, &rows, "USD").await;
    let [sale, lead, own] = [0, 1, 2]
        .map(|at| format!("/api/v1/conversions/{}/explain", ConversionId::from_bytes(rows[at].conversion)));
    let terms = async |address: &str| {
        let payout = harness.get(address).await.ok()["payout"].clone();
        (payout["type"].clone(), payout["percent"].clone())
    };
    assert_eq!(terms(&sale).await, ("percent".into(), "10".into()));
    assert_eq!(terms(&lead).await, (Value::Null, Value::Null), "the offer has no such goal");

    assert_eq!(terms(&own).await, ("fixed".into(), Value::Null));

    let rename = async |path: String| {
        let request = Request::patch(format!("/api/v1/{path}"))
            .header("x-api-key", &harness.first.admin)
            .header("content-type", "application/json");
        harness.send(request.body(Body::from("{\"name\": \"Boots\"}")).unwrap()).await.ok();
    };
    rename(format!("offers/{id}")).await;
    assert_eq!(terms(&sale).await, (Value::Null, Value::Null), "the offer may have had other terms");
    assert_eq!(terms(&own).await, ("fixed".into(), Value::Null), "the partner's own are what they were");
    rename(format!("partners/{anna_id}")).await;
    assert_eq!(terms(&own).await, (Value::Null, Value::Null));
    harness.stop().await;
}

#[tokio::test]
async fn a_click_is_listed_with_everything_that_it_has() {
    let mut harness = Harness::start().await;
    let number = harness.first.number;
    let id = *harness.id::<ClickKind>(NOW, number).bytes();
    let click = Click {
        workspace: number,
        at: NOW,
        id,
        receipt: id,
        partner: NONE,
        sub1: "blog".to_owned(),
        counted: false,
        test: false,
        cut: 1,
    };
    rows::clicks(&harness.sink, std::slice::from_ref(&click)).await;
    assert_eq!(
        harness.get("/api/v1/clicks").await.ok()["items"],
        serde_json::json!([]),
        "the cut is not finished"
    );
    rows::finish_cut(&harness.sink, 1, NOW).await;
    insta::assert_json_snapshot!("clicks", harness.get("/api/v1/clicks").await.ok());
    harness.stop().await;
}
