//! Moves what is old from the log into the archive: copied, compared, and only then deleted.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use eventlog::Position;
use schemas::time::Timestamp;

use super::piece::{Piece, PieceWriter};
use super::{Archive, RECORDS_READ};
use crate::error::Error;
use crate::objects::ObjectsError;
use crate::read_back::READ_BACK;

/// Bytes of records in one piece; the last record may exceed it.
const PIECE_BYTES: usize = 32 << 20;
/// How long records that are old enough may wait for a piece that is full.
const PATIENCE_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// Moves old records of one partition of one topic.
pub struct Mover {
    archive: Archive,
    /// Below this the archive was compared with the log by this process.
    compared: AtomicU64,
}

impl Mover {
    /// A mover that has compared nothing yet.
    pub const fn new(archive: Archive) -> Self {
        Self { archive, compared: AtomicU64::new(0) }
    }

    /// Archives what lies below `needed` and was logged before `old`, then lets the log delete it. Gives the position up to which
    /// it is archived and compared.
    ///
    /// # Errors
    /// [`Error`] if store or log cannot be asked, or the archive differs from the log: nothing is deleted then.
    pub async fn pass(&self, needed: Position, old: Timestamp) -> Result<Position, Error> {
        while self.write_piece(needed, old).await? {}
        let compared = self.compare(needed, old).await?;
        self.archive.log.delete_below(self.archive.partition, compared.min(needed)).await?;
        Ok(compared)
    }

    /// Writes the next piece. False if there is too little for one.
    async fn write_piece(&self, needed: Position, old: Timestamp) -> Result<bool, Error> {
        let failed = |error: io::Error| Error::Objects(ObjectsError::damaged("of the archive", error));
        let archive = &self.archive;
        let begin = archive.end().await?;
        let end = archive.log.bounds(archive.partition).await?.end.min(needed);
        if begin >= end {
            return Ok(false);
        }
        let mut log = archive.log.subscribe(&[(archive.partition, begin)]).await?;
        let mut piece = PieceWriter::at(begin).map_err(failed)?;
        'piece: while piece.next() < end && piece.bytes < PIECE_BYTES {
            let batch = log.next(RECORDS_READ, READ_BACK).await?.ok_or(eventlog::Error::Deadline)?;
            for record in &batch.records {
                if record.position >= end || record.log_time >= old || piece.bytes >= PIECE_BYTES {
                    break 'piece;
                }
                piece.push(record).map_err(failed)?;
            }
        }
        let Some(since) = piece.since else { return Ok(false) };
        if piece.bytes < PIECE_BYTES && old.micros_since(since) < PATIENCE_MICROS {
            return Ok(false);
        }
        let (piece, bytes) = piece.finish(&archive.folder()).map_err(failed)?;
        let mut upload = archive.objects.upload(&piece.name).await?;
        if let Err(error) = upload.write(&bytes).await {
            upload.abort().await;
            return Err(error.into());
        }
        upload.finish().await?;
        Ok(true)
    }

    /// Compares the archive with what the log still has of it, and gives how far it may go.
    async fn compare(&self, needed: Position, old: Timestamp) -> Result<Position, Error> {
        let archive = &self.archive;
        let start = archive.log.bounds(archive.partition).await?.start;
        let mut compared = self.compared.load(Ordering::Relaxed).max(start);
        for piece in archive.pieces().await? {
            if piece.last < compared || piece.first > compared || compared >= needed {
                continue;
            }
            let reached = self.compare_piece(&piece, compared, old).await?;
            compared = reached;
            if reached <= piece.last {
                break;
            }
        }
        self.compared.store(compared, Ordering::Relaxed);
        Ok(compared)
    }

    /// Compares a piece from a position on, up to a record that is not old enough to go.
    async fn compare_piece(&self, piece: &Piece, from: Position, old: Timestamp) -> Result<Position, Error> {
        let archive = &self.archive;
        let mut archived = archive.read(piece).await?.into_iter().skip_while(|record| record.position < from);
        let mut log = archive.log.subscribe(&[(archive.partition, from)]).await?;
        let mut reached = from;
        while reached <= piece.last {
            let batch = log.next(RECORDS_READ, READ_BACK).await?.ok_or(eventlog::Error::Deadline)?;
            for record in batch.records {
                if record.position > piece.last || record.log_time >= old {
                    return Ok(reached);
                }
                if archived.next().as_ref() != Some(&record) {
                    let problem = format!("differs from the log at {}", record.position);
                    return Err(ObjectsError::damaged(&piece.name, problem).into());
                }
                reached = record.position + 1;
            }
        }
        Ok(reached)
    }
}
