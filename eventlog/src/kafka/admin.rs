//! Topics: creating them, checking what is there, deleting below a position.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataPartition;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::client::{self, Logging};
use super::known::Known;
use super::requirements::{self, MAX_MESSAGE, MIN_IN_SYNC, REQUIRED};
use super::{KafkaSettings, SAFE_REPLICATION_FACTOR};
use crate::{Bounds, Error, Partition, Position, TopicSpec};

/// How often a new topic's leaders are asked for.
const LEADER_INTERVAL: Duration = Duration::from_millis(50);

/// The client for everything but records.
pub(super) struct Admin {
    client: Arc<AdminClient<Logging>>,
    settings: KafkaSettings,
    known: Arc<Known>,
    /// Whether it was said that topics have too few replicas.
    warned: AtomicBool,
}

/// A topic as the metadata has it.
struct Topic {
    /// The leader of each partition, -1 for none.
    leaders: Vec<i32>,
    /// The replicas of the partition with the fewest; all of them, not only those in sync.
    replicas: usize,
}

impl Admin {
    pub(super) fn new(settings: &KafkaSettings, known: Arc<Known>) -> Result<Self, Error> {
        let config = client::config(settings, &[]);
        let client: AdminClient<Logging> =
            rdkafka::config::FromClientConfigAndContext::from_config_and_context(&config, Logging)
                .map_err(|error| client::error(&error))?;
        let (client, settings) = (Arc::new(client), settings.clone());
        Ok(Self { client, settings, known, warned: AtomicBool::new(false) })
    }

    /// Whether any broker answers.
    pub(super) async fn check_connection(&self) -> Result<(), Error> {
        self.topic("").await.map(|_| ())
    }

    pub(super) async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        for &spec in topics {
            match self.topic(spec.name).await? {
                Some(topic) => self.check_settings(spec.name, topic.replicas).await?,
                None => self.create(spec).await?,
            }
            self.await_leaders(spec).await?;
        }
        Ok(())
    }

    /// How many partitions a topic has.
    pub(super) async fn partitions(&self, topic: &'static str) -> Result<Option<u32>, Error> {
        match self.topic(topic).await? {
            Some(found) => Ok(Some(found.leaders.len() as u32)),
            None if self.known.has_topic(topic) => Err(Error::Unavailable(format!(
                "Kafka does not know topic {topic} now, though it did before"
            ))),
            None => Ok(None),
        }
    }

    pub(super) async fn bounds(&self, partition: Partition) -> Result<Bounds, Error> {
        let (client, timeout) = (Arc::clone(&self.client), self.settings.request_timeout);
        let topic = self.settings.topic_name(partition.topic);
        let known = Arc::clone(&self.known);
        let (start, end) = on_blocking_thread(move || {
            let asked = client.inner().fetch_watermarks(&topic, partition.number as i32, timeout);
            asked.map_err(|error| known.error(&error, partition))
        })
        .await?;
        self.known.saw(partition);
        Ok(Bounds { start: start.max(0) as Position, end: end.max(0) as Position })
    }

    pub(super) async fn delete_below(&self, partition: Partition, position: Position) -> Result<(), Error> {
        let bounds = self.bounds(partition).await?;
        let below = position.min(bounds.end);
        if below <= bounds.start {
            return Ok(());
        }
        let mut offsets = TopicPartitionList::new();
        let topic = self.settings.topic_name(partition.topic);
        offsets
            .add_partition_offset(&topic, partition.number as i32, Offset::Offset(below as i64))
            .map_err(|error| self.known.error(&error, partition))?;
        let asked = self.client.delete_records(&offsets, &self.options()).await;
        let done = asked.map_err(|error| self.known.error(&error, partition))?;
        done.elements()
            .iter()
            .try_for_each(|element| element.error())
            .map_err(|error| self.known.error(&error, partition))
    }

    async fn create(&self, spec: TopicSpec) -> Result<(), Error> {
        let factor = self.settings.replication_factor;
        let min_in_sync = requirements::min_in_sync(usize::from(factor)).to_string();
        let max_message = client::max_batch_bytes(&self.settings).to_string();
        let replication = TopicReplication::Fixed(i32::from(factor));
        let name = self.settings.topic_name(spec.name);
        let mut topic = NewTopic::new(&name, spec.partitions as i32, replication)
            .set(MIN_IN_SYNC, &min_in_sync)
            .set(MAX_MESSAGE, &max_message);
        for (name, value) in REQUIRED {
            topic = topic.set(name, value);
        }
        let created = self.client.create_topics([&topic], &self.options()).await;
        for result in created.map_err(|error| client::error(&error))? {
            match result {
                // Another process was faster; its partition count is checked next.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    return Err(Error::Unavailable(format!("could not create topic {name}: {code}")));
                }
            }
        }
        Ok(())
    }

    async fn check_settings(&self, topic: &'static str, replicas: usize) -> Result<(), Error> {
        let name = self.settings.topic_name(topic);
        let asked = self.client.describe_configs([&ResourceSpecifier::Topic(&name)], &self.options()).await;
        for described in asked.map_err(|error| client::error(&error))? {
            let described =
                described.map_err(|code| Error::Unavailable(format!("settings of topic {topic}: {code}")))?;
            let found = described.entries.iter();
            let found =
                found.filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?))).collect();
            requirements::check(topic, &found, replicas, client::max_batch_bytes(&self.settings))?;
        }
        Ok(())
    }

    /// Waits until the topic is known with a leader for every partition, and checks their number.
    async fn await_leaders(&self, spec: TopicSpec) -> Result<(), Error> {
        let deadline = Instant::now() + self.settings.request_timeout;
        loop {
            if let Some(Topic { leaders, .. }) = self.topic(spec.name).await? {
                let found = leaders.len() as u32;
                if found != spec.partitions {
                    return Err(Error::PartitionCount { topic: spec.name, found, wanted: spec.partitions });
                }
                if leaders.iter().all(|&leader| leader >= 0) {
                    return Ok(());
                }
            }
            if Instant::now() >= deadline {
                return Err(Error::Unavailable(format!(
                    "topic {} has partitions without a leader",
                    spec.name
                )));
            }
            tokio::time::sleep(LEADER_INTERVAL).await;
        }
    }

    /// Looks a topic up.
    async fn topic(&self, name: &'static str) -> Result<Option<Topic>, Error> {
        let (client, timeout) = (Arc::clone(&self.client), self.settings.request_timeout);
        let wanted = self.settings.topic_name(name);
        let found = on_blocking_thread(move || {
            // All topics: asking for one by name may create it.
            let metadata = client.inner().fetch_metadata(None, timeout).map_err(|e| client::error(&e))?;
            // A topic without partitions is one that the broker has not heard all about yet.
            let mut topics = metadata.topics().iter().filter(|topic| !topic.partitions().is_empty());
            Ok(topics.find(|topic| topic.name() == wanted).map(|topic| Topic {
                leaders: topic.partitions().iter().map(MetadataPartition::leader).collect(),
                replicas: topic.partitions().iter().map(|it| it.replicas().len()).min().unwrap_or_default(),
            }))
        })
        .await?;
        if let Some(topic) = &found {
            self.known.saw_topic(name, topic.leaders.len() as u32);
            self.warn_of_few_replicas(name, topic.replicas);
        }
        Ok(found)
    }

    /// Says once what the topics that are really there can lose, whatever the settings want for new ones.
    fn warn_of_few_replicas(&self, topic: &'static str, replicas: usize) {
        if replicas < usize::from(SAFE_REPLICATION_FACTOR) && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                single_broker = true,
                topic,
                replicas,
                "single_broker: losing one Kafka broker may lose acknowledged records or stop the log"
            );
        }
    }

    fn options(&self) -> AdminOptions {
        let timeout = Some(self.settings.request_timeout);
        AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)
    }
}

/// librdkafka's requests for metadata block.
async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Unavailable(error.to_string()))?
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("replication_factor", &self.settings.replication_factor)
            .finish_non_exhaustive()
    }
}
