//! The edge goes on when it is killed, and when the log is away: what it acknowledged is counted once, later.
//!
//! Here the outages are short; `just outage` makes them long, under more load, and tells how long a redirect took.

use reqwest::Method;
use schemas::event::label;

use crate::harness::{Engines, Habits, Role, Stack, Traffic, on_both_engine_sets, wait_for};

on_both_engine_sets!(the_edge_is_killed_again_and_again_under_traffic);

/// How often the edge is killed.
const KILLS: usize = 8;
/// Clicks between two kills.
const BETWEEN_KILLS: usize = 60;
/// Clicks before, in and after an outage of the log.
const CLICKS: usize = 120;

/// On embedded engines the edge is everything.
async fn the_edge_is_killed_again_and_again_under_traffic(engines: Engines) {
    let mut stack = Stack::start(engines).await;
    stack.campaign("anna").await;
    let traffic = Traffic::start(&stack, "anna").await;
    for _ in 0..KILLS {
        traffic.more_clicks(BETWEEN_KILLS).await;
        stack.kill(Role::Ingest);
        stack.start_role(Role::Ingest);
    }
    traffic.more_clicks(BETWEEN_KILLS).await;
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_paused_stopped_and_killed_under_traffic() {
    let mut stack = Stack::start_with_broker().await;
    stack.campaign("anna").await;
    let traffic = Traffic::start(&stack, "anna").await;
    for outage in ["paused", "stopped", "killed"] {
        traffic.more_clicks(CLICKS).await;
        match outage {
            "paused" => stack.broker().signal("STOP"),
            "stopped" => stack.broker().signal("TERM"),
            _ => stack.broker().kill(),
        }
        // Acknowledged while the log is away: they are in the spool.
        traffic.more_clicks(CLICKS).await;
        match outage {
            "paused" => stack.broker().signal("CONT"),
            "stopped" => {
                stack.broker().kill();
                stack.broker().restart();
            }
            _ => stack.broker().restart(),
        }
    }
    traffic.more_clicks(CLICKS).await;
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
}

/// How often the broker is paused past the processor's deadline, and killed.
const OUTAGES_OF_THE_PROCESSOR: usize = 3;
/// Clicks before, in and after each of these.
const CALM_CLICKS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn the_log_goes_away_again_and_again_past_the_deadline_of_a_processor() {
    let mut stack = Stack::start_with_broker().await;
    stack.campaign("anna").await;
    // What an owner had in flight is given up soon, and lands all the same when the broker goes on.
    stack.set(Role::Processor, "TRIBUTARY_PROCESSOR__APPEND_DEADLINE_MS", "1000");
    stack.kill(Role::Processor);
    stack.start_role(Role::Processor);
    let traffic = Traffic::start_with(&stack, "anna", Habits::CALM).await;
    for _ in 0..OUTAGES_OF_THE_PROCESSOR {
        traffic.more_clicks(CALM_CLICKS).await;
        stack.broker().signal("STOP");
        processors_that_try_again(&stack, true).await;
        stack.broker().signal("CONT");
        processors_that_try_again(&stack, false).await;
        traffic.more_clicks(CALM_CLICKS).await;
        stack.broker().kill();
        stack.broker().restart();
        processors_that_try_again(&stack, false).await;
    }
    traffic.more_clicks(CALM_CLICKS).await;
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_starts_while_the_log_is_away_serves_from_its_catalog_on_disk() {
    let mut stack = Stack::start_with_broker().await;
    stack.campaign("anna").await;
    let traffic = Traffic::start(&stack, "anna").await;
    traffic.more_clicks(CLICKS).await;
    stack.broker().kill();
    traffic.more_clicks(CLICKS).await;
    // What the first life has in its spool is the second one's to deliver.
    stack.kill(Role::Ingest);
    stack.start_role(Role::Ingest);
    traffic.more_clicks(CLICKS).await;
    stack.broker().restart();
    traffic.more_clicks(CLICKS).await;
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
    // What the copy alone has told says so; what came when the log had been asked does not.
    let by_the_copy = format!("&label={}", label::STALE_CATALOG);
    let (stale, all) = (clicks(&stack, &by_the_copy).await, clicks(&stack, "").await);
    assert!((1..all).contains(&stale), "{stale} of {all} clicks were recorded by a stale catalog");
}

/// Waits until there are some, or none any more.
async fn processors_that_try_again(stack: &Stack, are_there: bool) {
    wait_for("processors", async || match stack.processor_metric("tributary_partition_retrying", "").await {
        Some(retrying) if (retrying > 0.0) == are_there => Ok(()),
        retrying => Err(format!("{retrying:?} partitions try again")),
    })
    .await;
}

/// Clicks in the report.
async fn clicks(stack: &Stack, filter: &str) -> u64 {
    let path = format!("/reports?from=2026-01-01&to=2035-01-01&metrics=clicks{filter}");
    let report = stack.api(Method::GET, &path, None).await;
    report["totals"]["clicks"].as_u64().unwrap_or_else(|| panic!("{report}"))
}
