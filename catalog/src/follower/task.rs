//! The task that follows the log.

use std::sync::{Arc, Weak};
use std::time::Duration;

use eventlog::{Batch, EventLog, Subscription};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::{PARTITION, Shared};
use crate::error::{CatalogError, FollowError};

/// Records folded under one write lock.
const MAX_BATCH_RECORDS: usize = 256;
/// How long one read waits for new records.
const READ_WAIT: Duration = Duration::from_millis(500);
/// The pause after an error of the log that may pass.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(250);

pub(super) fn spawn(shared: &Arc<Shared>, subscription: Box<dyn Subscription>) {
    let stop = shared.stop.subscribe();
    let follow = follow(Arc::downgrade(shared), stop, subscription);
    #[allow(clippy::disallowed_methods, reason = "the follower owns this task and ends it in shutdown")]
    let task = tokio::spawn(follow);
    *shared.task.lock() = Some(task);
}

/// Follows until it is stopped, until nobody holds the follower any more, or until it cannot go on.
async fn follow(
    shared: Weak<Shared>,
    mut stop: watch::Receiver<bool>,
    mut subscription: Box<dyn Subscription>,
) {
    let error = loop {
        let read = tokio::select! {
            biased;
            // An error means that the follower was dropped without a shutdown, which stops it just as well.
            _ = stop.wait_for(|stop| *stop) => break FollowError::Stopped,
            read = subscription.next(MAX_BATCH_RECORDS, READ_WAIT) => read,
        };
        let Some(shared) = shared.upgrade() else { return };
        let problem = match read {
            Ok(batch) => shared.take(batch).err().map(FollowError::Catalog),
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, "the catalog's log cannot be read, trying again");
                let _ = timeout(RETRY_PAUSE, stop.wait_for(|stop| *stop)).await;
                match resubscribe(&shared).await {
                    Ok(again) => {
                        subscription = again;
                        None
                    }
                    Err(error) if error.is_retriable() => None,
                    Err(error) => Some(FollowError::Log(error)),
                }
            }
            Err(error) => Some(FollowError::Log(error)),
        };
        if let Some(problem) = problem {
            tracing::error!(error = %problem, "the catalog is halted");
            break problem;
        }
    };
    if let Some(shared) = shared.upgrade() {
        shared.halt(error);
    }
}

async fn resubscribe(shared: &Shared) -> Result<Box<dyn Subscription>, eventlog::Error> {
    let log: &dyn EventLog = shared.log.as_ref();
    let next = shared.catalog.read().revision().number;
    log.subscribe(&[(PARTITION, next)]).await
}

impl Shared {
    /// Folds a batch and tells those who wait; no batch means that the log has no more.
    fn take(&self, batch: Option<Batch>) -> Result<(), CatalogError> {
        let Some(batch) = batch else {
            self.progress.send_modify(|progress| progress.at_end = Instant::now());
            return Ok(());
        };
        let mut folded = Vec::with_capacity(batch.records.len());
        let mut outcome = Ok(());
        let revision = {
            let mut catalog = self.catalog.write();
            for record in &batch.records {
                match catalog.fold(record) {
                    Ok(record) => folded.push(record),
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            catalog.revision()
        };
        self.progress.send_modify(|progress| {
            progress.folded = revision.number;
            progress.at_end = Instant::now();
        });
        let mut verdicts = self.verdicts.lock();
        for record in folded {
            if let Some(sender) = verdicts.remove(&record.proposal) {
                // The proposer may have gone away; the verdict stands all the same.
                let _ = sender.send(record.verdict);
            }
        }
        outcome
    }

    fn halt(&self, error: FollowError) {
        self.progress.send_modify(|progress| progress.halted = Some(Arc::new(error)));
        self.verdicts.lock().clear();
    }
}
