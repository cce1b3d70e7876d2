//! Reads a partition from its first record on: what was archived, then what the log has.

use std::collections::VecDeque;
use std::sync::Arc;

use eventlog::{EventLog, Partition, Position, Record, Subscription};

use super::{Archive, RECORDS_READ};
use crate::error::Error;
use crate::objects::{Objects, ObjectsError};
use crate::read_back::READ_BACK;

/// The records of a partition, in order, wherever they are.
pub struct History {
    log: Arc<dyn EventLog>,
    partition: Partition,
    archive: Option<Archive>,
    next: Position,
    /// Where the log ended when reading began: what comes later is not read.
    end: Position,
    ahead: VecDeque<Record>,
    live: Option<Box<dyn Subscription>>,
}

impl History {
    /// Reads from `from` to the end that the log has now; what the log has no more comes from the archive in `objects`.
    ///
    /// # Errors
    /// [`Error::Log`] if the log cannot be asked.
    pub async fn from(
        log: Arc<dyn EventLog>,
        objects: Option<Objects>,
        partition: Partition,
        from: Position,
    ) -> Result<Self, Error> {
        let end = log.bounds(partition).await?.end;
        let archive = objects.map(|objects| Archive::new(objects, Arc::clone(&log), partition));
        Ok(Self { log, partition, archive, next: from, end, ahead: VecDeque::new(), live: None })
    }

    /// The position of the next record.
    pub const fn position(&self) -> Position {
        self.next
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// [`Error`] if neither archive nor log has it, or it cannot be read.
    pub async fn next(&mut self) -> Result<Option<Record>, Error> {
        if self.next >= self.end {
            return Ok(None);
        }
        if self.ahead.is_empty() {
            self.read_ahead().await?;
        }
        let record = self.ahead.pop_front().ok_or(eventlog::Error::Deadline)?;
        if record.position != self.next {
            let problem = format!("gave record {} in place of {}", record.position, self.next);
            return Err(ObjectsError::damaged(&self.partition.to_string(), problem).into());
        }
        self.next += 1;
        Ok(Some(record))
    }

    async fn read_ahead(&mut self) -> Result<(), Error> {
        let live = match (&mut self.live, &self.archive) {
            (Some(live), _) => live,
            (None, Some(archive)) if self.next < self.log.bounds(self.partition).await?.start => {
                self.ahead.extend(archive.read_from(self.next).await?);
                return Ok(());
            }
            // Without an archive it is the log that says that it has no such position.
            (None, _) => self.live.insert(self.log.subscribe(&[(self.partition, self.next)]).await?),
        };
        let batch = live.next(RECORDS_READ, READ_BACK).await?.ok_or(eventlog::Error::Deadline)?;
        self.ahead.extend(batch.records);
        Ok(())
    }
}
