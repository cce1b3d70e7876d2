//! Appending: hands records to librdkafka and waits until the last of a call is answered.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use tokio::sync::Notify;

use super::Shared;
use super::client;
use super::known::Known;
use super::options;
use crate::admission::{self, Pending, Room};
use crate::metrics::TopicMetrics;
use crate::{Error, NewRecord, Partition, Position, Producer, ProducerUse};

/// librdkafka answers at the deadline; this much later it is given up on.
const DEADLINE_GRACE: Duration = Duration::from_secs(1);

type Inner = ThreadedProducer<Deliveries>;

/// A producer of the Kafka engine.
pub(super) struct KafkaProducer {
    shared: Arc<Shared>,
    usage: ProducerUse,
    pending: Arc<Pending>,
    /// Empty after a fatal error, until the next append.
    inner: Mutex<Option<Arc<Inner>>>,
}

/// One call of `append`, which all of its records answer to.
#[derive(Debug)]
struct Call {
    partition: Partition,
    answers: Mutex<Vec<Result<Position, Error>>>,
    unanswered: AtomicUsize,
    done: Notify,
    /// Given back when the last record is answered, though the caller may have stopped waiting long before.
    room: Mutex<Option<Room>>,
}

/// One record's place in its call.
struct Ticket {
    call: Arc<Call>,
    index: usize,
}

impl Ticket {
    fn answer(&self, answer: Result<Position, Error>) {
        if let Some(place) = self.call.answers.lock().get_mut(self.index) {
            *place = answer;
        }
        if self.call.unanswered.fetch_sub(1, Ordering::AcqRel) == 1 {
            // First the room, then the answer: who goes on at once finds it.
            drop(self.call.room.lock().take());
            self.call.done.notify_one();
        }
    }
}

/// Receives what librdkafka reports.
struct Deliveries {
    known: Arc<Known>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        ticket.answer(match result {
            Ok(message) => Position::try_from(message.offset()).map_err(|_| {
                Error::Unavailable("Kafka took the record before and no longer knows its position".into())
            }),
            Err((error, _)) => Err(self.known.error(error, ticket.call.partition)),
        });
    }
}

impl KafkaProducer {
    pub(super) fn new(shared: Arc<Shared>, usage: ProducerUse) -> Result<Self, Error> {
        if usage.max_pending_bytes < shared.settings.max_record_bytes {
            return Err(Error::Settings(format!(
                "max_pending_bytes of producer {} is below max_record_bytes",
                usage.name
            )));
        }
        let inner = create(&shared, usage)?;
        let metrics = shared.settings.metrics.as_ref().map(|metrics| metrics.producer(usage.name));
        let pending = Pending::new(usage.max_pending_bytes, metrics);
        Ok(Self { shared, usage, pending, inner: Mutex::new(Some(Arc::new(inner))) })
    }

    async fn append_sized(
        &self,
        partition: Partition,
        records: Vec<NewRecord>,
    ) -> Vec<Result<Position, Error>> {
        let total = records.len();
        let started = self.shared.open.start().and_then(|running| Ok((running, self.inner()?)));
        let (_running, inner) = match started {
            Ok(started) => started,
            Err(error) => return vec![Err(error); total],
        };
        let (taken, room) = self.pending.take(records.iter().map(admission::size));
        if taken == 0 {
            return vec![Err(Error::Full); total];
        }
        let call = Arc::new(Call {
            partition,
            answers: Mutex::new(vec![Err(Error::Deadline); taken]),
            unanswered: AtomicUsize::new(taken),
            done: Notify::new(),
            room: Mutex::new(Some(room)),
        });
        let topic = self.shared.settings.topic_name(partition.topic);
        for (index, record) in records.iter().take(taken).enumerate() {
            self.send(&inner, &topic, Ticket { call: Arc::clone(&call), index }, record);
        }
        // Unanswered records keep the deadline's error that they began with.
        let _ = tokio::time::timeout(self.usage.deadline + DEADLINE_GRACE, call.done.notified()).await;
        let mut answers = call.answers.lock().clone();
        if inner.client().fatal_error().is_some() {
            self.discard(&inner);
        }
        if answers.iter().any(Result::is_ok) {
            self.shared.known.saw(partition);
        }
        self.measure(partition, &records, &answers);
        answers.resize(total, Err(Error::Full));
        answers
    }

    fn send(&self, inner: &Inner, topic: &str, ticket: Ticket, record: &NewRecord) {
        let partition = ticket.call.partition;
        let outgoing = BaseRecord::<[u8], [u8], Box<Ticket>>::with_opaque_to(topic, Box::new(ticket))
            .partition(partition.number as i32)
            .payload(&record.payload[..])
            .key(&record.key[..]);
        if let Err((error, outgoing)) = inner.send(outgoing) {
            let limit = self.shared.settings.max_record_bytes;
            let bytes = admission::size(record);
            outgoing.delivery_opaque.answer(Err(match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => Error::TooLarge { bytes, limit },
                Some(_) | None => self.shared.known.error(&error, partition),
            }));
        }
    }

    /// The inner producer, made anew after a fatal error.
    fn inner(&self) -> Result<Arc<Inner>, Error> {
        let mut inner = self.inner.lock();
        if let Some(inner) = &*inner {
            return Ok(Arc::clone(inner));
        }
        let fresh = Arc::new(create(&self.shared, self.usage)?);
        *inner = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Throws an inner producer away that can do nothing more; everybody else's records in it are answered.
    fn discard(&self, failed: &Arc<Inner>) {
        let mut inner = self.inner.lock();
        if inner.as_ref().is_some_and(|current| Arc::ptr_eq(current, failed)) {
            tracing::warn!(producer = self.usage.name, "fatal error of the Kafka producer; making a new one");
            release(inner.take());
        }
    }

    fn measure(&self, partition: Partition, records: &[NewRecord], answers: &[Result<Position, Error>]) {
        let Some(metrics) = &self.shared.settings.metrics else { return };
        let topic: TopicMetrics = metrics.topic(partition.topic);
        for (record, _) in records.iter().zip(answers).filter(|(_, answer)| answer.is_ok()) {
            topic.appended(1, admission::size(record) as u64);
        }
    }
}

#[async_trait]
impl Producer for KafkaProducer {
    async fn append(&self, partition: Partition, records: Vec<NewRecord>) -> Vec<Result<Position, Error>> {
        if records.is_empty() {
            return Vec::new();
        }
        let limit = self.shared.settings.max_record_bytes;
        let answers =
            admission::refuse_large(records, limit, |rest| self.append_sized(partition, rest)).await;
        self.pending.count_refused(&answers);
        answers
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        release(self.inner.get_mut().take());
    }
}

impl fmt::Debug for KafkaProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaProducer").field("usage", &self.usage).finish_non_exhaustive()
    }
}

/// Drops an inner producer elsewhere: it purges its queue, waits for its threads and so blocks.
fn release(inner: Option<Arc<Inner>>) {
    let Some(inner) = inner else { return };
    inner.purge(PurgeConfig::default().queue().inflight());
    let release = std::thread::Builder::new().name("kafka-producer-drop".into()).spawn(move || drop(inner));
    if let Err(error) = release {
        tracing::warn!(%error, "no thread to drop a Kafka producer on; dropped in place");
    }
}

fn create(shared: &Shared, usage: ProducerUse) -> Result<Inner, Error> {
    let Shared { settings, known, .. } = shared;
    let ours = options::producer(settings, usage.deadline, usage.max_pending_bytes);
    let deliveries = Deliveries { known: Arc::clone(known) };
    Inner::from_config_and_context(&client::config(settings, &ours), deliveries)
        .map_err(|error| client::error(&error))
}
