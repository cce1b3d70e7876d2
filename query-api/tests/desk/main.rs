//! The desk against the real engine, with rows put there by hand.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod bad_input;
mod clients;
mod generations;
mod harness;
mod lists;
mod receipts;
mod report_rows;
mod reports;
mod rows;
mod surface;
mod tenancy;
mod traffic;
mod transitions;
