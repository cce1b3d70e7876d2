//! From the spool to the log: in order, in batches, and with patience.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use catalog::Follower;
use catalog::follower::Confirmed;
use eventlog::{NewRecord, Partition, Position, Producer, Record, Subscription};
use schemas::event::{Body, CatalogRevision, Delayed, Event};
use schemas::id::{EdgeId, IdGenerator, WorkspaceNumber};
use schemas::time::Timestamp;
use schemas::topic;
use schemas::wire::encode_event;
use service::clock::SharedClock;
use service::lifecycle::Shutdown;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::lane::Lane;

/// How long the log may take for a batch. A log that is slower than the edge's deadline still makes progress.
pub(crate) const APPEND_DEADLINE: Duration = Duration::from_secs(10);
/// Events in one batch, about.
const BATCH_EVENTS: usize = 4_096;
/// Their bytes, about.
const BATCH_BYTES: usize = 2 << 20;
/// New events go to the log again when no more than this many are left to be brought there.
const RESUME_EVENTS: u64 = BATCH_EVENTS as u64;
/// How often the log hears how much is held back.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// The pause between two looks at a log that confirms too late, while there is nothing to bring to it.
const PROBE_PAUSE: Duration = Duration::from_secs(1);
/// The pause after a failure doubles between these.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A second less than the core remembers deliveries, and a day: what is older could count twice.
const MAX_AGE_MICROS: i64 = 7 * 24 * 3_600 * 1_000_000;

/// What a partition's drainer needs of the edge.
pub(crate) struct Parts {
    pub(crate) lane: Arc<Lane>,
    /// What is in the spool was understood by this catalog.
    pub(crate) follower: Follower,
    /// Of the log, with [`APPEND_DEADLINE`].
    pub(crate) producer: Arc<dyn Producer>,
    /// By which new events go to the log: it is tried before they do so again.
    pub(crate) direct: Arc<dyn Producer>,
    pub(crate) clock: SharedClock,
    pub(crate) ids: IdGenerator,
    /// This life of the edge, which names it where there is no spool.
    pub(crate) life: EdgeId,
    /// Within which the log must confirm before new events go to it again.
    pub(crate) deadline: Duration,
}

/// The task that drains one partition.
pub(crate) struct Drainer {
    parts: Parts,
    reader: Option<Box<dyn Subscription>>,
    /// Read, and not yet brought to the log.
    pending: Vec<Record>,
    /// When the position was last made durable.
    noted: Option<Instant>,
    /// Events below this were understood by the catalog of another log.
    foreign_below: Position,
}

/// What became of a batch.
enum Brought {
    /// The log has taken it, after this time.
    Confirmed(Duration),
    PutAside,
    /// All of it, or its rest, is still here.
    Failed,
}

impl Drainer {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts, reader: None, pending: Vec::new(), noted: None, foreign_below: 0 }
    }

    /// Works until `stop`; what is held then is brought to the log in the edge's next life.
    pub(crate) async fn run(mut self, stop: Shutdown) -> Result<(), Infallible> {
        tokio::select! {
            () = stop.started() => Ok(()),
            never = self.work() => match never {},
        }
    }

    async fn work(&mut self) -> Infallible {
        self.confirm().await;
        loop {
            self.parts.lane.work().await;
            self.drain().await;
            self.take_leave().await;
        }
    }

    /// Waits until the catalog is known to be this log's. The core halts at an event that was understood by another one.
    async fn confirm(&mut self) {
        match self.parts.follower.confirmed().await {
            Ok(Confirmed::Equal) => {}
            Ok(Confirmed::FoldedAnew) => {
                let lane = &self.parts.lane;
                self.foreign_below = lane.spool().map_or(0, |spool| spool.end(lane.number()));
            }
            Err(error) => {
                // Nothing says what the events are worth; they stay where they are.
                tracing::error!(partition = self.parts.lane.number(), %error, "the spool is not drained");
                std::future::pending().await
            }
        }
    }

    /// Brings everything to the log and gives the way to it free.
    async fn drain(&mut self) {
        let mut pause = Pause::default();
        let mut told: Option<Instant> = None;
        let mut is_timely = false;
        loop {
            let is_readable = self.fill().await;
            if told.is_none_or(|at| at.elapsed() >= HEARTBEAT_INTERVAL) {
                let was_empty = self.parts.lane.held().events == 0;
                let Some(took) = self.tell(Arc::clone(&self.parts.producer)).await else {
                    is_timely = false;
                    pause.take().await;
                    continue;
                };
                is_timely = took <= self.parts.deadline;
                if was_empty && self.parts.lane.held().events > 0 {
                    // It took long, and what it says is no longer so.
                    continue;
                }
                told = Some(Instant::now());
            }
            let had_events = !self.pending.is_empty();
            if had_events {
                match self.bring().await {
                    Brought::Confirmed(took) => is_timely = took <= self.parts.deadline,
                    Brought::PutAside => {}
                    Brought::Failed => {
                        is_timely = false;
                        told = None;
                        pause.take().await;
                        continue;
                    }
                }
                pause = Pause::default();
            }
            // What cannot be read will not become less; new events need not join it.
            let is_nearly_done = self.parts.lane.held().events <= RESUME_EVENTS || !is_readable;
            if is_timely && is_nearly_done && self.parts.lane.is_diverted() {
                // Its connection may still be away though the drainer's is back.
                let took = self.tell(Arc::clone(&self.parts.direct)).await;
                is_timely = took.is_some_and(|took| took <= self.parts.deadline);
                if is_timely {
                    self.parts.lane.resume();
                }
            }
            if !had_events {
                if !self.parts.lane.has_work() {
                    return;
                }
                sleep(if self.parts.lane.is_diverted() { PROBE_PAUSE } else { HEARTBEAT_INTERVAL }).await;
                told = None;
            }
        }
    }

    /// Says that nothing is held any more, unless there is something again.
    async fn take_leave(&mut self) {
        let mut pause = Pause::default();
        while !self.parts.lane.has_work() && self.tell(Arc::clone(&self.parts.producer)).await.is_none() {
            pause.take().await;
        }
    }

    /// Reads a batch if none is pending; `false` if what is held cannot be read.
    async fn fill(&mut self) -> bool {
        let number = self.parts.lane.number();
        let Some(spool) = self.parts.lane.spool().cloned() else { return true };
        if !self.pending.is_empty() {
            return true;
        }
        let read = async {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => self.reader.insert(spool.read(number).await?),
            };
            let mut bytes = 0;
            while self.pending.len() < BATCH_EVENTS && bytes < BATCH_BYTES {
                let batch = reader.next(BATCH_EVENTS - self.pending.len(), Duration::ZERO).await?;
                let Some(batch) = batch else { break };
                bytes += batch.records.iter().map(|record| record.payload.len()).sum::<usize>();
                self.pending.extend(batch.records);
            }
            Ok::<_, eventlog::Error>(())
        };
        let read = read.await;
        spool.saw_oldest(number, self.pending.first().map(|record| record.log_time));
        let Err(error) = read else { return true };
        tracing::error!(partition = number, %error, "the spool cannot be read");
        self.reader = None;
        self.pending.clear();
        false
    }

    /// Appends the first pending events to the log, or puts them aside.
    async fn bring(&mut self) -> Brought {
        // Positions and the spool's log time never go back.
        let oldest_allowed = self.parts.clock.now_micros().saturating_sub(MAX_AGE_MICROS);
        let foreign = self.pending.partition_point(|record| record.position < self.foreign_below);
        if foreign > 0 {
            return self.put_aside(foreign, "understood by the catalog of another log").await;
        }
        let old = self.pending.partition_point(|record| record.log_time.micros() < oldest_allowed);
        if old > 0 {
            return self.put_aside(old, "too old for the log's memory of deliveries").await;
        }
        let records: Vec<NewRecord> = self
            .pending
            .iter()
            .map(|record| NewRecord { key: record.key.clone(), payload: record.payload.clone() })
            .collect();
        let began = Instant::now();
        // The producer has a deadline of its own; this one is for a log that breaks its word.
        let append = self.parts.producer.append(self.partition(), records);
        let Ok(answers) = timeout(2 * APPEND_DEADLINE, append).await else { return Brought::Failed };
        let took = began.elapsed();
        let confirmed = answers.iter().take_while(|answer| answer.is_ok()).count();
        // Counted first: who sees an empty spool finds its events among those drained.
        self.parts.lane.metrics().drained.inc_by(confirmed as u64);
        if confirmed > 0 && !self.done(confirmed).await {
            return Brought::Failed;
        }
        match answers.into_iter().nth(confirmed) {
            None if self.pending.is_empty() => Brought::Confirmed(took),
            Some(Err(eventlog::Error::TooLarge { .. })) => self.put_aside(1, "too large for the log").await,
            Some(Err(error)) => {
                tracing::debug!(partition = self.parts.lane.number(), %error, "the log does not take spooled events");
                Brought::Failed
            }
            Some(Ok(_)) | None => Brought::Failed,
        }
    }

    async fn put_aside(&mut self, count: usize, reason: &'static str) -> Brought {
        let (partition, Some(spool)) = (self.parts.lane.number(), self.parts.lane.spool().cloned()) else {
            return Brought::Failed;
        };
        let records = self.pending.iter().take(count).cloned().collect();
        match spool.quarantine(partition, records).await {
            Ok(path) => {
                let path = path.display();
                tracing::error!(partition, events = count, %path, reason, "events were put into quarantine");
            }
            Err(error) => {
                tracing::error!(partition, events = count, %error, reason, "events could not be put into quarantine");
                return Brought::Failed;
            }
        }
        self.parts.lane.metrics().quarantined.inc_by(count as u64);
        if self.done(count).await { Brought::PutAside } else { Brought::Failed }
    }

    /// Takes the first pending events out of the spool: they are safe elsewhere.
    async fn done(&mut self, count: usize) -> bool {
        let (partition, Some(spool)) = (self.parts.lane.number(), self.parts.lane.spool().cloned()) else {
            return true;
        };
        let done = self.pending.drain(..count.min(self.pending.len()));
        let mut end: Position = 0;
        let mut bytes = 0;
        for record in done {
            end = record.position + 1;
            bytes += eventlog::embedded::disk_bytes(&record.key, &record.payload);
        }
        let is_last = spool.held(partition).bytes <= bytes;
        let is_durable = is_last || self.noted.is_none_or(|at| at.elapsed() >= HEARTBEAT_INTERVAL);
        match spool.drained(partition, end, bytes, is_durable).await {
            Ok(()) => {
                if is_durable {
                    self.noted = Some(Instant::now());
                }
                true
            }
            Err(error) => {
                tracing::warn!(partition, %error, "how far the spool is drained could not be noted");
                false
            }
        }
    }

    /// Appends what is held back; the time that the log took for it, if it took it.
    async fn tell(&mut self, producer: Arc<dyn Producer>) -> Option<Duration> {
        let now = Timestamp::from_micros(self.parts.clock.now_micros());
        let lane = &self.parts.lane;
        let events = lane.held().events;
        let since = self.pending.first().map_or(now, |record| record.log_time);
        let delayed = Delayed {
            edge: lane.spool().map_or(self.parts.life, |spool| spool.edge()),
            since: (events > 0).then_some(since),
            events,
        };
        let event = Event {
            id: self.parts.ids.next(now.unix_ms(), WorkspaceNumber::NONE),
            workspace: WorkspaceNumber::NONE,
            mark: None,
            received_at: now,
            // It says nothing about the catalog: the core's own revision stands.
            catalog: CatalogRevision::default(),
            body: Body::Delayed(delayed),
        };
        let record = NewRecord { key: Bytes::new(), payload: encode_event(event) };
        let began = Instant::now();
        let append = producer.append(self.partition(), vec![record]);
        match timeout(2 * APPEND_DEADLINE, append).await {
            Ok(answers) if answers.iter().all(Result::is_ok) => Some(began.elapsed()),
            Ok(_) | Err(_) => None,
        }
    }

    fn partition(&self) -> Partition {
        Partition { topic: topic::EVENTS, number: self.parts.lane.number() }
    }
}

/// The pause after a failure.
struct Pause {
    next: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self { next: FIRST_PAUSE }
    }
}

impl Pause {
    async fn take(&mut self) {
        sleep(self.next).await;
        self.next = (2 * self.next).min(LONGEST_PAUSE);
    }
}
