//! Takes snapshots while the owner works: on a thread of their own, from a view that later commits do not change. Then the log may
//! let go what is older than all of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use schemas::time::Timestamp;
use service::clock::SharedClock;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{Restorable, Snapshot, Snapshots, StateView};
use crate::archive::Retention;
use crate::error::Error;
use crate::metrics::SnapshotMetrics;
use crate::owner::OwnerParts;
use crate::settings::ProcessorSettings;
use crate::sink::Tables;
use crate::workers::Workers;

/// How soon a pass that failed is tried again, at most; a shorter period is kept.
const AGAIN: Duration = Duration::from_secs(30);

/// Whether what nobody of this generation needs any more may leave the log: another one may want to read it.
pub type MayLetGo = Arc<dyn Fn() -> bool + Send + Sync>;

/// Takes the snapshots of one partition, and moves what nobody needs any more from the log into the archive.
pub struct Keeper {
    snapshots: Arc<Snapshots>,
    retention: Arc<Retention>,
    may_let_go: MayLetGo,
    clock: SharedClock,
    settings: ProcessorSettings,
    workers: Workers,
}

impl Keeper {
    /// Who keeps the partition of that owner, if there is a place for it. The sink's tables are asked how far they are, before anything
    /// is deleted from the log.
    pub fn of(
        parts: &OwnerParts,
        tables: &Arc<dyn Tables>,
        may_let_go: MayLetGo,
        metrics: SnapshotMetrics,
    ) -> Option<Self> {
        let objects = parts.objects.clone()?;
        let partition = parts.assignment.partition(parts.partition);
        let (log, settings) = (parts.log.clone(), parts.settings.clone());
        let kept_in = (objects.clone(), log.clone());
        let hours = settings.archive_after_hours;
        let retention = Retention::new(kept_in, tables.clone(), partition, hours, metrics.clone());
        let snapshots = Snapshots::new(objects, log, partition, metrics);
        Some(Self {
            snapshots: Arc::new(snapshots),
            retention: Arc::new(retention),
            may_let_go,
            clock: parts.clock.clone(),
            settings,
            workers: parts.workers,
        })
    }

    /// Fills a store that is empty, or that the log has left behind.
    ///
    /// # Errors
    /// As [`Snapshots::fill`].
    pub async fn fill(&self, store: &dyn Restorable) -> Result<(), Error> {
        self.snapshots.fill(store).await
    }

    /// Works until it is dropped. Whatever fails is said, counted and tried again: nothing here halts or delays a partition.
    pub async fn run(&self, store: &dyn Restorable) -> Infallible {
        let period = Duration::from_secs(self.settings.snapshot_period_s);
        let mut wait = self.first_wait(period).await;
        loop {
            tokio::time::sleep(wait).await;
            wait = match self.pass(store).await {
                Ok(()) => period,
                Err(error) => {
                    self.complain(&error);
                    period.min(AGAIN)
                }
            };
        }
    }

    fn complain(&self, error: &Error) {
        self.snapshots.metrics.failed();
        let partition = self.snapshots.partition;
        tracing::warn!(%partition, %error, "no snapshot could be taken; decisions go on");
    }

    /// A process that begins again and again still takes a snapshot each period.
    async fn first_wait(&self, period: Duration) -> Duration {
        let newest = match self.snapshots.kept().await {
            Ok(kept) => kept.into_iter().next(),
            Err(error) => {
                self.complain(&error);
                return period.min(AGAIN);
            }
        };
        let Some(newest) = newest else { return Duration::ZERO };
        self.snapshots.metrics.kept(&newest);
        let age = Timestamp::from_micros(self.clock.now_micros()).micros_since(newest.written_at);
        period.saturating_sub(Duration::from_micros(u64::try_from(age).unwrap_or(0)))
    }

    /// Takes a snapshot if anything was committed since the newest. Encoding blocks, so that it has a thread of its own; with this
    /// future it ends.
    async fn pass(&self, store: &dyn Restorable) -> Result<(), Error> {
        let view = store.view();
        // While a generation reads the past, nothing of it goes.
        let keep = Keep { count: self.settings.snapshots_kept, may_let_go: (self.may_let_go)() };
        let now = Timestamp::from_micros(self.clock.now_micros());
        if self.workers == Workers::Nobody {
            return keep_all(&self.snapshots, &self.retention, view, (keep, now)).await;
        }
        let (alive, mut given_up) = oneshot::channel::<Infallible>();
        let (snapshots, retention) = (Arc::clone(&self.snapshots), Arc::clone(&self.retention));
        let runtime = Handle::current();
        let work = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = &mut given_up => Ok(()),
                    done = keep_all(&snapshots, &retention, view, (keep, now)) => done,
                }
            })
        });
        let done = work.await;
        drop(alive);
        done.map_err(|error| Error::Snapshot(error.to_string()))?
    }
}

/// What is kept.
#[derive(Clone, Copy)]
struct Keep {
    /// Snapshots.
    count: usize,
    /// Whether what nobody needs may leave the log.
    may_let_go: bool,
}

async fn keep_all(
    snapshots: &Snapshots,
    retention: &Retention,
    view: Box<dyn StateView>,
    (keep, now): (Keep, Timestamp),
) -> Result<(), Error> {
    if let Some(newest) = snapshots.take(view.as_ref()).await? {
        snapshots.metrics.kept(&newest);
    }
    // The store cannot forget what a view still shows.
    drop(view);
    let kept = snapshots.prune(keep.count).await?;
    // A single snapshot has no other to fall back on but the facts before it.
    if kept.len() == keep.count
        && keep.may_let_go
        && let Err(error) = let_go(snapshots, retention, &kept, now).await
    {
        snapshots.metrics.archive_failed();
        let partition = snapshots.partition;
        tracing::warn!(%partition, %error, "nothing is deleted from the log for now");
    }
    Ok(())
}

/// Lets the log go what is below all of these snapshots.
async fn let_go(
    snapshots: &Snapshots,
    retention: &Retention,
    kept: &[Snapshot],
    now: Timestamp,
) -> Result<(), Error> {
    let Some(oldest) = kept.last() else { return Ok(()) };
    snapshots.check_all(kept).await?;
    retention.pass(oldest, now).await
}
