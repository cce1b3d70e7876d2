//! From the first click to the first report.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Engines, Stack, on_both_engine_sets};

on_both_engine_sets!(first_click_to_first_report);

async fn first_click_to_first_report(engines: Engines) {
    let stack = Stack::start(engines).await;
    let campaign = stack.campaign("anna").await;
    let click = stack.click("anna?sub1=blog").await;
    let conversion =
        json!({"click_id": click.id, "transaction_id": "A-1", "amount": "80.00", "currency": "USD"});
    let receipt = stack.convert(conversion).await;

    let settled = stack.receipt(&receipt).await;
    assert_eq!(settled["status"], "recorded", "{settled}");
    assert_eq!(settled["type"], "conversion");
    assert_eq!(stack.receipt(&click.receipt).await["status"], "recorded");

    let wanted = json!({"clicks": 1, "conversions": 1, "revenue": "80.00", "payout": "8.00"});
    let report = stack.await_totals(&wanted).await;
    let row = &report["items"][0];
    assert_eq!(row["partner"], json!({"id": campaign.partner, "name": "Anna"}));
    assert_eq!(row["payout"], json!({"amount": "8.00", "currency": "USD"}));
    assert!(report["data_through"].is_string(), "{report}");

    let list = stack.api(Method::GET, "/conversions?take=10", None).await;
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{list}");
    assert_eq!(items[0]["click_id"], json!(click.id));
    assert_eq!(items[0]["status"], "approved");
    assert_eq!(items[0]["transaction_id"], "A-1");
    stack.assert_balance().await;
}
