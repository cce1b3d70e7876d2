//! An open-loop load generator and an auditor. It is a customer: it speaks HTTP and knows nothing else of the product.
//!
//! A request's latency counts from the time at which it was due, not from the time at which it was sent, so a server that
//! stalls cannot hide the requests that waited behind the stall.

pub mod access_log;
pub mod audit;
pub mod bench;
pub mod clicks;
pub mod drive;
pub mod ledger;
pub mod process;
pub mod replay;
pub mod schedule;
pub mod tally;
pub mod wire;

mod error;

pub use error::LoadError;
