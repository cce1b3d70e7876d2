//! The follower: a role's copy of the catalog, kept up to date, and the way to propose changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use eventlog::{EventLog, NewRecord, Partition, Producer, ProducerUse, TopicSpec};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use schemas::event::CatalogRevision;
use schemas::id::ProposalId;
use schemas::topic;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::error::{FollowError, ProposeError, RecordError};
use crate::fold::{Accepted, Catalog, Rejected};
use crate::proposal::{Change, MAX_CHANGES, MAX_IDEMPOTENCY_KEY_BYTES, Proposal};
use crate::{record, validate};
use look::Look;

mod copy;
mod look;
mod start;
mod task;
#[cfg(test)]
mod tests;

/// The catalog's topic: one partition, one order.
pub const TOPIC: TopicSpec = TopicSpec { name: topic::CATALOG, partitions: 1 };
/// The catalog's only partition.
pub const PARTITION: Partition = Partition { topic: topic::CATALOG, number: 0 };

/// Proposals of this node that may wait for their verdict at once.
const MAX_WAITING: usize = 1_024;
/// Bytes of proposals that may wait for the log.
const MAX_PENDING_BYTES: usize = 16 * 1024 * 1024;
/// The shortest time between two looks for the log's end on behalf of [`Follower::catch_up`].
pub const CATCH_UP_INTERVAL: Duration = Duration::from_millis(20);

/// The shortest time between two looks when the first did not succeed: the log is away or slow.
const AWAY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a look may take, whoever waits for it.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// How long the follower waits for things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerSettings {
    /// For the log to be folded to its end at the start.
    pub start_deadline: Duration,
    /// For a proposal to become durable.
    pub append_deadline: Duration,
    /// For a durable proposal to be folded.
    pub verdict_deadline: Duration,
}

impl Default for FollowerSettings {
    fn default() -> Self {
        Self {
            start_deadline: Duration::from_secs(60),
            append_deadline: Duration::from_secs(5),
            verdict_deadline: Duration::from_secs(5),
        }
    }
}

/// A role's copy of the catalog. Cheap to clone; all clones share the copy.
#[derive(Clone)]
pub struct Follower {
    shared: Arc<Shared>,
}

struct Shared {
    log: Arc<dyn EventLog>,
    producer: Box<dyn Producer>,
    settings: FollowerSettings,
    catalog: RwLock<Catalog>,
    /// The hash of each revision up to the catalog's, by number.
    hashes: RwLock<Vec<u64>>,
    /// The revision of the copy on disk that this follower started from.
    copied: Option<CatalogRevision>,
    progress: watch::Sender<Progress>,
    verdicts: Mutex<HashMap<ProposalId, oneshot::Sender<Result<Accepted, Rejected>>>>,
    look: Mutex<Option<Look>>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// How far the follower is.
#[derive(Debug, Clone)]
struct Progress {
    folded: u64,
    /// When the copy was last known to be at the log's end.
    at_end: Instant,
    /// Whether the log has answered anything at all.
    answered: bool,
    /// `None` while the copy on disk was not compared with the log.
    confirmed: Option<Confirmed>,
    halted: Option<Arc<FollowError>>,
}

/// How it was made sure that the catalog is the log's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// It was folded from the log, or from a copy that turned out to be of this log.
    Equal,
    /// The copy was of another log, and this one was folded anew. What was understood by the copy means nothing here.
    FoldedAnew,
}

/// How far the follower is, for metrics and readiness.
#[derive(Debug, Clone)]
pub struct FollowerStatus {
    /// The revision that is folded.
    pub revision: CatalogRevision,
    /// How long ago the copy was last known to be at the log's end.
    pub staleness: Duration,
    /// Whether the catalog is known to be the log's; without a copy on disk it always is.
    pub confirmed: Option<Confirmed>,
    /// Why it no longer follows, if it does not.
    pub halted: Option<Arc<FollowError>>,
}

impl Follower {
    /// Waits until the catalog is known to be the log's.
    ///
    /// # Errors
    /// [`FollowError`] if the follower ended before.
    pub async fn confirmed(&self) -> Result<Confirmed, FollowError> {
        let mut progress = self.shared.progress.subscribe();
        let known =
            progress.wait_for(|progress| progress.confirmed.is_some() || progress.halted.is_some()).await;
        let progress = known.map_err(|_| FollowError::Stopped)?;
        match (progress.confirmed, &progress.halted) {
            (Some(confirmed), _) => Ok(confirmed),
            (None, Some(halted)) => Err(FollowError::clone(halted)),
            (None, None) => Err(FollowError::Stopped),
        }
    }

    /// Whether the catalog may be older than `limit`.
    pub fn is_stale(&self, limit: Duration) -> bool {
        let progress = self.shared.progress.borrow();
        progress.confirmed.is_none() || progress.at_end.elapsed() > limit
    }

    /// The catalog as it is folded now. Hold the guard for a look, never across a wait.
    pub fn read(&self) -> RwLockReadGuard<'_, Catalog> {
        self.shared.catalog.read()
    }

    /// The revision that is folded now.
    pub fn revision(&self) -> CatalogRevision {
        self.read().revision()
    }

    /// The revision of the copy on disk that this follower started from, if it did.
    pub fn copied(&self) -> Option<CatalogRevision> {
        self.shared.copied
    }

    /// Whether the catalog had this revision; `None` if it is younger than what is folded. Before [`Follower::confirmed`]
    /// that is the copy's word.
    pub fn knows(&self, revision: CatalogRevision) -> Option<bool> {
        let hashes = self.shared.hashes.read();
        let hash = usize::try_from(revision.number).ok().and_then(|number| hashes.get(number));
        hash.map(|hash| *hash == revision.hash)
    }

    /// How far the follower is.
    pub fn status(&self) -> FollowerStatus {
        let progress = self.shared.progress.borrow();
        FollowerStatus {
            revision: self.revision(),
            staleness: progress.at_end.elapsed(),
            confirmed: progress.confirmed,
            halted: progress.halted.clone(),
        }
    }

    /// Waits until everything is folded that was on the log when this was called, at most `limit` long.
    ///
    /// Callers share looks: there is one at a time, and one per [`CATCH_UP_INTERVAL`]. A look goes on when its callers leave.
    ///
    /// # Errors
    /// [`FollowError`] if the log's end is not known or not reached in time.
    pub async fn catch_up(&self, limit: Duration) -> Result<CatalogRevision, FollowError> {
        let arrived = Instant::now();
        timeout(limit, self.look(arrived, limit)).await.map_err(|_| FollowError::Timeout)?
    }

    /// Appends a proposal and waits until this copy has folded it.
    ///
    /// # Errors
    /// [`ProposeError::Rejected`] if the log's order decided against it; after [`ProposeError::Timeout`], and after a
    /// deadline of the log, it may have been accepted all the same.
    pub async fn propose(&self, proposal: Proposal) -> Result<Accepted, ProposeError> {
        let payload = writable(&proposal)?;
        if let Some(halted) = &self.shared.progress.borrow().halted {
            return Err(ProposeError::Halted(halted.to_string()));
        }
        // The wait is registered first: the own copy may fold the record before the append has answered.
        let verdict = self.shared.expect_verdict(proposal.id)?;
        let record = NewRecord { key: proposal.id.bytes().to_vec().into(), payload };
        let answers = self.shared.producer.append(PARTITION, vec![record]).await;
        answers.into_iter().next().unwrap_or(Err(eventlog::Error::Closed))?;
        let verdict = timeout(self.shared.settings.verdict_deadline, verdict.given()).await;
        match verdict.map_err(|_| ProposeError::Timeout)? {
            Some(verdict) => verdict.map_err(ProposeError::Rejected),
            None => Err(ProposeError::Halted(self.halt_reason())),
        }
    }

    fn halt_reason(&self) -> String {
        let progress = self.shared.progress.borrow();
        progress.halted.as_ref().map_or_else(|| FollowError::Stopped.to_string(), |halted| halted.to_string())
    }

    /// Stops following. What waits for a verdict is told so. Takes as long as one read from the log at most.
    pub async fn shutdown(&self) {
        self.shared.stop.send_replace(true);
        let task = self.shared.task.lock().take();
        if let Some(task) = task {
            // A panic of the task has been reported by the runtime; there is nothing to add to it.
            let _ = task.await;
        }
    }
}

/// The bytes of a proposal that every follower will be able to fold.
fn writable(proposal: &Proposal) -> Result<bytes::Bytes, ProposeError> {
    let mut faults = Vec::new();
    for Change::Put { resource, .. } in &proposal.changes {
        faults.extend(validate::faults(resource));
    }
    if !faults.is_empty() {
        return Err(ProposeError::Invalid(faults));
    }
    if proposal.changes.len() > MAX_CHANGES {
        return Err(ProposeError::Rejected(Rejected::Limit { what: "changes", limit: MAX_CHANGES as u64 }));
    }
    if proposal.idempotency.as_ref().is_some_and(|it| it.key.len() > MAX_IDEMPOTENCY_KEY_BYTES) {
        let limit = MAX_IDEMPOTENCY_KEY_BYTES as u64;
        return Err(ProposeError::Rejected(Rejected::Limit { what: "bytes of an idempotency key", limit }));
    }
    let payload = record::encode(proposal).map_err(ProposeError::Unwritable)?;
    // A record that cannot be read back would halt every follower for good.
    let read_back = record::decode(&payload).map_err(ProposeError::Unwritable)?;
    if read_back == *proposal {
        Ok(payload)
    } else {
        Err(ProposeError::Unwritable(RecordError::Impossible("a value without a text form of its own")))
    }
}

impl Shared {
    fn new(
        log: Arc<dyn EventLog>,
        settings: FollowerSettings,
        (catalog, hashes): (Catalog, Vec<u64>),
        confirmed: Option<Confirmed>,
    ) -> Result<Arc<Self>, FollowError> {
        let usage = ProducerUse {
            name: "catalog",
            deadline: settings.append_deadline,
            max_pending_bytes: MAX_PENDING_BYTES,
        };
        let (folded, at_end) = (catalog.revision().number, Instant::now());
        Ok(Arc::new(Self {
            producer: log.producer(usage)?,
            log,
            settings,
            copied: confirmed.is_none().then(|| catalog.revision()),
            catalog: RwLock::new(catalog),
            hashes: RwLock::new(hashes),
            progress: watch::Sender::new(Progress {
                folded,
                at_end,
                answered: confirmed.is_some(),
                confirmed,
                halted: None,
            }),
            verdicts: Mutex::new(HashMap::new()),
            look: Mutex::new(None),
            stop: watch::Sender::new(false),
            task: Mutex::new(None),
        }))
    }

    fn expect_verdict(self: &Arc<Self>, id: ProposalId) -> Result<ExpectedVerdict, ProposeError> {
        let mut verdicts = self.verdicts.lock();
        if verdicts.len() >= MAX_WAITING {
            return Err(ProposeError::Busy);
        }
        let (sender, receiver) = oneshot::channel();
        verdicts.insert(id, sender);
        Ok(ExpectedVerdict { shared: Arc::clone(self), id, receiver })
    }
}

/// A place in the list of awaited verdicts, given up when the proposer goes away.
struct ExpectedVerdict {
    shared: Arc<Shared>,
    id: ProposalId,
    receiver: oneshot::Receiver<Result<Accepted, Rejected>>,
}

impl ExpectedVerdict {
    async fn given(mut self) -> Option<Result<Accepted, Rejected>> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for ExpectedVerdict {
    fn drop(&mut self) {
        self.shared.verdicts.lock().remove(&self.id);
    }
}
