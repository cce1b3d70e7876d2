//! How a follower starts: from the log, or, where there is a copy on disk and the log is away, from the copy.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eventlog::{EventLog, Subscription};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::copy::Copy;
use super::{Confirmed, Follower, FollowerSettings, PARTITION, Shared, TOPIC, task};
use crate::error::FollowError;
use crate::fold::Catalog;

/// How long a start with a copy waits for the log to say anything at all. That is a connection and one question, and all
/// that requests wait for while the log is away: it stands between a restart and the first redirect.
pub(super) const ANSWER_PATIENCE: Duration = Duration::from_millis(800);
/// How long a start with a copy waits for a log that has answered. It is folded to its end within this, as a rule.
const COPY_PATIENCE: Duration = Duration::from_secs(3);

impl Follower {
    /// Creates the catalog's topic where it is missing, folds it to its present end, then follows it on a task of its own.
    ///
    /// # Errors
    /// [`FollowError`] if the log cannot be read, or holds what this build does not know.
    pub async fn start(log: Arc<dyn EventLog>, settings: FollowerSettings) -> Result<Self, FollowError> {
        Self::start_on_log(log, settings, None).await
    }

    /// The same, with a copy of the catalog in `dir`: if the log does not answer, the follower starts from the copy and
    /// compares it with the log once that is there.
    ///
    /// # Errors
    /// [`FollowError`] as above, if there is no copy yet.
    pub async fn start_with_copy(
        log: Arc<dyn EventLog>,
        settings: FollowerSettings,
        dir: &Path,
    ) -> Result<Self, FollowError> {
        let Some((copy, kept)) = Copy::open(dir).await else {
            return Self::start_on_log(log, settings, None).await;
        };
        let Some(last) = kept.last else {
            return Self::start_on_log(log, settings, Some(copy)).await;
        };
        let revision = kept.catalog.revision();
        let shared = Shared::new(log, settings, (kept.catalog, kept.hashes), None)?;
        task::spawn_from_copy(&shared, copy, last);
        let follower = Self { shared };
        match follower.compared().await {
            Ok(()) => {}
            Err(error @ (FollowError::Truncated { .. } | FollowError::Catalog(_))) => {
                follower.shutdown().await;
                return Err(error);
            }
            Err(_) => {
                let revision = revision.number;
                tracing::warn!(revision, "the log is away; starting from the copy of the catalog");
            }
        }
        Ok(follower)
    }

    /// Waits until the copy is known to be the log's and has what the log has, as long as the log lets hope for it.
    async fn compared(&self) -> Result<(), FollowError> {
        let by = Instant::now() + COPY_PATIENCE;
        timeout(ANSWER_PATIENCE, self.shared.answered()).await.map_err(|_| FollowError::Timeout)?;
        let caught_up = async {
            self.confirmed().await?;
            self.catch_up(COPY_PATIENCE).await
        };
        timeout_at(by, caught_up).await.map_err(|_| FollowError::Timeout)?.map(|_| ())
    }

    async fn start_on_log(
        log: Arc<dyn EventLog>,
        settings: FollowerSettings,
        copy: Option<Copy>,
    ) -> Result<Self, FollowError> {
        let there = async {
            loop {
                match Self::look_at_log(log.as_ref()).await {
                    Err(FollowError::Log(error)) if error.is_retriable() => {
                        tracing::warn!(%error, "the catalog's log is not there yet, trying again");
                        sleep(task::RETRY_PAUSE).await;
                    }
                    there => break there,
                }
            }
        };
        let by = Instant::now() + settings.start_deadline;
        let (end, subscription) = timeout_at(by, there).await.map_err(|_| FollowError::Timeout)??;
        let catalog = Catalog::new();
        let hashes = vec![catalog.revision().hash];
        let shared = Shared::new(log, settings, (catalog, hashes), Some(Confirmed::Equal))?;
        task::spawn(&shared, subscription, copy);
        let follower = Self { shared };
        let folded = timeout_at(by, follower.shared.folded(end)).await.unwrap_or(Err(FollowError::Timeout));
        if let Err(error) = folded {
            follower.shutdown().await;
            return Err(error);
        }
        Ok(follower)
    }

    /// The log's end, and a subscription from its start.
    async fn look_at_log(log: &dyn EventLog) -> Result<(u64, Box<dyn Subscription>), FollowError> {
        log.ensure_topics(&[TOPIC]).await?;
        let bounds = log.bounds(PARTITION).await?;
        if bounds.start != 0 {
            return Err(FollowError::Truncated { start: bounds.start });
        }
        Ok((bounds.end, log.subscribe(&[(PARTITION, 0)]).await?))
    }
}
