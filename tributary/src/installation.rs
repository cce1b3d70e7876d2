//! What command lines work on: the installation of a stopped `up`, or that of the roles.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eventlog::EventLog;
use processor::Objects;
use processor::assignment::PartitionOf;
use prometheus::Registry;
use schemas::generation::Generation;
use schemas::time::Timestamp;
use service::clock::SystemClock;
use warehouse::Endpoint;
use warehouse::embedded::EmbeddedEngine;

use crate::data_dir::DataDir;
use crate::error::Error;
use crate::parts;
use crate::settings::Settings;
use crate::up;

/// Log, objects and, if it is asked for, the warehouse.
pub(crate) struct Installation {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) objects: Option<Objects>,
    endpoint: Option<Endpoint>,
    engine: Option<EmbeddedEngine>,
    dir: Option<DataDir>,
}

impl Installation {
    /// What a stopped `up` has left. The log refuses a directory that another process has open.
    pub(crate) async fn embedded(
        dir: &Path,
        settings: &Settings,
        with_warehouse: bool,
        registry: &Registry,
    ) -> Result<Self, Error> {
        // Looking must not make an installation of an empty folder.
        if !dir.join("log").is_dir() {
            let problem = "holds no log of a `tributary up`".to_owned();
            return Err(Error::DataDir { dir: dir.to_owned(), problem });
        }
        let dir = DataDir::open(dir)?;
        let log = up::open_log(&dir, SystemClock::shared(), registry)?;
        let objects = Some(up::open_objects(&dir, settings)?);
        let engine = if with_warehouse { Some(up::open_engine(&dir, settings).await?) } else { None };
        let endpoint = engine.as_ref().map(EmbeddedEngine::endpoint);
        Ok(Self { log, objects, endpoint, engine, dir: Some(dir) })
    }

    /// What the roles work on.
    pub(crate) async fn remote(
        settings: &Settings,
        with_warehouse: bool,
        registry: &Registry,
    ) -> Result<Self, Error> {
        let log = parts::kafka(&settings.kafka, registry).await?;
        let objects = Objects::open(&settings.object_store)?;
        let endpoint = with_warehouse.then(|| parts::endpoint(&settings.warehouse));
        Ok(Self { log, objects, endpoint, engine: None, dir: None })
    }

    /// Where the tables of the first generation are.
    pub(crate) const fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    /// A generation's tables, for writing.
    pub(crate) fn warehouse(&self, generation: Generation) -> Option<warehouse::Sink> {
        Some(warehouse::connect(&self.endpoint()?.of_generation(generation)).0)
    }

    /// Up to when a generation's tables have everything of a partition; `None` for nothing.
    pub(crate) async fn data_through(
        &self,
        generation: Generation,
        partition: u32,
    ) -> Result<Option<Timestamp>, Error> {
        let Some(warehouse) = self.warehouse(generation) else { return Ok(None) };
        Ok(processor::data_through(&warehouse, partition).await?)
    }

    /// Takes away what a generation has that nobody works on any more: tables, facts, snapshots, states.
    pub(crate) async fn take_away(&self, generation: Generation, partitions: u32) -> Result<(), Error> {
        if let Some(endpoint) = self.endpoint() {
            warehouse::take_away(endpoint, generation, &schemas::table::NAMES)
                .await
                .map_err(processor::Error::from)?;
        }
        for number in 0..partitions {
            let partition = PartitionOf { generation, number };
            let facts = partition.facts();
            if self.log.partitions(facts.topic).await?.is_some() {
                let end = self.log.bounds(facts).await?.end;
                self.log.delete_below(facts, end).await?;
            }
            if let Some(objects) = &self.objects {
                processor::take_away_objects(objects, partition).await?;
            }
            if let Some(dir) = &self.dir {
                let state = dir.join("state").join(generation.place(&format!("p{number}")));
                remove(&state)?;
            }
        }
        Ok(())
    }

    pub(crate) async fn close(self, deadline: Duration) {
        self.log.close(deadline).await;
        if let Some(engine) = self.engine {
            engine.stop(up::ENGINE_STOP).await;
        }
    }
}

/// Removes a directory, if it is there.
fn remove(dir: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::DataDir { dir: dir.to_owned(), problem: format!("cannot be removed: {error}") })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
