//! End-to-end tests: real processes, real sockets, on both engine sets through one harness; and the rules of the house.
#![allow(missing_docs, unreachable_pub, reason = "a test binary has no interface")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its harness, too")]

#[path = "../../eventlog/tests/conformance/broker.rs"]
#[allow(dead_code, reason = "the log's own tests also kill a broker and start it again")]
mod broker;
mod harness;
mod tidy;

mod bad_start;
mod browser;
mod commands;
mod contract;
mod failpoints;
mod first_report;
mod kills;
mod late_click;
mod loadtest_audit;
mod outages;
mod poison;
mod readme;
mod repeats;
mod replay;
mod restarts;
mod signatures;
mod transitions;
mod warehouse_faults;
