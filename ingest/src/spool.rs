//! The spool: what the log did not confirm in time is kept here, durably, until the log takes it.
//!
//! It is the embedded log once more, with one partition for each partition of `events`; its records are the encoded
//! events with their marks. [`lane::Lane`] says which way a partition's events go, [`drainer::Drainer`] brings them to
//! the log. A directory holds:
//!
//! ```text
//! log/                 the events, see `eventlog::embedded`
//! drained/N            the position below which partition N was brought to the log
//! edge                 the id by which heartbeats name this spool
//! quarantine/          what was not brought to the log, see `quarantine`
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use eventlog::embedded::{EmbeddedLog, EmbeddedSettings, disk_bytes};
use eventlog::{EventLog, NewRecord, Partition, Position, Producer, ProducerUse, Subscription, TopicSpec};
use schemas::id::EdgeId;
use schemas::time::Timestamp;
use schemas::topic;
use service::clock::SharedClock;
use tokio::time::{Duration, Instant, timeout_at};

use crate::appender::AppendError;
use room::Room;

mod age;
pub(crate) mod drainer;
pub(crate) mod lane;
pub(crate) mod metrics;
mod place;
mod quarantine;
mod room;
#[cfg(test)]
mod tests;

/// A segment is deleted when it is drained to its last event: this much may lie on the disk beyond what is held.
const SEGMENT_BYTES: u64 = 16 << 20;

/// A partition that may be written to has room for this: more than any event takes.
const ROOM_BYTES: u64 = 128 << 10;

/// How the spool is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// What all events that are held may take on the disk.
    pub(crate) max_bytes: u64,
    /// What must stay free on the disk.
    pub(crate) min_free_bytes: u64,
    /// What may wait for the disk, in memory.
    pub(crate) queue_bytes: usize,
}

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// Another process has it, or it was made for another installation. Nothing is right to do but to stop.
    #[error(transparent)]
    Contradiction(eventlog::Error),
    /// It cannot be read or written.
    #[error(transparent)]
    Log(eventlog::Error),
    /// The files beside the log.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
}

impl From<eventlog::Error> for SpoolError {
    fn from(error: eventlog::Error) -> Self {
        use eventlog::Error as E;
        match error {
            E::Settings(_) | E::PartitionCount { .. } => Self::Contradiction(error),
            E::Deadline
            | E::Full
            | E::TooLarge { .. }
            | E::OutOfRange { .. }
            | E::UnknownPartition(_)
            | E::Corrupt(_)
            | E::Closed
            | E::Unavailable(_) => Self::Log(error),
        }
    }
}

/// The events that wait on this machine's disk.
pub(crate) struct Spool {
    log: Arc<EmbeddedLog>,
    producer: Box<dyn Producer>,
    dir: PathBuf,
    edge: EdgeId,
    room: Room,
    shelves: Vec<Shelf>,
}

/// One partition's events.
struct Shelf {
    /// Everything below was brought to the log.
    drained: AtomicU64,
    /// What was held when the spool was opened.
    first_bytes: u64,
    drained_bytes: AtomicU64,
    /// When the oldest event came that is held, in microseconds; [`i64::MAX`] if that is not known.
    oldest: AtomicI64,
}

/// What a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Held {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl Spool {
    /// Opens the spool in `dir`, or makes it. Blocks while its last segments are checked.
    ///
    /// `new_edge` names a spool that is new.
    pub(crate) async fn open(
        dir: &Path,
        partitions: u32,
        limits: Limits,
        clock: SharedClock,
        new_edge: EdgeId,
    ) -> Result<Self, SpoolError> {
        let mut settings =
            EmbeddedSettings::new(Arc::new(move || Timestamp::from_micros(clock.now_micros())));
        settings.segment_bytes = SEGMENT_BYTES;
        // The log ends the process here, so that nothing is served that is not on the disk. The spool's partition takes
        // nothing more then, which is enough: it serves nobody but the drainer, and the edge lives on by the log.
        settings.on_fsync_failure = Arc::new(|error| {
            tracing::error!(%error, "fdatasync of the spool failed; the partition takes no more until a restart");
        });
        let log = EmbeddedLog::open(&dir.join("log"), settings)?;
        // Its callers bring deadlines of their own.
        let usage =
            ProducerUse { name: "spool", deadline: Duration::MAX, max_pending_bytes: limits.queue_bytes };
        let producer = log.producer(usage)?;
        log.ensure_topics(&[TopicSpec { name: topic::EVENTS, partitions }]).await?;
        let edge = place::edge(dir, new_edge)?;
        let shelf = |number| -> Result<Shelf, SpoolError> {
            let bounds = log.extent(partition(number))?.bounds;
            let drained = place::drained_within(dir, number, bounds)?;
            Ok(Shelf {
                first_bytes: log.bytes_from(partition(number), drained)?,
                drained: AtomicU64::new(drained),
                drained_bytes: AtomicU64::new(0),
                oldest: AtomicI64::new(i64::MAX),
            })
        };
        let shelves = (0..partitions).map(shelf).collect::<Result<_, _>>()?;
        let room = Room::new(dir, limits);
        Ok(Self { log: Arc::new(log), producer, dir: dir.to_owned(), edge, room, shelves })
    }

    /// The id by which heartbeats name this spool; the same for all lives of the edge on this directory.
    pub(crate) fn edge(&self) -> EdgeId {
        self.edge
    }

    /// Keeps events; each is durable if its answer says so. An event whose answer did not come by `by` may be kept all the
    /// same.
    pub(crate) async fn keep(
        &self,
        number: u32,
        records: Vec<NewRecord>,
        by: Instant,
    ) -> Vec<Result<(), AppendError>> {
        let count = records.len();
        let bytes = records.iter().map(|record| disk_bytes(&record.key, &record.payload)).sum();
        let Some(_room) = self.room.take(bytes, self.held_bytes()) else {
            return vec![Err(AppendError::SpoolFull); count];
        };
        match timeout_at(by, self.producer.append(partition(number), records)).await {
            Ok(answers) => {
                answers.into_iter().map(|answer| answer.map(|_| ()).map_err(AppendError::Spool)).collect()
            }
            Err(_) => vec![Err(AppendError::Spool(eventlog::Error::Deadline)); count],
        }
    }

    /// What a partition holds.
    pub(crate) fn held(&self, number: u32) -> Held {
        let Some(shelf) = self.shelves.get(number as usize) else { return Held::default() };
        let Ok(extent) = self.log.extent(partition(number)) else { return Held::default() };
        let bytes = shelf.first_bytes.saturating_add(extent.appended_bytes);
        Held {
            events: extent.bounds.end.saturating_sub(shelf.drained.load(Ordering::Acquire)),
            bytes: bytes.saturating_sub(shelf.drained_bytes.load(Ordering::Acquire)),
        }
    }

    /// Whether there is room for an event of any size, as far as one can tell.
    pub(crate) fn has_room(&self) -> bool {
        self.room.has_room(ROOM_BYTES, self.held_bytes())
    }

    fn held_bytes(&self) -> u64 {
        (0..self.shelves.len()).map(|number| self.held(number as u32).bytes).sum()
    }

    /// One past a partition's last event.
    fn end(&self, number: u32) -> Position {
        self.log.extent(partition(number)).map_or(0, |extent| extent.bounds.end)
    }

    /// When a partition's oldest event came, if it holds one and that is known.
    pub(crate) fn oldest(&self, number: u32) -> Option<Timestamp> {
        let oldest = self.shelves.get(number as usize)?.oldest.load(Ordering::Acquire);
        (oldest != i64::MAX).then(|| Timestamp::from_micros(oldest))
    }

    fn saw_oldest(&self, number: u32, at: Option<Timestamp>) {
        if let Some(shelf) = self.shelves.get(number as usize) {
            shelf.oldest.store(at.map_or(i64::MAX, Timestamp::micros), Ordering::Release);
        }
    }

    /// Reads a partition from where draining stands.
    async fn read(&self, number: u32) -> Result<Box<dyn Subscription>, eventlog::Error> {
        let shelf = self.shelves.get(number as usize);
        let drained = shelf.map_or(0, |shelf| shelf.drained.load(Ordering::Acquire));
        self.log.subscribe(&[(partition(number), drained)]).await
    }

    /// Notes that everything below `position` is elsewhere now, which was `bytes` long.
    ///
    /// With `is_durable` the note survives a loss of power. Without, some events may be brought to the log once more after
    /// it; their marks give them away.
    async fn drained(&self, number: u32, position: Position, bytes: u64, is_durable: bool) -> io::Result<()> {
        let dir = self.dir.clone();
        let noted = on_blocking_thread(move || place::note_drained(&dir, number, position, is_durable)).await;
        // After the note: who sees an empty spool may take the directory for one. Without a note it is as empty for us.
        if let Some(shelf) = self.shelves.get(number as usize) {
            shelf.drained.store(position, Ordering::Release);
            shelf.drained_bytes.fetch_add(bytes, Ordering::AcqRel);
        }
        noted?;
        if let Err(error) = self.log.delete_below(partition(number), position).await {
            tracing::warn!(partition = number, %error, "drained events were not deleted from the spool");
        }
        Ok(())
    }

    /// Puts events aside for an operator, durably, if they leave enough free on the disk.
    async fn quarantine(&self, number: u32, records: Vec<eventlog::Record>) -> io::Result<PathBuf> {
        let dir = self.dir.join("quarantine");
        if !self.room.leaves_free(quarantine::file_bytes(&records)) {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "they would not leave enough free on the disk",
            ));
        }
        on_blocking_thread(move || quarantine::put(&dir, number, &records)).await
    }

    /// Finishes what is being written and gives the directory free.
    pub(crate) async fn close(&self, deadline: Duration) {
        self.log.close(deadline).await;
    }
}

/// The spool's partition of events of this partition of the log.
const fn partition(number: u32) -> Partition {
    Partition { topic: topic::EVENTS, number }
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Creates a directory with its parents, durably.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    dir.parent().map_or(Ok(()), sync_dir)
}

/// Makes created and renamed files of a directory durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}
