//! A restart of everything changes nothing.

use serde_json::json;

use crate::harness::{Engines, Stack, Traffic, on_both_engine_sets};

on_both_engine_sets!(
    a_conversion_after_a_restart_of_every_role_finds_its_click,
    everything_is_stopped_and_started_under_traffic,
);

/// Clicks between two stops.
const BETWEEN: usize = 150;

async fn a_conversion_after_a_restart_of_every_role_finds_its_click(engines: Engines) {
    let mut stack = Stack::start(engines).await;
    stack.campaign("anna").await;
    let click = stack.click("anna").await;
    stack.stop_all();
    stack.start_all();
    let receipt =
        stack.convert(json!({"click_id": click.id, "transaction_id": "R-1", "amount": "10.00"})).await;
    assert_eq!(stack.receipt(&receipt).await["status"], "recorded");
    let wanted = json!({"clicks": 1, "conversions": 1, "revenue": "10.00", "payout": "1.00"});
    stack.await_totals(&wanted).await;
    stack.assert_balance().await;
}

async fn everything_is_stopped_and_started_under_traffic(engines: Engines) {
    let mut stack = Stack::start(engines).await;
    stack.campaign("anna").await;
    let traffic = Traffic::start(&stack, "anna").await;
    for _ in 0..2 {
        traffic.more_clicks(BETWEEN).await;
        // Each process must end well although its clients go on.
        stack.stop_all();
        stack.start_all();
    }
    traffic.more_clicks(BETWEEN).await;
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
}
