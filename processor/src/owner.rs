//! The owner of a partition: reads a range of events, decides it on a speculative copy, appends one record of facts,
//! and commits only what it has read back as accepted.
//!
//! If another owner's record came first, the speculation is dropped and what was accepted is applied instead. After any
//! delivery error the producer and the speculation are thrown away and work goes on from the committed position.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventlog::{EventLog, NewRecord, Partition, Position, Producer, ProducerUse, Subscription};
use schemas::event::CatalogRevision;
use schemas::fact::{Outcome, Record, RecordHash};
use schemas::time::Timestamp;
use schemas::wire::{EVENT_VERSION, WireError};
use schemas::{topic, wire};
use service::clock::SharedClock;
use service::lifecycle::Shutdown;

use crate::archive;
use crate::caps::{CapPublisher, MovedCounts};
use crate::chain::{Chain, Judged};
use crate::core::{self, Changes, Head, Input, Overlay};
use crate::core_catalog::{CoreCatalog, LookAhead};
use crate::error::Error;
use crate::failpoint::{Failpoint, Failpoints};
use crate::health::PartitionHealth;
use crate::metrics::OwnerMetrics;
use crate::objects::Objects;
use crate::range::decide_range;
use crate::results::{self, EndedCommands, ResultPublisher};
use crate::settings::ProcessorSettings;
use crate::store::Committed;
use crate::ticker::{Due, Ticker};

/// A record logged further ahead of this machine's clock halts the partition before it is decided: one wrong clock would
/// move core time for ever.
const MAX_CLOCK_AHEAD_MICROS: i64 = 10 * 60 * 1_000_000;
/// Bytes of events collected for one record of facts; the last batch read may exceed it.
const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;
/// A record of facts larger than this is not appended: fewer events are decided instead. Below what the log takes at most.
const MAX_RECORD_BYTES: usize = 3 * 1024 * 1024;
/// How long the owner waits for events before it looks at its timers.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// Records of `facts` read at once.
const FACTS_READ: usize = 64;
/// How long an acknowledged record may take to be readable.
const READ_BACK: Duration = Duration::from_secs(10);
/// Bytes of facts that may wait for durability; one record is in flight at a time.
const MAX_PENDING_BYTES: usize = 256 * 1024 * 1024;

/// What an owner is made of.
pub struct OwnerParts {
    /// The partition of `events` and `facts`.
    pub partition: u32,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Where facts are that the log does not have any more; `None` for nowhere.
    pub objects: Option<Objects>,
    /// Settings.
    pub settings: ProcessorSettings,
    /// The clock.
    pub clock: SharedClock,
    /// Where the owner says how it is.
    pub health: PartitionHealth,
    /// Where the owner counts.
    pub metrics: OwnerMetrics,
    /// Where a test may strike.
    pub failpoints: Failpoints,
}

/// The owner of a partition, from the committed position on.
pub struct Owner<'a> {
    parts: &'a OwnerParts,
    store: &'a dyn Committed,
    head: Head,
    catalog: CoreCatalog,
    facts: Box<dyn Subscription>,
    events: Box<dyn Subscription>,
    producer: Box<dyn Producer>,
    ticker: Ticker,
    /// Tells of newer catalogs, once somebody waits for one.
    ahead: Option<LookAhead>,
    /// Counts of caps that the edges do not know yet.
    moved: Arc<MovedCounts>,
    /// Commands of which the desks do not know yet that they ended.
    ended: Arc<EndedCommands>,
    /// Why the event after those collected cannot be decided; said when those before it are.
    halt: Option<Error>,
}

/// What was decided and is not yet known to be accepted.
struct Speculation {
    payload: Bytes,
    hash: RecordHash,
    changes: Changes,
    /// How commands ended.
    commands: Vec<Outcome>,
}

impl<'a> Owner<'a> {
    /// Takes up work where the committed state stands, with everything fresh but the store.
    ///
    /// # Errors
    /// [`Error::Foreign`] if state and log are not of the same history.
    pub async fn on(parts: &'a OwnerParts, store: &'a dyn Committed) -> Result<Self, Error> {
        let head = store.head()?;
        parts.metrics.stands_at(&head);
        let log = &parts.log;
        let catalog = CoreCatalog::at(log.clone(), head.catalog).await?;
        let facts_partition = Partition { topic: topic::FACTS, number: parts.partition };
        let last_record = head.record.map(|position| (position, head.record_hash));
        let facts =
            after(parts, facts_partition, last_record, "the last record of facts in the state").await?;
        let events = events_after(parts, &head, "the last event in the state").await?;
        let producer = log.producer(ProducerUse {
            name: "facts",
            deadline: Duration::from_millis(parts.settings.append_deadline_ms),
            max_pending_bytes: MAX_PENDING_BYTES,
        })?;
        let ticker = Ticker::new(log.as_ref(), parts.partition, parts.settings.cut_period_ms)?;
        Ok(Self {
            parts,
            store,
            head,
            catalog,
            facts,
            events,
            producer,
            ticker,
            ahead: None,
            moved: Arc::default(),
            ended: Arc::default(),
            halt: None,
        })
    }

    /// Works until the shutdown.
    ///
    /// # Errors
    /// Whatever stopped it; nothing uncommitted is kept.
    pub async fn work(&mut self, shutdown: &Shutdown) -> Result<(), Error> {
        let publisher = CapPublisher {
            log: self.parts.log.clone(),
            store: self.store,
            clock: self.parts.clock.clone(),
            partition: self.parts.partition,
            moved: self.moved.clone(),
        };
        let results = ResultPublisher {
            log: self.parts.log.clone(),
            partition: self.parts.partition,
            ended: self.ended.clone(),
        };
        tokio::select! {
            done = self.decide_all(shutdown) => done,
            never = publisher.run() => match never {},
            never = results.run() => match never {},
        }
    }

    async fn decide_all(&mut self, shutdown: &Shutdown) -> Result<(), Error> {
        self.catch_up(shutdown).await?;
        while !shutdown.is_started() {
            let mut inputs = self.collect().await?;
            // Another owner may have been here meanwhile: what it decided need not be decided again.
            self.catch_up(shutdown).await?;
            loop {
                inputs.retain(|input| input.position >= self.head.source);
                if inputs.is_empty() {
                    break;
                }
                self.decide_and_append(&inputs).await?;
            }
            self.tick().await?;
        }
        Ok(())
    }

    /// Events from the committed position on: what is there, and what comes within the linger time.
    async fn collect(&mut self) -> Result<Vec<Input>, Error> {
        if let Some(error) = self.halt.take() {
            return Err(error);
        }
        let mut inputs: Vec<Input> = Vec::new();
        let mut bytes = 0;
        let mut wait = IDLE_WAIT;
        let linger = Duration::from_millis(self.parts.settings.batch_linger_ms);
        let began = tokio::time::Instant::now();
        while let Some(room) = self.parts.settings.max_batch_events.checked_sub(inputs.len())
            && room > 0
            && bytes < MAX_BATCH_BYTES
        {
            let Some(batch) = self.events.next(room, wait).await? else { break };
            for record in &batch.records {
                let input = Input::read(record);
                if let Err(error) = self.check(&input) {
                    if inputs.is_empty() {
                        return Err(error);
                    }
                    self.halt = Some(error);
                    return Ok(inputs);
                }
                bytes += record.payload.len();
                inputs.push(input);
            }
            let Some(left) = linger.checked_sub(began.elapsed()) else { break };
            wait = left;
        }
        Ok(inputs)
    }

    /// Whether an event may be decided by this build, here and now.
    fn check(&self, input: &Input) -> Result<(), Error> {
        let position = input.position;
        let ahead = input.log_time.micros_since(Timestamp::from_micros(self.parts.clock.now_micros()));
        if ahead > MAX_CLOCK_AHEAD_MICROS {
            return Err(Error::ClockAhead { position, ahead_s: ahead / 1_000_000 });
        }
        match input.event {
            // A newer edge was told that this event is safe: it waits for a build that can read it.
            Err(WireError::UnknownVersion(version)) if version > EVENT_VERSION => {
                Err(Error::NewerEvent { position, version })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn decide_and_append(&mut self, inputs: &[Input]) -> Result<(), Error> {
        let source = self.head.source;
        if inputs.iter().map(|input| input.position).ne(source..source + inputs.len() as u64) {
            return Err(Error::Foreign("the position in the state"));
        }
        let (payload, changes, commands) = self.decide_what_fits(inputs).await?;
        let hash = wire::hash_record(&payload);
        let speculation = Speculation { payload: payload.clone(), hash, changes, commands };
        let partition = Partition { topic: topic::FACTS, number: self.parts.partition };
        self.parts.failpoints.at(Failpoint::BeforeAppend);
        let answers = self.producer.append(partition, vec![NewRecord { key: Bytes::new(), payload }]).await;
        let position = answers.into_iter().next().unwrap_or(Err(eventlog::Error::Closed))?;
        self.parts.failpoints.at(Failpoint::AfterAppend);
        self.absorb((position, speculation)).await?;
        // Either this record or another one on the same predecessor was accepted.
        if self.head.source > source {
            self.name_unreadable(inputs);
            Ok(())
        } else {
            Err(Error::Foreign("the chain in the state"))
        }
    }

    /// Says where in the log those events are that were decided and mean nothing: it alone has their bytes.
    fn name_unreadable(&self, inputs: &[Input]) {
        let decided = inputs.iter().filter(|input| input.position < self.head.source);
        let mut unreadable =
            decided.filter_map(|it| it.event.as_ref().err().map(|error| (it.position, error)));
        if let Some((position, error)) = unreadable.next() {
            let (partition, more) = (self.parts.partition, unreadable.count());
            tracing::warn!(partition, position, more, %error, "an event cannot be read and is rejected");
        }
    }

    /// Decides as many of the events as fit into one record of the log.
    async fn decide_what_fits(&mut self, inputs: &[Input]) -> Result<(Bytes, Changes, Vec<Outcome>), Error> {
        let mut count = inputs.len();
        loop {
            let inputs = &inputs[..count];
            let (partition, catalog) = (self.parts.partition, &mut self.catalog);
            let (record, changes) = decide_range(self.store, &self.head, partition, catalog, inputs).await?;
            let payload = wire::encode_record(&record);
            if payload.len() <= MAX_RECORD_BYTES || count == 1 {
                return Ok((payload, changes, results::outcomes(&record)));
            }
            count /= 2;
            self.catalog_not_after(self.head.catalog).await?;
        }
    }

    /// The own copy of the catalog may have run ahead for a speculation that is dropped.
    async fn catalog_not_after(&mut self, revision: CatalogRevision) -> Result<(), Error> {
        if self.catalog.get().revision().number > revision.number {
            self.catalog = CoreCatalog::at(self.parts.log.clone(), revision).await?;
        }
        Ok(())
    }

    /// Commits what others have appended meanwhile.
    async fn catch_up(&mut self, shutdown: &Shutdown) -> Result<(), Error> {
        let mut foreign = false;
        while !shutdown.is_started()
            && let Some(batch) = self.facts.next(FACTS_READ, Duration::ZERO).await?
        {
            for record in &batch.records {
                foreign |= self.absorb_record(record, &mut None).await?;
            }
        }
        self.follow(foreign).await
    }

    /// Reads the facts log up to and with the record just appended, and commits what fits the chain.
    async fn absorb(&mut self, (until, speculation): (u64, Speculation)) -> Result<(), Error> {
        let mut mine = Some(speculation);
        let mut foreign = false;
        loop {
            let batch = self.facts.next(FACTS_READ, READ_BACK).await?.ok_or(eventlog::Error::Deadline)?;
            for record in &batch.records {
                foreign |= self.absorb_record(record, &mut mine).await?;
            }
            if batch.records.last().is_some_and(|record| record.position >= until) {
                return self.follow(foreign).await;
            }
        }
    }

    /// Reads events from where another owner's record has led, once they are known to be those that it decided. The last one
    /// speaks for all: whoever wrote the record had read its way there.
    async fn follow(&mut self, foreign: bool) -> Result<(), Error> {
        if foreign {
            self.events =
                events_after(self.parts, &self.head, "the last event of the facts in the log").await?;
            self.halt = None;
        }
        Ok(())
    }

    /// Judges one record of the facts log. True if it was accepted and another owner's.
    async fn absorb_record(
        &mut self,
        record: &eventlog::Record,
        mine: &mut Option<Speculation>,
    ) -> Result<bool, Error> {
        // The speculation was built on the present head, so that its own record fits without being read again.
        let own = mine.take_if(|speculation| speculation.payload == record.payload);
        let foreign = own.is_none();
        let (hash, mut changes, commands) = match own {
            Some(speculation) => (speculation.hash, speculation.changes, speculation.commands),
            None => {
                let mut chain = Chain {
                    partition: self.parts.partition,
                    previous: self.head.record_hash,
                    source: self.head.source,
                    next_seq: self.head.next_seq,
                };
                let judged = chain
                    .judge(&record.payload)
                    .map_err(|error| Error::UnreadableRecord { position: record.position, error })?;
                let Judged::Accepted(accepted) = judged else {
                    self.parts.metrics.record_ignored();
                    return Ok(false);
                };
                accepted.check_core(record.position)?;
                // Whatever was decided on the predecessor of this record will not fit any more.
                *mine = None;
                let changes = self.apply(&accepted.record, record.position, accepted.hash).await?;
                (accepted.hash, changes, results::outcomes(&accepted.record))
            }
        };
        changes.head.record = Some(record.position);
        changes.head.record_hash = hash;
        self.head = changes.head.clone();
        let counts = self.moved.note(&changes);
        self.parts.failpoints.at(Failpoint::BeforeCommit);
        self.store.commit(changes)?;
        self.parts.failpoints.at(Failpoint::AfterCommit);
        counts?;
        let now = Timestamp::from_micros(self.parts.clock.now_micros());
        self.ended.note(commands, self.store, now);
        self.parts.metrics.committed(&self.head, foreign);
        Ok(foreign)
    }

    async fn apply(&mut self, facts: &Record, position: u64, hash: RecordHash) -> Result<Changes, Error> {
        self.catalog_not_after(facts.catalog).await?;
        self.catalog.advance_for(facts.source_from, facts.catalog).await?;
        let mut overlay = Overlay::new(self.store, self.head.clone());
        core::apply_record(&mut overlay, facts, position, hash)?;
        Ok(overlay.into_changes())
    }

    async fn tick(&mut self) -> Result<(), Error> {
        let due = self.due().await?;
        self.ticker.maybe_tick(&self.head, due, self.parts.clock.now_micros()).await?;
        // Not where the reason to halt is known already and said only when what comes before it is decided.
        if self.halt.is_none() {
            self.parts.health.running();
        }
        Ok(())
    }
}

impl Owner<'_> {
    /// Whether a tick is wanted for more than a cut.
    async fn due(&mut self) -> Result<Due, Error> {
        if core::is_waiting_for_rates(self.store)? {
            let ahead = match &mut self.ahead {
                Some(ahead) => ahead,
                None => self.ahead.insert(self.catalog.look_ahead().await?),
            };
            let newest = ahead.newest().await?;
            if newest.number > self.head.catalog.number {
                return Ok(Due::Catalog(newest));
            }
        }
        let is_due = self.head.rate_sweeps > 0
            || core::is_timer_due(self.store, &self.head, self.parts.clock.now_micros())?;
        Ok(if is_due { Due::Timer } else { Due::No })
    }
}

/// Reads events from after the last one decided, once it is known to be the one that was.
async fn events_after(
    parts: &OwnerParts,
    head: &Head,
    what: &'static str,
) -> Result<Box<dyn Subscription>, Error> {
    let partition = Partition { topic: topic::EVENTS, number: parts.partition };
    let last = head.source.checked_sub(1).map(|position| (position, head.last_event));
    after(parts, partition, last, what).await
}

/// Reads a partition from after `last`, once the record there is known to be the one with that hash.
async fn after(
    parts: &OwnerParts,
    partition: Partition,
    last: Option<(Position, RecordHash)>,
    what: &'static str,
) -> Result<Box<dyn Subscription>, Error> {
    let log = &parts.log;
    let Some((position, hash)) = last else {
        // Whatever is old may be in the archive alone.
        return archive::subscribe(log, parts.objects.as_ref(), partition, 0).await;
    };
    let bounds = log.bounds(partition).await?;
    if !(bounds.start..bounds.end).contains(&position) {
        return Err(Error::Foreign(what));
    }
    let mut subscription = log.subscribe(&[(partition, position)]).await?;
    let batch = subscription.next(1, READ_BACK).await?.ok_or(eventlog::Error::Deadline)?;
    let same = batch.records.first().is_some_and(|record| wire::hash_record(&record.payload) == hash);
    if same { Ok(subscription) } else { Err(Error::Foreign(what)) }
}
