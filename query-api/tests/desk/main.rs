//! The desk against the real engine, with rows put there by hand.

mod bad_input;
mod harness;
mod lists;
mod receipts;
mod reports;
mod rows;
mod surface;
mod tenancy;
