//! The task that follows the log.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use eventlog::{Batch, EventLog, Record, Subscription};
use schemas::topic;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::copy::Copy;
use super::{Confirmed, PARTITION, Shared};
use crate::error::{CatalogError, FollowError};
use crate::fold::{Catalog, Folded};

/// Records folded under one write lock.
const MAX_BATCH_RECORDS: usize = 256;
/// How long one read waits for new records.
const READ_WAIT: Duration = Duration::from_millis(500);
/// The pause after an error of the log that may pass.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How often the log is asked for its end while nothing comes: a log that is away sends nothing either.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long it may take to answer.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// How long a log may seem shorter than the copy. A new leader of Kafka may not know at once how much is committed.
const SHORT_LIMIT: Duration = Duration::from_secs(30);

/// Follows a log that is there.
pub(super) fn spawn(shared: &Arc<Shared>, subscription: Box<dyn Subscription>, copy: Option<Copy>) {
    let follow = Follow { shared: Arc::downgrade(shared), stop: shared.stop.subscribe(), copy, looked: None };
    start(shared, follow.run(subscription));
}

/// Follows a log that may be away, from a copy whose last record is given.
pub(super) fn spawn_from_copy(shared: &Arc<Shared>, copy: Copy, last: Bytes) {
    let follow = Follow {
        shared: Arc::downgrade(shared),
        stop: shared.stop.subscribe(),
        copy: Some(copy),
        looked: None,
    };
    start(shared, follow.connect_and_run(last));
}

fn start(shared: &Shared, work: impl Future<Output = ()> + Send + 'static) {
    #[allow(clippy::disallowed_methods, reason = "the follower owns this task and ends it in shutdown")]
    let task = tokio::spawn(work);
    *shared.task.lock() = Some(task);
}

struct Follow {
    shared: Weak<Shared>,
    stop: watch::Receiver<bool>,
    copy: Option<Copy>,
    /// When the log was last asked for its end.
    looked: Option<Instant>,
}

/// Whether a copy is of this log.
enum Compared {
    /// It is; the subscription goes on behind it.
    Equal(Box<dyn Subscription>),
    /// The log ends before the copy does.
    Short,
    Different,
}

impl Follow {
    /// Follows until it is stopped, until nobody holds the follower any more, or until it cannot go on.
    async fn run(mut self, subscription: Box<dyn Subscription>) {
        let error = self.follow(subscription).await;
        self.end(error).await;
    }

    async fn connect_and_run(mut self, last: Bytes) {
        let error = match self.connect(last).await {
            Ok(subscription) => self.follow(subscription).await,
            Err(error) => error,
        };
        self.end(error).await;
    }

    async fn end(&mut self, error: FollowError) {
        if let Some(copy) = self.copy.take() {
            copy.close().await;
        }
        if let Some(shared) = self.shared.upgrade() {
            if !matches!(error, FollowError::Stopped) {
                tracing::error!(%error, "the catalog is halted");
            }
            shared.halt(error);
        }
    }

    async fn follow(&mut self, mut subscription: Box<dyn Subscription>) -> FollowError {
        loop {
            let read = tokio::select! {
                biased;
                // An error means that the follower was dropped without a shutdown, which stops it just as well.
                _ = self.stop.wait_for(|stop| *stop) => return FollowError::Stopped,
                read = subscription.next(MAX_BATCH_RECORDS, READ_WAIT) => read,
            };
            let Some(shared) = self.shared.upgrade() else { return FollowError::Stopped };
            match read {
                Ok(Some(batch)) => {
                    if let Err(error) = shared.take(&batch) {
                        return error.into();
                    }
                    if let Some(copy) = &mut self.copy {
                        copy.extend(&batch.records).await;
                    }
                }
                Ok(None) => self.look(&shared).await,
                Err(error) if error.is_retriable() => {
                    tracing::warn!(%error, "the catalog's log cannot be read, trying again");
                    let _ = timeout(RETRY_PAUSE, self.stop.wait_for(|stop| *stop)).await;
                    match resubscribe(&shared).await {
                        Ok(again) => subscription = again,
                        Err(error) if error.is_retriable() => {}
                        Err(error) => return error.into(),
                    }
                }
                Err(error) => return error.into(),
            }
        }
    }

    /// Makes sure, now and then, that nothing comes because there is nothing.
    async fn look(&mut self, shared: &Shared) {
        let began = Instant::now();
        if self.looked.is_some_and(|looked| began.duration_since(looked) < LOOK_INTERVAL) {
            return;
        }
        self.looked = Some(began);
        let end = tokio::select! {
            _ = self.stop.wait_for(|stop| *stop) => return,
            end = timeout(LOOK_LIMIT, shared.log.bounds(PARTITION)) => end,
        };
        if let Ok(Ok(bounds)) = end
            && shared.progress.borrow().folded >= bounds.end
        {
            shared.progress.send_modify(|progress| progress.at_end = began);
        }
    }

    /// Waits for the log and compares it with the copy.
    async fn connect(&mut self, last: Bytes) -> Result<Box<dyn Subscription>, FollowError> {
        let mut short_since = None;
        loop {
            let shared = self.shared.upgrade().ok_or(FollowError::Stopped)?;
            let compared = tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => return Err(FollowError::Stopped),
                compared = compare(&shared, &last) => compared,
            };
            match compared {
                Ok(Compared::Equal(subscription)) => {
                    shared.confirm(Confirmed::Equal);
                    return Ok(subscription);
                }
                Ok(Compared::Different) => return self.fold_anew().await,
                Ok(Compared::Short) => {
                    let since = *short_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= SHORT_LIMIT {
                        return self.fold_anew().await;
                    }
                    tracing::warn!("the catalog's log ends before the copy of it does, looking again");
                }
                Err(FollowError::Log(error)) if error.is_retriable() => {
                    short_since = None;
                    tracing::debug!(%error, "the catalog's log is away, trying again");
                }
                Err(error) => return Err(error),
            }
            drop(shared);
            let _ = timeout(RETRY_PAUSE, self.stop.wait_for(|stop| *stop)).await;
        }
    }

    /// Throws the copy away, which is of another log, and folds this one. Until that is done the old catalog answers.
    async fn fold_anew(&mut self) -> Result<Box<dyn Subscription>, FollowError> {
        tracing::error!(
            "the copy of the catalog is not of this log; it is thrown away and the log folded anew"
        );
        loop {
            match self.try_to_fold_anew().await {
                Err(FollowError::Log(error)) if error.is_retriable() => {
                    tracing::warn!(%error, "the catalog's log cannot be read, trying again");
                    let _ = timeout(RETRY_PAUSE, self.stop.wait_for(|stop| *stop)).await;
                }
                folded => return folded,
            }
        }
    }

    async fn try_to_fold_anew(&mut self) -> Result<Box<dyn Subscription>, FollowError> {
        let shared = self.shared.upgrade().ok_or(FollowError::Stopped)?;
        if let Some(copy) = self.copy.take() {
            self.copy = copy.begin_anew().await;
        }
        let end = shared.log.bounds(PARTITION).await?.end;
        let mut subscription = shared.log.subscribe(&[(PARTITION, 0)]).await?;
        let mut catalog = Catalog::new();
        let mut hashes = vec![catalog.revision().hash];
        while catalog.revision().number < end {
            let read = tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => return Err(FollowError::Stopped),
                read = subscription.next(MAX_BATCH_RECORDS, READ_WAIT) => read?,
            };
            let Some(Batch { records, .. }) = read else { continue };
            for record in &records {
                catalog.fold(record)?;
                hashes.push(catalog.revision().hash);
            }
            if let Some(copy) = &mut self.copy {
                copy.extend(&records).await;
            }
        }
        let folded = catalog.revision().number;
        *shared.hashes.write() = hashes;
        *shared.catalog.write() = catalog;
        shared.progress.send_modify(|progress| progress.folded = folded);
        shared.confirm(Confirmed::FoldedAnew);
        Ok(subscription)
    }
}

/// Compares the copy's last record with the log's.
async fn compare(shared: &Shared, last: &Bytes) -> Result<Compared, FollowError> {
    // A log that does not have the topic is not made to: there was one.
    let partitions = shared.log.partitions(topic::CATALOG).await?;
    shared.progress.send_modify(|progress| progress.answered = true);
    if partitions.is_none() {
        return Ok(Compared::Short);
    }
    let bounds = shared.log.bounds(PARTITION).await?;
    if bounds.start != 0 {
        return Err(FollowError::Truncated { start: bounds.start });
    }
    let folded = shared.progress.borrow().folded;
    if bounds.end < folded {
        return Ok(Compared::Short);
    }
    let mut subscription = shared.log.subscribe(&[(PARTITION, folded.saturating_sub(1))]).await?;
    let batch = timeout(LOOK_LIMIT, subscription.next(1, LOOK_LIMIT)).await;
    let batch = batch.map_err(|_| eventlog::Error::Deadline)??;
    let found = batch.and_then(|batch| batch.records.into_iter().next()).ok_or(eventlog::Error::Deadline)?;
    Ok(if found.payload == *last { Compared::Equal(subscription) } else { Compared::Different })
}

async fn resubscribe(shared: &Shared) -> Result<Box<dyn Subscription>, eventlog::Error> {
    let log: &dyn EventLog = shared.log.as_ref();
    let next = shared.catalog.read().revision().number;
    log.subscribe(&[(PARTITION, next)]).await
}

impl Shared {
    /// Folds a batch and tells those who wait.
    fn take(&self, batch: &Batch) -> Result<(), CatalogError> {
        let mut folded = Vec::with_capacity(batch.records.len());
        let (revision, outcome) = {
            let mut catalog = self.catalog.write();
            let outcome = fold_into(&mut catalog, &mut self.hashes.write(), &batch.records, &mut folded);
            (catalog.revision(), outcome)
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

    /// Waits until the log has answered for the first time, or will not be asked any more.
    pub(super) async fn answered(&self) {
        let mut progress = self.progress.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = progress.wait_for(|progress| progress.answered || progress.halted.is_some()).await;
    }

    fn confirm(&self, confirmed: Confirmed) {
        self.progress.send_modify(|progress| {
            progress.confirmed = Some(confirmed);
            progress.at_end = Instant::now();
        });
    }

    fn halt(&self, error: FollowError) {
        self.progress.send_modify(|progress| progress.halted = Some(Arc::new(error)));
        self.verdicts.lock().clear();
    }
}

fn fold_into(
    catalog: &mut Catalog,
    hashes: &mut Vec<u64>,
    records: &[Record],
    folded: &mut Vec<Folded>,
) -> Result<(), CatalogError> {
    for record in records {
        folded.push(catalog.fold(record)?);
        hashes.push(catalog.revision().hash);
    }
    Ok(())
}
