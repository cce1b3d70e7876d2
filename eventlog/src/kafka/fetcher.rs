//! The thread of one subscription that polls librdkafka and fills the inbox.
//!
//! It also closes the consumer, which can hang; whoever closes the log waits for it no longer than it wants to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use schemas::time::Timestamp;

use super::client::{self, Logging, UNKNOWN_PARTITION};
use super::inbox::Inbox;
use super::known::Known;
use super::open::{Open, Running};
use super::options;
use super::{KafkaSettings, Shared};
use crate::{Bounds, Error, Partition, Position, Record};

/// The longest the thread sleeps: librdkafka wants to be polled, and closing the log is noticed then.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long the bounds are asked for when a position turned out to be outside of them.
const BOUNDS_TIMEOUT: Duration = Duration::from_secs(5);

type Consumer = BaseConsumer<Logging>;

/// A consumer with its partitions' queues.
pub(super) struct Fetcher {
    // Dropped before the consumer that they belong to.
    queues: Vec<PartitionQueue<Logging>>,
    consumer: Arc<Consumer>,
    settings: KafkaSettings,
    known: Arc<Known>,
    inbox: Arc<Inbox>,
    open: Arc<Open>,
    // Dropped last: then the consumer is closed.
    _running: Running,
}

impl Fetcher {
    /// Assigns the partitions and starts the thread.
    pub(super) fn start(
        shared: &Shared,
        places: &[(Partition, Position, Position)],
        inbox: Arc<Inbox>,
    ) -> Result<(), Error> {
        let running = shared.open.start()?;
        let mut consumer = Consumer::from_config_and_context(
            &client::config(&shared.settings, &options::consumer()),
            Logging,
        )
        .map_err(|error| client::error(&error))?;
        let wake = Arc::clone(&inbox);
        consumer.set_nonempty_callback(move || wake.signal());
        let consumer = Arc::new(consumer);
        let settings = shared.settings.clone();
        let queues = assign(&consumer, shared, places, &inbox)?;
        let (known, open) = (Arc::clone(&shared.known), Arc::clone(&shared.open));
        let fetcher = Self { queues, consumer, settings, known, inbox, open, _running: running };
        let thread = std::thread::Builder::new().name("kafka-fetcher".into());
        thread.spawn(move || fetcher.run()).map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(())
    }

    fn run(self) {
        loop {
            if self.open.is_closed() {
                self.inbox.fail(Error::Closed);
                return;
            }
            if self.inbox.is_stopped() {
                return;
            }
            match self.fetch() {
                Ok(0) => self.inbox.wait_for_signal(POLL_INTERVAL),
                Ok(_) => {}
                Err(error) => {
                    let lasting = !error.is_retriable();
                    self.inbox.fail(error);
                    if lasting {
                        return;
                    }
                }
            }
        }
    }

    /// Moves everything that is there and has room; tells how many records.
    fn fetch(&self) -> Result<usize, Error> {
        let mut count = self.fetch_unsplit()?;
        for (index, queue) in self.queues.iter().enumerate() {
            let Some((max_records, max_bytes)) = self.inbox.room(index) else { continue };
            let mut piece = Piece::default();
            let mut failed = None;
            while piece.spans.len() < max_records && piece.buffer.len() < max_bytes {
                match queue.poll(Duration::ZERO) {
                    Some(Ok(message)) => piece.push(&message),
                    Some(Err(error)) => {
                        failed = self.partition_failure(&error, index);
                        if failed.is_some() {
                            break;
                        }
                    }
                    None => break,
                }
            }
            count += piece.spans.len();
            if !piece.spans.is_empty() {
                self.inbox.deliver(index, piece.into_records())?;
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(count)
    }

    /// Serves the consumer's own queue: errors, and records that came before the partitions had queues of their own.
    fn fetch_unsplit(&self) -> Result<usize, Error> {
        let mut count = 0;
        while let Some(polled) = self.consumer.poll(Duration::ZERO) {
            match polled {
                Ok(message) => {
                    let Some(index) = self.index(message.topic(), message.partition()) else { continue };
                    let mut piece = Piece::default();
                    piece.push(&message);
                    self.inbox.deliver(index, piece.into_records())?;
                    count += 1;
                }
                // One broker of several is librdkafka's business.
                Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) => {
                    return Err(Error::Unavailable(error.to_string()));
                }
                Err(KafkaError::MessageConsumptionFatal(code)) => {
                    return Err(Error::Corrupt(format!("fatal error of the Kafka consumer: {code}")));
                }
                Err(error) => tracing::debug!(%error, "Kafka consumer"),
            }
        }
        Ok(count)
    }

    /// Where the place of one of Kafka's partitions is.
    fn index(&self, topic: &str, number: i32) -> Option<usize> {
        self.inbox.index(topic.strip_prefix(&self.settings.topic_prefix)?, number)
    }

    /// What an error means for a partition's reader; nothing if librdkafka goes on by itself.
    fn partition_failure(&self, error: &KafkaError, index: usize) -> Option<Error> {
        let (partition, position) = self.inbox.fetched(index)?;
        let out_of_range = [RDKafkaErrorCode::AutoOffsetReset, RDKafkaErrorCode::OffsetOutOfRange];
        if error.rdkafka_error_code().is_some_and(|code| out_of_range.contains(&code)) {
            let topic = self.settings.topic_name(partition.topic);
            let asked = self.consumer.fetch_watermarks(&topic, partition.number as i32, BOUNDS_TIMEOUT);
            let (start, end) = asked.unwrap_or_default();
            let bounds = Bounds { start: start.max(0) as Position, end: end.max(0) as Position };
            return Some(bounds.out_of_range(partition, position));
        }
        // librdkafka goes on if the partition comes back, but it may not: the reader must hear of it.
        if error.rdkafka_error_code().is_some_and(|code| UNKNOWN_PARTITION.contains(&code)) {
            return Some(self.known.missing(partition));
        }
        match self.known.error(error, partition) {
            // Leaders move and connections break; what lasts shows as AllBrokersDown or as records that do not come.
            error @ (Error::Unavailable(_) | Error::Deadline | Error::Full | Error::Closed) => {
                tracing::debug!(%error, %partition, "Kafka consumer");
                None
            }
            error @ (Error::TooLarge { .. }
            | Error::OutOfRange { .. }
            | Error::UnknownPartition(_)
            | Error::PartitionCount { .. }
            | Error::Corrupt(_)
            | Error::Settings(_)) => Some(error),
        }
    }
}

/// Assigns the partitions and gives each a queue of its own.
fn assign(
    consumer: &Arc<Consumer>,
    shared: &Shared,
    places: &[(Partition, Position, Position)],
    inbox: &Arc<Inbox>,
) -> Result<Vec<PartitionQueue<Logging>>, Error> {
    let Shared { settings, known, .. } = shared;
    let mut assignment = TopicPartitionList::with_capacity(places.len());
    for &(partition, position, _) in places {
        let offset = i64::try_from(position).map_err(|error| Error::Settings(error.to_string()))?;
        assignment
            .add_partition_offset(
                &settings.topic_name(partition.topic),
                partition.number as i32,
                Offset::Offset(offset),
            )
            .map_err(|error| known.error(&error, partition))?;
    }
    consumer.assign(&assignment).map_err(|error| client::error(&error))?;
    let mut queues = Vec::with_capacity(places.len());
    for &(partition, ..) in places {
        let mut queue = consumer
            .split_partition_queue(&settings.topic_name(partition.topic), partition.number as i32)
            .ok_or_else(|| known.missing(partition))?;
        let wake = Arc::clone(inbox);
        queue.set_nonempty_callback(move || wake.signal());
        queues.push(queue);
    }
    // What came before the callbacks were set.
    inbox.signal();
    Ok(queues)
}

/// Records copied out of librdkafka into one buffer.
#[derive(Default)]
struct Piece {
    buffer: Vec<u8>,
    spans: Vec<Span>,
}

struct Span {
    position: Position,
    log_time: Timestamp,
    key_end: usize,
    end: usize,
}

impl Piece {
    fn push(&mut self, message: &BorrowedMessage<'_>) {
        self.buffer.extend_from_slice(message.key().unwrap_or_default());
        let key_end = self.buffer.len();
        self.buffer.extend_from_slice(message.payload().unwrap_or_default());
        self.spans.push(Span {
            position: message.offset().max(0) as Position,
            log_time: Timestamp::from_micros(
                message.timestamp().to_millis().unwrap_or_default().saturating_mul(1000),
            ),
            key_end,
            end: self.buffer.len(),
        });
    }

    fn into_records(self) -> Vec<Record> {
        let buffer = Bytes::from(self.buffer);
        let mut start = 0;
        let record = |span: Span| {
            let record = Record {
                position: span.position,
                log_time: span.log_time,
                key: buffer.slice(start..span.key_end),
                payload: buffer.slice(span.key_end..span.end),
            };
            start = span.end;
            record
        };
        self.spans.into_iter().map(record).collect()
    }
}
