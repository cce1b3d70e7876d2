//! What arrives twice counts once.

use serde_json::json;

use crate::harness::{Engines, Habits, Stack, Traffic, on_both_engine_sets, wait_for};

on_both_engine_sets!(
    a_transaction_sent_twice_counts_once,
    three_of_ten_deliveries_and_transactions_come_again_later_and_count_once,
);

/// Clicks before and after deliveries come again.
const CLICKS: usize = 150;
/// So many of ten come again.
const AGAIN: u8 = 3;

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

async fn three_of_ten_deliveries_and_transactions_come_again_later_and_count_once(engines: Engines) {
    let mut stack = Stack::start(engines).await;
    stack.campaign("anna").await;
    let habits = Habits { repeats_of_ten: AGAIN.into(), ..Habits::default() };
    let traffic = Traffic::start_with(&stack, "anna", habits).await;
    let mut again = 0;
    for _ in 0..2 {
        traffic.more_clicks(CLICKS).await;
        // What came again comes once more the second time.
        again += stack.deliver_again(AGAIN.into()).await;
    }
    traffic.more_clicks(CLICKS).await;
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
    let repeated = ledger.repeated.lock().await.len();
    assert!(repeated >= CLICKS / 2, "only {repeated} transactions came again");
    // Beside what an edge itself delivers twice: it does so where an append was late.
    wait_for("deliveries seen before", async || {
        match stack.processor_metric("tributary_processor_redelivered", "").await {
            Some(seen) if seen >= again as f64 => Ok(()),
            seen => Err(format!("{seen:?} of {again}")),
        }
    })
    .await;
    assert!(again >= CLICKS, "only {again} deliveries came again");
}
