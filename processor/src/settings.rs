//! Settings of the processor and of the sink.

use crate::error::Error;
use serde::{Deserialize, Serialize};

/// Settings of the processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessorSettings {
    /// Partitions of `events` that this process decides; empty means all. Two owners of one partition are harmless.
    pub partitions: Vec<u32>,
    /// The process's name among those that share all partitions out in a Kafka group; empty for none.
    pub instance: String,
    /// How long a process of the group may be silent before others take its partitions over, in milliseconds.
    pub session_ms: u64,
    /// Events decided into one record of `facts` at most.
    pub max_batch_events: usize,
    /// How long events are collected for one record, in milliseconds.
    pub batch_linger_ms: u64,
    /// How long a record of `facts` may stay unconfirmed, in milliseconds.
    pub append_deadline_ms: u64,
    /// Age at which undelivered facts ask for a cut, in milliseconds: the sink's batch period.
    pub cut_period_ms: u64,
    /// Seconds between two snapshots of a partition's state, where there is an object store; none while nothing is committed.
    pub snapshot_period_s: u64,
    /// Snapshots of a partition that are kept.
    pub snapshots_kept: usize,
    /// Age at which events and facts go from the log into the object store, in hours; 0 is never.
    pub archive_after_hours: u64,
}

impl Default for ProcessorSettings {
    fn default() -> Self {
        Self {
            partitions: Vec::new(),
            instance: String::new(),
            session_ms: 20_000,
            max_batch_events: 5_000,
            batch_linger_ms: 50,
            append_deadline_ms: 10_000,
            cut_period_ms: 1_000,
            snapshot_period_s: 600,
            snapshots_kept: 2,
            archive_after_hours: 168,
        }
    }
}

impl ProcessorSettings {
    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_share("processor.partitions", &self.partitions, &self.instance)?;
        if self.max_batch_events == 0 {
            return Err(Error::Setting { name: "processor.max_batch_events", problem: "must not be 0" });
        }
        if self.append_deadline_ms == 0 {
            return Err(Error::Setting { name: "processor.append_deadline_ms", problem: "must not be 0" });
        }
        if self.snapshot_period_s == 0 {
            return Err(Error::Setting { name: "processor.snapshot_period_s", problem: "must not be 0" });
        }
        if self.snapshots_kept == 0 {
            return Err(Error::Setting { name: "processor.snapshots_kept", problem: "must not be 0" });
        }
        Ok(())
    }
}

/// Settings of the sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SinkSettings {
    /// Partitions of `facts` that this process loads; empty means all. Two sinks of one partition are harmless.
    pub partitions: Vec<u32>,
    /// The process's name among those that share all partitions out in a Kafka group; empty for none.
    pub instance: String,
    /// How long a process of the group may be silent before others take its partitions over, in milliseconds.
    pub session_ms: u64,
    /// How long one INSERT may take, in milliseconds; below the 60 s after which the table refuses it.
    pub insert_timeout_ms: u64,
    /// Seconds between two audits, which count the rows of all finished cuts; 0 is never.
    pub audit_period_s: u64,
}

impl Default for SinkSettings {
    fn default() -> Self {
        Self {
            partitions: Vec::new(),
            instance: String::new(),
            session_ms: 20_000,
            insert_timeout_ms: 30_000,
            audit_period_s: 60,
        }
    }
}

impl SinkSettings {
    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_share("sink.partitions", &self.partitions, &self.instance)?;
        if self.insert_timeout_ms == 0 || self.insert_timeout_ms >= 60_000 {
            return Err(Error::Setting {
                name: "sink.insert_timeout_ms",
                problem: "must be 1 to 59999: after 60 s the table refuses the rows",
            });
        }
        Ok(())
    }
}

/// Refuses partitions that are named where a group shares them out.
fn check_share(name: &'static str, partitions: &[u32], instance: &str) -> Result<(), Error> {
    if !partitions.is_empty() && !instance.is_empty() {
        return Err(Error::Setting {
            name,
            problem: "must be empty where instance names a process of a group",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_cannot_work_is_refused_by_its_name() {
        ProcessorSettings::default().check().unwrap();
        SinkSettings::default().check().unwrap();
        let none = ProcessorSettings { max_batch_events: 0, ..ProcessorSettings::default() };
        assert_eq!(none.check().unwrap_err().to_string(), "processor.max_batch_events must not be 0");
        let both = SinkSettings { partitions: vec![1], instance: "a".into(), ..SinkSettings::default() };
        assert!(both.check().unwrap_err().to_string().starts_with("sink.partitions must be empty"));
        for insert_timeout_ms in [0, 60_000] {
            let error = SinkSettings { insert_timeout_ms, ..SinkSettings::default() }.check().unwrap_err();
            assert!(error.to_string().starts_with("sink.insert_timeout_ms must be 1 to 59999"), "{error}");
        }
    }
}
