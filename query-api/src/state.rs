//! What every handler holds.

use std::sync::Arc;

use catalog::Follower;
use catalog::seal::Sealer;
use eventlog::EventLog;
use parking_lot::Mutex;
use prometheus::Registry;
use schemas::generation::Generation;
use schemas::id::{Id, IdGenerator, Kind, WorkspaceNumber};
use schemas::time::Timestamp;
use service::clock::SharedClock;
use service::lifecycle::Tasks;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warehouse::Reader;

use crate::commands::Commands;
use crate::metrics::Metrics;
use crate::settings::QueryApiSettings;

/// The parts that a desk is made of.
pub struct Parts {
    /// Limits and time-outs.
    pub settings: QueryApiSettings,
    /// The desk's copy of the catalog, and its way to change it.
    pub catalog: Follower,
    /// Seals the secrets of signed sources.
    pub sealer: Sealer,
    /// The log, for commands and their results.
    pub log: Arc<dyn EventLog>,
    /// The tasks of the process; the reader of results is one of them.
    pub tasks: Tasks,
    /// The warehouse, for reading; the tables of the first generation.
    pub warehouse: Reader,
    /// Tells the time.
    pub clock: SharedClock,
    /// Where the metrics of the process are.
    pub registry: Registry,
    /// What is not well in the rest of the process; the desk's `/readyz` names it.
    pub problems: Problems,
    /// What ids made here grow from.
    pub seed: u128,
}

/// Tells what is not well, one text each; nothing if all is.
pub type Problems = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Why a desk does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting contradicts itself, or another one.
    #[error("{setting} {reason}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The log gives no way for commands.
    #[error("the event log: {0}")]
    Log(#[from] eventlog::Error),
    /// A metric was registered twice.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// The desk: what every handler holds. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    inner: Arc<Inner>,
}

struct Inner {
    settings: QueryApiSettings,
    catalog: Follower,
    sealer: Sealer,
    commands: Commands,
    warehouse: Reader,
    clock: SharedClock,
    registry: Registry,
    metrics: Metrics,
    problems: Problems,
    ids: Mutex<IdGenerator>,
    waiting: Arc<Semaphore>,
}

impl Desk {
    /// A desk of these parts; registers its metrics and starts its reader of results.
    ///
    /// # Errors
    /// [`StartError`], naming the setting that cannot be.
    pub fn new(parts: Parts) -> Result<Self, StartError> {
        let Parts { settings, catalog, sealer, log, tasks, warehouse, clock, registry, problems, seed } =
            parts;
        if let Some((setting, reason)) = settings.contradiction() {
            return Err(StartError::Setting { setting, reason });
        }
        let metrics = Metrics::register(&registry)?;
        let mut ids = IdGenerator::new(seed);
        let now = Timestamp::from_micros(clock.now_micros());
        let commands = Commands::start(log, ids.next(now.unix_ms(), WorkspaceNumber::NONE), &tasks)?;
        let ids = Mutex::new(ids);
        let waiting = Arc::new(Semaphore::new(settings.max_waiting));
        let inner = Inner {
            settings,
            catalog,
            sealer,
            commands,
            warehouse,
            clock,
            registry,
            metrics,
            problems,
            ids,
            waiting,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Limits and time-outs.
    pub fn settings(&self) -> &QueryApiSettings {
        &self.inner.settings
    }

    /// The catalog: `read()` for the copy, `propose()` for a change.
    pub fn catalog(&self) -> &Follower {
        &self.inner.catalog
    }

    /// Seals the secrets of signed sources.
    pub fn sealer(&self) -> &Sealer {
        &self.inner.sealer
    }

    /// The way into the workspaces' orders.
    pub(crate) fn commands(&self) -> &Commands {
        &self.inner.commands
    }

    /// The tables of a generation.
    pub(crate) fn warehouse(&self, generation: Generation) -> Reader {
        self.inner.warehouse.of_generation(generation)
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// What is not well in the rest of the process.
    pub(crate) fn problems(&self) -> Vec<String> {
        (self.inner.problems)()
    }

    /// A place among the requests that wait for an outcome; `None` when all are taken.
    pub(crate) fn place_to_wait(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.waiting).try_acquire_owned().ok()
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.inner.clock.now_micros())
    }

    /// A new id for a thing of this workspace.
    pub fn new_id<K: Kind>(&self, workspace: WorkspaceNumber) -> Id<K> {
        self.inner.ids.lock().next(self.now().unix_ms(), workspace)
    }
}
