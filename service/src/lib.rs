//! What every process of ours needs and no domain owns: settings, logs and metrics, start and stop, the server, time.
//!
//! What does not fit into one of them lives where it is used.

pub mod clock;
pub mod config;
pub mod lifecycle;
mod server;
pub mod telemetry;
