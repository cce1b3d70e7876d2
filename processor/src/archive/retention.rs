//! How far a partition's log may be cut: below everything that still needs it.

use std::sync::Arc;

use eventlog::EventLog;
use schemas::time::Timestamp;

use super::{Archive, Mover};
use crate::assignment::PartitionOf;
use crate::error::Error;
use crate::metrics::SnapshotMetrics;
use crate::objects::Objects;
use crate::read_back;
use crate::sink::Tables;
use crate::sink::position::log_partition;
use crate::snapshot::Snapshot;

const MICROS_PER_HOUR: i64 = 3_600 * 1_000_000;

/// Moves what is old and no longer needed from a partition's log into the archive.
pub(crate) struct Retention {
    log: Arc<dyn EventLog>,
    warehouse: Arc<dyn Tables>,
    partition: PartitionOf,
    movers: [(&'static str, Mover); 2],
    after_hours: u64,
    metrics: SnapshotMetrics,
}

impl Retention {
    pub(crate) fn new(
        (objects, log): (Objects, Arc<dyn EventLog>),
        warehouse: Arc<dyn Tables>,
        partition: PartitionOf,
        after_hours: u64,
        metrics: SnapshotMetrics,
    ) -> Self {
        let movers = [partition.events(), partition.facts()]
            .map(|of| (of.topic, Mover::new(Archive::new(objects.clone(), Arc::clone(&log), of))));
        Self { log, warehouse, partition, movers, after_hours, metrics }
    }

    /// Archives and deletes what is old enough and lies below the oldest snapshot that is kept and the sink's last verified cut.
    pub(crate) async fn pass(&self, oldest: &Snapshot, now: Timestamp) -> Result<(), Error> {
        if self.after_hours == 0 {
            return Ok(());
        }
        let Some(sink) = self.warehouse.last_cut(log_partition(self.partition.number)?).await? else {
            return Ok(());
        };
        let keep_micros = i64::try_from(self.after_hours).unwrap_or(i64::MAX).saturating_mul(MICROS_PER_HOUR);
        let old = now.saturating_add(keep_micros.saturating_neg());
        // A state knows its log by the last event, so that one stays.
        let events = self.source_after(oldest).await?.saturating_sub(1);
        let needed = [events, oldest.position.min(sink.record)];
        for ((topic, mover), needed) in self.movers.iter().zip(needed) {
            let archived = mover.pass(needed, old).await?;
            self.metrics.archived(topic, archived);
        }
        Ok(())
    }

    /// The event that comes next after a snapshot's record.
    async fn source_after(&self, snapshot: &Snapshot) -> Result<u64, Error> {
        let record = read_back::facts_at(&self.log, self.partition.facts(), snapshot.position).await?;
        Ok(record.source_to)
    }
}
