//! The event log from behind, to put there what no edge would send.

use std::sync::Arc;
use std::time::Duration;

use catalog::Follower;
use catalog::follower::FollowerSettings;
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings};
use eventlog::kafka::{KafkaLog, KafkaSettings};
use eventlog::{EventLog, NewRecord, Partition, ProducerUse};
use schemas::event::{Body, Event, Mark};
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
            catalog: schemas::event::CatalogRevision::default(),
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
        if self.engines == Engines::Embedded {
            self.stop_all();
        }
        let log = self.open_log().await;
        let follower = Follower::start(log.clone(), FollowerSettings::default()).await.unwrap();
        let revision = follower.revision();
        let partition = follower.read().workspace(first_workspace()).unwrap().partition;
        let records = events
            .iter()
            .map(|event| {
                let stamped = Event { catalog: revision, ..event.clone() };
                NewRecord { key: bytes::Bytes::new(), payload: wire::encode_event(stamped) }
            })
            .collect();
        let usage = ProducerUse { name: "test", deadline: DEADLINE, max_pending_bytes: 8 << 20 };
        let producer = log.producer(usage).unwrap();
        for answer in producer.append(Partition { topic: topic::EVENTS, number: partition }, records).await {
            answer.unwrap();
        }
        drop(producer);
        follower.shutdown().await;
        drop(follower);
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
