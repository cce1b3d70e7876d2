//! The engine for one machine: segment files in a directory, one writer thread for each partition.
//!
//! An append is queued, the writer takes all that waits, writes it with one `write`, makes it durable with one
//! `fdatasync` and answers all at once: the slower the disk, the larger the groups. Readers see only what is durable.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};

use crate::{Bounds, Error, EventLog, Partition, Position, Producer, ProducerUse, Subscription, TopicSpec};
use directory::TopicDir;
use disk::{Disk, FileSystem};
use partition::PartitionLog;
use producer::EmbeddedProducer;
use reader::EmbeddedSubscription;
use writer::Writer;

mod directory;
mod disk;
mod frame;
mod group;
mod look;
mod partition;
mod producer;
mod reader;
mod recovery;
mod segment;
mod settings;
mod window;
mod writer;

#[cfg(test)]
mod tests;

pub use look::read_record;
pub use settings::{Clock, EmbeddedSettings, FsyncFailure};

/// Enough for a writer, which keeps its buffers on the heap; a machine may have hundreds of partitions.
const WRITER_STACK_BYTES: usize = 256 << 10;

/// The embedded engine. Dropping it lets the writers finish what is queued and then closes the files.
#[derive(Debug)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
}

/// What the log and its producers share.
#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    settings: EmbeddedSettings,
    disk: Arc<dyn Disk>,
    topics: RwLock<BTreeMap<String, Vec<Arc<PartitionLog>>>>,
    /// Held while a topic is created, so that no partition gets two writers.
    creating: Mutex<()>,
    running: Mutex<Running>,
}

/// What must end before another process may open the directory.
#[derive(Debug)]
struct Running {
    /// Also held by every writer thread; `None` once closed.
    lock: Option<Arc<File>>,
    writers: Vec<JoinHandle<()>>,
}

impl EmbeddedLog {
    /// Opens the log in `dir`, which is created if it is missing. Blocks while the last segments are checked.
    ///
    /// # Errors
    /// [`Error::Settings`] if another process has it open or a newer program wrote it, [`Error::Corrupt`] if
    /// something durable is damaged.
    pub fn open(dir: &Path, settings: EmbeddedSettings) -> Result<Self, Error> {
        Self::open_on(dir, settings, Arc::new(FileSystem))
    }

    fn open_on(dir: &Path, settings: EmbeddedSettings, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        settings.check()?;
        let lock = directory::lock(dir)?;
        directory::check_format(dir)?;
        let shared = Shared {
            dir: dir.to_owned(),
            settings,
            disk,
            topics: RwLock::default(),
            creating: Mutex::new(()),
            running: Mutex::new(Running { lock: Some(Arc::new(lock)), writers: Vec::new() }),
        };
        let log = Self { shared: Arc::new(shared) };
        for topic in directory::topics(dir)? {
            log.shared.open_topic(topic)?;
        }
        Ok(log)
    }

    /// Bytes that the durable records of a partition take on disk from `position` on. Reads files, so it blocks.
    ///
    /// # Errors
    /// [`Error`] if the partition is unknown or its files cannot be read.
    pub fn bytes_from(&self, partition: Partition, position: Position) -> Result<u64, Error> {
        Ok(self.shared.partition(partition)?.bytes_from(position)?)
    }

    /// How far a partition reaches at this moment.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`].
    pub fn extent(&self, partition: Partition) -> Result<Extent, Error> {
        let (bounds, appended_bytes) = self.shared.partition(partition)?.extent();
        Ok(Extent { bounds, appended_bytes })
    }
}

/// How far a partition reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The positions that can be read.
    pub bounds: Bounds,
    /// What the records take on disk that have become durable since the log was opened.
    pub appended_bytes: u64,
}

/// What a record takes on disk.
pub fn disk_bytes(key: &[u8], payload: &[u8]) -> u64 {
    (frame::OVERHEAD_BYTES + key.len() + payload.len()) as u64
}

impl Shared {
    /// Opens a topic's partitions and starts their writers.
    fn open_topic(&self, topic: TopicDir) -> Result<(), Error> {
        let max_frame_bytes = self.settings.max_frame_bytes();
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        let mut writers = Vec::with_capacity(topic.partitions.len());
        for dir in topic.partitions {
            let recovered = recovery::recover(&dir, max_frame_bytes)?;
            if recovered.cut_bytes > 0 {
                tracing::warn!(
                    partition = %dir.display(),
                    bytes = recovered.cut_bytes,
                    end = recovered.end,
                    "cut a torn tail that was never acknowledged"
                );
            }
            let last_time = recovered.last_time;
            let log = PartitionLog::new(dir, recovered, max_frame_bytes);
            let metrics = self.settings.metrics.as_ref().map(|metrics| metrics.topic(&topic.name));
            let disk = Arc::clone(&self.disk);
            writers.push(Writer::open(Arc::clone(&log), disk, &self.settings, metrics, last_time)?);
            partitions.push(log);
        }
        // Known first: stopping then reaches every writer that was started.
        self.topics.write().insert(topic.name, partitions);
        writers.into_iter().try_for_each(|writer| self.start(writer))
    }

    fn start(&self, writer: Writer) -> Result<(), Error> {
        let mut running = self.running.lock();
        let lock = running.lock.clone().ok_or(Error::Closed)?;
        let work = move || {
            writer.run();
            drop(lock);
        };
        let thread = thread::Builder::new().name("eventlog-writer".into()).stack_size(WRITER_STACK_BYTES);
        let handle = thread.spawn(work).map_err(|error| Error::Unavailable(error.to_string()))?;
        running.writers.push(handle);
        Ok(())
    }

    fn ensure(&self, spec: TopicSpec) -> Result<(), Error> {
        let _creating = self.creating.lock();
        if let Some(found) = self.partition_count(spec.name) {
            if found == spec.partitions {
                return Ok(());
            }
            return Err(Error::PartitionCount { topic: spec.name, found, wanted: spec.partitions });
        }
        self.open_topic(directory::create_topic(&self.dir, spec.name, spec.partitions)?)
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.topics.read().get(topic).map(|partitions| partitions.len() as u32)
    }

    fn partition(&self, partition: Partition) -> Result<Arc<PartitionLog>, Error> {
        let topics = self.topics.read();
        let found = topics.get(partition.topic).and_then(|all| all.get(partition.number as usize));
        found.cloned().ok_or_else(|| Error::UnknownPartition(partition.to_string()))
    }

    /// Takes no more records; the writers end when they have written what is queued.
    fn stop(&self) -> Vec<JoinHandle<()>> {
        for log in self.topics.read().values().flatten() {
            log.close();
        }
        let mut running = self.running.lock();
        running.lock = None;
        std::mem::take(&mut running.writers)
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        let (shared, topics) = (Arc::clone(&self.shared), topics.to_vec());
        on_blocking_thread(move || topics.into_iter().try_for_each(|spec| shared.ensure(spec))).await
    }

    async fn partitions(&self, topic: &'static str) -> Result<Option<u32>, Error> {
        Ok(self.shared.partition_count(topic))
    }

    fn producer(&self, usage: ProducerUse) -> Result<Box<dyn Producer>, Error> {
        if usage.max_pending_bytes < self.shared.settings.max_record_bytes {
            return Err(Error::Settings(format!(
                "max_pending_bytes of producer {} is below max_record_bytes",
                usage.name
            )));
        }
        Ok(Box::new(EmbeddedProducer::new(Arc::clone(&self.shared), usage)))
    }

    async fn subscribe(&self, from: &[(Partition, Position)]) -> Result<Box<dyn Subscription>, Error> {
        let mut places = Vec::with_capacity(from.len());
        for &(partition, position) in from {
            places.push((partition, self.shared.partition(partition)?, position));
        }
        Ok(Box::new(EmbeddedSubscription::new(places)?))
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, Error> {
        Ok(self.shared.partition(partition)?.bounds())
    }

    async fn delete_below(&self, partition: Partition, position: Position) -> Result<(), Error> {
        let log = self.shared.partition(partition)?;
        let delete = move || log.delete_below(position);
        on_blocking_thread(move || delete().map_err(|error| Error::Unavailable(error.to_string()))).await
    }

    async fn close(&self, deadline: Duration) {
        let shared = Arc::clone(&self.shared);
        let writers = on_blocking_thread(move || {
            // A writer that panicked has answered nothing more; there is nothing left to do for it here.
            shared.stop().into_iter().for_each(|writer| drop(writer.join()));
            Ok(())
        });
        if tokio::time::timeout(deadline, writers).await.is_err() {
            tracing::warn!(dir = %self.shared.dir.display(), "the log's writers did not finish before the deadline");
        }
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        drop(self.shared.stop());
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Unavailable(error.to_string()))?
}
