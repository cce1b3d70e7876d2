//! Settings of the processor and of the sink.

use serde::{Deserialize, Serialize};

/// Settings of the processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessorSettings {
    /// Partitions of `events` that this process decides; empty means all. Two owners of one partition are harmless.
    pub partitions: Vec<u32>,
    /// Events decided into one record of `facts` at most.
    pub max_batch_events: usize,
    /// How long events are collected for one record, in milliseconds.
    pub batch_linger_ms: u64,
    /// How long a record of `facts` may stay unconfirmed, in milliseconds.
    pub append_deadline_ms: u64,
    /// Age at which undelivered facts ask for a cut, in milliseconds: the sink's batch period.
    pub cut_period_ms: u64,
}

impl Default for ProcessorSettings {
    fn default() -> Self {
        Self {
            partitions: Vec::new(),
            max_batch_events: 5_000,
            batch_linger_ms: 10,
            append_deadline_ms: 10_000,
            cut_period_ms: 1_000,
        }
    }
}

/// Settings of the sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SinkSettings {
    /// Partitions of `facts` that this process loads; empty means all. Two sinks of one partition are harmless.
    pub partitions: Vec<u32>,
    /// How long one INSERT may take, in milliseconds; below the 60 s after which the table refuses it.
    pub insert_timeout_ms: u64,
}

impl Default for SinkSettings {
    fn default() -> Self {
        Self { partitions: Vec::new(), insert_timeout_ms: 30_000 }
    }
}
