//! Which generations and partitions a process works on: it follows the catalog and its group, begins what is planned beside what is
//! live, and ends what is over or another's.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, Stage};
use eventlog::EventLog;
use schemas::generation::Generation;
use schemas::time::Timestamp;
use service::lifecycle::Shutdown;

use crate::assignment::{Assignment, PartitionOf, Standing};
use crate::error::Error;
use crate::objects::Objects;
use crate::read_back;
use crate::runner::Surroundings;
use crate::share::Shared;
use crate::sink::Tables as _;
use crate::sink::position::log_partition;
use crate::{archive, core_catalog, snapshot};

/// How often the catalog is looked at.
const PERIOD: Duration = Duration::from_millis(250);

/// What begins the work on a partition of a generation. It ends with its shutdown, and holds its sign of life until then.
pub(crate) type Begin = Box<dyn Fn(&Assignment, u32, (&Shutdown, &Arc<()>)) -> Result<(), Error> + Send>;

/// The work of one part of the process on its partitions of every generation.
pub(crate) struct Generations {
    surroundings: Surroundings,
    part: &'static str,
    wanted: fn(&Catalog) -> BTreeMap<Generation, Assignment>,
    begin: Begin,
    shared: Shared,
    running: BTreeMap<(Generation, u32), Running>,
}

/// Work on a partition of one generation.
struct Running {
    assignment: Assignment,
    shutdown: Shutdown,
    /// Every thread that works on it has a copy.
    alive: Arc<()>,
}

impl Generations {
    /// Begins what the catalog wants now, and follows it from here on.
    ///
    /// # Errors
    /// Whatever keeps the work on the live generation from beginning.
    pub(crate) fn follow(
        surroundings: &Surroundings,
        part: &'static str,
        wanted: fn(&Catalog) -> BTreeMap<Generation, Assignment>,
        (shared, begin): (Shared, Begin),
    ) -> Result<(), Error> {
        let surroundings = surroundings.clone();
        let tasks = surroundings.tasks.clone();
        let mut generations = Self { surroundings, part, wanted, begin, shared, running: BTreeMap::new() };
        generations.turn()?;
        tasks.spawn(format!("generations of the {part}"), async move {
            let shutdown = generations.surroundings.shutdown.clone();
            // Those that work stop with the process: theirs are children of its shutdown.
            tokio::select! {
                () = shutdown.started() => Ok(()),
                ended = generations.run() => ended.map(|never| match never {}),
            }
        });
        Ok(())
    }

    async fn run(&mut self) -> Result<Infallible, Error> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                changed = self.shared.change() => {
                    changed?;
                    tracing::info!(part = self.part, partitions = ?self.shared.partitions(), "the group's share");
                }
            }
            if let Err(error) = self.turn() {
                tracing::error!(%error, "the work on the live generation does not begin");
            }
        }
    }

    /// Ends what is not wanted any more, or not as it is, and begins what is. What ends has to be gone before its successor begins:
    /// they share a state.
    fn turn(&mut self) -> Result<(), Error> {
        let wanted = (self.wanted)(&self.surroundings.catalog.read());
        let ours = self.shared.partitions();
        for ((generation, number), running) in &self.running {
            let is_wanted = wanted.get(generation).is_some_and(|it| it.is_same_work(&running.assignment));
            if !is_wanted || !ours.contains(number) {
                running.shutdown.trigger();
            }
        }
        let (part, Surroundings { metrics, health, .. }) = (self.part, &self.surroundings);
        self.running.retain(|(generation, number), running| {
            let is_gone = running.shutdown.is_started() && Arc::strong_count(&running.alive) == 1;
            if is_gone {
                if running.assignment.standing.is_live() {
                    health.forget(part, *number);
                    metrics.forget_live(part, *number);
                } else {
                    metrics.forget(part, *generation, *number);
                }
            }
            !is_gone
        });
        for (assignment, number) in
            wanted.values().flat_map(|it| ours.iter().map(move |number| (it, *number)))
        {
            let generation = assignment.generation();
            if self.running.contains_key(&(generation, number)) {
                continue;
            }
            tracing::info!(part, partition = number, %generation, standing = ?assignment.standing, "work begins");
            let (shutdown, alive) = (self.surroundings.shutdown.child(), Arc::new(()));
            let begun = (self.begin)(assignment, number, (&shutdown, &alive));
            let (assignment, standing) = (assignment.clone(), assignment.standing);
            self.running.insert((generation, number), Running { assignment, shutdown, alive });
            match (begun, standing) {
                (Err(error), Standing::Live) => return Err(error),
                // Nobody is answered from it: the live one goes on.
                (Err(error), Standing::Planned | Standing::Former { .. }) => {
                    tracing::error!(partition = number, %generation, %error, "the work does not begin");
                }
                (Ok(()), _) => {}
            }
        }
        Ok(())
    }
}

/// The generations whose events are decided. A former one may have some left that a quiet partition got before the switch; it ends
/// by itself.
pub(crate) fn decided(catalog: &Catalog) -> BTreeMap<Generation, Assignment> {
    let live = catalog.live_generation();
    let assigned = catalog.projections().filter_map(|projection| {
        let standing = match projection.stage {
            Stage::Planned => Standing::Planned,
            Stage::Live if projection.generation == live => Standing::Live,
            Stage::Live => Standing::Former { by: live, since: catalog.revision() },
            Stage::Dropped => return None,
        };
        Some((projection.generation, Assignment { projection, standing }))
    });
    assigned.collect()
}

/// The generations whose facts become rows.
pub(crate) fn loaded(catalog: &Catalog) -> BTreeMap<Generation, Assignment> {
    let mut assigned = decided(catalog);
    assigned.retain(|_, assignment| assignment.standing.is_loaded());
    assigned
}

/// Whether the live generation decides by itself in a partition: the last record of its facts was decided by a catalog that says so.
/// No former one has anything to decide there any more.
///
/// # Errors
/// [`Error`] if the log cannot be asked.
pub async fn decides_by_itself(
    log: &Arc<dyn EventLog>,
    live: Generation,
    partition: u32,
) -> Result<bool, Error> {
    let facts = PartitionOf { generation: live, number: partition }.facts();
    let Some(last) = log.bounds(facts).await?.end.checked_sub(1) else { return Ok(false) };
    let record = read_back::facts_at(log, facts, last).await?;
    let catalog = core_catalog::folded(log.as_ref(), record.catalog.number).await?;
    Ok(catalog.live_generation() >= live)
}

/// Up to when the tables have everything of a partition; `None` for nothing.
///
/// # Errors
/// [`Error::Warehouse`] if they cannot be asked.
pub async fn data_through(warehouse: &warehouse::Sink, partition: u32) -> Result<Option<Timestamp>, Error> {
    Ok(warehouse.last_cut(log_partition(partition)?).await?.map(|position| position.core_time))
}

/// Removes the snapshots and the archived facts of a generation that nobody works on any more.
///
/// # Errors
/// [`Error::Objects`] if the store cannot be asked.
pub async fn take_away_objects(objects: &Objects, partition: PartitionOf) -> Result<(), Error> {
    for folder in [snapshot::folder(partition), archive::folder(partition.facts())] {
        for object in objects.list(&folder).await? {
            objects.delete(&object.name).await?;
        }
    }
    Ok(())
}
