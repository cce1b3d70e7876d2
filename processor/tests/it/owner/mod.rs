//! Owners of a partition, on the embedded log and on disk.

mod chain;
mod halts;
