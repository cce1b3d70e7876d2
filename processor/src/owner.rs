//! The owner of a partition: reads a range of events, decides it on a speculative copy, appends one record of facts,
//! and commits only what it has read back as accepted.
//!
//! If another owner's record came first, the speculation is dropped and what was accepted is applied instead. After any
//! delivery error the producer and the speculation are thrown away and work goes on from the committed position.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventlog::{EventLog, NewRecord, Partition, Producer, ProducerUse, Subscription};
use schemas::fact::{Record, RecordHash};
use schemas::{topic, wire};
use service::clock::SharedClock;
use service::lifecycle::Shutdown;

use crate::chain::{Accepted, Chain, Judged};
use crate::core::{self, CORE_VERSION, Changes, Head, Input, Overlay};
use crate::core_catalog::CoreCatalog;
use crate::error::Error;
use crate::health::PartitionHealth;
use crate::metrics::OwnerMetrics;
use crate::settings::ProcessorSettings;
use crate::store::Store;
use crate::ticker::Ticker;

/// A record logged further ahead of this machine's clock halts the partition before it is decided: one wrong clock would
/// move core time for ever.
const MAX_CLOCK_AHEAD_MICROS: i64 = 10 * 60 * 1_000_000;
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
    /// Settings.
    pub settings: ProcessorSettings,
    /// The clock.
    pub clock: SharedClock,
    /// Where the owner says how it is.
    pub health: PartitionHealth,
    /// Where the owner counts.
    pub metrics: OwnerMetrics,
}

/// The owner of a partition, from the committed position on.
pub struct Owner<'a> {
    parts: &'a OwnerParts,
    store: &'a Store,
    head: Head,
    catalog: CoreCatalog,
    facts: Box<dyn Subscription>,
    events: Box<dyn Subscription>,
    producer: Box<dyn Producer>,
    ticker: Ticker,
}

/// What was decided and is not yet known to be accepted.
struct Speculation {
    hash: RecordHash,
    changes: Changes,
}

impl<'a> Owner<'a> {
    /// Takes up work where the committed state stands, with everything fresh but the store.
    ///
    /// # Errors
    /// [`Error::Foreign`] if state and log are not of the same history.
    pub async fn on(parts: &'a OwnerParts, store: &'a Store) -> Result<Self, Error> {
        let head = store.head()?;
        let log = &parts.log;
        let catalog = CoreCatalog::at(log.clone(), head.catalog).await?;
        let facts_partition = Partition { topic: topic::FACTS, number: parts.partition };
        let from = head.record.unwrap_or(0);
        let mut facts = log.subscribe(&[(facts_partition, from)]).await?;
        if head.record.is_some() {
            let same = facts
                .next(1, READ_BACK)
                .await?
                .is_some_and(|batch| wire::hash_record(&batch.records[0].payload) == head.record_hash);
            if !same {
                return Err(Error::Foreign("the last record of facts in the state"));
            }
        }
        let events = subscribe_events(log.as_ref(), parts.partition, head.source).await?;
        let producer = log.producer(ProducerUse {
            name: "facts",
            deadline: Duration::from_millis(parts.settings.append_deadline_ms),
            max_pending_bytes: MAX_PENDING_BYTES,
        })?;
        let ticker = Ticker::new(log.as_ref(), parts.partition, parts.settings.cut_period_ms)?;
        Ok(Self { parts, store, head, catalog, facts, events, producer, ticker })
    }

    /// Works until the shutdown.
    ///
    /// # Errors
    /// Whatever stopped it; nothing uncommitted is kept.
    pub async fn work(&mut self, shutdown: &Shutdown) -> Result<(), Error> {
        self.absorb(None).await?;
        while !shutdown.is_started() {
            let inputs = self.collect().await?;
            // Another owner may have been here meanwhile: what it decided need not be decided again.
            self.absorb(None).await?;
            let inputs: Vec<Input> =
                inputs.into_iter().filter(|input| input.position >= self.head.source).collect();
            if !inputs.is_empty() {
                self.decide_and_append(&inputs).await?;
            }
            self.tick().await?;
        }
        Ok(())
    }

    /// Events from the committed position on: what is there, and what comes within the linger time.
    async fn collect(&mut self) -> Result<Vec<Input>, Error> {
        let mut inputs: Vec<Input> = Vec::new();
        let mut wait = IDLE_WAIT;
        let linger = Duration::from_millis(self.parts.settings.batch_linger_ms);
        let began = tokio::time::Instant::now();
        while let Some(room) = self.parts.settings.max_batch_events.checked_sub(inputs.len())
            && room > 0
        {
            let Some(batch) = self.events.next(room, wait).await? else { break };
            for record in &batch.records {
                let ahead = record.log_time.micros() - self.parts.clock.now_micros();
                if ahead > MAX_CLOCK_AHEAD_MICROS {
                    return Err(Error::ClockAhead { position: record.position, ahead_s: ahead / 1_000_000 });
                }
                inputs.push(Input::read(record));
            }
            let Some(left) = linger.checked_sub(began.elapsed()) else { break };
            wait = left;
        }
        Ok(inputs)
    }

    async fn decide_and_append(&mut self, inputs: &[Input]) -> Result<(), Error> {
        if inputs[0].position != self.head.source {
            return Err(Error::Foreign("the position in the state"));
        }
        let (record, changes) = self.decide(inputs).await?;
        let payload = wire::encode_record(&record);
        let speculation = Speculation { hash: wire::hash_record(&payload), changes };
        let partition = Partition { topic: topic::FACTS, number: self.parts.partition };
        let answers = self.producer.append(partition, vec![NewRecord { key: Bytes::new(), payload }]).await;
        let position = answers.into_iter().next().unwrap_or(Err(eventlog::Error::Closed))?;
        self.absorb(Some((position, speculation))).await
    }

    /// Decides a range of events on a speculative copy of the state.
    async fn decide(&mut self, inputs: &[Input]) -> Result<(Record, Changes), Error> {
        let mut overlay = Overlay::new(self.store, self.head.clone());
        let mut decisions = Vec::with_capacity(inputs.len());
        for input in inputs {
            if let Ok(event) = &input.event {
                self.catalog.advance_for(input.position, event.catalog).await?;
            }
            decisions.push(core::decide(&mut overlay, self.catalog.get(), input)?);
        }
        let record = Record {
            core_version: CORE_VERSION,
            partition: self.parts.partition,
            previous: self.head.record_hash,
            first_seq: self.head.next_seq,
            source_from: self.head.source,
            source_to: overlay.head().source,
            catalog: self.catalog.get().revision(),
            decisions,
        };
        Ok((record, overlay.into_changes()))
    }

    /// Reads the facts log and commits what fits the chain: up to and with a position just appended, or what is there.
    async fn absorb(&mut self, mut mine: Option<(u64, Speculation)>) -> Result<(), Error> {
        let source_before = self.head.source;
        let until = mine.as_ref().map(|(position, _)| *position);
        let mut foreign = false;
        loop {
            let wait = if until.is_some() { READ_BACK } else { Duration::ZERO };
            let Some(batch) = self.facts.next(FACTS_READ, wait).await? else {
                match until {
                    Some(_) => return Err(eventlog::Error::Deadline.into()),
                    None => break,
                }
            };
            for record in &batch.records {
                foreign |= self.absorb_record(record, &mut mine).await?;
            }
            let last = batch.records.last().map(|record| record.position);
            if until.is_some() && last >= until {
                break;
            }
        }
        if foreign && self.head.source != source_before {
            self.events =
                subscribe_events(self.parts.log.as_ref(), self.parts.partition, self.head.source).await?;
        }
        Ok(())
    }

    /// Judges one record of the facts log. True if it was accepted and another owner's.
    async fn absorb_record(
        &mut self,
        record: &eventlog::Record,
        mine: &mut Option<(u64, Speculation)>,
    ) -> Result<bool, Error> {
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
        let Accepted { record: facts, hash } = *accepted;
        let own = mine.take().filter(|(_, speculation)| speculation.hash == hash);
        let foreign = own.is_none();
        let mut changes = match own {
            Some((_, speculation)) => speculation.changes,
            None => self.apply(&facts, record.position, hash).await?,
        };
        changes.head.record = Some(record.position);
        changes.head.record_hash = hash;
        self.head = changes.head.clone();
        self.store.commit(changes)?;
        self.parts.metrics.committed(&self.head, foreign);
        Ok(foreign)
    }

    async fn apply(&mut self, facts: &Record, position: u64, hash: RecordHash) -> Result<Changes, Error> {
        // The own copy of the catalog may have run ahead for a speculation that is dropped now.
        if self.catalog.get().revision().number > facts.catalog.number {
            self.catalog = CoreCatalog::at(self.parts.log.clone(), facts.catalog).await?;
        } else {
            self.catalog.advance_for(facts.source_from, facts.catalog).await?;
        }
        let mut overlay = Overlay::new(self.store, self.head.clone());
        core::apply_record(&mut overlay, facts, position, hash)?;
        Ok(overlay.into_changes())
    }

    async fn tick(&mut self) -> Result<(), Error> {
        let due = core::is_wait_due(self.store, &self.head, self.parts.clock.now_micros())?;
        self.ticker.maybe_tick(&self.head, due, self.parts.clock.now_micros()).await?;
        self.parts.health.running();
        Ok(())
    }
}

async fn subscribe_events(
    log: &dyn EventLog,
    partition: u32,
    from: u64,
) -> Result<Box<dyn Subscription>, eventlog::Error> {
    log.subscribe(&[(Partition { topic: topic::EVENTS, number: partition }, from)]).await
}
