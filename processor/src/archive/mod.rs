//! The archive: old events and facts in the object store, so that the log need not keep them for ever.
//!
//! What is deleted from the log was read from the archive before, and was the same record by record. It goes only below
//! everything that still needs it: the oldest snapshot that is kept, and what the sink has verified.

mod mover;
mod piece;
mod reader;
mod retention;
mod subscription;

use std::sync::Arc;

use bytes::Bytes;
use eventlog::{EventLog, Partition, Position};

use crate::error::Error;
use crate::objects::{Objects, ObjectsError};
use piece::Piece;

pub use mover::Mover;
pub use reader::History;
pub(crate) use retention::Retention;
pub(crate) use subscription::subscribe;

/// Records read from the log at once.
const RECORDS_READ: usize = 1_000;

/// Where the archived records of a partition are.
pub(crate) fn folder(partition: Partition) -> String {
    format!("archive/{}/{}", partition.topic, partition.number)
}

/// The archived records of one partition of one topic.
#[derive(Clone)]
pub struct Archive {
    objects: Objects,
    log: Arc<dyn EventLog>,
    partition: Partition,
}

impl Archive {
    /// The archive of a partition, and the log that it continues in.
    pub fn new(objects: Objects, log: Arc<dyn EventLog>, partition: Partition) -> Self {
        Self { objects, log, partition }
    }

    fn folder(&self) -> String {
        folder(self.partition)
    }

    /// All pieces, by their first position; without a hole between them.
    async fn pieces(&self) -> Result<Vec<Piece>, Error> {
        let objects = self.objects.list(&self.folder()).await?;
        let pieces: Vec<Piece> = objects.iter().filter_map(|object| Piece::of(&object.name)).collect();
        let mut end = pieces.first().map_or(0, |piece| piece.first);
        for piece in &pieces {
            if piece.first > end {
                let problem = format!("begins at {}, the pieces before it end before {end}", piece.first);
                return Err(ObjectsError::damaged(&piece.name, problem).into());
            }
            end = end.max(piece.last + 1);
        }
        Ok(pieces)
    }

    /// The records of a piece.
    async fn read(&self, piece: &Piece) -> Result<Vec<eventlog::Record>, Error> {
        let mut bytes = Vec::new();
        let take = |part: Bytes| {
            bytes.extend_from_slice(&part);
            Ok::<(), ObjectsError>(())
        };
        self.objects.read(&piece.name, take).await?;
        Ok(piece.decode(&bytes)?)
    }

    /// Some archived records from a position on.
    async fn read_from(&self, position: Position) -> Result<Vec<eventlog::Record>, Error> {
        let pieces = self.pieces().await?;
        let Some(piece) = pieces.iter().find(|piece| (piece.first..=piece.last).contains(&position)) else {
            let problem = format!("has no record {position}, and neither has the log");
            return Err(ObjectsError::damaged(&self.folder(), problem).into());
        };
        let mut records = self.read(piece).await?;
        records.retain(|record| record.position >= position);
        Ok(records)
    }

    /// One past the last archived record; where the log begins, if nothing is archived.
    ///
    /// # Errors
    /// [`Error::Objects`] if the store cannot be asked, or the archive ends before the log begins.
    pub async fn end(&self) -> Result<Position, Error> {
        let start = self.log.bounds(self.partition).await?.start;
        let end = self.pieces().await?.iter().map(|piece| piece.last + 1).max().unwrap_or(start);
        if end < start {
            let problem = format!("ends before {end}, the log of {} begins at {start}", self.partition);
            return Err(ObjectsError::damaged(&self.folder(), problem).into());
        }
        Ok(end)
    }
}
