//! End-to-end tests: real processes, real sockets, on both engine sets through one harness; and the rules of the house.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests fail by panicking")]

#[path = "../../eventlog/tests/conformance/broker.rs"]
mod broker;
mod harness;
mod tidy;

mod bad_start;
mod first_report;
mod kills;
mod late_click;
mod readme;
mod repeats;
mod restarts;
