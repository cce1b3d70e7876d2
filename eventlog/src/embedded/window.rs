//! Reads the frames of one segment file in order, in large pieces.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::{Bytes, BytesMut};

use super::frame::{self, Decoded, Frame, OVERHEAD_BYTES};

/// How much is read at once. A record that is kept keeps the whole piece it was cut from.
const PIECE_BYTES: usize = 256 << 10;

/// A place in a segment file and what was read ahead of it.
#[derive(Debug)]
pub(super) struct Window {
    file: File,
    offset: u64,
    ahead: Bytes,
    max_frame_bytes: usize,
}

/// What stands at a place.
#[derive(Debug)]
pub(super) enum Found {
    /// A frame and its bytes; the window stands behind it.
    Frame(Frame, Bytes),
    /// The limit is reached exactly.
    End,
    /// No intact frame that ends at or below the limit; the window has not moved.
    Broken,
}

impl Window {
    pub(super) fn new(file: File, offset: u64, max_frame_bytes: usize) -> Self {
        Self { file, offset, ahead: Bytes::new(), max_frame_bytes }
    }

    /// Where the next frame starts.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether nothing more can be had without reading the file.
    pub(super) fn is_drained(&self) -> bool {
        self.ahead.len() < OVERHEAD_BYTES
            || frame::peek(&self.ahead).is_none_or(|(bytes, ..)| bytes > self.ahead.len())
    }

    /// The next frame; bytes at `limit` and beyond do not exist.
    pub(super) fn next(&mut self, limit: u64) -> io::Result<Found> {
        loop {
            let left = limit.saturating_sub(self.offset);
            if left == 0 {
                return Ok(Found::End);
            }
            match frame::decode(&self.ahead, self.max_frame_bytes) {
                Decoded::Intact(frame) => {
                    let bytes = self.ahead.split_to(frame.bytes);
                    self.offset += frame.bytes as u64;
                    return Ok(Found::Frame(frame, bytes));
                }
                Decoded::Needs(needed) if needed as u64 <= left => self.fill(needed, left)?,
                Decoded::Needs(_) | Decoded::Broken => return Ok(Found::Broken),
            }
        }
    }

    fn fill(&mut self, needed: usize, left: u64) -> io::Result<()> {
        let wanted = needed.max(PIECE_BYTES);
        let mut piece = BytesMut::zeroed(usize::try_from(left).map_or(wanted, |left| left.min(wanted)));
        self.file.read_exact_at(&mut piece, self.offset)?;
        self.ahead = piece.freeze();
        Ok(())
    }
}
