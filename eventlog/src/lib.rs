//! The event log: partitioned, ordered, durable topics behind one seam with two engines.
//!
//! [`embedded`] keeps segment files in a directory, for one machine; [`kafka`] talks to Apache Kafka. Both pass
//! the same conformance suite (`tests/conformance`).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use schemas::time::Timestamp;

mod admission;
pub mod embedded;
pub mod kafka;
pub mod metrics;

/// Where a record stands in its partition: 0 is the first that was ever appended.
pub type Position = u64;

/// One partition of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The topic's name, one of [`schemas::topic`].
    pub topic: &'static str,
    /// The partition's number, from 0.
    pub number: u32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

/// A record to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The key; empty for none. Kept, not used for placement: the caller names the partition.
    pub key: Bytes,
    /// The record itself.
    pub payload: Bytes,
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its position in the partition.
    pub position: Position,
    /// When the log took it, by the log's clock; never goes back within a partition on the embedded engine.
    pub log_time: Timestamp,
    /// The key; empty for none.
    pub key: Bytes,
    /// The record itself.
    pub payload: Bytes,
}

/// A topic that must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: &'static str,
    /// How many partitions it has; another number in the log is refused.
    pub partitions: u32,
}

/// The readable part of a partition: positions `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first position that can be read.
    pub start: Position,
    /// One past the last durable record.
    pub end: Position,
}

impl Bounds {
    /// The error for a position outside of these bounds.
    pub const fn out_of_range(self, partition: Partition, position: Position) -> Error {
        let Partition { topic, number: partition } = partition;
        Error::OutOfRange { topic, partition, position, start: self.start, end: self.end }
    }
}

/// What a producer is used for; one producer per use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerUse {
    /// Names the producer in logs and metrics.
    pub name: &'static str,
    /// How long an append may stay unanswered before it fails as [`Error::Deadline`].
    pub deadline: Duration,
    /// Bytes that may wait for durability before appends are refused as [`Error::Full`].
    pub max_pending_bytes: usize,
}

/// Why the log could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No answer before the producer's deadline. The record may still become durable.
    #[error("the log did not answer before the deadline")]
    Deadline,
    /// The producer's queue is full; the record was not taken.
    #[error("the queue to the log is full")]
    Full,
    /// A record is larger than the log takes.
    #[error("a record of {bytes} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// The record's size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A position outside what the log has. Reading halts; it is never reset.
    #[error("position {position} of {topic}/{partition} is outside the log's {start}..{end}")]
    OutOfRange {
        /// The topic.
        topic: &'static str,
        /// The partition's number.
        partition: u32,
        /// The position that was asked for.
        position: Position,
        /// The first readable position.
        start: Position,
        /// One past the last durable record.
        end: Position,
    },
    /// A topic or partition that the log does not have.
    #[error("the log has no partition {0}")]
    UnknownPartition(String),
    /// The log has another number of partitions than it must.
    #[error("topic {topic} has {found} partitions in the log, must have {wanted}")]
    PartitionCount {
        /// The topic.
        topic: &'static str,
        /// What the log has.
        found: u32,
        /// What it must have.
        wanted: u32,
    },
    /// Damage that is no torn tail: the message names file and offset.
    #[error("the log is damaged: {0}")]
    Corrupt(String),
    /// The log is closed or shutting down.
    #[error("the log is closed")]
    Closed,
    /// The engine's own error: broker away, disk full. Worth trying again.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// A setting that the engine refuses.
    #[error("the log's settings are wrong: {0}")]
    Settings(String),
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything.
    pub const fn is_retriable(&self) -> bool {
        match self {
            Self::Deadline | Self::Full | Self::Unavailable(_) => true,
            Self::TooLarge { .. }
            | Self::OutOfRange { .. }
            | Self::UnknownPartition(_)
            | Self::PartitionCount { .. }
            | Self::Corrupt(_)
            | Self::Closed
            | Self::Settings(_) => false,
        }
    }

    /// A short name from a closed set, for metric labels.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Full => "full",
            Self::TooLarge { .. } => "too_large",
            Self::OutOfRange { .. } => "out_of_range",
            Self::UnknownPartition(_) => "unknown_partition",
            Self::PartitionCount { .. } => "partition_count",
            Self::Corrupt(_) => "corrupt",
            Self::Closed => "closed",
            Self::Unavailable(_) => "unavailable",
            Self::Settings(_) => "settings",
        }
    }
}

/// An engine. Cheap to share behind an `Arc`.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Creates the topics that are missing and refuses those whose partition count differs.
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), Error>;

    /// How many partitions a topic has; `None` if there is no such topic.
    async fn partitions(&self, topic: &'static str) -> Result<Option<u32>, Error>;

    /// A producer for one use.
    fn producer(&self, usage: ProducerUse) -> Result<Box<dyn Producer>, Error>;

    /// Reads the partitions, each from its position, in order.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if a position lies below the log's start or beyond its end; the end itself is valid.
    async fn subscribe(&self, from: &[(Partition, Position)]) -> Result<Box<dyn Subscription>, Error>;

    /// The readable range of a partition.
    async fn bounds(&self, partition: Partition) -> Result<Bounds, Error>;

    /// Lets the log delete records below `position`. It may keep more (whole segments go), never less.
    async fn delete_below(&self, partition: Partition, position: Position) -> Result<(), Error>;

    /// Waits for appends in flight, then closes files or connections. Bounded by `deadline`.
    async fn close(&self, deadline: Duration);
}

/// Appends records. Dropping it does not wait; what is in flight may still become durable.
#[async_trait]
pub trait Producer: Send + Sync {
    /// Appends records to one partition, in order, and answers for each once it is durable.
    ///
    /// The answers stand in the order of the records. A position is given only when the record is durable. Records of
    /// concurrent calls may interleave; those of one call keep their order, except where one of them fails.
    async fn append(&self, partition: Partition, records: Vec<NewRecord>) -> Vec<Result<Position, Error>>;
}

/// Reads durable records in order.
#[async_trait]
pub trait Subscription: Send {
    /// The next records of one partition, at least one, at most `max_records`.
    ///
    /// Waits up to `wait` and answers `None` if nothing came: the reader stands at the end of every partition that is
    /// not paused. Cancel-safe: records are never lost by dropping the future.
    async fn next(&mut self, max_records: usize, wait: Duration) -> Result<Option<Batch>, Error>;

    /// Stops delivering a partition, without losing its place.
    fn pause(&mut self, partition: Partition);

    /// Goes on with a paused partition from where it stopped.
    fn resume(&mut self, partition: Partition);

    /// The next position to be delivered, by partition.
    fn positions(&self) -> BTreeMap<Partition, Position>;
}

/// How a process shares the partitions of a topic out with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Names the group: those who do the same work.
    pub group: &'static str,
    /// Names the process within the group. It gets its partitions back when it restarts.
    pub instance: String,
    /// Whose partitions.
    pub topic: &'static str,
    /// How long a process may be silent before others take its partitions over.
    pub session: Duration,
}

/// A process's place in a group.
#[async_trait]
pub trait Member: Send {
    /// Waits until this process's share may be another than the one that was told last, and tells it, in order.
    ///
    /// Cancel-safe: a share is told again until it was received.
    ///
    /// # Errors
    /// [`Error::Settings`] if another process has the same name.
    async fn share(&mut self) -> Result<Vec<u32>, Error>;
}

/// Consecutive records of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Which partition.
    pub partition: Partition,
    /// Its records, in order, never empty.
    pub records: Vec<Record>,
}
