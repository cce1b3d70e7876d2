//! `POST /api/v1/track/click · /lead · /sale` and `POST /api/v1/conversions`.

use reqwest::Method;
use schemas::time::Timestamp;
use serde_json::{Value, json};
use service::clock::{Clock as _, SystemClock};

use super::world::{Answer, Ask, ORIGIN, World};

pub async fn check(world: &mut World) {
    let click = from_a_page(world).await;
    from_a_server(world, &click).await;
    across_origins(world).await;
    touched_late(world).await;

    let names = ["J-1", "J-2", "J-3", "J-4"];
    let listed = world.listed("/conversions", "transaction_id", &names).await;
    for (name, event, status) in [
        ("J-1", "lead", "pending"),
        ("J-2", "sale", "pending"),
        ("J-3", "sale", "approved"),
        ("J-4", "sale", "approved"),
    ] {
        let item = listed.get(name).cloned().unwrap_or_default();
        world.check(name, item["event"] == event && item["status"] == status, &item);
    }
    world.check_labels("no currency", listed.get("J-4"), &["default_currency"]);
    let metadata = listed.get("J-3").map(|item| item["metadata"].clone()).unwrap_or_default();
    world.check("an unknown field", metadata["color"] == "red", metadata);
    let clicked = world.listed("/clicks", "sub1", &["j-click", "j-late"]).await;
    world.check_labels("a click that comes late", clicked.get("j-late"), &["late"]);
    world.check_labels("a click by JSON", clicked.get("j-click"), &["unique_link_24h", "unique_offer_24h"]);
}

/// A browser with the publishable key: a click, a lead, a sale by `sendBeacon`.
async fn from_a_page(world: &mut World) -> String {
    let key = world.publishable.clone();
    let track = |what: &str, body: Value| {
        Ask::json(format!("/api/v1/track/{what}"), &body).key(&key).header("origin", ORIGIN)
    };
    let answer = world.ask(track("click", json!({"link": "plain", "sub1": "j-click"}))).await;
    accepted(world, "track/click", &answer);
    let body = answer.json();
    let click = body["click_id"].as_str().unwrap_or_default().to_owned();
    world.check("track/click", click.starts_with("click_"), &body);
    world.check_receipt("track/click", &answer, "recorded", None).await;
    let lead = json!({"click_id": click, "transaction_id": "J-1", "email": "a@shop.example"});
    let answer = world.ask(track("lead", lead)).await;
    accepted(world, "track/lead", &answer);
    world.check_receipt("track/lead", &answer, "recorded", None).await;
    let sale =
        json!({"key": key, "click_id": click, "transaction_id": "J-2", "amount": "20.00", "currency": "USD"});
    let beacon = Ask::post("/api/v1/track/sale", "text/plain;charset=UTF-8", sale.to_string())
        .header("origin", ORIGIN);
    let answer = world.ask(beacon).await;
    accepted(world, "sendBeacon", &answer);
    world.check_receipt("sendBeacon", &answer, "recorded", None).await;
    click
}

/// A click that comes after a conversion of its visitor that is approved already.
async fn touched_late(world: &mut World) {
    let key = world.stack.key.clone();
    let click = |body: Value| Ask::json("/api/v1/track/click", &body).key(&key);
    let first = Ask::json("/api/v1/track/click", &json!({"link": "plain", "sub1": "j-first"}));
    let first = world.ask(first.key(&world.publishable.clone()).header("origin", ORIGIN)).await;
    accepted(world, "a first click", &first);
    let sale = json!({"click_id": first.json()["click_id"], "transaction_id": "J-6", "amount": "1.00"});
    let sale = world.ask(Ask::json("/api/v1/conversions", &sale).key(&key)).await;
    world.check_receipt("a sale by it", &sale, "recorded", None).await;
    let an_hour_ago = SystemClock.now_micros() - 3_600 * 1_000_000;
    let at = Timestamp::from_micros(an_hour_ago).to_string();
    let visitor = first.json()["visitor_id"].clone();
    world.check("the visitor of a click by JSON", visitor.is_string(), &visitor);
    let late = json!({"link": "plain", "sub1": "j-late", "visitor_id": visitor, "occurred_at": at});
    let late = world.ask(click(late)).await;
    world.check_receipt("a click that comes late", &late, "recorded", None).await;
}

async fn from_a_server(world: &mut World, click: &str) {
    let key = world.stack.key.clone();
    let report = |body: Value| Ask::json("/api/v1/conversions", &body).key(&key);
    let full = json!({
        "clickid": click, "externalEventId": "J-3", "amount": {"amount": "30.00", "currency": "USD"}, "color": "red",
    });
    let answer = world.ask(report(full.clone())).await;
    accepted(world, "conversions", &answer);
    world.check_receipt("conversions", &answer, "recorded", None).await;
    let answer = world.ask(report(full)).await;
    world.check_receipt("conversions again", &answer, "duplicate", None).await;
    let partner = world.partner.clone();
    // Neither a click nor an offer: the workspace's currency is all that is known of the money.
    let answer =
        world.ask(report(json!({"partner": partner, "transaction_id": "J-4", "amount_minor": 1250}))).await;
    world.check_receipt("no currency", &answer, "recorded", None).await;
    let unseen =
        json!({"click_id": "click_01m7wvtahne77800003n0qwvd8", "transaction_id": "J-5", "amount": "1.00"});
    let answer = world.ask(report(unseen)).await;
    world.check_status("a click of nobody", &answer, 202);
    let test_key = world.test_key.clone();
    let test = json!({"click_id": click, "transaction_id": "J-6", "amount": "1.00"});
    let answer = world.ask(Ask::json("/api/v1/conversions", &test).key(&test_key)).await;
    accepted(world, "a test key", &answer);
    world.check_receipt("a test key", &answer, "recorded", None).await;
    // A signed source's name is no proof.
    let signed = world.signed.0.clone();
    let claimed = json!({"click_id": click, "source": signed, "transaction_id": "J-7", "amount": "1.00"});
    let answer = world.ask(report(claimed)).await;
    world.check_status("a signed source without its signature", &answer, 401);
}

/// Pages ask first, and only the key's own may.
async fn across_origins(world: &mut World) {
    let ask = |origin: &str| {
        Ask::get("/api/v1/track/sale")
            .method(Method::OPTIONS)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
    };
    let answer = world.ask(ask(ORIGIN)).await;
    let allowed = answer.header("access-control-allow-methods").contains("POST");
    world.check("preflight", (200..300).contains(&answer.status) && allowed, format!("{answer:?}"));
    let key = world.publishable.clone();
    let body = json!({"click_id": "click_01m7wvtahne77800003n0qwvd8", "transaction_id": "J-8"});
    let sale = |origin: &str| Ask::json("/api/v1/track/sale", &body).key(&key).header("origin", origin);
    let answer = world.ask(sale(ORIGIN)).await;
    let allowed = answer.header("access-control-allow-origin").to_owned();
    world.check("a page of ours", allowed == ORIGIN, format!("{answer:?}"));
    let answer = world.ask(sale("https://evil.example")).await;
    world.check_status("a strange page", &answer, 403);
}

/// 202, and the usual JSON.
pub fn accepted(world: &mut World, case: &str, answer: &Answer) {
    world.check_status(case, answer, 202);
    let body = answer.json();
    world.check(case, body["status"] == "accepted" && body["receipt"].is_string(), body);
}
