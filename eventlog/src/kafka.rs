//! The engine for more than one machine: Apache Kafka through librdkafka.
//!
//! Topics are created with `LogAppendTime` and without retention; producers wait for all in-sync replicas; readers are
//! assigned by hand, belong to no group and commit nothing, since positions are kept with what was made of the records. Who works on
//! which partitions may be agreed on in a group ([`KafkaLog::join`]).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::metrics::Metrics;
use crate::{
    Bounds, Error, EventLog, Member, Membership, Partition, Position, Producer, ProducerUse, Subscription,
    TopicSpec,
};
use admin::Admin;
use known::Known;
use membership::KafkaMember;
use open::Open;
use producer::KafkaProducer;
use subscription::KafkaSubscription;

mod admin;
mod client;
mod fetcher;
mod inbox;
mod known;
mod membership;
mod open;
mod options;
mod producer;
mod requirements;
mod subscription;

/// Below this replication factor the loss of one broker loses the log or stops it.
const SAFE_REPLICATION_FACTOR: u16 = 3;

/// How Kafka is reached. [`KafkaSettings::new`] gives the usual values.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Options of librdkafka, such as `security.protocol`. Those that the log's promises rest on are refused.
    pub extra: BTreeMap<String, String>,
    /// What the names of our topics in Kafka begin with, for several installations on one cluster; usually nothing.
    pub topic_prefix: String,
    /// Replicas of topics that are created; 3 or more have `min.insync.replicas=2`.
    pub replication_factor: u16,
    /// The largest record, key and payload together, that is taken.
    pub max_record_bytes: usize,
    /// How long creating, deleting and asking for metadata may take.
    pub request_timeout: Duration,
    /// Where the log counts.
    pub metrics: Option<Metrics>,
}

impl KafkaSettings {
    /// Three replicas, records up to 4 MiB, requests within 10 s, no metrics.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            extra: BTreeMap::new(),
            topic_prefix: String::new(),
            replication_factor: SAFE_REPLICATION_FACTOR,
            max_record_bytes: 4 << 20,
            request_timeout: Duration::from_secs(10),
            metrics: None,
        }
    }

    /// What a topic is called in Kafka.
    fn topic_name(&self, topic: &str) -> String {
        format!("{}{topic}", self.topic_prefix)
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            brokers,
            extra,
            topic_prefix,
            replication_factor,
            max_record_bytes,
            request_timeout,
            metrics,
        } = self;
        f.debug_struct("KafkaSettings")
            .field("brokers", brokers)
            // Names alone: passwords and keys are among the values.
            .field("extra", &extra.keys())
            .field("topic_prefix", topic_prefix)
            .field("replication_factor", replication_factor)
            .field("max_record_bytes", max_record_bytes)
            .field("request_timeout", request_timeout)
            .field("metrics", metrics)
            .finish()
    }
}

/// The Kafka engine.
#[derive(Debug)]
pub struct KafkaLog {
    shared: Arc<Shared>,
}

/// What the log, its producers and its subscriptions share.
#[derive(Debug)]
struct Shared {
    settings: KafkaSettings,
    admin: Admin,
    known: Arc<Known>,
    open: Arc<Open>,
}

impl KafkaLog {
    /// Connects, and asks for metadata once so that a wrong address is noticed here.
    ///
    /// # Errors
    /// [`Error::Settings`] for settings that librdkafka or the log refuses, [`Error::Unavailable`] if no broker answers.
    pub async fn connect(settings: KafkaSettings) -> Result<Self, Error> {
        let log = Self::open(settings)?;
        log.shared.admin.check_connection().await?;
        Ok(log)
    }

    /// The same without a look at Kafka, which may be away: then everything that needs it fails until it is there.
    ///
    /// # Errors
    /// [`Error::Settings`] for settings that librdkafka or the log refuses.
    pub fn open(settings: KafkaSettings) -> Result<Self, Error> {
        if settings.replication_factor == 0 || settings.max_record_bytes == 0 {
            return Err(Error::Settings("replication_factor and max_record_bytes must not be 0".into()));
        }
        options::refuse_overrides(&settings)?;
        let known = Arc::<Known>::default();
        let admin = Admin::new(&settings, Arc::clone(&known))?;
        let shared = Shared { settings, admin, known, open: Arc::default() };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl KafkaLog {
    /// Topics that are known to exist though Kafka was not asked: a broker that denies them has just not heard of them.
    pub fn expect(&self, topics: &[TopicSpec]) {
        for topic in topics {
            self.shared.known.saw_topic(topic.name, topic.partitions);
        }
    }

    /// Joins the processes that share a topic's partitions out.
    ///
    /// # Errors
    /// [`Error::Settings`] for a name or a session that Kafka's client refuses.
    pub fn join(&self, membership: &Membership) -> Result<Box<dyn Member>, Error> {
        Ok(Box::new(KafkaMember::join(&self.shared, membership)?))
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        self.shared.admin.ensure_topics(topics).await
    }

    async fn partitions(&self, topic: &'static str) -> Result<Option<u32>, Error> {
        self.shared.admin.partitions(topic).await
    }

    fn producer(&self, usage: ProducerUse) -> Result<Box<dyn Producer>, Error> {
        Ok(Box::new(KafkaProducer::new(Arc::clone(&self.shared), usage)?))
    }

    async fn subscribe(&self, from: &[(Partition, Position)]) -> Result<Box<dyn Subscription>, Error> {
        let mut places = Vec::with_capacity(from.len());
        for &(partition, position) in from {
            let bounds = self.shared.admin.bounds(partition).await?;
            if position < bounds.start || position > bounds.end {
                return Err(bounds.out_of_range(partition, position));
            }
            places.push((partition, position, bounds.end));
        }
        Ok(Box::new(KafkaSubscription::open(&self.shared, places)?))
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, Error> {
        self.shared.admin.bounds(partition).await
    }

    async fn delete_below(&self, partition: Partition, position: Position) -> Result<(), Error> {
        self.shared.admin.delete_below(partition, position).await
    }

    async fn close(&self, deadline: Duration) {
        if tokio::time::timeout(deadline, self.shared.open.close()).await.is_err() {
            tracing::warn!("appends or readers of the log did not end before the deadline");
        }
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.shared.open.refuse();
    }
}
