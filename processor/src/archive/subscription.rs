//! Reading on from a position that the log may have no more: the archive first, then the log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventlog::{Batch, EventLog, Partition, Position, Record, Subscription};

use super::Archive;
use crate::error::Error;
use crate::objects::{Objects, ObjectsError};

/// Reads a partition from a position on, out of the archive in `objects` as long as the log has no such record.
///
/// # Errors
/// [`Error::Log`] if the log cannot be asked, or has no such position and there is no archive.
pub(crate) async fn subscribe(
    log: &Arc<dyn EventLog>,
    objects: Option<&Objects>,
    partition: Partition,
    from: Position,
) -> Result<Box<dyn Subscription>, Error> {
    if let Some(objects) = objects
        && from < log.bounds(partition).await?.start
    {
        let archive = Archive::new(objects.clone(), Arc::clone(log), partition);
        let (ahead, live) = (VecDeque::new(), None);
        return Ok(Box::new(FromArchive { archive, next: from, ahead, live, is_paused: false }));
    }
    Ok(log.subscribe(&[(partition, from)]).await?)
}

struct FromArchive {
    archive: Archive,
    next: Position,
    ahead: VecDeque<Record>,
    /// The log, once it has the next record.
    live: Option<Box<dyn Subscription>>,
    is_paused: bool,
}

impl FromArchive {
    /// Reads the next piece of the archive, or goes over to the log.
    async fn read_ahead(&mut self) -> Result<(), Error> {
        let Archive { log, partition, .. } = &self.archive;
        if self.next >= log.bounds(*partition).await?.start {
            self.live = Some(log.subscribe(&[(*partition, self.next)]).await?);
        } else {
            self.ahead.extend(self.archive.read_from(self.next).await?);
        }
        Ok(())
    }
}

#[async_trait]
impl Subscription for FromArchive {
    async fn next(&mut self, max_records: usize, wait: Duration) -> Result<Option<Batch>, eventlog::Error> {
        if self.is_paused && self.live.is_none() {
            tokio::time::sleep(wait).await;
            return Ok(None);
        }
        if self.ahead.is_empty() && self.live.is_none() {
            self.read_ahead().await.map_err(error_of_log)?;
        }
        if let Some(live) = &mut self.live {
            return live.next(max_records, wait).await;
        }
        let records: Vec<Record> = self.ahead.drain(..max_records.min(self.ahead.len())).collect();
        self.next += records.len() as u64;
        let partition = self.archive.partition;
        Ok((!records.is_empty()).then_some(Batch { partition, records }))
    }

    fn pause(&mut self, partition: Partition) {
        self.is_paused = true;
        if let Some(live) = &mut self.live {
            live.pause(partition);
        }
    }

    fn resume(&mut self, partition: Partition) {
        self.is_paused = false;
        if let Some(live) = &mut self.live {
            live.resume(partition);
        }
    }

    fn positions(&self) -> BTreeMap<Partition, Position> {
        match &self.live {
            Some(live) => live.positions(),
            None => BTreeMap::from([(self.archive.partition, self.next)]),
        }
    }
}

/// What the log's readers understand: to try again, or that something is damaged.
fn error_of_log(error: Error) -> eventlog::Error {
    if let Error::Log(error) = error {
        return error;
    }
    if let Error::Objects(ObjectsError::Damaged { .. }) = error {
        return eventlog::Error::Corrupt(error.to_string());
    }
    eventlog::Error::Unavailable(error.to_string())
}
