//! Looks for the log's end on behalf of those who miss something in the catalog.

use std::sync::Arc;
use std::time::Duration;

use schemas::event::CatalogRevision;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::{AWAY_INTERVAL, CATCH_UP_INTERVAL, Follower, LOOK_LIMIT, PARTITION, Shared};
use crate::error::FollowError;

/// What a look has folded, once it has ended.
type Outcome = Option<Result<CatalogRevision, FollowError>>;

/// A look for the log's end. It has a task of its own: a caller that goes away does not end it for the others.
pub(super) struct Look {
    began: Instant,
    outcome: watch::Receiver<Outcome>,
    task: JoinHandle<()>,
}

/// What a caller does next.
enum Step {
    /// This look saw all that the caller needs to see.
    Share(watch::Receiver<Outcome>),
    /// This one began before the caller came: the next one is the caller's.
    After(watch::Receiver<Outcome>),
    Pause(Instant),
}

impl Follower {
    pub(super) async fn look(
        &self,
        arrived: Instant,
        limit: Duration,
    ) -> Result<CatalogRevision, FollowError> {
        loop {
            match self.shared.next_step(arrived, limit)? {
                Step::Share(look) => return ended(look).await,
                Step::After(look) => drop(ended(look).await),
                Step::Pause(until) => sleep_until(until).await,
            }
        }
    }
}

impl Shared {
    fn next_step(self: &Arc<Self>, arrived: Instant, limit: Duration) -> Result<Step, FollowError> {
        let mut last = self.look.lock();
        if let Some(look) = last.as_ref() {
            let is_good = look.outcome.borrow().as_ref().map(Result::is_ok);
            let elapsed = look.began.elapsed();
            match is_good {
                // The log did not answer just now: whoever asks for the unknown then shall not pile up looks.
                Some(false) if elapsed < AWAY_INTERVAL => return Err(FollowError::Timeout),
                None | Some(true) if look.began >= arrived => return Ok(Step::Share(look.outcome.clone())),
                // It has lasted longer than this caller would wait.
                None if elapsed >= limit => return Err(FollowError::Timeout),
                None => return Ok(Step::After(look.outcome.clone())),
                Some(true) if elapsed < CATCH_UP_INTERVAL => {
                    return Ok(Step::Pause(look.began + CATCH_UP_INTERVAL));
                }
                Some(_) => {}
            }
        }
        let look = Look::begin(Arc::clone(self));
        let outcome = look.outcome.clone();
        *last = Some(look);
        Ok(Step::Share(outcome))
    }

    async fn look_for_end(&self) -> Result<CatalogRevision, FollowError> {
        let end = self.log.bounds(PARTITION).await?.end;
        self.folded(end).await?;
        Ok(self.catalog.read().revision())
    }

    /// Waits until the records before `end` are folded.
    pub(super) async fn folded(&self, end: u64) -> Result<(), FollowError> {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|progress| progress.folded >= end || progress.halted.is_some()).await;
        let progress = reached.map_err(|_| FollowError::Stopped)?;
        if progress.folded >= end {
            return Ok(());
        }
        match &progress.halted {
            Some(halted) => Err(FollowError::clone(halted)),
            None => Err(FollowError::Stopped),
        }
    }
}

impl Look {
    fn begin(shared: Arc<Shared>) -> Self {
        let began = Instant::now();
        let (sender, outcome) = watch::channel(None);
        let work = async move {
            let reached = timeout(LOOK_LIMIT, shared.look_for_end()).await;
            sender.send_replace(Some(reached.unwrap_or(Err(FollowError::Timeout))));
        };
        #[allow(clippy::disallowed_methods, reason = "the look owns this task, which has a limit")]
        let task = tokio::spawn(work);
        Self { began, outcome, task }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ended(mut look: watch::Receiver<Outcome>) -> Result<CatalogRevision, FollowError> {
    let outcome = look.wait_for(Option::is_some).await.map_err(|_| FollowError::Stopped)?;
    outcome.clone().unwrap_or(Err(FollowError::Stopped))
}
