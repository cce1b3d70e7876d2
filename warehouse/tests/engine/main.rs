//! The warehouse against the real engine: every test starts a child of its own.

mod batch;
mod client;
mod curl;
mod harness;
mod marks;
mod migrations;
mod python;
mod restart;
