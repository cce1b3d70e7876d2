//! What stands before the warehouse does wrong: every acknowledged event is counted once all the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tests::proxy::{Proxy, Treatment};

use crate::harness::{Engines, Habits, Role, Stack, Traffic, wait_for};

/// The tables of which INSERTs are treated badly: one that is derived, the first and the last of those that are proven, and the one
/// that says that a cut is finished. More would only make the sink wait longer and longer before it tries again.
const TABLES: [&str; 4] = ["conversions", "clicks", "outcomes", "cuts"];
/// Clicks before the sink has met the faults, and after.
const CLICKS: usize = 20;

/// How many INSERTs into a table are treated badly, one after the other. A sink tries again more and more seldom, but sends rows that
/// it was told are there at once, five times.
fn bad_ones(treatment: Treatment, table: &str) -> u32 {
    if !TABLES.contains(&table) {
        return 0;
    }
    match treatment {
        // Those that are derived are all sent again, after a while.
        Treatment::Lie if table == TABLES[0] => 1,
        Treatment::Lie => 3,
        Treatment::Pass
        | Treatment::FailAfterwards
        | Treatment::NeverAnswer
        | Treatment::Swallow
        | Treatment::Halfway(_) => 1,
    }
}

/// Nothing is called where an INSERT is cut.
fn cut() {}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_does_and_says_different_things_gets_every_row_once() {
    let mut stack = Stack::start(Engines::Cluster).await;
    stack.campaign("anna").await;
    let mut ledger = None;
    for treatment in [
        Treatment::FailAfterwards,
        Treatment::NeverAnswer,
        Treatment::Swallow,
        Treatment::Lie,
        Treatment::Halfway(cut),
    ] {
        let inserts = Arc::new(Mutex::new(BTreeMap::new()));
        let counted = inserts.clone();
        let judge = move |table: &str| {
            let mut counted = counted.lock().unwrap();
            let number = counted.entry(table.to_owned()).or_insert(0);
            *number += 1;
            if *number <= bad_ones(treatment, table) { treatment } else { Treatment::Pass }
        };
        let proxy = Proxy::before(stack.warehouse(), judge);
        stack.set(Role::Sink, "TRIBUTARY_WAREHOUSE__URL", &proxy.url);
        stack.set(Role::Sink, "TRIBUTARY_SINK__INSERT_TIMEOUT_MS", "1000");
        stack.kill(Role::Sink);
        stack.start_role(Role::Sink);
        let traffic = match ledger.take() {
            None => Traffic::start_with(&stack, "anna", Habits::CALM).await,
            Some(ledger) => Traffic::resume(&stack, "anna", ledger, Habits::CALM),
        };
        traffic.more_clicks(CLICKS).await;
        wait_for("the sink's INSERTs", async || {
            let inserts = inserts.lock().unwrap();
            let found = |table: &&str| inserts.get(*table).copied().unwrap_or(0);
            let is_past = |table: &&str| found(table) > bad_ones(treatment, table);
            if TABLES.iter().all(is_past) { Ok(()) } else { Err(format!("{treatment:?}: {inserts:?}")) }
        })
        .await;
        traffic.more_clicks(CLICKS).await;
        let finished = traffic.finish().await;
        stack.audit(&finished).await;
        ledger = Some(finished);
    }
}
