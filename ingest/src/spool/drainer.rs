//! From the spool to the log: in order, in batches, and with patience.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use catalog::Follower;
use catalog::error::FollowError;
use eventlog::{NewRecord, Partition, Position, Producer, Record, Subscription};
use schemas::event::{Body, CatalogRevision, Delayed, Event};
use schemas::id::{EdgeId, IdGenerator, WorkspaceNumber};
use schemas::time::Timestamp;
use schemas::topic;
use schemas::wire::{decode_event, encode_event};
use service::clock::SharedClock;
use service::lifecycle::Shutdown;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::age::Ages;
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
/// Events that are looked at before others of this thread get a turn.
const LOOK_EVENTS: usize = 256;
/// How long the catalog may take to catch up with the revision of an event.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(1);
/// How long the catalog's log may seem to end before the revision of an event does. A new leader of Kafka may not know at
/// once how much is committed.
const SHORT_LIMIT: Duration = Duration::from_secs(30);

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
    ages: Ages,
    /// Since when the catalog's log ends before the revision of the first pending event.
    short_since: Option<Instant>,
}

/// What became of a batch.
enum Brought {
    /// The log has taken it, after this time.
    Confirmed(Duration),
    PutAside,
    /// All of it, or its rest, is still here.
    Failed,
    /// It should be put aside, and cannot be.
    Stuck,
}

impl Drainer {
    pub(crate) fn new(parts: Parts) -> Self {
        let end = parts.lane.spool().map_or(0, |spool| spool.end(parts.lane.number()));
        let ages = Ages::new(Instant::now(), end);
        Self { parts, reader: None, pending: Vec::new(), noted: None, ages, short_since: None }
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

    /// Waits until the catalog is known to be this log's.
    async fn confirm(&mut self) {
        if let Err(error) = self.parts.follower.confirmed().await {
            // Nothing says what the events are worth; they stay where they are.
            tracing::error!(partition = self.parts.lane.number(), %error, "the spool is not drained");
            std::future::pending().await
        }
    }

    /// Brings everything to the log and gives the way to it free.
    async fn drain(&mut self) {
        let mut pause = Pause::default();
        let mut told: Option<Instant> = None;
        let mut is_timely = false;
        let mut is_stuck = false;
        loop {
            let is_readable = self.fill().await;
            self.parts.lane.saw_readable(is_readable);
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
                let brought = self.bring().await;
                is_stuck = matches!(brought, Brought::Stuck);
                match brought {
                    Brought::Confirmed(took) => is_timely = took <= self.parts.deadline,
                    Brought::PutAside | Brought::Stuck => {}
                    Brought::Failed => {
                        is_timely = false;
                        told = None;
                        pause.take().await;
                        continue;
                    }
                }
                pause = Pause::default();
            }
            // What cannot be read or put aside will not become less; new events need not join it.
            let is_nearly_done = self.parts.lane.held().events <= RESUME_EVENTS || !is_readable || is_stuck;
            if is_timely && is_nearly_done && self.parts.lane.is_diverted() {
                // Its connection may still be away though the drainer's is back.
                let took = self.tell(Arc::clone(&self.parts.direct)).await;
                is_timely = took.is_some_and(|took| took <= self.parts.deadline);
                if is_timely {
                    self.parts.lane.resume();
                }
            }
            if !had_events || is_stuck {
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
        self.ages.note(Instant::now(), spool.end(number));
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
        let now = self.parts.clock.now_micros();
        let old = self.ages.too_old(&self.pending, Instant::now(), now);
        if old > 0 {
            return self.put_aside(old, "too old for the log's memory of deliveries").await;
        }
        let understood = match self.first_of_one_kind().await {
            Ok((true, count)) => count,
            Ok((false, count)) => {
                return self.put_aside(count, "not understood by this log's catalog").await;
            }
            Err(error) => {
                let partition = self.parts.lane.number();
                tracing::warn!(partition, %error, "the catalog does not tell what spooled events are worth");
                return Brought::Failed;
            }
        };
        let records: Vec<NewRecord> = self.pending[..understood]
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
            None if confirmed == understood => Brought::Confirmed(took),
            Some(Err(eventlog::Error::TooLarge { .. })) => self.put_aside(1, "too large for the log").await,
            Some(Err(error)) => {
                tracing::debug!(partition = self.parts.lane.number(), %error, "the log does not take spooled events");
                Brought::Failed
            }
            Some(Ok(_)) | None => Brought::Failed,
        }
    }

    /// How many of the first pending events are alike in this: whether they were understood by this log's catalog. The core
    /// halts at an event that was understood by another one.
    async fn first_of_one_kind(&mut self) -> Result<(bool, usize), FollowError> {
        let mut first = true;
        for index in 0..self.pending.len() {
            if index % LOOK_EVENTS == LOOK_EVENTS - 1 {
                tokio::task::yield_now().await;
            }
            // One that cannot be read would halt the core, too.
            let event = decode_event(self.pending[index].payload.clone());
            let revision = event.ok().map(|event| event.catalog);
            let known = revision.map_or(Some(false), |revision| self.parts.follower.knows(revision));
            let is_understood = match (known, revision) {
                (Some(known), _) => known,
                (None, Some(revision)) if index == 0 => self.is_younger(revision).await?,
                (None, _) if self.is_short() => false,
                // What comes before it need not wait for the catalog.
                (None, _) => return Ok((first, index)),
            };
            if index == 0 {
                first = is_understood;
                if known.is_some() {
                    self.short_since = None;
                }
            } else if is_understood != first {
                return Ok((first, index));
            }
        }
        Ok((first, self.pending.len()))
    }

    /// Whether this log's catalog has a revision that was not folded here yet. It is waited for.
    async fn is_younger(&mut self, revision: CatalogRevision) -> Result<bool, FollowError> {
        self.parts.follower.catch_up(CATCH_UP_LIMIT).await?;
        if let Some(is_known) = self.parts.follower.knows(revision) {
            self.short_since = None;
            return Ok(is_known);
        }
        self.short_since.get_or_insert_with(Instant::now);
        if self.is_short() { Ok(false) } else { Err(FollowError::Timeout) }
    }

    /// Whether the catalog's log has ended before the events' revision for so long that it will not be found any more.
    fn is_short(&self) -> bool {
        self.short_since.is_some_and(|since| since.elapsed() >= SHORT_LIMIT)
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
                return Brought::Stuck;
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
