//! The sink: accepted facts in, rows out, each row exactly once.
//!
//! A batch is what lies between two cuts, so that it is the same batch whoever makes it and whenever. Before and after each
//! INSERT the table is asked what it holds of the batch; only the second answer moves the sink. Two sinks of one partition are
//! harmless.

mod auditor;
mod cut;
mod derived;
mod load;
pub(crate) mod position;
mod rows;
mod span;
pub(crate) mod switch;
mod tables;

use std::sync::Arc;
use std::time::Duration;

use eventlog::{EventLog, Subscription};
use service::lifecycle::Shutdown;

use crate::archive;
use crate::assignment::Assignment;
use crate::chain::{Accepted, Chain, Judged};
use crate::error::Error;
use crate::failpoint::Failpoints;
use crate::health::PartitionHealth;
use crate::metrics::SinkMetrics;
use crate::objects::Objects;
use crate::read_back;
use crate::settings::SinkSettings;
use cut::{Collector, CutBatch};
use load::Loader;
use position::log_partition;

pub use auditor::Auditor;
pub use position::SinkPosition;
pub use rows::Place;
pub use tables::{ConversionKey, Tables};

/// Records of `facts` read at once.
const FACTS_READ: usize = 64;
/// How long the sink waits for facts before it looks whether it shall stop.
const IDLE_WAIT: Duration = Duration::from_millis(200);

/// What a sink is made of.
pub struct SinkParts {
    /// The partition of `facts`.
    pub partition: u32,
    /// The generation of the facts.
    pub assignment: Assignment,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The warehouse, with the generation's tables.
    pub warehouse: Arc<dyn Tables>,
    /// Where facts are that the log does not have any more; `None` for nowhere.
    pub objects: Option<Objects>,
    /// Settings.
    pub settings: SinkSettings,
    /// Where the sink says how it is.
    pub health: PartitionHealth,
    /// Where the sink counts.
    pub metrics: SinkMetrics,
    /// Where a test may strike.
    pub failpoints: Failpoints,
}

/// Loads the facts of one partition.
pub struct PartitionSink<'a> {
    parts: &'a SinkParts,
    chain: Chain,
    facts: Box<dyn Subscription>,
    collector: Collector,
}

impl<'a> PartitionSink<'a> {
    /// Goes on after the last finished cut in the warehouse.
    ///
    /// # Errors
    /// [`Error::Foreign`] if the warehouse was filled from another log.
    pub async fn open(parts: &'a SinkParts) -> Result<Self, Error> {
        let partition = parts.assignment.partition(parts.partition).facts();
        let Some(last) = parts.warehouse.last_cut(log_partition(parts.partition)?).await? else {
            let facts = archive::subscribe(&parts.log, parts.objects.as_ref(), partition, 0).await?;
            let collector = Collector::new(0, schemas::table::RowCounts::default());
            parts.metrics.no_cut();
            return Ok(Self { parts, chain: Chain::start(parts.partition), facts, collector });
        };
        parts.metrics.cut(last.cut, last.core_time);
        let foreign = || Error::Foreign("the last cut in the warehouse");
        let bounds = parts.log.bounds(partition).await?;
        let start = if parts.objects.is_some() { 0 } else { bounds.start };
        if !(start..bounds.end).contains(&last.record) {
            return Err(foreign());
        }
        let mut facts =
            archive::subscribe(&parts.log, parts.objects.as_ref(), partition, last.record).await?;
        let mut collector = Collector::new(last.cut, last.rows);
        let found = read_back::next(&mut *facts).await?;
        let position = found.position;
        // The record that holds the cut is known by its hash; from there on the chain proves itself.
        if last.record_hash != schemas::wire::hash_record(&found.payload) {
            return Err(foreign());
        }
        let record = read_back::decoded(found)?;
        let chain = Chain {
            partition: parts.partition,
            previous: last.record_hash,
            source: record.source_to,
            next_seq: record.first_seq + record.fact_count(),
        };
        // What follows the cut in the same record belongs to the next batch.
        let full = collector.take_in(Accepted { record, hash: last.record_hash }, position, last.fact_seq)?;
        let mut sink = Self { parts, chain, facts, collector };
        sink.load_all(full).await?;
        Ok(sink)
    }

    /// Works until the shutdown.
    ///
    /// # Errors
    /// Whatever stopped it; going on from [`Self::open`] is always safe.
    pub async fn work(&mut self, shutdown: &Shutdown) -> Result<(), Error> {
        while !shutdown.is_started() {
            let Some(batch) = self.facts.next(FACTS_READ, IDLE_WAIT).await? else {
                // Everything is taken in. Said no sooner: what stopped an earlier attempt may still lie ahead.
                self.parts.health.running();
                continue;
            };
            for record in &batch.records {
                let judged = self
                    .chain
                    .judge(&record.payload)
                    .map_err(|error| Error::UnreadableRecord { position: record.position, error })?;
                let Judged::Accepted(accepted) = judged else { continue };
                accepted.check_core(record.position)?;
                let full = self.collector.take_in(*accepted, record.position, 0)?;
                self.load_all(full).await?;
            }
        }
        Ok(())
    }

    async fn load_all(&mut self, cuts: Vec<CutBatch>) -> Result<(), Error> {
        for cut in cuts {
            let loader = Loader {
                warehouse: self.parts.warehouse.as_ref(),
                timeout: Duration::from_millis(self.parts.settings.insert_timeout_ms),
                metrics: &self.parts.metrics,
                failpoints: &self.parts.failpoints,
                partition: self.parts.assignment.partition(self.parts.partition),
            };
            loader.load(&cut).await?;
            self.parts.metrics.cut(cut.number, cut.core_time);
            // It got past whatever stopped an earlier attempt: that would have been met in this cut.
            self.parts.health.running();
        }
        Ok(())
    }
}
