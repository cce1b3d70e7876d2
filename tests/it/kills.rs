//! `kill -9` under traffic: nothing that was acknowledged is lost, nothing is counted twice.

use nix::sys::signal::Signal;

use crate::harness::{Engines, Role, Stack, Traffic, on_both_engine_sets, wait_for};

on_both_engine_sets!(
    everything_is_killed_under_traffic,
    the_engine_alone_is_killed_under_traffic,
    processor_and_sink_are_killed_under_traffic,
);

/// Clicks between two blows.
const BETWEEN: usize = 150;

async fn everything_is_killed_under_traffic(engines: Engines) {
    let mut stack = Stack::start(engines).await;
    stack.campaign("anna").await;
    let traffic = Traffic::start(&stack, "anna").await;
    for _ in 0..3 {
        traffic.more_clicks(BETWEEN).await;
        stack.kill_all();
        stack.start_all();
    }
    traffic.more_clicks(BETWEEN).await;
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
}

async fn the_engine_alone_is_killed_under_traffic(engines: Engines) {
    let stack = Stack::start(engines).await;
    stack.campaign("anna").await;
    let traffic = Traffic::start(&stack, "anna").await;
    for _ in 0..3 {
        traffic.more_clicks(BETWEEN).await;
        stack.kill_engine().await;
    }
    traffic.more_clicks(BETWEEN).await;
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
}

async fn processor_and_sink_are_killed_under_traffic(engines: Engines) {
    let mut stack = Stack::start(engines).await;
    stack.campaign("anna").await;
    let traffic = Traffic::start(&stack, "anna").await;
    for role in [Role::Processor, Role::Sink, Role::Processor, Role::Sink] {
        traffic.more_clicks(BETWEEN).await;
        stack.kill(role);
        stack.start_role(role);
    }
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
}

/// Two processors own every partition of a cluster; one is stopped past every deadline of its own and then goes on with
/// what it had in hand. (The embedded log has one owner by its lock; the same case runs inside one process in the
/// processor's own tests.)
#[tokio::test(flavor = "multi_thread")]
async fn two_processors_own_the_partition_and_one_of_them_stops_and_goes_on() {
    let mut stack = Stack::start(Engines::Cluster).await;
    stack.campaign("anna").await;
    stack.start_role(Role::SecondProcessor);
    let traffic = Traffic::start(&stack, "anna").await;
    for stopped in [Role::Processor, Role::SecondProcessor, Role::Processor] {
        traffic.more_clicks(BETWEEN).await;
        stack.signal(stopped, Signal::SIGSTOP);
        traffic.more_clicks(BETWEEN).await;
        tokio::time::sleep(STOPPED).await;
        stack.signal(stopped, Signal::SIGCONT);
    }
    traffic.more_clicks(BETWEEN).await;
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
}

/// Two processors share the partitions out as members of a group: where one stays away the other takes over.
#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_stays_away_is_replaced_by_another_of_its_group() {
    let mut stack = Stack::start(Engines::Cluster).await;
    stack.campaign("anna").await;
    for (role, instance) in [(Role::Processor, "one"), (Role::SecondProcessor, "two")] {
        stack.set(role, "TRIBUTARY_PROCESSOR__INSTANCE", instance);
        // The shortest that a broker takes.
        stack.set(role, "TRIBUTARY_PROCESSOR__SESSION_MS", "6000");
    }
    stack.kill(Role::Processor);
    stack.start_role(Role::Processor);
    stack.start_role(Role::SecondProcessor);
    let traffic = Traffic::start(&stack, "anna").await;
    for away in [Role::Processor, Role::SecondProcessor] {
        traffic.more_clicks(BETWEEN).await;
        stack.kill(away);
        let before = stack.customer().reported_clicks().await.unwrap();
        traffic.more_clicks(BETWEEN).await;
        wait_for("clicks decided by the other one", async || {
            let clicks = stack.customer().reported_clicks().await?;
            if clicks >= before + BETWEEN as u64 { Ok(()) } else { Err(format!("{clicks} after {before}")) }
        })
        .await;
        stack.start_role(away);
    }
    stack.kill(Role::SecondProcessor);
    let ledger = traffic.finish().await;
    stack.audit(&ledger).await;
}

/// Longer than the deadline of an owner's appends (10 s by default).
const STOPPED: std::time::Duration = std::time::Duration::from_secs(12);
