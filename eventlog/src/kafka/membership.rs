//! Sharing the partitions of a topic out among processes: a static member of a Kafka consumer group.
//!
//! The group says who works on what and nothing else: nothing is fetched through it and nothing committed to it. A process that
//! restarts under its name within the session gets the same partitions, and nobody else is disturbed. Until a member
//! hears of another share it keeps the one that it has, so that for a while two may work on one partition; the log's
//! readers have to bear that anyway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::watch;

use super::open::{Open, Running};
use super::{Shared, client, options};
use crate::{Error, Member, Membership};

/// How long the thread waits for something to do: leaving and closing are noticed then.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What a member has to do, as far as it knows; `None` before it was told.
type Share = Option<Result<Vec<u32>, Error>>;

/// Takes what the group says.
struct Group {
    topic: String,
    share: watch::Sender<Share>,
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Group {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        // librdkafka wants an answer. An assignment of nothing fetches nothing.
        let answered = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let mut share: Vec<u32> = partitions
                .elements_for_topic(&self.topic)
                .iter()
                .filter_map(|element| u32::try_from(element.partition()).ok())
                .collect();
            share.sort_unstable();
            self.share.send_replace(Some(Ok(share)));
            consumer.assign(&TopicPartitionList::new())
        } else {
            consumer.unassign()
        };
        if let Err(error) = answered {
            self.share.send_replace(Some(Err(client::error(&error))));
        }
    }
}

/// A member; dropping it ends its thread. A static member does not say goodbye: its share is its own until the session ends.
#[derive(Debug)]
pub(super) struct KafkaMember {
    share: watch::Receiver<Share>,
    left: Arc<AtomicBool>,
}

impl KafkaMember {
    /// Joins the group and starts the thread that librdkafka wants to be polled by.
    pub(super) fn join(shared: &Shared, membership: &Membership) -> Result<Self, Error> {
        let running = shared.open.start()?;
        let config = client::config(&shared.settings, &options::member(&shared.settings, membership));
        let (share, receiver) = watch::channel(None);
        let topic = shared.settings.topic_name(membership.topic);
        let group = Group { topic: topic.clone(), share };
        let consumer =
            BaseConsumer::from_config_and_context(&config, group).map_err(|e| client::error(&e))?;
        consumer.subscribe(&[&topic]).map_err(|error| client::error(&error))?;
        let left = Arc::new(AtomicBool::new(false));
        let place =
            Place { consumer, open: Arc::clone(&shared.open), left: Arc::clone(&left), _running: running };
        let instance = membership.instance.clone();
        let thread = std::thread::Builder::new().name("kafka-member".into());
        thread.spawn(move || place.keep(&instance)).map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self { share: receiver, left })
    }
}

/// A member's place in the group.
struct Place {
    consumer: BaseConsumer<Group>,
    open: Arc<Open>,
    left: Arc<AtomicBool>,
    // Dropped last: then the consumer is closed.
    _running: Running,
}

impl Place {
    fn keep(self, instance: &str) {
        let end = |error| self.consumer.context().share.send_replace(Some(Err(error)));
        while !self.left.load(Ordering::Relaxed) {
            if self.open.is_closed() {
                end(Error::Closed);
                return;
            }
            match self.consumer.poll(POLL_INTERVAL) {
                None | Some(Ok(_)) => {}
                Some(Err(KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::FencedInstanceId))) => {
                    end(Error::Settings(format!("another process has joined as instance {instance}")));
                    return;
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    end(Error::Settings(format!("the group refuses instance {instance}: {code}")));
                    return;
                }
                // The share stays as it is until the group says another.
                Some(Err(error)) => tracing::debug!(%error, "Kafka group"),
            }
        }
    }
}

#[async_trait]
impl Member for KafkaMember {
    async fn share(&mut self) -> Result<Vec<u32>, Error> {
        loop {
            self.share.changed().await.map_err(|_| Error::Closed)?;
            let share = self.share.borrow_and_update().clone();
            if let Some(share) = share {
                return share;
            }
        }
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.left.store(true, Ordering::Relaxed);
    }
}
