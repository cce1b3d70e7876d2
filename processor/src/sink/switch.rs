//! The switch: a planned generation takes the place of the live one once its tables have what the live one's have.

use std::convert::Infallible;
use std::time::Duration;

use catalog::{Actor, ActorKind, Change, Expected, Projection, Proposal, ProposeError, Resource, Stage};
use schemas::id::{IdGenerator, WorkspaceNumber};
use schemas::time::Timestamp;
use schemas::wire;
use service::clock::random_seed;

use super::position::{SinkPosition, log_partition};
use super::tables::Tables as _;
use crate::archive;
use crate::assignment::PartitionOf;
use crate::error::Error;
use crate::read_back::READ_BACK;
use crate::runner::Surroundings;

/// How often it is looked whether a generation is planned.
const PERIOD: Duration = Duration::from_millis(500);
/// How far the live generation may have gone on while the planned one was compared with it: nobody who reads sees the time up to
/// which everything is counted go back by more.
const MAX_BEHIND: Duration = Duration::from_secs(5);
/// Records of facts read at once.
const FACTS_READ: usize = 64;

/// Looks whether a planned generation has reached the live one, and says so to the catalog.
pub(crate) fn watch(surroundings: &Surroundings, warehouse: &warehouse::Sink) {
    let watch = Watch { surroundings: surroundings.clone(), warehouse: warehouse.clone() };
    surroundings.tasks.spawn("switch of generations", async move {
        let shutdown = watch.surroundings.shutdown.clone();
        tokio::select! {
            () = shutdown.started() => {}
            never = watch.run() => match never {},
        }
        Ok::<(), Infallible>(())
    });
}

struct Watch {
    surroundings: Surroundings,
    warehouse: warehouse::Sink,
}

impl Watch {
    async fn run(&self) -> Infallible {
        loop {
            tokio::time::sleep(PERIOD).await;
            let planned = self.surroundings.catalog.read().planned();
            let Some(planned) = planned else { continue };
            if let Err(error) = self.look(&planned).await {
                let generation = planned.generation;
                tracing::warn!(%generation, %error, "it is not known how far a planned generation is");
            }
        }
    }

    /// Switches if the planned generation reaches in time what the live one has now, in every partition.
    async fn look(&self, planned: &Projection) -> Result<(), Error> {
        let live = self.surroundings.catalog.read().live_generation();
        let partitions = 0..self.surroundings.partitions;
        let mut wanted = Vec::new();
        for number in partitions {
            let through = self.through(PartitionOf { generation: live, number }).await?;
            wanted.extend(through.map(|position| (number, position.core_time)));
        }
        let until = tokio::time::Instant::now() + MAX_BEHIND;
        loop {
            let mut missing = Vec::new();
            for (number, core_time) in wanted {
                let partition = PartitionOf { generation: planned.generation, number };
                if !self.has_reached(partition, core_time).await? {
                    missing.push((number, core_time));
                }
            }
            if missing.is_empty() {
                return self.switch(planned).await;
            }
            if tokio::time::Instant::now() >= until {
                return Ok(());
            }
            wanted = missing;
            tokio::time::sleep(PERIOD).await;
        }
    }

    async fn through(&self, partition: PartitionOf) -> Result<Option<SinkPosition>, Error> {
        let warehouse = self.warehouse.of_generation(partition.generation);
        warehouse.last_cut(log_partition(partition.number)?).await
    }

    /// Whether a partition's tables have everything that was logged before an instant: by their last cut, or because nothing after it
    /// is for the tables.
    async fn has_reached(&self, partition: PartitionOf, instant: Timestamp) -> Result<bool, Error> {
        let last = self.through(partition).await?;
        if last.as_ref().is_some_and(|last| last.core_time >= instant) {
            return Ok(true);
        }
        let (from, after) = last.map_or((0, 0), |last| (last.record, last.fact_seq));
        let (log, facts) = (&self.surroundings.log, partition.facts());
        let mut left = log.bounds(facts).await?.end.saturating_sub(from);
        let objects = self.surroundings.objects.as_ref();
        let mut reader = archive::subscribe(log, objects, facts, from).await?;
        while left > 0 {
            let batch = reader.next(FACTS_READ, READ_BACK).await?.ok_or(eventlog::Error::Deadline)?;
            for found in batch.records {
                left = left.saturating_sub(1);
                let position = found.position;
                let record = wire::decode_record(found.payload)
                    .map_err(|error| Error::UnreadableRecord { position, error })?;
                let facts = record.decisions.iter().flat_map(|decision| &decision.facts);
                let mut late = (record.first_seq..).zip(facts).skip_while(|(seq, _)| *seq <= after);
                if late.any(|(_, fact)| fact.is_for_tables()) {
                    return Ok(false);
                }
                if record.decisions.last().is_some_and(|decision| decision.core_time >= instant) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Says that the planned generation is live. Of several sinks that say so the first is heard.
    async fn switch(&self, planned: &Projection) -> Result<(), Error> {
        let now = Timestamp::from_micros(self.surroundings.clock.now_micros());
        let mut ids = IdGenerator::new(random_seed());
        let resource = Resource::Projection(Projection { stage: Stage::Live, ..planned.clone() });
        let proposal = Proposal {
            id: ids.next(now.unix_ms(), WorkspaceNumber::NONE),
            workspace: WorkspaceNumber::NONE,
            actor: Actor { kind: ActorKind::System, id: String::new() },
            request_id: String::new(),
            at: now,
            idempotency: None,
            changes: vec![Change::Put { resource, expected: Expected::Any }],
        };
        let generation = planned.generation;
        match self.surroundings.catalog.propose(proposal).await {
            Ok(_) => {
                tracing::info!(%generation, "a generation is live");
                Ok(())
            }
            Err(ProposeError::Rejected(_)) => Ok(()),
            Err(error) => Err(Error::Switch(error.to_string())),
        }
    }
}
