//! Exchange rates.

use super::*;

/// The day of [`NOW_MICROS`], in UTC.
const TODAY: &str = "2026-09-21";

fn path(date: &str, from: &str, to: &str) -> String {
    format!("/rates/{date}/{from}/{to}")
}

impl TestDesk {
    async fn put_rate(&self, date: &str, from: &str, rate: &str) -> Answer {
        self.put(&path(date, from, "USD"), json!({"rate": rate})).await
    }

    async fn listed(&self, query: &str) -> String {
        let page = self.get(&format!("/rates{query}")).await.ok();
        column(&page, "rate").join(" ")
    }
}

#[tokio::test]
async fn a_rate_is_put_read_and_replaced() {
    let (_installation, desk) = desk().await;
    let path = path(TODAY, "EUR", "USD");
    desk.get(&path).await.is(404, "not_found", "");
    let made = desk.put(&path, json!({"rate": "1.08420"})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let at = "2026-09-21T14:13:20Z";
    let mut wanted = json!({
        "date": TODAY, "from": "EUR", "to": "USD", "rate": "1.0842",
        "version": 1, "created_at": at, "updated_at": at,
    });
    assert_eq!(made.body, wanted);
    assert_eq!(desk.get(&path).await.ok(), wanted);
    // The other direction and the next day are rates of their own.
    desk.get(&super::rates::path(TODAY, "USD", "EUR")).await.is(404, "not_found", "");
    desk.get(&super::rates::path("2026-09-22", "EUR", "USD")).await.is(404, "not_found", "");

    let replaced = desk.put(&path, json!({"rate": "1.1", "expected_version": 1})).await.ok();
    (wanted["rate"], wanted["version"]) = (json!("1.1"), json!(2));
    assert_eq!(replaced, wanted);
    let stale = desk.put(&path, json!({"rate": "1.2", "expected_version": 1})).await;
    stale.is(409, "conflict", "expected_version");
    assert_eq!(stale.body["current_version"], 2);
    let absent = super::rates::path(TODAY, "GBP", "USD");
    desk.put(&absent, json!({"rate": "1.2", "expected_version": 1})).await.is(404, "not_found", "");
    assert_eq!(desk.put(&path, json!({"rate": "1.3"})).await.ok()["version"], 3);
    desk.delete(&path).await.is(405, "method_not_allowed", "");
}

#[tokio::test]
async fn another_desk_has_the_rate_and_goes_on_with_its_version() {
    let (installation, desk) = desk().await;
    let other = installation.desk(2).await;
    desk.put_rate(TODAY, "EUR", "1.1").await;
    let path = path(TODAY, "EUR", "USD");
    // It need not have folded the first version: the log decides.
    assert_eq!(other.put(&path, json!({"rate": "1.2", "expected_version": 1})).await.ok()["version"], 2);
    desk.catch_up().await;
    assert_eq!(desk.get(&path).await.ok()["rate"], "1.2");
}

#[tokio::test]
async fn what_is_no_rate_is_refused_by_field() {
    let (_installation, desk) = desk().await;
    let good = json!({"rate": "1.0842"});
    for (date, from, to, field) in [
        ("2026-9-21", "EUR", "USD", "date"),
        ("2026-02-29", "EUR", "USD", "date"),
        ("today", "EUR", "USD", "date"),
        ("2026-09-21T00:00:00", "EUR", "USD", "date"),
        (TODAY, "eur", "USD", "from"),
        (TODAY, "XXX", "USD", "from"),
        (TODAY, "EUR", "BTC", "to"),
    ] {
        desk.get(&path(date, from, to)).await.is(400, "validation_failed", field);
        desk.put(&path(date, from, to), good.clone()).await.is(400, "validation_failed", field);
    }
    for (date, from, to, field) in [
        (TODAY, "EUR", "EUR", "to"),
        ("1969-12-31", "EUR", "USD", "date"),
        // Tomorrow has begun in the east.
        ("2026-09-23", "EUR", "USD", "date"),
        ("2062-09-21", "EUR", "USD", "date"),
    ] {
        desk.put(&path(date, from, to), good.clone()).await.is(400, "validation_failed", field);
    }
    for rate in [
        json!(1.0842),
        json!(1),
        json!(null),
        json!(["1"]),
        json!(""),
        json!("0"),
        json!("0.0"),
        json!("-1.1"),
        json!("+1.1"),
        json!("1,1"),
        json!("1.1e0"),
        json!("1.00000000001"),
        json!("100000000.1"),
        json!(" 1"),
    ] {
        let answer = desk.put(&path(TODAY, "EUR", "USD"), json!({"rate": rate})).await;
        answer.is(400, "validation_failed", "rate");
    }
    let put = async |body| desk.put(&path(TODAY, "EUR", "USD"), body).await;
    put(json!({})).await.is(400, "validation_failed", "rate");
    put(json!({"rate": "1", "expected_version": 0})).await.is(400, "validation_failed", "expected_version");
    put(json!({"rate": "1", "date": TODAY})).await.is(400, "validation_failed", "date");
    desk.put(&format!("{}?x=1", path(TODAY, "EUR", "USD")), good).await.is(400, "validation_failed", "x");
    let all = desk.put("/rates/x/y/z", json!({"rate": 1, "more": 1})).await;
    assert_eq!(all.fields(), ["date", "from", "to", "rate", "more"], "{}", all.body);
    assert_eq!(desk.listed("").await, "", "something refused was stored");
    for date in ["1970-01-01", "2026-09-22"] {
        assert_eq!(desk.put_rate(date, "EUR", "1").await.status, StatusCode::CREATED, "{date}");
    }
}

#[tokio::test]
async fn rates_are_listed_from_the_newest_on() {
    let (_installation, desk) = desk().await;
    for (date, from, rate) in [
        ("2026-09-20", "GBP", "1.4"),
        ("2026-09-21", "EUR", "1.2"),
        ("2026-09-20", "EUR", "1.3"),
        ("2026-09-18", "EUR", "1.5"),
        ("2026-09-21", "GBP", "1.1"),
    ] {
        desk.put_rate(date, from, rate).await;
    }
    desk.put("/rates/2026-09-19/USD/EUR", json!({"rate": "0.9"})).await;
    for (query, wanted) in [
        ("", "1.1 1.2 1.4 1.3 0.9 1.5"),
        ("?sort=-date", "1.1 1.2 1.4 1.3 0.9 1.5"),
        ("?sort=date", "1.5 0.9 1.3 1.4 1.2 1.1"),
        ("?from=EUR", "1.2 1.3 1.5"),
        ("?from=EUR,USD&sort=date", "1.5 0.9 1.3 1.2"),
        ("?to=EUR", "0.9"),
        ("?from=GBP&to=EUR", ""),
        ("?date=2026-09-20", "1.4 1.3"),
        ("?date[gte]=2026-09-20", "1.1 1.2 1.4 1.3"),
        ("?date[gt]=2026-09-20", "1.1 1.2"),
        ("?date[lt]=2026-09-20", "0.9 1.5"),
        ("?date[lte]=2026-09-20", "1.4 1.3 0.9 1.5"),
        ("?date[lte]=9999-12-31&date[gte]=2026-09-21", "1.1 1.2"),
        ("?date[gte]=2026-09-19&date[lt]=2026-09-21&from=EUR", "1.3"),
        ("?date[gte]=2026-09-21&date[lt]=2026-09-20", ""),
        ("?date=2026-09-20&date[gt]=2026-09-20", ""),
    ] {
        assert_eq!(desk.listed(query).await, wanted, "{query}");
        // The same, page by page.
        let joint = if query.is_empty() { "?" } else { "&" };
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = desk.get(&format!("/rates{query}{joint}take=2{cursor}")).await.ok();
            paged.extend(column(&page, "rate"));
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged.join(" "), wanted, "{query}");
    }
    for (query, field) in [
        ("from=eur", "from"),
        ("to=", "to"),
        ("from[not]=EUR", "from[not]"),
        ("date=yesterday", "date"),
        ("date[gte]=2026-9-1", "date[gte]"),
        ("date[gt]=9999-12-31", "date[gt]"),
        ("date[like]=2026", "date[like]"),
        ("sort=rate", "sort"),
        ("take=0", "take"),
        ("cursor=x", "cursor"),
        ("status=archived", "status"),
    ] {
        desk.get(&format!("/rates?{query}")).await.is(400, "validation_failed", field);
    }
}

#[tokio::test]
async fn rates_are_the_workspaces_own_and_need_the_scopes() {
    let (_installation, desk) = desk().await;
    let (reader, writer) = (desk.key(&[Scope::Read]).await, desk.key(&[Scope::Write]).await);
    assert_eq!(writer.put_rate(TODAY, "EUR", "1.1").await.status, StatusCode::CREATED);
    reader.put_rate(TODAY, "EUR", "1.1").await.is(403, "forbidden", "");
    writer.get("/rates").await.is(403, "forbidden", "");
    writer.get(&path(TODAY, "EUR", "USD")).await.is(403, "forbidden", "");
    assert_eq!(reader.get(&path(TODAY, "EUR", "USD")).await.ok()["rate"], "1.1");
    assert_eq!(reader.listed("").await, "1.1");
    desk.with_key("tb_live_wrong").get("/rates").await.is(401, "unauthorized", "");
}
