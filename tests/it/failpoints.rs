//! `kill -9` at named points of processor and sink under traffic, and what is counted afterwards.
//!
//! `KILLS=50 cargo test -p tests --test it failpoints` ends them so often at each point.

use crate::harness::{Engines, Habits, Role, Stack, Traffic, on_both_engine_sets};

on_both_engine_sets!(processor_and_sink_end_at_every_point_under_traffic);

/// Where they end. What each means is said at `processor::Failpoint`; in `in_insert` a part of the body is sent.
const POINTS: [(Role, &[&str]); 2] = [
    (Role::Processor, &["before_append", "after_append", "before_commit", "after_commit"]),
    (Role::Sink, &["before_insert", "in_insert", "after_insert", "between_tables", "before_progress"]),
];
/// How often one installation ends at each point.
const OF_ONE_INSTALLATION: u32 = 2;
/// A point is reached so often before the process ends, at most: the first time may belong to what an earlier life left.
const MOST_TIMES: u32 = 3;
/// Clicks between two rounds.
const BETWEEN: usize = 20;

#[expect(clippy::disallowed_methods, reason = "how often it is tried is no setting of the program")]
fn kills() -> u32 {
    std::env::var("KILLS").map_or(OF_ONE_INSTALLATION, |kills| kills.parse().expect("KILLS is a number"))
}

async fn processor_and_sink_end_at_every_point_under_traffic(engines: Engines) {
    let kills = kills();
    for first in (0..kills).step_by(OF_ONE_INSTALLATION as usize) {
        let rounds = first..kills.min(first + OF_ONE_INSTALLATION);
        let mut stack = Stack::start(engines).await;
        stack.campaign("anna").await;
        let traffic = Traffic::start_with(&stack, "anna", Habits::CALM).await;
        for round in rounds {
            for (role, points) in POINTS {
                for (point, number) in points.iter().zip(0..) {
                    // Whoever takes over from one that died dies at the next point.
                    stack.die(role, point, 1 + (round + number) % MOST_TIMES);
                }
                stack.start_role(role);
            }
            traffic.more_clicks(BETWEEN).await;
        }
        let ledger = traffic.finish().await;
        stack.audit(&ledger).await;
    }
}
