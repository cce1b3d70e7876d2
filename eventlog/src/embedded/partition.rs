//! One partition: which segments it has, what of them is durable, and who waits for more.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::disk::sync_dir;
use super::group::Queue;
use super::recovery::Recovered;
use super::segment::{ReadError, Segment};
use crate::{Bounds, Position};

/// A partition as writer and readers share it.
#[derive(Debug)]
pub(super) struct PartitionLog {
    pub(super) dir: PathBuf,
    pub(super) max_frame_bytes: usize,
    pub(super) queue: Queue,
    shelf: RwLock<Shelf>,
    readers: Mutex<Vec<Arc<Notify>>>,
}

/// The durable part of a partition. Readers see nothing else.
#[derive(Debug)]
struct Shelf {
    /// Never empty, lowest first; the last one is written to.
    segments: VecDeque<Arc<Segment>>,
    end: Position,
    /// Durable bytes of the last segment.
    active_bytes: u64,
    /// Bytes of frames that have become durable since the log was opened.
    appended_bytes: u64,
    closed: bool,
}

/// Where a position is to be read.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) segment: Arc<Segment>,
    /// One past the last durable record of this segment.
    pub(super) end: Position,
    /// The durable bytes of its file; `None` for all of them.
    pub(super) bytes: Option<u64>,
}

impl PartitionLog {
    pub(super) fn new(dir: PathBuf, recovered: Recovered, max_frame_bytes: usize) -> Arc<Self> {
        let shelf = Shelf {
            segments: recovered.segments.into_iter().map(Arc::new).collect(),
            end: recovered.end,
            active_bytes: recovered.active_bytes,
            appended_bytes: 0,
            closed: false,
        };
        Arc::new(Self {
            dir,
            max_frame_bytes,
            queue: Queue::default(),
            shelf: RwLock::new(shelf),
            readers: Mutex::default(),
        })
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.shelf.read().bounds()
    }

    /// The bounds, and the bytes of frames that have become durable since the log was opened.
    pub(super) fn extent(&self) -> (Bounds, u64) {
        let shelf = self.shelf.read();
        (shelf.bounds(), shelf.appended_bytes)
    }

    /// Bytes of the durable frames from `position` on.
    pub(super) fn bytes_from(&self, position: Position) -> Result<u64, ReadError> {
        let (segments, end, active_bytes) = {
            let shelf = self.shelf.read();
            (shelf.segments.iter().cloned().collect::<Vec<_>>(), shelf.end, shelf.active_bytes)
        };
        if position >= end {
            return Ok(0);
        }
        let mut bytes = 0;
        for (index, segment) in segments.iter().enumerate() {
            let next = segments.get(index + 1);
            if next.is_some_and(|next| next.base <= position) {
                continue;
            }
            let length = if next.is_some() { fs::metadata(&segment.path)?.len() } else { active_bytes };
            let before = if segment.base < position {
                segment.window_at(position, length, self.max_frame_bytes)?.offset()
            } else {
                0
            };
            bytes += length.saturating_sub(before);
        }
        Ok(bytes)
    }

    /// The segment with the record at `position`, which is below the end; the bounds if it is outside of them.
    pub(super) fn place(&self, position: Position) -> Result<Place, Bounds> {
        let shelf = self.shelf.read();
        let behind = shelf.segments.partition_point(|segment| segment.base <= position);
        let found = behind.checked_sub(1).and_then(|index| shelf.segments.get(index));
        let Some(segment) = found.filter(|_| position <= shelf.end).cloned() else {
            return Err(shelf.bounds());
        };
        Ok(match shelf.segments.get(behind) {
            Some(next) => Place { segment, end: next.base, bytes: None },
            None => Place { segment, end: shelf.end, bytes: Some(shelf.active_bytes) },
        })
    }

    /// Makes records readable that have become durable: all of the last segment up to `end`.
    pub(super) fn publish(&self, end: Position, active_bytes: u64) {
        let mut shelf = self.shelf.write();
        shelf.end = end;
        shelf.appended_bytes += active_bytes.saturating_sub(shelf.active_bytes);
        shelf.active_bytes = active_bytes;
        drop(shelf);
        self.wake_readers();
    }

    /// Begins a segment; everything before it is durable.
    pub(super) fn roll(&self, segment: Arc<Segment>) {
        let mut shelf = self.shelf.write();
        shelf.end = segment.base;
        shelf.active_bytes = 0;
        shelf.segments.push_back(segment);
        drop(shelf);
        self.wake_readers();
    }

    /// Removes the segments that lie wholly below `position`, but the last one with records.
    pub(super) fn delete_below(&self, position: Position) -> io::Result<()> {
        let mut is_changed = false;
        loop {
            let mut shelf = self.shelf.write();
            let (Some(first), Some(next)) = (shelf.segments.front(), shelf.segments.get(1)) else { break };
            // The log time goes on from the last record, so one must stay.
            let next_is_empty = next.base == shelf.end;
            if next.base > position || next_is_empty {
                break;
            }
            let path = first.path.clone();
            shelf.segments.pop_front();
            drop(shelf);
            // From the lowest up: what a crash leaves is still one range.
            fs::remove_file(path)?;
            is_changed = true;
        }
        if is_changed { sync_dir(&self.dir) } else { Ok(()) }
    }

    /// Takes no more records and tells readers that nothing more will come.
    pub(super) fn close(&self) {
        self.queue.close();
        self.shelf.write().closed = true;
        self.wake_readers();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.shelf.read().closed
    }

    /// The last segment, where the writer goes on.
    pub(super) fn active(&self) -> Option<(Arc<Segment>, u64)> {
        let shelf = self.shelf.read();
        shelf.segments.back().map(|segment| (Arc::clone(segment), shelf.active_bytes))
    }

    /// From now on `reader` is notified whenever there is more.
    pub(super) fn add_reader(&self, reader: &Arc<Notify>) {
        self.readers.lock().push(Arc::clone(reader));
    }

    pub(super) fn remove_reader(&self, reader: &Arc<Notify>) {
        self.readers.lock().retain(|other| !Arc::ptr_eq(other, reader));
    }

    fn wake_readers(&self) {
        for reader in self.readers.lock().iter() {
            // Leaves a permit if the reader is not waiting yet, so no wake-up is lost.
            reader.notify_one();
        }
    }
}

impl Shelf {
    fn bounds(&self) -> Bounds {
        Bounds { start: self.segments.front().map_or(self.end, |first| first.base), end: self.end }
    }
}
