//! Ticks: the one thing for which an owner looks at a clock.
//!
//! A tick is an event like any other. It is appended when facts have waited a period for a cut, or when a wait is due;
//! the core makes of it what it makes of every event, in order.

use std::time::Duration;

use bytes::Bytes;
use eventlog::{Error, EventLog, NewRecord, Partition, Producer, ProducerUse};
use schemas::event::{Body, CatalogRevision, Event};
use schemas::id::{IdGenerator, WorkspaceNumber};
use schemas::time::Timestamp;
use schemas::{topic, wire};

use crate::core::Head;

/// How long a tick may stay unconfirmed.
const DEADLINE: Duration = Duration::from_secs(5);
/// One tick is in flight at a time; a producer must have room for the largest record of the log.
const MAX_PENDING_BYTES: usize = 8 * 1024 * 1024;

/// Why a tick is wanted, beside the facts that wait for a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing else wants one.
    No,
    /// A wait or a hold is over, or work is left that goes on with the next event.
    Timer,
    /// Conversions wait for an exchange rate, and the catalog has a newer revision.
    Catalog(CatalogRevision),
}

/// Appends ticks to a partition of `events`.
pub(crate) struct Ticker {
    producer: Box<dyn Producer>,
    partition: Partition,
    period_micros: i64,
    /// The cut after which facts wait, and since when by the owner's clock.
    waiting: Option<(u64, i64)>,
    last_tick_micros: i64,
    ids: IdGenerator,
}

impl Ticker {
    pub(crate) fn new(log: &dyn EventLog, partition: u32, period_ms: u64) -> Result<Self, Error> {
        let producer = log.producer(ProducerUse {
            name: "ticks",
            deadline: DEADLINE,
            max_pending_bytes: MAX_PENDING_BYTES,
        })?;
        Ok(Self {
            producer,
            partition: Partition { topic: topic::EVENTS, number: partition },
            period_micros: i64::try_from(period_ms).unwrap_or(i64::MAX).saturating_mul(1_000),
            waiting: None,
            last_tick_micros: i64::MIN,
            // A tick's id is never asked for: its randomness need not differ between lives.
            ids: IdGenerator::new(u128::from(partition)),
        })
    }

    /// Appends a tick if facts have waited for a period, or if one is `due`, at most once a period.
    pub(crate) async fn maybe_tick(&mut self, head: &Head, due: Due, now_micros: i64) -> Result<(), Error> {
        let stamp = match due {
            Due::Catalog(revision) => revision,
            // It says nothing about the catalog: the core's own revision stands.
            Due::No | Due::Timer => CatalogRevision::default(),
        };
        let due = due != Due::No;
        self.waiting = match self.waiting {
            _ if head.uncut == 0 => None,
            Some((cut, since)) if cut == head.cut => Some((cut, since)),
            Some(_) | None => Some((head.cut, now_micros)),
        };
        let waited = self.waiting.is_some_and(|(_, since)| self.is_over(since, now_micros));
        if !(waited || due) || !self.is_over(self.last_tick_micros, now_micros) {
            return Ok(());
        }
        self.last_tick_micros = now_micros;
        self.append(Timestamp::from_micros(now_micros), stamp).await
    }

    /// Whether a period has passed since then. A clock that was set back does not stop the cuts until it has caught up: what
    /// lies ahead of it is as good as long past.
    const fn is_over(&self, since_micros: i64, now_micros: i64) -> bool {
        now_micros < since_micros || now_micros.saturating_sub(since_micros) >= self.period_micros
    }

    async fn append(&mut self, now: Timestamp, catalog: CatalogRevision) -> Result<(), Error> {
        let tick = Event {
            id: self.ids.next(now.unix_ms(), WorkspaceNumber::NONE),
            workspace: WorkspaceNumber::NONE,
            mark: None,
            received_at: now,
            catalog,
            body: Body::Tick,
        };
        let record = NewRecord { key: Bytes::new(), payload: wire::encode_event(tick) };
        let answers = self.producer.append(self.partition, vec![record]).await;
        answers.into_iter().next().unwrap_or(Err(Error::Closed)).map(|_| ())
    }
}
