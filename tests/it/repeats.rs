//! What arrives twice counts once.

use serde_json::json;

use crate::harness::{Engines, Stack, on_both_engine_sets};

on_both_engine_sets!(a_transaction_sent_twice_counts_once);

async fn a_transaction_sent_twice_counts_once(engines: Engines) {
    let stack = Stack::start(engines).await;
    stack.campaign("anna").await;
    let click = stack.click("anna").await;
    let body = json!({"click_id": click.id, "transaction_id": "T-1", "amount": "50.00"});
    let first = stack.convert(body.clone()).await;
    let second = stack.convert(body).await;
    let other =
        stack.convert(json!({"click_id": click.id, "transaction_id": "T-1", "amount": "51.00"})).await;

    assert_eq!(stack.receipt(&first).await["status"], "recorded");
    let duplicate = stack.receipt(&second).await;
    assert_eq!(duplicate["status"], "duplicate");
    assert_eq!(duplicate["original"], json!(first));
    assert_eq!(stack.receipt(&other).await["status"], "conflict");
    let wanted = json!({"clicks": 1, "conversions": 1, "revenue": "50.00", "payout": "5.00"});
    stack.await_totals(&wanted).await;
    stack.assert_balance().await;
}
