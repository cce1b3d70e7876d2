//! Writing one object in pieces of one size.

use object_store::{MultipartUpload, PutPayload};

use super::ObjectsError;

/// The size of every piece but the last; S3 takes no smaller ones, and up to 10,000 of them.
const PIECE_BYTES: usize = 8 << 20;

/// An object that is being written. Dropped unfinished, it never was.
pub(crate) struct Upload {
    pieces: Box<dyn MultipartUpload>,
    waiting: Vec<u8>,
    bytes: u64,
}

impl Upload {
    pub(super) fn new(pieces: Box<dyn MultipartUpload>) -> Self {
        Self { pieces, waiting: Vec::with_capacity(PIECE_BYTES), bytes: 0 }
    }

    /// Writes the next bytes, full pieces of them at once.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), ObjectsError> {
        self.bytes += bytes.len() as u64;
        while self.waiting.len() + bytes.len() >= PIECE_BYTES {
            let (head, rest) = bytes.split_at(PIECE_BYTES - self.waiting.len());
            self.waiting.extend_from_slice(head);
            bytes = rest;
            let piece = std::mem::replace(&mut self.waiting, Vec::with_capacity(PIECE_BYTES));
            self.pieces.put_part(PutPayload::from(piece)).await?;
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what waits, and gives the object's size once it is there.
    pub(crate) async fn finish(mut self) -> Result<u64, ObjectsError> {
        let piece = std::mem::take(&mut self.waiting);
        // An object of no piece is none.
        if !piece.is_empty() || self.bytes == 0 {
            self.pieces.put_part(PutPayload::from(piece)).await?;
        }
        self.pieces.complete().await?;
        Ok(self.bytes)
    }

    /// Gives the object up, and what the store has of it.
    pub(crate) async fn abort(mut self) {
        if let Err(error) = self.pieces.abort().await {
            tracing::debug!(%error, "pieces of an object that was given up stay in the store");
        }
    }
}
