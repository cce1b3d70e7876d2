//! Owners of a partition, on the embedded log and on disk.

mod caps;
mod chain;
mod halts;
mod rates;
mod results;
mod shares;
