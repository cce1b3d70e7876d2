//! The one thread that writes a partition: takes what waits, writes it, syncs once, answers all.

use std::io;
use std::sync::Arc;

use schemas::time::Timestamp;

use super::disk::{Disk, SegmentFile, sync_dir};
use super::frame::{self, OVERHEAD_BYTES, Stamp};
use super::group::{Outcome, Request};
use super::partition::PartitionLog;
use super::segment::{Mark, Segment};
use super::settings::{Clock, EmbeddedSettings, FsyncFailure};
use crate::metrics::TopicMetrics;
use crate::{Error, Position};

/// Encoded frames are handed to the file system when there is this much of them.
const FLUSH_BYTES: usize = 1 << 20;

/// The writing end of a partition.
pub(super) struct Writer {
    log: Arc<PartitionLog>,
    disk: Arc<dyn Disk>,
    clock: Clock,
    on_fsync_failure: FsyncFailure,
    metrics: Option<TopicMetrics>,
    segment_bytes: u64,
    segment: Arc<Segment>,
    file: Box<dyn SegmentFile>,
    last_time: Timestamp,
    /// What is on the disk for certain: everything below `durable_end`, `durable_bytes` of the last segment.
    durable_end: Position,
    durable_bytes: u64,
    /// What has been encoded, durable or not.
    next: Position,
    written_bytes: u64,
    /// Encoded, not yet given to the file system.
    encoded: Vec<u8>,
    /// A failed write may have left bytes behind the durable ones.
    has_rest: bool,
    /// An `fdatasync` failed: nothing can be promised any more.
    broken: bool,
}

/// Why a group could not be made durable.
enum Failure {
    Write(io::Error),
    Sync(io::Error),
}

impl Writer {
    pub(super) fn open(
        log: Arc<PartitionLog>,
        disk: Arc<dyn Disk>,
        settings: &EmbeddedSettings,
        metrics: Option<TopicMetrics>,
        last_time: Timestamp,
    ) -> Result<Self, Error> {
        let (segment, durable_bytes) = log.active().ok_or(Error::Closed)?;
        let file = disk.open(&segment.path).map_err(|error| Error::Unavailable(error.to_string()))?;
        let durable_end = log.bounds().end;
        Ok(Self {
            disk,
            clock: Arc::clone(&settings.clock),
            on_fsync_failure: Arc::clone(&settings.on_fsync_failure),
            metrics,
            segment_bytes: settings.segment_bytes,
            segment,
            file,
            last_time,
            durable_end,
            durable_bytes,
            next: durable_end,
            written_bytes: durable_bytes,
            encoded: Vec::new(),
            has_rest: false,
            broken: false,
            log,
        })
    }

    /// Serves the queue until it is closed and empty.
    pub(super) fn run(mut self) {
        let mut requests = Vec::new();
        let log = Arc::clone(&self.log);
        while let Some(group) = log.queue.take(&mut requests) {
            let outcomes = self.commit(&requests);
            // Room is given back before the answer, so that who goes on at once finds it.
            requests.clear();
            group.complete(outcomes);
        }
    }

    /// Makes a group durable and tells what became of each request.
    fn commit(&mut self, requests: &[Request]) -> Vec<Outcome> {
        let first = self.durable_end;
        let error = match self.write(requests).and_then(|()| self.sync()) {
            Ok(()) => None,
            Err(failure) => Some(self.undo(failure)),
        };
        let mut at = first;
        let outcomes = requests.iter().map(|request| {
            let count = request.records.len();
            let durable =
                usize::try_from(self.durable_end.saturating_sub(at)).map_or(count, |n| n.min(count));
            let outcome =
                Outcome { first: at, durable, error: if durable < count { error.clone() } else { None } };
            at += count as u64;
            outcome
        });
        let outcomes: Vec<Outcome> = outcomes.collect();
        self.measure(requests, &outcomes);
        outcomes
    }

    fn write(&mut self, requests: &[Request]) -> Result<(), Failure> {
        if self.broken {
            return Err(Failure::Write(io::Error::other("an earlier fdatasync failed")));
        }
        if self.has_rest {
            self.file.cut(self.durable_bytes).map_err(Failure::Write)?;
            self.has_rest = false;
        }
        // Kept at once: even of a group that fails the records before a roll may be durable.
        let log_time = self.last_time.max((self.clock)());
        self.last_time = log_time;
        for record in requests.iter().flat_map(|request| &request.records) {
            let frame_bytes = (OVERHEAD_BYTES + record.key.len() + record.payload.len()) as u64;
            let offset = self.written_bytes + self.encoded.len() as u64;
            if offset > 0 && offset + frame_bytes > self.segment_bytes {
                self.sync()?;
                self.roll()?;
            }
            let stamp = Stamp { position: self.next, log_time, durable_end: self.durable_end };
            frame::encode(&mut self.encoded, stamp, &record.key, &record.payload);
            self.next += 1;
            if self.encoded.len() >= FLUSH_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.encoded.is_empty() {
            return Ok(());
        }
        // Even a failed write may have written something.
        self.has_rest = true;
        self.file.write_at(&self.encoded, self.written_bytes).map_err(Failure::Write)?;
        self.written_bytes += self.encoded.len() as u64;
        self.encoded.clear();
        Ok(())
    }

    /// Makes everything encoded so far durable and readable.
    fn sync(&mut self) -> Result<(), Failure> {
        self.flush()?;
        if self.next == self.durable_end {
            return Ok(());
        }
        let timer = self.metrics.as_ref().map(TopicMetrics::fsync);
        self.file.sync().map_err(Failure::Sync)?;
        drop(timer);
        self.segment.mark(Mark { position: self.durable_end, offset: self.durable_bytes });
        self.durable_end = self.next;
        self.durable_bytes = self.written_bytes;
        self.has_rest = false;
        self.log.publish(self.durable_end, self.durable_bytes);
        Ok(())
    }

    /// Begins the next segment. Everything before it is durable: its very existence says so when the log is opened.
    fn roll(&mut self) -> Result<(), Failure> {
        let segment = Arc::new(Segment::new(&self.log.dir, self.next));
        let file = self.disk.create(&segment.path).map_err(Failure::Write)?;
        sync_dir(&self.log.dir).map_err(Failure::Sync)?;
        self.file = file;
        self.durable_bytes = 0;
        self.written_bytes = 0;
        self.segment = Arc::clone(&segment);
        self.log.roll(segment);
        Ok(())
    }

    /// Goes back to what is durable.
    fn undo(&mut self, failure: Failure) -> Error {
        self.encoded.clear();
        self.next = self.durable_end;
        self.written_bytes = self.durable_bytes;
        match failure {
            Failure::Write(error) => {
                // A full disk is no damage: what is durable stays so, and there may be room again.
                if self.has_rest && !self.broken && self.file.cut(self.durable_bytes).is_ok() {
                    self.has_rest = false;
                }
                Error::Unavailable(error.to_string())
            }
            Failure::Sync(error) => {
                self.broken = true;
                (self.on_fsync_failure)(&error);
                Error::Unavailable(error.to_string())
            }
        }
    }

    fn measure(&self, requests: &[Request], outcomes: &[Outcome]) {
        let Some(metrics) = &self.metrics else { return };
        let (mut records, mut bytes) = (0, 0);
        for (request, outcome) in requests.iter().zip(outcomes) {
            for record in request.records.iter().take(outcome.durable) {
                records += 1;
                bytes += (record.key.len() + record.payload.len()) as u64;
            }
        }
        metrics.appended(records, bytes);
    }
}
