//! Topics: creating them, checking what is there, deleting below a position.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::client::{self, Logging};
use super::{KafkaSettings, SAFE_REPLICATION_FACTOR};
use crate::{Bounds, Error, Partition, Position, TopicSpec};

/// How often a new topic's leaders are asked for.
const LEADER_INTERVAL: Duration = Duration::from_millis(50);

/// What a topic must be set to, whoever created it: the log is the truth, and nothing else may remove or restamp it.
const REQUIRED: [(&str, &str); 4] = [
    ("message.timestamp.type", "LogAppendTime"),
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
];

/// The topic's limit for a batch; the producers' must fit into it.
const MAX_MESSAGE: &str = "max.message.bytes";

/// The client for everything but records.
pub(super) struct Admin {
    client: Arc<AdminClient<Logging>>,
    settings: KafkaSettings,
}

impl Admin {
    pub(super) fn new(settings: &KafkaSettings) -> Result<Self, Error> {
        let config = client::config(settings, &[]);
        let client: AdminClient<Logging> =
            rdkafka::config::FromClientConfigAndContext::from_config_and_context(&config, Logging)
                .map_err(|error| client::error(&error))?;
        Ok(Self { client: Arc::new(client), settings: settings.clone() })
    }

    /// Whether any broker answers.
    pub(super) async fn check_connection(&self) -> Result<(), Error> {
        self.partitions("").await.map(|_| ())
    }

    pub(super) async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        for &spec in topics {
            match self.partitions(spec.name).await? {
                Some(_) => self.check_settings(spec.name).await?,
                None => self.create(spec).await?,
            }
            self.await_leaders(spec).await?;
        }
        Ok(())
    }

    /// How many partitions a topic has.
    pub(super) async fn partitions(&self, topic: &'static str) -> Result<Option<u32>, Error> {
        Ok(self.leaders(topic).await?.map(|leaders| leaders.len() as u32))
    }

    pub(super) async fn bounds(&self, partition: Partition) -> Result<Bounds, Error> {
        let (client, timeout) = (Arc::clone(&self.client), self.settings.request_timeout);
        let topic = self.settings.topic_name(partition.topic);
        let (start, end) = on_blocking_thread(move || {
            let asked = client.inner().fetch_watermarks(&topic, partition.number as i32, timeout);
            asked.map_err(|error| client::partition_error(&error, partition))
        })
        .await?;
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
            .map_err(|error| client::partition_error(&error, partition))?;
        let asked = self.client.delete_records(&offsets, &self.options()).await;
        let done = asked.map_err(|error| client::partition_error(&error, partition))?;
        done.elements()
            .iter()
            .try_for_each(|element| element.error())
            .map_err(|error| client::partition_error(&error, partition))
    }

    async fn create(&self, spec: TopicSpec) -> Result<(), Error> {
        let factor = self.settings.replication_factor;
        let replicated = factor >= SAFE_REPLICATION_FACTOR;
        let max_message = client::max_batch_bytes(&self.settings).to_string();
        let replication = TopicReplication::Fixed(i32::from(factor));
        let name = self.settings.topic_name(spec.name);
        let mut topic = NewTopic::new(&name, spec.partitions as i32, replication)
            .set("min.insync.replicas", if replicated { "2" } else { "1" })
            .set("unclean.leader.election.enable", "false")
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

    async fn check_settings(&self, topic: &'static str) -> Result<(), Error> {
        let name = self.settings.topic_name(topic);
        let asked = self.client.describe_configs([&ResourceSpecifier::Topic(&name)], &self.options()).await;
        for described in asked.map_err(|error| client::error(&error))? {
            let described =
                described.map_err(|code| Error::Unavailable(format!("settings of topic {topic}: {code}")))?;
            for (name, wanted) in REQUIRED {
                let found = described.get(name).and_then(|entry| entry.value.as_deref()).unwrap_or("unset");
                if found != wanted {
                    return Err(Error::Settings(format!(
                        "topic {topic} has {name}={found} in Kafka, must have {wanted}"
                    )));
                }
            }
            let (name, wanted) = (MAX_MESSAGE, client::max_batch_bytes(&self.settings));
            let found = described.get(name).and_then(|entry| entry.value.as_deref()).unwrap_or("unset");
            if !found.parse::<usize>().is_ok_and(|bytes| bytes >= wanted) {
                return Err(Error::Settings(format!(
                    "topic {topic} has {name}={found} in Kafka, must have {wanted} or more"
                )));
            }
        }
        Ok(())
    }

    /// Waits until the topic is known with a leader for every partition, and checks their number.
    async fn await_leaders(&self, spec: TopicSpec) -> Result<(), Error> {
        let deadline = Instant::now() + self.settings.request_timeout;
        loop {
            if let Some(leaders) = self.leaders(spec.name).await? {
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

    /// The leader of each partition of a topic, -1 for none.
    async fn leaders(&self, topic: &'static str) -> Result<Option<Vec<i32>>, Error> {
        let (client, timeout) = (Arc::clone(&self.client), self.settings.request_timeout);
        let topic = self.settings.topic_name(topic);
        on_blocking_thread(move || {
            // All topics: asking for one by name may create it.
            let metadata = client.inner().fetch_metadata(None, timeout).map_err(|e| client::error(&e))?;
            let found = metadata.topics().iter().find(|known| known.name() == topic);
            Ok(found.map(|known| known.partitions().iter().map(|partition| partition.leader()).collect()))
        })
        .await
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
