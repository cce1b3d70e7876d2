//! Reading: takes what the fetching thread has put into the inbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::fetcher::Fetcher;
use super::inbox::Inbox;
use crate::{Batch, Error, Partition, Position, Subscription};

/// How long records may take to come that are known to be in the log; a broker that restarts needs some of it.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(30);

/// A subscription of the Kafka engine.
#[derive(Debug)]
pub(super) struct KafkaSubscription {
    inbox: Arc<Inbox>,
}

impl KafkaSubscription {
    /// Starts fetching partitions, each given with its first position and the log's end.
    pub(super) fn open(shared: &Shared, places: Vec<(Partition, Position, Position)>) -> Result<Self, Error> {
        let inbox = Arc::new(Inbox::new(&places));
        Fetcher::start(shared, &places, Arc::clone(&inbox))?;
        Ok(Self { inbox })
    }
}

#[async_trait]
impl Subscription for KafkaSubscription {
    async fn next(&mut self, max_records: usize, wait: Duration) -> Result<Option<Batch>, Error> {
        let now = Instant::now();
        loop {
            if let Some(batch) = self.inbox.take(max_records.max(1))? {
                return Ok(Some(batch));
            }
            // "Nothing came" means "at the end", so it is not said while the log is known to have more.
            let behind = self.inbox.is_behind();
            let limit = if behind { wait.max(CATCH_UP_LIMIT) } else { wait };
            if timeout_at(now + limit, self.inbox.arrived()).await.is_ok() {
                continue;
            }
            if behind {
                return Err(Error::Unavailable("Kafka sends no records though it has more".into()));
            }
            return Ok(None);
        }
    }

    fn pause(&mut self, partition: Partition) {
        self.inbox.set_paused(partition, true);
    }

    fn resume(&mut self, partition: Partition) {
        self.inbox.set_paused(partition, false);
    }

    fn positions(&self) -> BTreeMap<Partition, Position> {
        self.inbox.positions()
    }
}

impl Drop for KafkaSubscription {
    fn drop(&mut self) {
        self.inbox.stop();
    }
}
