//! The owner of a partition: reads a range of events, decides it on a speculative copy, appends one record of facts,
//! and commits only what it has read back as accepted.
//!
//! It does not wait for its records: the next range is decided on top of those in flight, while other threads decode, encode and
//! write. If another owner's record came first, the speculation is dropped and what was accepted is applied instead. After any
//! delivery error the producer and the speculation are thrown away and work goes on from the committed position.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use eventlog::{EventLog, Position, ProducerUse, Subscription};
use schemas::event::CatalogRevision;
use schemas::fact::{Record, RecordHash};
use schemas::time::Timestamp;
use service::clock::SharedClock;
use service::lifecycle::Shutdown;
use tokio::sync::watch;

use crate::assignment::{Assignment, Standing};
use crate::caps::{CapPublisher, MovedCounts};
use crate::chain::{Chain, Judged};
use crate::core::{self, Changes, Head, Input, Layers, Overlay};
use crate::core_catalog::{CoreCatalog, LookAhead};
use crate::error::Error;
use crate::failpoint::{Failpoint, Failpoints};
use crate::flights::{Flights, Landing, Own};
use crate::health::PartitionHealth;
use crate::metrics::OwnerMetrics;
use crate::objects::Objects;
use crate::originals::{EarlierFacts, Held, Turn};
use crate::range::decide_range;
use crate::read_back::READ_BACK;
use crate::reading::{Collected, Reading, Unreadable};
use crate::results::{self, EndedCommands, ResultPublisher};
use crate::resume::{events_after, facts_after};
use crate::settings::ProcessorSettings;
use crate::store::Committed;
use crate::ticker::{Due, Ticker};
use crate::workers::Workers;

/// Records of `facts` read at once.
const FACTS_READ: usize = 64;
/// How long a generation that reads the past waits for the live one to decide on, before it looks around.
const EARLIER_WAIT: Duration = Duration::from_millis(100);
/// Bytes of facts that may wait for durability; a few records are in flight at a time.
const MAX_PENDING_BYTES: usize = 256 * 1024 * 1024;

/// What an owner is made of.
pub struct OwnerParts {
    /// The partition of `events` and `facts`.
    pub partition: u32,
    /// The generation of the facts.
    pub assignment: Assignment,
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
    /// Who decodes events and encodes facts.
    pub workers: Workers,
}

/// The owner of a partition, from the committed position on.
pub struct Owner<'a> {
    parts: &'a OwnerParts,
    store: &'a dyn Committed,
    /// Where the committed state stands.
    head: Head,
    /// May have run ahead for what is in flight.
    catalog: CoreCatalog,
    facts: Box<dyn Subscription>,
    reading: Reading,
    /// Events read and not decided.
    waiting: VecDeque<Input>,
    /// Fewer events than that are decided next: more would give too large a record.
    fewer_than: Option<u64>,
    flights: Flights,
    ticker: Ticker,
    /// Tells of newer catalogs, once somebody waits for one.
    ahead: Option<LookAhead>,
    /// Counts of caps that the edges do not know yet.
    moved: Arc<MovedCounts>,
    /// Commands of which the desks do not know yet that they ended.
    ended: Arc<EndedCommands>,
    /// Events decided that mean nothing, until they are known to be accepted.
    unreadable: Unreadable,
    /// Why the event after those in flight cannot be decided; said when they have landed.
    halt: Option<Error>,
    /// What decides the commands of the past, as long as this generation is not the live one.
    earlier: Option<EarlierFacts>,
    /// Whether this generation is the live one where it decides. Only then anybody is told of its counts and results.
    is_live: watch::Sender<bool>,
    /// The next event is a later generation's.
    is_over: bool,
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
        let projection = &parts.assignment.projection;
        let catalog = CoreCatalog::at(log.clone(), head.catalog, projection.settings_of).await?;
        let live = catalog.get().live_generation();
        let earlier = if live < projection.generation {
            Some(EarlierFacts::of(parts, head.source).await?)
        } else {
            None
        };
        let facts = facts_after(parts, &head).await?;
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
            reading: Reading::from(parts, events),
            waiting: VecDeque::new(),
            fewer_than: None,
            flights: Flights::new(parts, producer),
            ticker,
            ahead: None,
            moved: Arc::default(),
            ended: Arc::default(),
            unreadable: Unreadable::default(),
            halt: None,
            earlier,
            is_live: watch::Sender::new(live == projection.generation),
            is_over: false,
        })
    }

    /// Works until the shutdown, or until the next event is a later generation's to decide.
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
        let (caps, results) =
            (once(self.is_live.subscribe(), publisher.run()), once(self.is_live.subscribe(), results.run()));
        tokio::select! {
            done = self.decide_all(shutdown) => done,
            never = caps => match never {},
            never = results => match never {},
        }
    }

    async fn decide_all(&mut self, shutdown: &Shutdown) -> Result<(), Error> {
        self.catch_up(shutdown).await?;
        while !shutdown.is_started() {
            if self.flights.is_empty()
                && self.waiting.is_empty()
                && let Some(error) = self.halt.take()
            {
                return Err(error);
            }
            if self.is_over && self.flights.is_empty() {
                return Ok(());
            }
            let is_full = self.flights.is_full();
            if !is_full && !self.waiting.is_empty() {
                self.decide_next().await?;
                continue;
            }
            tokio::select! {
                biased;
                landing = self.flights.landing(), if !self.flights.is_empty() => self.land(landing?).await?,
                collected = self.reading.next(), if !is_full && !self.is_over && self.halt.is_none() => {
                    self.take(collected?, shutdown).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes in what was read, or the time that has passed.
    async fn take(&mut self, collected: Collected, shutdown: &Shutdown) -> Result<(), Error> {
        (self.waiting, self.halt) = (collected.inputs, collected.halt);
        if !self.flights.is_empty() {
            return Ok(());
        }
        // Another owner may have been here meanwhile: what it decided need not be decided again.
        self.catch_up(shutdown).await?;
        if self.waiting.is_empty() { self.tick().await } else { Ok(()) }
    }

    /// Decides the events that wait, on top of what is in flight.
    async fn decide_next(&mut self) -> Result<(), Error> {
        let (record, changes) = match self.decide().await {
            Ok(Ok(decided)) => decided,
            Ok(Err(Held::Over)) => {
                self.waiting.clear();
                self.is_over = true;
                return Ok(());
            }
            Ok(Err(Held::NotYet)) => return self.await_earlier().await,
            // What is in flight is not to blame: it lands first.
            Err(error) if !self.flights.is_empty() => {
                self.waiting.clear();
                self.halt = Some(error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match self.flights.launch().await? {
            None => {
                self.flights.push(record, changes);
                Ok(())
            }
            Some(events) => self.decide_fewer_than(events).await,
        }
    }

    /// Waits until the live generation has decided more, while what is in flight lands.
    async fn await_earlier(&mut self) -> Result<(), Error> {
        if !self.flights.is_empty() {
            let landing = self.flights.landing().await?;
            return self.land(landing).await;
        }
        let next = self.waiting.front().map_or(self.head.source, |input| input.position);
        match &mut self.earlier {
            Some(earlier) => earlier.read_to(next + 1, EARLIER_WAIT).await,
            // It was live where the state stands, so that an event before that came anew.
            None => Err(Error::Foreign("the catalog revision in the state")),
        }
    }

    /// Goes back to the first event of a record that was too large.
    async fn decide_fewer_than(&mut self, events: u64) -> Result<(), Error> {
        self.fewer_than = Some(events);
        let head = self.flights.head().unwrap_or(&self.head).clone();
        self.catalog_not_after(head.catalog).await?;
        self.read_after(&head, "the last event in flight").await
    }

    /// Decides a range of events on a speculative copy of the state.
    async fn decide(&mut self) -> Result<Result<(Record, Changes), Held>, Error> {
        let head = self.flights.head().unwrap_or(&self.head).clone();
        let most = self.fewer_than.take().map_or(self.waiting.len(), |events| (events / 2).max(1) as usize);
        self.waiting.iter().take(most).for_each(|input| self.unreadable.note(input));
        if let (Some(earlier), Some(last)) = (&mut self.earlier, self.waiting.back()) {
            earlier.read_to(last.position + 1, Duration::ZERO).await?;
        }
        let layers = self.flights.layers();
        let state = Layers { layers: &layers, base: self.store };
        let turn = Turn {
            generation: self.parts.assignment.generation(),
            partition: self.parts.partition,
            originals: self.earlier.as_ref().map(EarlierFacts::originals),
        };
        let catalog = &mut self.catalog;
        let decided = decide_range(&state, &head, turn, catalog, (&mut self.waiting, most)).await?;
        // What was not reached is noted when it is.
        let reached = decided.as_ref().map_or(head.source, |(record, _)| record.source_to);
        self.unreadable.forget_from(reached);
        Ok(decided)
    }

    /// The own copy of the catalog may have run ahead for a speculation that is dropped.
    async fn catalog_not_after(&mut self, revision: CatalogRevision) -> Result<(), Error> {
        if self.catalog.get().revision().number > revision.number {
            let settings_of = self.parts.assignment.projection.settings_of;
            self.catalog = CoreCatalog::at(self.parts.log.clone(), revision, settings_of).await?;
        }
        Ok(())
    }

    /// Takes in what has happened in flight.
    async fn land(&mut self, landing: Landing) -> Result<(), Error> {
        match landing {
            Landing::TooLarge(events) => self.decide_fewer_than(events).await,
            Landing::Durable(position) => {
                self.absorb(position).await?;
                self.tick().await
            }
        }
    }

    /// Commits what others have appended meanwhile.
    async fn catch_up(&mut self, shutdown: &Shutdown) -> Result<(), Error> {
        let mut foreign = false;
        while !shutdown.is_started()
            && let Some(batch) = self.facts.next(FACTS_READ, Duration::ZERO).await?
        {
            for record in &batch.records {
                foreign |= self.absorb_record(record).await?;
            }
        }
        self.follow(foreign).await
    }

    /// Reads the facts log until the first record in flight, which lies at `until`, is accepted or another one on its predecessor.
    async fn absorb(&mut self, until: Position) -> Result<(), Error> {
        if self.facts.positions().values().any(|next| *next > until) {
            // The log took it before the one that it was built on: it was read when it did not fit yet, and is no part of the chain.
            self.flights.clear();
            self.catalog_not_after(self.head.catalog).await?;
            return self.follow(true).await;
        }
        let source = self.head.source;
        let mut foreign = false;
        while self.head.source == source {
            let batch = self.facts.next(FACTS_READ, READ_BACK).await?.ok_or(eventlog::Error::Deadline)?;
            for record in &batch.records {
                foreign |= self.absorb_record(record).await?;
            }
            let is_past = batch.records.last().is_some_and(|record| record.position >= until);
            if is_past && self.head.source == source {
                return Err(Error::Foreign("the chain in the state"));
            }
        }
        self.follow(foreign).await
    }

    /// Reads events from where another owner's record has led, once they are known to be those that it decided. The last one
    /// speaks for all: whoever wrote the record had read its way there.
    async fn follow(&mut self, foreign: bool) -> Result<(), Error> {
        if foreign {
            let head = self.head.clone();
            self.read_after(&head, "the last event of the facts in the log").await
        } else {
            Ok(())
        }
    }

    /// Reads on after the last event that `head` has decided.
    async fn read_after(&mut self, head: &Head, what: &'static str) -> Result<(), Error> {
        let events = events_after(self.parts, head, what).await?;
        self.reading = Reading::from(self.parts, events);
        self.unreadable.forget_from(head.source);
        self.waiting.clear();
        (self.halt, self.is_over) = (None, false);
        Ok(())
    }

    /// Judges one record of the facts log. True if it was accepted and another owner's.
    async fn absorb_record(&mut self, record: &eventlog::Record) -> Result<bool, Error> {
        // The first in flight was built on the present head, so that its own record fits without being read again.
        let own = if self.flights.is_first(&record.payload) { self.flights.take_first() } else { None };
        let foreign = own.is_none();
        let (hash, mut changes, commands) = match own {
            Some(Own { hash, changes, commands }) => (hash, changes, commands),
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
                self.flights.clear();
                let changes = self.apply(&accepted.record, record.position, accepted.hash).await?;
                (accepted.hash, changes, results::outcomes(&accepted.record))
            }
        };
        changes.head.record = Some(record.position);
        changes.head.record_hash = hash;
        self.head = changes.head.clone();
        self.note_live();
        let counts = if self.is_live() { self.moved.note(&changes) } else { Ok(()) };
        self.parts.failpoints.at(Failpoint::BeforeCommit);
        self.store.commit(changes)?;
        self.parts.failpoints.at(Failpoint::AfterCommit);
        self.unreadable.name_before(self.head.source, self.parts.partition);
        counts?;
        if let Some(earlier) = &mut self.earlier {
            earlier.forget_below(self.head.source);
        }
        if self.is_live() {
            let now = Timestamp::from_micros(self.parts.clock.now_micros());
            self.ended.note(commands, self.store, now);
        }
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
        // The past has its ticks.
        if self.is_live() {
            let due = self.due().await?;
            self.ticker.maybe_tick(&self.head, due, self.parts.clock.now_micros()).await?;
        }
        // Not where the reason to halt is known already and said only when what comes before it is decided.
        if self.halt.is_none() {
            self.parts.health.running();
        }
        Ok(())
    }
}

impl Owner<'_> {
    fn is_live(&self) -> bool {
        *self.is_live.borrow()
    }

    /// Takes note of where this generation stands among the others, by the catalog that was folded for what is decided.
    fn note_live(&self) {
        let is_live = self.catalog.get().live_generation() == self.parts.assignment.generation();
        self.is_live.send_if_modified(|known| std::mem::replace(known, is_live) != is_live);
    }

    /// Whether a tick is wanted for more than a cut.
    async fn due(&mut self) -> Result<Due, Error> {
        if let Standing::Former { since, .. } = self.parts.assignment.standing
            && since.number > self.head.catalog.number
        {
            // The partition is quiet: a tick tells it that a later generation answers.
            return Ok(Due::Catalog(since));
        }
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

/// Works once this is so.
async fn once(mut is_so: watch::Receiver<bool>, work: impl Future<Output = Infallible>) -> Infallible {
    if is_so.wait_for(|is_so| *is_so).await.is_err() {
        // Its owner is gone, and with it whoever waits here.
        std::future::pending::<Infallible>().await;
    }
    work.await
}
