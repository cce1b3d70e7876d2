//! The two engines as the tests use them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings};
use eventlog::kafka::{KafkaLog, KafkaSettings};
use eventlog::{
    Error, EventLog, NewRecord, Partition, Position, Producer, ProducerUse, Record, Subscription, TopicSpec,
};
use schemas::time::Timestamp;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::broker::Broker;

/// Everything that must happen, happens within this time even on a machine that is busy with other tests.
pub const LIMIT: Duration = Duration::from_secs(60);
/// How long a test waits to see that nothing comes.
pub const SHORT: Duration = Duration::from_millis(200);
/// Both engines are set up with this.
pub const MAX_RECORD_BYTES: usize = 32 << 10;
/// The usual producer.
pub const USE: ProducerUse = ProducerUse { name: "test", deadline: LIMIT, max_pending_bytes: 64 << 20 };

/// Where a log's data lives; the log is opened on it, and opened again after a crash.
#[async_trait]
pub trait Engine: Send + Sync {
    /// An engine that other tests may be using, too.
    async fn shared() -> Self;

    /// An engine that can be crashed.
    async fn own() -> Self;

    /// Opens the log.
    async fn open(&self) -> Arc<dyn EventLog>;

    /// Ends the log the hard way and opens it again on the same data.
    async fn crash(&self, log: Arc<dyn EventLog>) -> Arc<dyn EventLog>;
}

/// The embedded engine in a temporary directory.
pub struct Embedded {
    dir: Mutex<TempDir>,
    clock: Arc<AtomicI64>,
}

#[async_trait]
impl Engine for Embedded {
    async fn shared() -> Self {
        Self { dir: Mutex::new(TempDir::new().unwrap()), clock: Arc::new(AtomicI64::new(1_000_000)) }
    }

    async fn own() -> Self {
        Self::shared().await
    }

    async fn open(&self) -> Arc<dyn EventLog> {
        let clock = Arc::clone(&self.clock);
        let now = move || Timestamp::from_micros(clock.fetch_add(1, Ordering::Relaxed));
        let mut settings = EmbeddedSettings::new(Arc::new(now));
        settings.segment_bytes = 256 << 10;
        settings.max_record_bytes = MAX_RECORD_BYTES;
        Arc::new(EmbeddedLog::open(self.dir.lock().await.path(), settings).unwrap())
    }

    async fn crash(&self, log: Arc<dyn EventLog>) -> Arc<dyn EventLog> {
        // The files as they are while the log is still open are what a killed process leaves.
        let left = TempDir::new().unwrap();
        let mut dir = self.dir.lock().await;
        copy(dir.path(), left.path());
        *dir = left;
        drop(dir);
        drop(log);
        self.open().await
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// The Kafka engine on a real broker.
pub struct Kafka {
    /// `None` for the broker that all tests share.
    own: Option<Mutex<Broker>>,
    address: String,
}

impl Kafka {
    pub fn settings(&self) -> KafkaSettings {
        let mut settings = KafkaSettings::new(self.address.clone());
        settings.replication_factor = 1;
        settings.max_record_bytes = MAX_RECORD_BYTES;
        settings.request_timeout = LIMIT;
        settings
    }

    pub async fn kill(&self) {
        self.own.as_ref().unwrap().lock().await.kill();
    }

    pub async fn restart(&self) {
        self.own.as_ref().unwrap().lock().await.restart();
    }
}

#[async_trait]
impl Engine for Kafka {
    async fn shared() -> Self {
        let address = tokio::task::spawn_blocking(|| Broker::shared().address()).await.unwrap();
        Self { own: None, address }
    }

    async fn own() -> Self {
        let broker = tokio::task::spawn_blocking(Broker::start).await.unwrap();
        Self { address: broker.address(), own: Some(Mutex::new(broker)) }
    }

    async fn open(&self) -> Arc<dyn EventLog> {
        Arc::new(KafkaLog::connect(self.settings()).await.unwrap())
    }

    async fn crash(&self, log: Arc<dyn EventLog>) -> Arc<dyn EventLog> {
        self.kill().await;
        self.restart().await;
        drop(log);
        self.open().await
    }
}

/// A topic of its own for each test.
pub fn topic(partitions: u32) -> TopicSpec {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("topic-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    TopicSpec { name: name.leak(), partitions }
}

/// A log with one topic.
pub struct Fixture<E> {
    pub engine: E,
    pub log: Arc<dyn EventLog>,
    pub spec: TopicSpec,
}

impl<E: Engine> Fixture<E> {
    pub async fn new(partitions: u32) -> Self {
        Self::on(E::shared().await, partitions).await
    }

    pub async fn on(engine: E, partitions: u32) -> Self {
        let log = engine.open().await;
        let spec = topic(partitions);
        log.ensure_topics(&[spec]).await.unwrap();
        Self { engine, log, spec }
    }

    pub fn partition(&self, number: u32) -> Partition {
        Partition { topic: self.spec.name, number }
    }

    pub fn producer(&self) -> Box<dyn Producer> {
        self.log.producer(USE).unwrap()
    }

    /// Appends payloads to partition 0.
    pub async fn append(&self, payloads: impl IntoIterator<Item = String>) -> Vec<Result<Position, Error>> {
        self.producer().append(self.partition(0), payloads.into_iter().map(record).collect()).await
    }

    /// Appends payloads to partition 0, which must succeed.
    pub async fn fill(&self, payloads: impl IntoIterator<Item = String>) {
        for answer in self.append(payloads).await {
            answer.unwrap();
        }
    }

    pub async fn subscribe(&self, position: Position) -> Box<dyn Subscription> {
        self.log.subscribe(&[(self.partition(0), position)]).await.unwrap()
    }

    /// Partition 0 from a position to its end.
    pub async fn read_from(&self, position: Position) -> Vec<Record> {
        let end = self.log.bounds(self.partition(0)).await.unwrap().end;
        let mut subscription = self.subscribe(position).await;
        read(&mut *subscription, (end - position) as usize).await
    }
}

pub fn record(payload: String) -> NewRecord {
    NewRecord { key: Bytes::from_static(b"key"), payload: Bytes::from(payload) }
}

/// Exactly `count` records, which are in the log or will be.
pub async fn read(subscription: &mut dyn Subscription, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        let batch = subscription.next(count - records.len(), LIMIT).await.unwrap();
        records.extend(batch.expect("the log has more").records);
    }
    records
}

pub fn payloads(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.payload.to_vec()).unwrap()).collect()
}

pub fn numbered(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| format!("record {number}")).collect()
}

pub fn positions(records: &[Record]) -> Vec<Position> {
    records.iter().map(|record| record.position).collect()
}
