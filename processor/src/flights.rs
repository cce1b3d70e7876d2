//! Speculation in flight: what was decided and is not yet known to be accepted.
//!
//! While one range of events is decided, the record of the one before it is encoded, and those before that are on their way through
//! the log. Each is decided on top of the others. So nothing of it is true before all before it are: one that does not come true
//! takes with it those behind it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use eventlog::{NewRecord, Partition, Position, Producer};
use schemas::fact::{Outcome, Record, RecordHash};
use schemas::wire;

use crate::core::{Changes, Head, Keys};
use crate::error::Error;
use crate::failpoint::{Failpoint, Failpoints};
use crate::owner::OwnerParts;
use crate::results;
use crate::workers::{Work, Workers};

/// Ranges decided ahead of what is known to be accepted.
const MAX_FLIGHTS: usize = 4;
/// A record of facts larger than this is not appended: fewer events are decided instead. Below what the log takes at most.
const MAX_RECORD_BYTES: usize = 3 * 1024 * 1024;

/// A record's bytes, and what is asked of it later.
struct Encoded {
    payload: Bytes,
    hash: RecordHash,
    /// How commands ended.
    commands: Vec<Outcome>,
}

/// Decisions that have come true.
pub(crate) struct Own {
    /// The hash of their record.
    pub(crate) hash: RecordHash,
    pub(crate) changes: Changes,
    /// How commands ended.
    pub(crate) commands: Vec<Outcome>,
}

type Answer = Result<Position, eventlog::Error>;

/// How far a record is on its way.
enum Stage {
    Encoding(Work<Encoded>),
    TooLarge,
    Appending(Pin<Box<dyn Future<Output = Answer> + Send>>),
    Appended(Answer),
}

/// The decisions on one range.
struct Flight {
    /// Events in the range.
    events: u64,
    changes: Changes,
    /// Once it is encoded.
    encoded: Option<Encoded>,
    stage: Stage,
}

/// What happened in flight.
pub(crate) enum Landing {
    /// The last one, of as many events, is larger than a record may be, and was taken out.
    TooLarge(u64),
    /// The record of the first one is durable there.
    Durable(Position),
}

/// Everything in flight, in order.
pub(crate) struct Flights {
    runway: Runway,
    flights: VecDeque<Flight>,
}

/// Where records go to.
struct Runway {
    partition: Partition,
    producer: Arc<dyn Producer>,
    workers: Workers,
    failpoints: Failpoints,
}

impl Flights {
    pub(crate) fn new(parts: &OwnerParts, producer: Box<dyn Producer>) -> Self {
        let partition = parts.assignment.partition(parts.partition).facts();
        let (workers, failpoints) = (parts.workers, parts.failpoints.clone());
        let runway = Runway { partition, producer: producer.into(), workers, failpoints };
        Self { runway, flights: VecDeque::with_capacity(MAX_FLIGHTS) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.flights.len() >= MAX_FLIGHTS
    }

    /// Whether this is the first one's record.
    pub(crate) fn is_first(&self, payload: &Bytes) -> bool {
        let first = self.flights.front().and_then(|flight| flight.encoded.as_ref());
        first.is_some_and(|encoded| encoded.payload == *payload)
    }

    /// Takes out the first one, which has come true.
    pub(crate) fn take_first(&mut self) -> Option<Own> {
        let first = self.flights.pop_front()?;
        let Encoded { hash, commands, .. } = first.encoded?;
        Some(Own { hash, changes: first.changes, commands })
    }

    /// Drops everything. What is on its way may land all the same; it will not fit the chain.
    pub(crate) fn clear(&mut self) {
        self.flights.clear();
    }

    /// The head after the last one.
    pub(crate) fn head(&self) -> Option<&Head> {
        self.flights.back().map(|flight| &flight.changes.head)
    }

    /// The changes of all, the oldest first.
    pub(crate) fn layers(&self) -> Vec<&Keys> {
        self.flights.iter().map(|flight| &flight.changes.keys).collect()
    }

    /// Sends off what was decided on top of the others, which [`Self::launch`] has brought so far that the last one's hash is known.
    pub(crate) fn push(&mut self, mut record: Record, changes: Changes) {
        if let Some(before) = self.flights.back().and_then(|flight| flight.encoded.as_ref()) {
            record.previous = before.hash;
        }
        let events = record.source_to - record.source_from;
        let encode = move || {
            let commands = results::outcomes(&record);
            let payload = wire::encode_record(record);
            let hash = wire::hash_record(&payload);
            Encoded { payload, hash, commands }
        };
        let stage = Stage::Encoding(self.runway.workers.begin(encode));
        self.flights.push_back(Flight { events, changes, encoded: None, stage });
    }

    /// Waits until the last one is encoded and on its way to the log. If it is too large it is taken out, and how many events it had is
    /// returned.
    pub(crate) async fn launch(&mut self) -> Result<Option<u64>, Error> {
        let Some(last) = self.flights.back_mut() else { return Ok(None) };
        std::future::poll_fn(|context| last.poll_launch(context, &self.runway)).await?;
        Ok(self.take_too_large())
    }

    /// Waits for whatever happens next. Nothing is lost if this is dropped before.
    pub(crate) async fn landing(&mut self) -> Result<Landing, Error> {
        std::future::poll_fn(|context| {
            for flight in &mut self.flights {
                if let Poll::Ready(Err(error)) = flight.poll(context, &self.runway) {
                    return Poll::Ready(Err(error));
                }
            }
            if let Some(events) = self.take_too_large() {
                return Poll::Ready(Ok(Landing::TooLarge(events)));
            }
            match self.flights.front().map(|flight| &flight.stage) {
                Some(Stage::Appended(answer)) => {
                    Poll::Ready(answer.clone().map(Landing::Durable).map_err(Error::from))
                }
                Some(Stage::Encoding(_) | Stage::TooLarge | Stage::Appending(_)) | None => Poll::Pending,
            }
        })
        .await
    }

    fn take_too_large(&mut self) -> Option<u64> {
        let last = self.flights.pop_back_if(|last| matches!(last.stage, Stage::TooLarge))?;
        Some(last.events)
    }
}

impl Flight {
    /// Brings it to the end.
    fn poll(&mut self, context: &mut Context<'_>, runway: &Runway) -> Poll<Result<(), Error>> {
        ready!(self.poll_launch(context, runway))?;
        if let Stage::Appending(append) = &mut self.stage {
            self.stage = runway.appended(ready!(append.as_mut().poll(context)));
        }
        Poll::Ready(Ok(()))
    }

    /// Brings it into the log's hands.
    fn poll_launch(&mut self, context: &mut Context<'_>, runway: &Runway) -> Poll<Result<(), Error>> {
        let Stage::Encoding(encoding) = &mut self.stage else { return Poll::Ready(Ok(())) };
        let encoded = ready!(encoding.as_mut().poll(context))?;
        // What a single event gives cannot be made smaller.
        if encoded.payload.len() > MAX_RECORD_BYTES && self.events > 1 {
            self.stage = Stage::TooLarge;
            return Poll::Ready(Ok(()));
        }
        let mut append = runway.append(encoded.payload.clone());
        self.encoded = Some(encoded);
        runway.failpoints.at(Failpoint::BeforeAppend);
        // The log takes it when it is asked for the first time.
        self.stage = match append.as_mut().poll(context) {
            Poll::Ready(answer) => runway.appended(answer),
            Poll::Pending => Stage::Appending(append),
        };
        Poll::Ready(Ok(()))
    }
}

impl Runway {
    fn append(&self, payload: Bytes) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let (producer, partition) = (Arc::clone(&self.producer), self.partition);
        Box::pin(async move {
            let answers = producer.append(partition, vec![NewRecord { key: Bytes::new(), payload }]).await;
            answers.into_iter().next().unwrap_or(Err(eventlog::Error::Closed))
        })
    }

    fn appended(&self, answer: Answer) -> Stage {
        if answer.is_ok() {
            self.failpoints.at(Failpoint::AfterAppend);
        }
        Stage::Appended(answer)
    }
}
