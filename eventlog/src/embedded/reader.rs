//! Reading: each partition from its place, up to what is durable, then waiting for the writer's word.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::partition::{PartitionLog, Place};
use super::segment::ReadError;
use super::window::{Found, Window};
use crate::{Batch, Error, Partition, Position, Record, Subscription};

/// A subscription of the embedded engine.
#[derive(Debug)]
pub(super) struct EmbeddedSubscription {
    cursors: Vec<Cursor>,
    /// Where the search for a partition with records begins, so that none waits behind a busy one.
    turn: usize,
    wake: Arc<Notify>,
}

/// Where reading a partition stands.
#[derive(Debug)]
struct Cursor {
    partition: Partition,
    log: Arc<PartitionLog>,
    position: Position,
    paused: bool,
    /// The open file; gone while a read is running, and for good if its future is dropped.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    base: Position,
    window: Window,
}

impl EmbeddedSubscription {
    pub(super) fn new(from: Vec<(Partition, Arc<PartitionLog>, Position)>) -> Result<Self, Error> {
        let wake = Arc::new(Notify::new());
        let mut cursors = Vec::with_capacity(from.len());
        for (partition, log, position) in from {
            let bounds = log.bounds();
            if position < bounds.start || position > bounds.end {
                return Err(bounds.out_of_range(partition, position));
            }
            cursors.push(Cursor { partition, log, position, paused: false, open: None });
        }
        // Only now: what is registered is taken back when the subscription is dropped.
        for cursor in &cursors {
            cursor.log.add_reader(&wake);
        }
        Ok(Self { cursors, turn: 0, wake })
    }

    /// A partition that has records to read.
    fn ready(&self) -> Option<usize> {
        let count = self.cursors.len();
        (0..count).map(|step| (self.turn + step) % count).find(|&index| {
            let cursor = &self.cursors[index];
            !cursor.paused && cursor.log.bounds().end > cursor.position
        })
    }

    /// Whether no partition that is not paused will ever get more.
    fn is_closed(&self) -> bool {
        let mut running = self.cursors.iter().filter(|cursor| !cursor.paused).peekable();
        running.peek().is_some() && running.all(|cursor| cursor.log.is_closed())
    }

    async fn read(&mut self, index: usize, max_records: usize) -> Result<Batch, Error> {
        let cursor = &mut self.cursors[index];
        let (log, position, open) = (Arc::clone(&cursor.log), cursor.position, cursor.open.take());
        let partition = cursor.partition;
        let reading = tokio::task::spawn_blocking(move || read(partition, &log, position, open, max_records));
        // If this future is dropped here, the place is still the old one and the next call reads again.
        let (records, open) = reading.await.map_err(|error| Error::Unavailable(error.to_string()))??;
        cursor.position += records.len() as u64;
        cursor.open = Some(open);
        self.turn = (index + 1) % self.cursors.len();
        Ok(Batch { partition, records })
    }
}

#[async_trait]
impl Subscription for EmbeddedSubscription {
    async fn next(&mut self, max_records: usize, wait: Duration) -> Result<Option<Batch>, Error> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(index) = self.ready() {
                return self.read(index, max_records.max(1)).await.map(Some);
            }
            if self.is_closed() {
                return Err(Error::Closed);
            }
            // A record that came since the look above has left a permit.
            if tokio::time::timeout_at(deadline, self.wake.notified()).await.is_err() {
                return Ok(None);
            }
        }
    }

    fn pause(&mut self, partition: Partition) {
        self.set_paused(partition, true);
    }

    fn resume(&mut self, partition: Partition) {
        self.set_paused(partition, false);
    }

    fn positions(&self) -> BTreeMap<Partition, Position> {
        self.cursors.iter().map(|cursor| (cursor.partition, cursor.position)).collect()
    }
}

impl EmbeddedSubscription {
    fn set_paused(&mut self, partition: Partition, paused: bool) {
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.partition == partition) {
            cursor.paused = paused;
        }
    }
}

impl Drop for EmbeddedSubscription {
    fn drop(&mut self) {
        for cursor in &self.cursors {
            cursor.log.remove_reader(&self.wake);
        }
    }
}

/// Reads up to `max_records` from `position`, which is below the end: those of one piece of one file.
fn read(
    partition: Partition,
    log: &PartitionLog,
    position: Position,
    open: Option<Open>,
    max_records: usize,
) -> Result<(Vec<Record>, Open), Error> {
    let place = log.place(position).map_err(|bounds| bounds.out_of_range(partition, position))?;
    read_place(&place, position, open, max_records, log.max_frame_bytes).map_err(|error| match error {
        // Deleted between the look-up and the opening.
        ReadError::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            log.bounds().out_of_range(partition, position)
        }
        error @ (ReadError::Io(_) | ReadError::Damage(_)) => Error::from(error),
    })
}

fn read_place(
    place: &Place,
    position: Position,
    open: Option<Open>,
    max_records: usize,
    max_frame_bytes: usize,
) -> Result<(Vec<Record>, Open), ReadError> {
    let segment = &place.segment;
    let limit = match place.bytes {
        Some(bytes) => bytes,
        None => std::fs::metadata(&segment.path)?.len(),
    };
    let mut window = match open.filter(|open| open.base == segment.base) {
        Some(open) => open.window,
        None => segment.window_at(position, limit, max_frame_bytes)?,
    };
    let mut records = Vec::new();
    let mut at = position;
    while at < place.end && records.len() < max_records && (records.is_empty() || !window.is_drained()) {
        let offset = window.offset();
        match window.next(limit)? {
            Found::Frame(frame, bytes) if frame.stamp.position == at => records.push(frame.record(&bytes)),
            Found::Frame(..) | Found::Broken => return Err(segment.broken(offset, at)),
            Found::End => return Err(segment.too_short(at, place.end)),
        }
        at += 1;
    }
    Ok((records, Open { base: segment.base, window }))
}
