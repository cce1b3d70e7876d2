//! The event log from behind, to put there what no edge would send.

use std::sync::Arc;
use std::time::Duration;

use catalog::Follower;
use catalog::follower::FollowerSettings;
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings};
use eventlog::kafka::{KafkaLog, KafkaSettings};
use eventlog::{EventLog, NewRecord, Partition, ProducerUse};
use schemas::event::{Body, CatalogRevision, Event, Mark};
use schemas::id::{EdgeId, IdGenerator, WorkspaceNumber};
use schemas::time::Timestamp;
use schemas::{topic, wire};
use service::clock::{Clock, SystemClock, random_seed};

use super::stack::{Engines, Stack};

const DEADLINE: Duration = Duration::from_secs(10);

/// The workspace that the first start makes.
pub fn first_workspace() -> WorkspaceNumber {
    catalog::bootstrap::FIRST_WORKSPACE
}

/// An edge that exists only in a test: it makes ids and marks.
pub struct ImaginaryEdge {
    pub ids: IdGenerator,
    life: EdgeId,
    next: u64,
}

impl ImaginaryEdge {
    pub fn new() -> Self {
        let mut ids = IdGenerator::new(random_seed());
        let life = ids.next(now().unix_ms(), WorkspaceNumber::NONE);
        Self { ids, life, next: 0 }
    }

    /// An event with a fresh mark.
    pub fn event(&mut self, body: Body) -> Event {
        let mark = Mark { edge: self.life, number: self.next };
        self.next += 1;
        Event {
            id: self.ids.next(now().unix_ms(), first_workspace()),
            workspace: first_workspace(),
            mark: Some(mark),
            received_at: now(),
            catalog: CatalogRevision::default(),
            body,
        }
    }
}

/// The time now.
pub fn now() -> Timestamp {
    Timestamp::from_micros(SystemClock.now_micros())
}

impl Stack {
    /// Appends events to the log as an edge would, stamped with the catalog as it is. On embedded engines the installation
    /// stops for it: its log has one owner.
    pub async fn append(&mut self, events: &[Event]) {
        let encode = |catalog| {
            let stamped = events.iter().map(|event| Event { catalog, ..event.clone() });
            stamped.map(wire::encode_event).collect()
        };
        self.append_with(encode).await;
    }

    /// Appends records to the first workspace's partition that are no events. Gives the partition's number and their positions.
    pub async fn append_raw(&mut self, payloads: &[&'static [u8]]) -> (u32, Vec<u64>) {
        let payloads = payloads.iter().map(|payload| bytes::Bytes::from_static(payload)).collect();
        self.append_with(|_| payloads).await
    }

    async fn append_with(
        &mut self,
        payloads: impl FnOnce(CatalogRevision) -> Vec<bytes::Bytes>,
    ) -> (u32, Vec<u64>) {
        let log = self.take_log().await;
        let follower = Follower::start(log.clone(), FollowerSettings::default()).await.unwrap();
        let payloads = payloads(follower.revision());
        let number = follower.read().workspace(first_workspace()).unwrap().partition;
        follower.shutdown().await;
        drop(follower);
        let positions = append(log.as_ref(), Partition { topic: topic::EVENTS, number }, payloads).await;
        self.give_back(log).await;
        (number, positions)
    }

    /// Appends deliveries that stand in the log once more, as they are: so many of ten. On embedded engines the installation
    /// stops for it. Gives how many they are.
    pub async fn deliver_again(&mut self, of_ten: usize) -> usize {
        let log = self.take_log().await;
        let mut again = 0;
        for number in 0..log.partitions(topic::EVENTS).await.unwrap().unwrap() {
            let partition = Partition { topic: topic::EVENTS, number };
            let mut deliveries = read(log.as_ref(), partition).await;
            deliveries.retain(|payload| wire::decode_event(payload.clone()).unwrap().body.is_delivery());
            let chosen = deliveries.into_iter().enumerate().filter(|(index, _)| index % 10 < of_ten);
            let chosen = chosen.map(|(_, payload)| payload).collect();
            again += append(log.as_ref(), partition, chosen).await.len();
        }
        self.give_back(log).await;
        again
    }

    async fn take_log(&mut self) -> Arc<dyn EventLog> {
        if self.engines == Engines::Embedded {
            self.stop_all();
        }
        self.open_log().await
    }

    async fn give_back(&mut self, log: Arc<dyn EventLog>) {
        log.close(DEADLINE).await;
        drop(log);
        self.start_all();
    }

    async fn open_log(&self) -> Arc<dyn EventLog> {
        match self.engines {
            Engines::Embedded => {
                let settings = EmbeddedSettings::new(Arc::new(now));
                Arc::new(EmbeddedLog::open(&self.scratch("data/log"), settings).unwrap())
            }
            Engines::Cluster => {
                let mut settings = KafkaSettings::new(self.broker_address());
                settings.topic_prefix = self.topic_prefix().to_owned();
                settings.replication_factor = 1;
                Arc::new(KafkaLog::connect(settings).await.unwrap())
            }
        }
    }
}

/// Appends records, all of them, and gives their positions.
async fn append(log: &dyn EventLog, partition: Partition, payloads: Vec<bytes::Bytes>) -> Vec<u64> {
    let usage = ProducerUse { name: "test", deadline: DEADLINE, max_pending_bytes: 64 << 20 };
    let producer = log.producer(usage).unwrap();
    let record = |payload| NewRecord { key: bytes::Bytes::new(), payload };
    let answers = producer.append(partition, payloads.into_iter().map(record).collect()).await;
    answers.into_iter().map(Result::unwrap).collect()
}

/// Every record of a partition.
async fn read(log: &dyn EventLog, partition: Partition) -> Vec<bytes::Bytes> {
    let end = log.bounds(partition).await.unwrap().end;
    let mut subscription = log.subscribe(&[(partition, 0)]).await.unwrap();
    let mut payloads = Vec::new();
    while (payloads.len() as u64) < end {
        let batch = subscription.next(1_000, DEADLINE).await.unwrap().unwrap();
        payloads.extend(batch.records.into_iter().map(|record| record.payload));
    }
    payloads
}
