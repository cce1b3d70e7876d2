//! Keeps every partition going: retries what may pass, halts what cannot, one partition at a time.

use std::cell::RefCell;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use catalog::Follower;
use eventlog::EventLog;
use schemas::generation::Generation;
use service::clock::SharedClock;
use service::lifecycle::{Shutdown, Tasks};
use tokio::runtime::Handle;

use crate::assignment::{Assignment, Standing};
use crate::error::Error;
use crate::failpoint::Failpoints;
use crate::generations::{self, Begin, Generations, decides_by_itself};
use crate::health::{Health, PartitionHealth};
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::owner::{Owner, OwnerParts};
use crate::settings::{ProcessorSettings, SinkSettings};
use crate::share::Share;
use crate::sink::{Auditor, PartitionSink, SinkParts, Tables, switch};
use crate::snapshot::{Keeper, MayLetGo, Restorable};
use crate::store::Store;
use crate::workers::Workers;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// How long a halted partition waits before it looks whether the reason is gone.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How long a partition may finish what it has in hand when the process stops.
const GRACE: Duration = Duration::from_secs(3);

/// What both parts need of the process.
#[derive(Clone)]
pub struct Surroundings {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The clock.
    pub clock: SharedClock,
    /// Where partitions say how they are.
    pub health: Health,
    /// Where partitions count.
    pub metrics: Metrics,
    /// Where they run.
    pub tasks: Tasks,
    /// When they stop.
    pub shutdown: Shutdown,
    /// How many partitions the installation has.
    pub partitions: u32,
    /// Where a test may strike.
    pub failpoints: Failpoints,
    /// Where snapshots and the archive are kept; `None` for nowhere.
    pub objects: Option<Objects>,
    /// Which generations there are, and the way to say that a planned one is live.
    pub catalog: Follower,
}

impl Surroundings {
    /// What the work on a generation has of it: as it is for the live one, apart for every other.
    fn of(&self, assignment: &Assignment) -> Result<Self, Error> {
        if assignment.standing.is_live() {
            return Ok(self.clone());
        }
        let metrics = self.metrics.apart(assignment.generation())?;
        Ok(Self { health: Health::default(), metrics, ..self.clone() })
    }

    fn partition_health(&self, part: &'static str, partition: u32) -> PartitionHealth {
        self.health.partition(part, partition, &self.metrics)
    }
}

/// Starts an owner for each partition that this process decides, in each generation that there is work for. State lies below
/// `state_root`. The warehouse is asked how far the sink is, before anything is deleted from the log.
pub fn start_processor(
    surroundings: &Surroundings,
    (settings, share): (&ProcessorSettings, Share),
    warehouse: &warehouse::Sink,
    state_root: PathBuf,
) -> Result<(), Error> {
    settings.check()?;
    let shared = share.begin(surroundings.partitions)?;
    let deciding = Deciding {
        opens_first: !shared.moves(),
        surroundings: surroundings.clone(),
        settings: settings.clone(),
        warehouse: warehouse.clone(),
        state_root,
    };
    let begin: Begin =
        Box::new(move |assignment, partition, life| deciding.begin(assignment, partition, life));
    Generations::follow(surroundings, "processor", generations::decided, (shared, begin))
}

/// What owners begin with.
struct Deciding {
    surroundings: Surroundings,
    settings: ProcessorSettings,
    warehouse: warehouse::Sink,
    state_root: PathBuf,
    /// Whether a directory that cannot be right is refused at the start. What comes later halts its partition alone.
    opens_first: bool,
}

impl Deciding {
    /// Begins with one partition of a generation.
    fn begin(
        &self,
        assignment: &Assignment,
        partition: u32,
        (shutdown, alive): (&Shutdown, &Arc<()>),
    ) -> Result<(), Error> {
        let (surroundings, settings) = (self.surroundings.of(assignment)?, &self.settings);
        let place = assignment.generation().place(&format!("p{partition}"));
        let state_dir = self.state_root.join(place);
        std::fs::create_dir_all(&state_dir).map_err(|error| Error::StateDirectory {
            dir: state_dir.display().to_string(),
            problem: format!("cannot be created: {error}"),
        })?;
        let opens = self.opens_first && assignment.standing.is_live();
        let opened = opens.then(|| Store::open(&state_dir, partition)).transpose()?;
        let opened = RefCell::new(opened);
        let parts = OwnerParts {
            partition,
            assignment: assignment.clone(),
            log: surroundings.log.clone(),
            objects: surroundings.objects.clone(),
            settings: settings.clone(),
            clock: surroundings.clock.clone(),
            health: surroundings.partition_health("processor", partition),
            metrics: surroundings.metrics.owner(partition),
            failpoints: surroundings.failpoints.clone(),
            workers: Workers::Threads,
        };
        let of = assignment.partition(partition);
        let tables: Arc<dyn Tables> = Arc::new(self.warehouse.of_generation(of.generation));
        let keeper = Keeper::of(
            &parts,
            &tables,
            may_let_go(&surroundings.catalog, of.generation),
            surroundings.metrics.snapshots(partition),
        );
        let thread = Thread { name: format!("processor {of}"), end: shutdown.child(), alive: alive.clone() };
        let shutdown = thread.end.clone();
        thread.spawn(&surroundings, async move || {
            keep_going(&parts.health, &shutdown, async || {
                if let Standing::Former { by, .. } = parts.assignment.standing
                    && decides_by_itself(&parts.log, by, partition).await?
                {
                    // A state need not be had to find that nothing is left to decide.
                    return Ok(());
                }
                // A store that has failed takes nothing more; each further attempt opens it anew.
                let opened = opened.take();
                let store = opened.map_or_else(|| Store::open(&state_dir, partition), Ok)?;
                decide(&parts, keeper.as_ref(), &store, &shutdown).await
            })
            .await;
        });
        Ok(())
    }
}

/// While a generation is planned it reads the past, and only the live one knows what is needed.
fn may_let_go(catalog: &Follower, generation: Generation) -> MayLetGo {
    let catalog = catalog.clone();
    Arc::new(move || {
        let catalog = catalog.read();
        catalog.planned().is_none() && catalog.live_generation() == generation
    })
}

/// Starts a sink for each partition that this process loads, in each generation that has tables, and who sees that a planned
/// generation has reached the live one.
pub fn start_sink(
    surroundings: &Surroundings,
    (settings, share): (&SinkSettings, Share),
    warehouse: &warehouse::Sink,
) -> Result<(), Error> {
    settings.check()?;
    let shared = share.begin(surroundings.partitions)?;
    let (around, settings, of_first) = (surroundings.clone(), settings.clone(), warehouse.clone());
    let begin: Begin = Box::new(move |assignment, partition, (shutdown, alive)| {
        let surroundings = around.of(assignment)?;
        let tables = of_first.of_generation(assignment.generation());
        let parts = SinkParts {
            partition,
            assignment: assignment.clone(),
            log: surroundings.log.clone(),
            warehouse: Arc::new(tables.clone()),
            objects: surroundings.objects.clone(),
            settings: settings.clone(),
            health: surroundings.partition_health("sink", partition),
            metrics: surroundings.metrics.sink(partition),
            failpoints: surroundings.failpoints.clone(),
        };
        let name = format!("sink {}", assignment.partition(partition));
        let end = shutdown.child();
        let thread = Thread { name, end: end.clone(), alive: alive.clone() };
        let shutdown = end.clone();
        thread.spawn(&surroundings, async move || {
            keep_going(&parts.health, &shutdown, async || load(&parts, &shutdown).await).await;
        });
        start_auditor((&surroundings, &end), &settings, &tables, partition);
        Ok(())
    });
    Generations::follow(surroundings, "sink", generations::loaded, (shared, begin))?;
    switch::watch(surroundings, warehouse);
    Ok(())
}

/// Starts the auditor of a partition's rows, if the settings want one.
fn start_auditor(
    (surroundings, end): (&Surroundings, &Shutdown),
    settings: &SinkSettings,
    warehouse: &warehouse::Sink,
    partition: u32,
) {
    if settings.audit_period_s == 0 {
        return;
    }
    let (warehouse, metrics) = (warehouse.clone(), surroundings.metrics.audit(partition));
    let period = Duration::from_secs(settings.audit_period_s);
    let auditor = Auditor { warehouse, partition, period, metrics };
    let shutdown = end.clone();
    surroundings.tasks.spawn_until(end, format!("auditor {partition}"), async move {
        auditor.work(&shutdown).await;
        Ok::<(), Error>(())
    });
}

/// One attempt to decide a partition's events, from what the store has, or else a snapshot.
///
/// # Errors
/// Whatever stopped it; another attempt goes on from what was committed.
pub async fn decide(
    parts: &OwnerParts,
    keeper: Option<&Keeper>,
    store: &dyn Restorable,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let Some(keeper) = keeper else {
        return Owner::on(parts, store).await?.work(shutdown).await;
    };
    keeper.fill(store).await?;
    let mut owner = Owner::on(parts, store).await?;
    tokio::select! {
        // In one order, so that in a simulation the seed alone decides.
        biased;
        done = owner.work(shutdown) => done,
        never = keeper.run(store) => match never {},
    }
}

/// One attempt to load a partition's facts, from the last finished cut in the warehouse.
///
/// # Errors
/// Whatever stopped it; another attempt goes on from what is finished.
pub async fn load(parts: &SinkParts, shutdown: &Shutdown) -> Result<(), Error> {
    PartitionSink::open(parts).await?.work(shutdown).await
}

/// A partition works on a thread of its own: it may block on its store and on encoding without holding up a server.
struct Thread {
    name: String,
    /// When it is to end, and that it has.
    end: Shutdown,
    /// Held as long as it works.
    alive: Arc<()>,
}

impl Thread {
    fn spawn<F: Future<Output = ()>>(
        self,
        surroundings: &Surroundings,
        work: impl FnOnce() -> F + Send + 'static,
    ) {
        let (runtime, Self { name, end, alive }) = (Handle::current(), self);
        let ended = end.clone();
        surroundings.tasks.spawn_blocking(&end, name, move || {
            runtime.block_on(work());
            // A generation that is over ends by itself, which is no failure of the process.
            ended.trigger();
            drop(alive);
            Ok::<(), Error>(())
        });
    }
}

/// Runs `attempt` until the shutdown, or until it ends by itself. What may pass is tried again from the committed position, with backoff; anything else
/// halts this partition alone, loudly, until somebody looks.
pub async fn keep_going(
    health: &PartitionHealth,
    shutdown: &Shutdown,
    attempt: impl AsyncFn() -> Result<(), Error>,
) {
    let mut backoff = FIRST_BACKOFF;
    while !shutdown.is_started() {
        let began = tokio::time::Instant::now();
        let done = tokio::select! {
            biased;
            done = attempt() => done,
            // What it had in hand is taken up again from the committed position.
            () = past(shutdown, GRACE) => return,
        };
        let Err(error) = done else { return };
        if shutdown.is_started() {
            return;
        }
        if !error.is_retriable() {
            tracing::error!(partition = %health, %error, "halted");
            health.halted(&error);
            // Still loud, and still undecided; but what only time or a repair can mend need not wait for a restart too.
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => continue,
                () = shutdown.started() => return,
            }
        }
        tracing::warn!(partition = %health, %error, retry_in_ms = backoff.as_millis() as u64, "tries again");
        health.retrying(&error);
        if began.elapsed() > LONGEST_BACKOFF {
            backoff = FIRST_BACKOFF;
        }
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            () = shutdown.started() => return,
        }
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
    }
}

/// Waits until the shutdown is this old.
async fn past(shutdown: &Shutdown, age: Duration) {
    shutdown.started().await;
    tokio::time::sleep(age).await;
}
