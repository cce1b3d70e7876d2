//! `POST /api/v1/conversions/{id}/refund` and `POST /api/v1/refunds`.

use reqwest::Method;
use serde_json::{Value, json};

use super::json::accepted;
use super::world::{Ask, World};
use crate::harness::wait_for;

pub async fn check(world: &mut World) {
    let (click, _) = world.click("/c/plain?sub1=r-click").await;
    let key = world.stack.key.clone();
    let post = |path: &str, body: Value| Ask::json(path, &body).key(&key);
    let sale = json!({"click_id": click, "transaction_id": "R-1", "amount": "100.00", "currency": "USD"});
    let answer = world.ask(post("/api/v1/conversions", sale)).await;
    let settled = world.check_receipt("the sale", &answer, "recorded", None).await;
    let conversion = settled["conversion"].as_str().unwrap_or_default().to_owned();

    let path = format!("/api/v1/conversions/{conversion}/refund");
    let part = json!({"refund_id": "B-1", "amount": "30.00", "reason": "one shoe"});
    let answer = world.ask(post(&path, part.clone())).await;
    accepted(world, "a part", &answer);
    world.check_receipt("a part", &answer, "recorded", None).await;
    let again = world.ask(post(&path, part)).await;
    world.check_receipt("a part again", &again, "duplicate", None).await;
    let other = world.ask(post(&path, json!({"refund_id": "B-1", "amount": "31.00", "reason": "x"}))).await;
    world.check_receipt("another amount", &other, "conflict", None).await;
    let much = json!({"refund_id": "B-2", "amount": "70.01", "reason": "too much"});
    let answer = world.ask(post(&path, much)).await;
    world.check_receipt("too much", &answer, "rejected", Some("refund_exceeds_amount")).await;
    // No amount: the rest; found by what the sender calls the sale.
    let rest =
        json!({"refund_id": "B-3", "transaction_id": "R-1", "event": "sale", "reason": "the other shoe"});
    let answer = world.ask(post("/api/v1/refunds", rest)).await;
    accepted(world, "the rest", &answer);
    world.check_receipt("the rest", &answer, "recorded", None).await;

    // What is decided is in the list a cut later.
    let stack = &world.stack;
    let item = wait_for("the rest", async || {
        let answer = stack.api(Method::GET, &format!("/conversions/{conversion}"), None).await;
        if answer["status"] == "reversed" { Ok(answer) } else { Err(answer.to_string()) }
    })
    .await;
    world.check("the rest", item["refunded"]["amount"] == "100.00", &item);
    let malformed = world.ask(post("/api/v1/conversions/nonsense/refund", json!({"refund_id": "B-4"}))).await;
    world.check("a malformed id", matches!(malformed.status, 400 | 404), malformed.status);
}
