//! A log in memory whose appends may fail, arrive late or tear, as the seed has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eventlog::{
    Batch, Bounds, Error, EventLog, NewRecord, Partition, Position, Producer, ProducerUse, Record,
    Subscription, TopicSpec,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use schemas::time::Timestamp;
use schemas::topic;
use service::clock::SharedClock;

use crate::pause::give_way;

pub(crate) const EVENTS: Partition = Partition { topic: topic::EVENTS, number: 0 };
pub(crate) const FACTS: Partition = Partition { topic: topic::FACTS, number: 0 };
pub(crate) const CATALOG: Partition = Partition { topic: topic::CATALOG, number: 0 };
/// How far the log's own clock may lag behind that of the owners, from record to record.
const MAX_LAG_MICROS: i64 = 2_000_000;

/// The log. All its clones are one.
#[derive(Clone)]
pub(crate) struct SimLog(Arc<Mutex<Inner>>);

struct Inner {
    rng: StdRng,
    clock: SharedClock,
    topics: BTreeMap<&'static str, Vec<Record>>,
    /// Where a topic begins, if something was deleted. What is gone is kept to be compared, and read by nobody.
    starts: BTreeMap<&'static str, Position>,
    /// What is deleted beyond what was asked for; nothing, but where the simulation shall find it.
    deletes_too_much: Position,
    /// Appends that nobody waits for any more and that land all the same.
    late: Vec<(Partition, Vec<NewRecord>)>,
    has_faults: bool,
    /// Whether the next append of facts waits until another one has come before it, as concurrent ones may.
    is_overtaken: bool,
}

/// What becomes of an append.
enum Fate {
    Acknowledged,
    /// Written, and answered as if it were not known.
    Unknown,
    Lost,
    /// As many records as this are written, the others are not.
    Torn(usize),
    /// As many records as this are written at once, the others later.
    Late(usize),
}

impl Inner {
    fn write(&mut self, partition: Partition, records: Vec<NewRecord>) -> Vec<Position> {
        let lag = if self.is_faulty(partition) { self.rng.random_range(0..MAX_LAG_MICROS) } else { 0 };
        let log_time = Timestamp::from_micros(self.clock.now_micros() - lag);
        let topic = self.topics.entry(partition.topic).or_default();
        let append = |NewRecord { key, payload }: NewRecord| {
            let position = topic.len() as u64;
            topic.push(Record { position, log_time, key, payload });
            position
        };
        records.into_iter().map(append).collect()
    }

    fn is_faulty(&self, partition: Partition) -> bool {
        self.has_faults && !is_beside(partition)
    }

    fn fate(&mut self, partition: Partition, count: usize) -> Fate {
        if !self.is_faulty(partition) {
            return Fate::Acknowledged;
        }
        match self.rng.random_range(0..20) {
            0 => Fate::Unknown,
            1 => Fate::Lost,
            2 => Fate::Torn(self.rng.random_range(0..count)),
            3 | 4 => Fate::Late(self.rng.random_range(0..count)),
            _ => Fate::Acknowledged,
        }
    }

    fn append(&mut self, partition: Partition, mut records: Vec<NewRecord>) -> Vec<Result<Position, Error>> {
        let count = records.len();
        let fate = self.fate(partition, count);
        let failed = |count| (0..count).map(|_| Err(Error::Deadline));
        match fate {
            Fate::Acknowledged => self.write(partition, records).into_iter().map(Ok).collect(),
            Fate::Unknown => {
                self.write(partition, records);
                failed(count).collect()
            }
            Fate::Lost => failed(count).collect(),
            Fate::Torn(written) => {
                records.truncate(written);
                let written = self.write(partition, records);
                let rest = failed(count - written.len());
                written.into_iter().map(Ok).chain(rest).collect()
            }
            Fate::Late(written) => {
                self.late.push((partition, records.split_off(written)));
                let written = self.write(partition, records);
                let rest = failed(count - written.len());
                written.into_iter().map(Ok).chain(rest).collect()
            }
        }
    }

    fn maybe_land(&mut self) {
        if !self.late.is_empty() && self.rng.random_ratio(1, 12) {
            let which = self.rng.random_range(0..self.late.len());
            let (partition, records) = self.late.swap_remove(which);
            self.write(partition, records);
        }
    }

    fn start(&self, partition: Partition) -> Position {
        self.starts.get(partition.topic).copied().unwrap_or(0)
    }

    fn end(&self, partition: Partition) -> Position {
        self.records(partition).len() as u64
    }

    fn out_of_range(&self, partition: Partition, position: Position) -> Error {
        let (start, end) = (self.start(partition), self.end(partition));
        let Partition { topic, number: partition } = partition;
        Error::OutOfRange { topic, partition, position, start, end }
    }

    fn records(&self, partition: Partition) -> &[Record] {
        self.topics.get(partition.topic).map_or(&[], Vec::as_slice)
    }
}

impl SimLog {
    pub(crate) fn new(seed: u64, clock: SharedClock) -> Self {
        let inner = Inner {
            rng: StdRng::seed_from_u64(seed),
            clock,
            topics: BTreeMap::new(),
            starts: BTreeMap::new(),
            deletes_too_much: 0,
            late: Vec::new(),
            has_faults: false,
            is_overtaken: false,
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// Appends outside of any owner, with the fate that the seed gives.
    pub(crate) fn append_now(
        &self,
        partition: Partition,
        payloads: Vec<Bytes>,
    ) -> Vec<Result<Position, Error>> {
        let records = payloads.into_iter().map(|payload| NewRecord { key: Bytes::new(), payload });
        self.0.lock().append(partition, records.collect())
    }

    pub(crate) fn overtake(&self) {
        self.0.lock().is_overtaken = true;
    }

    pub(crate) fn set_faults(&self, has_faults: bool) {
        self.0.lock().has_faults = has_faults;
    }

    /// Lets everything land that is late.
    pub(crate) fn land_late(&self) {
        let mut inner = self.0.lock();
        for (partition, records) in std::mem::take(&mut inner.late) {
            inner.write(partition, records);
        }
    }

    pub(crate) fn delete_too_much(&self, records: u64) {
        self.0.lock().deletes_too_much = records;
    }

    pub(crate) fn bounds_now(&self, partition: Partition) -> Bounds {
        let inner = self.0.lock();
        Bounds { start: inner.start(partition), end: inner.end(partition) }
    }

    /// Every record that there ever was.
    pub(crate) fn read(&self, partition: Partition) -> Vec<Record> {
        self.0.lock().records(partition).to_vec()
    }

    /// Gives way to others a few times, so that an owner can be stopped there.
    async fn pause(&self) {
        let times = {
            let mut inner = self.0.lock();
            inner.maybe_land();
            if inner.has_faults { inner.rng.random_range(1..4) } else { 1 }
        };
        give_way(times).await;
    }

    /// Whether the seed has this go wrong, once in `times`.
    fn fails(&self, times: u32) -> bool {
        let mut inner = self.0.lock();
        inner.has_faults && inner.rng.random_ratio(1, times)
    }
}

#[async_trait]
impl EventLog for SimLog {
    async fn ensure_topics(&self, _: &[TopicSpec]) -> Result<(), Error> {
        Ok(())
    }

    async fn partitions(&self, _: &'static str) -> Result<Option<u32>, Error> {
        Ok(Some(1))
    }

    fn producer(&self, _: ProducerUse) -> Result<Box<dyn Producer>, Error> {
        Ok(Box::new(SimProducer(self.clone())))
    }

    async fn subscribe(&self, from: &[(Partition, Position)]) -> Result<Box<dyn Subscription>, Error> {
        self.pause().await;
        let [(partition, position)] = *from else {
            return Err(Error::Settings("one partition at a time".into()));
        };
        let Bounds { start, end } = self.bounds_now(partition);
        if !(start..=end).contains(&position) {
            return Err(self.0.lock().out_of_range(partition, position));
        }
        Ok(Box::new(SimSubscription { log: self.clone(), partition, position }))
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, Error> {
        self.pause().await;
        if self.fails(300) {
            return Err(Error::Unavailable("by the seed".into()));
        }
        Ok(self.bounds_now(partition))
    }

    /// Deletes as far as it likes, as a log of segments does, and no further.
    async fn delete_below(&self, partition: Partition, position: Position) -> Result<(), Error> {
        if is_beside(partition) {
            return Ok(());
        }
        self.pause().await;
        let mut inner = self.0.lock();
        let (start, end) = (inner.start(partition), inner.end(partition));
        let most = position.saturating_add(inner.deletes_too_much).min(end);
        if most > start {
            let start = if inner.has_faults { inner.rng.random_range(start..=most) } else { most };
            inner.starts.insert(partition.topic, start);
        }
        Ok(())
    }

    async fn close(&self, _: Duration) {}
}

/// Counts of caps and results of commands are published beside the work, in no certain order: they take nothing from the
/// seed's randomness.
fn is_beside(partition: Partition) -> bool {
    matches!(partition.topic, topic::CAPS | topic::RESULTS)
}

struct SimProducer(SimLog);

#[async_trait]
impl Producer for SimProducer {
    async fn append(&self, partition: Partition, records: Vec<NewRecord>) -> Vec<Result<Position, Error>> {
        let Self(log) = self;
        if is_beside(partition) {
            return log.0.lock().append(partition, records);
        }
        let is_overtaken = partition == FACTS && std::mem::take(&mut log.0.lock().is_overtaken);
        let end = log.bounds_now(FACTS).end;
        while is_overtaken && log.bounds_now(FACTS).end == end {
            log.pause().await;
        }
        log.pause().await;
        let answers = log.0.lock().append(partition, records);
        log.pause().await;
        answers
    }
}

struct SimSubscription {
    log: SimLog,
    partition: Partition,
    position: Position,
}

#[async_trait]
impl Subscription for SimSubscription {
    async fn next(&mut self, max_records: usize, _: Duration) -> Result<Option<Batch>, Error> {
        self.log.pause().await;
        if self.log.fails(300) {
            return Err(Error::Unavailable("by the seed".into()));
        }
        if self.log.fails(30) {
            // Nothing came in time, though it is there.
            return Ok(None);
        }
        let mut inner = self.log.0.lock();
        if self.position < inner.start(self.partition) {
            return Err(inner.out_of_range(self.partition, self.position));
        }
        let there = inner.records(self.partition).len().saturating_sub(self.position as usize);
        if there == 0 {
            return Ok(None);
        }
        let most = there.min(max_records);
        let count = if inner.has_faults { inner.rng.random_range(1..=most) } else { most };
        let from = self.position as usize;
        let records = inner.records(self.partition)[from..from + count].to_vec();
        self.position += count as u64;
        Ok(Some(Batch { partition: self.partition, records }))
    }

    fn pause(&mut self, _: Partition) {}

    fn resume(&mut self, _: Partition) {}

    fn positions(&self) -> BTreeMap<Partition, Position> {
        BTreeMap::from([(self.partition, self.position)])
    }
}
