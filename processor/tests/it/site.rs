//! An installation on one machine: the log, the catalog in it, edges that append, owners that decide.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use catalog::Follower;
use catalog::follower::FollowerSettings;
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings};
use eventlog::{EventLog, NewRecord, Partition, ProducerUse, TopicSpec};
use processor::assignment::Assignment;
use processor::chain::{Chain, Judged};
use processor::core::Head;
use processor::owner::{Owner, OwnerParts};
use processor::store::{Committed as _, Store};
use processor::{Error, Failpoints, Health, Metrics, PartitionHealth, ProcessorSettings, Workers};
use schemas::event::Event;
use schemas::fact::{Fact, Outcome, Record};
use schemas::id::EventId;
use schemas::time::Timestamp;
use schemas::{topic, wire};
use service::clock::{Clock, ManualClock, SharedClock};
use service::lifecycle::Shutdown;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::scene::{T0, Traffic, catalog, proposals};

/// No broken test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);
pub(crate) const EVENTS: Partition = Partition { topic: topic::EVENTS, number: 0 };
pub(crate) const CAPS: Partition = Partition { topic: topic::CAPS, number: 0 };
pub(crate) const RESULTS: Partition = Partition { topic: topic::RESULTS, number: 0 };
pub(crate) const FACTS: Partition = Partition { topic: topic::FACTS, number: 0 };

pub(crate) struct Site {
    pub(crate) log: Arc<dyn EventLog>,
    /// The clock of the log and of the owners.
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) dir: TempDir,
}

/// An owner or a sink at work.
pub(crate) struct Running {
    pub(crate) shutdown: Shutdown,
    pub(crate) task: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Stops it and gives how it ended.
    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.shutdown.trigger();
        self.ended().await
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(self) -> Result<(), Error> {
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }
}

impl Site {
    /// A new installation whose log holds the catalog.
    pub(crate) async fn start() -> Self {
        let topics = [topic::CATALOG, topic::EVENTS, topic::FACTS, topic::CAPS, topic::RESULTS];
        Self::with_topics(&topics).await
    }

    /// The same, with these topics alone.
    pub(crate) async fn with_topics(topics: &[&'static str]) -> Self {
        Self::with_settings(topics, |_| {}).await
    }

    /// A new installation whose log has many small segments, so that much of it can be deleted.
    pub(crate) async fn with_small_segments() -> Self {
        let topics = [topic::CATALOG, topic::EVENTS, topic::FACTS, topic::CAPS];
        Self::with_settings(&topics, |settings| {
            (settings.max_record_bytes, settings.segment_bytes) = (16 << 10, 17 << 10);
        })
        .await
    }

    async fn with_settings(topics: &[&'static str], edit: impl FnOnce(&mut EmbeddedSettings)) -> Self {
        let site = Self::without_catalog(topics, edit).await;
        for proposal in proposals() {
            site.append(Partition { topic: topic::CATALOG, number: 0 }, proposal).await;
        }
        site
    }

    async fn without_catalog(topics: &[&'static str], edit: impl FnOnce(&mut EmbeddedSettings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(T0);
        let log_clock = clock.clone();
        let mut settings =
            EmbeddedSettings::new(Arc::new(move || Timestamp::from_micros(log_clock.now_micros())));
        edit(&mut settings);
        let log: Arc<dyn EventLog> = Arc::new(EmbeddedLog::open(&dir.path().join("log"), settings).unwrap());
        let topics: Vec<TopicSpec> = topics.iter().map(|name| TopicSpec { name, partitions: 1 }).collect();
        log.ensure_topics(&topics).await.unwrap();
        Self { log, clock, dir }
    }

    /// Follows the catalog of the installation.
    pub(crate) fn follower(&self) -> Follower {
        let following = Follower::start(self.log.clone(), FollowerSettings::default());
        tokio::task::block_in_place(|| Handle::current().block_on(following)).unwrap()
    }

    pub(crate) async fn append(&self, partition: Partition, payload: Bytes) -> u64 {
        let usage = ProducerUse { name: "test", deadline: PATIENCE, max_pending_bytes: 64 << 20 };
        let producer = self.log.producer(usage).unwrap();
        let answers = producer.append(partition, vec![NewRecord { key: Bytes::new(), payload }]).await;
        answers.into_iter().next().unwrap().unwrap()
    }

    pub(crate) async fn send(&self, event: &Event) -> u64 {
        self.append(EVENTS, wire::encode_event(event.clone())).await
    }

    pub(crate) fn state_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn store(&self, name: &str) -> Arc<Store> {
        Arc::new(Store::open(&self.state_dir(name), 0).unwrap())
    }

    pub(crate) fn owner(&self, store: &Arc<Store>) -> Running {
        self.owner_with(store, self.clock.clone(), 5_000)
    }

    pub(crate) fn owner_with(
        &self,
        store: &Arc<Store>,
        clock: SharedClock,
        max_batch_events: usize,
    ) -> Running {
        let settings = ProcessorSettings {
            max_batch_events,
            batch_linger_ms: 0,
            cut_period_ms: 1_000,
            ..ProcessorSettings::default()
        };
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let health = Health::default().partition("processor", 0, &metrics);
        self.run_owner(store, settings, clock, health, &metrics)
    }

    /// An owner that says how it is where others look, too.
    pub(crate) fn owner_of_health(
        &self,
        store: &Arc<Store>,
        health: PartitionHealth,
        metrics: &Metrics,
    ) -> Running {
        let settings = ProcessorSettings { batch_linger_ms: 0, ..ProcessorSettings::default() };
        self.run_owner(store, settings, self.clock.clone(), health, metrics)
    }

    fn run_owner(
        &self,
        store: &Arc<Store>,
        settings: ProcessorSettings,
        clock: SharedClock,
        health: PartitionHealth,
        metrics: &Metrics,
    ) -> Running {
        let parts = OwnerParts {
            settings,
            clock,
            health,
            metrics: metrics.owner(0),
            ..self.owner_parts(Assignment::default())
        };
        Self::run(store, parts)
    }

    /// What an owner of a generation is made of.
    pub(crate) fn owner_parts(&self, assignment: Assignment) -> OwnerParts {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        OwnerParts {
            partition: 0,
            assignment,
            log: self.log.clone(),
            objects: None,
            settings: ProcessorSettings { batch_linger_ms: 0, ..ProcessorSettings::default() },
            clock: self.clock.clone(),
            health: Health::default().partition("processor", 0, &metrics),
            metrics: metrics.owner(0),
            failpoints: Failpoints::default(),
            workers: Workers::Threads,
        }
    }

    pub(crate) fn run(store: &Arc<Store>, parts: OwnerParts) -> Running {
        let shutdown = Shutdown::new();
        let (heard, store) = (shutdown.clone(), Arc::clone(store));
        let runtime = Handle::current();
        // As the runner does: an owner blocks on its store, so it has a thread of its own.
        let task = tokio::task::spawn_blocking(move || {
            runtime.block_on(async { Owner::on(&parts, &*store).await?.work(&heard).await })
        });
        Running { shutdown, task }
    }

    /// Waits until a state stands at the end of the events.
    pub(crate) async fn decided(&self, store: &Store) -> Head {
        let begun = Instant::now();
        loop {
            let head = store.head().unwrap();
            if head.source == self.log.bounds(EVENTS).await.unwrap().end {
                return head;
            }
            assert!(begun.elapsed() < PATIENCE, "not in time: {head:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Every record of the facts log, with its position.
    pub(crate) async fn facts_log(&self) -> Vec<(u64, Bytes)> {
        self.read(FACTS).await
    }

    pub(crate) async fn events_log(&self) -> Vec<Bytes> {
        self.read(EVENTS).await.into_iter().map(|(_, payload)| payload).collect()
    }

    pub(crate) async fn read(&self, partition: Partition) -> Vec<(u64, Bytes)> {
        let end = self.log.bounds(partition).await.unwrap().end;
        let mut subscription = self.log.subscribe(&[(partition, 0)]).await.unwrap();
        let mut records = Vec::new();
        while (records.len() as u64) < end {
            let batch = subscription.next(1_000, PATIENCE).await.unwrap().unwrap();
            records.extend(batch.records.into_iter().map(|record| (record.position, record.payload)));
        }
        records
    }

    /// The accepted records, and how many others the log holds.
    pub(crate) async fn chain(&self) -> (Vec<Record>, usize) {
        self.chain_of(FACTS).await
    }

    /// The same of another generation.
    pub(crate) async fn chain_of(&self, facts: Partition) -> (Vec<Record>, usize) {
        let mut chain = Chain::start(0);
        let mut accepted = Vec::new();
        let mut ignored = 0;
        for (_, payload) in self.read(facts).await {
            match chain.judge(&payload).unwrap() {
                Judged::Accepted(record) => accepted.push(record.record),
                Judged::Ignored => ignored += 1,
            }
        }
        (accepted, ignored)
    }

    /// Each event's only outcome in the accepted chain.
    pub(crate) async fn outcomes(&self) -> HashMap<EventId, Outcome> {
        self.outcomes_of(FACTS).await
    }

    /// The same of another generation.
    pub(crate) async fn outcomes_of(&self, facts: Partition) -> HashMap<EventId, Outcome> {
        let mut outcomes = HashMap::new();
        for fact in self
            .chain_of(facts)
            .await
            .0
            .into_iter()
            .flat_map(|record| record.decisions)
            .flat_map(|it| it.facts)
        {
            if let Fact::Outcome(outcome) = fact {
                let before = outcomes.insert(outcome.event, *outcome);
                assert!(before.is_none(), "two outcomes: {before:?}");
            }
        }
        outcomes
    }

    /// An edge that knows the whole catalog.
    pub(crate) fn edge(&self, number: u8) -> Traffic {
        let mut edge = Traffic::of_edge(number);
        edge.catalog = catalog().revision();
        edge
    }

    pub(crate) fn forget(&self, name: &str) {
        std::fs::remove_dir_all(self.state_dir(name)).unwrap();
    }

    pub(crate) fn copy_state(&self, from: &str, to: &Path) {
        copy(&self.state_dir(from), to);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

impl Site {
    /// How many events the accepted chain has settled, each once; being parked settles nothing.
    pub(crate) async fn outcomes_of_settled(&self) -> usize {
        let mut settled = std::collections::HashSet::new();
        for fact in
            self.chain().await.0.into_iter().flat_map(|record| record.decisions).flat_map(|it| it.facts)
        {
            if let Fact::Outcome(outcome) = fact
                && outcome.status != schemas::fact::OutcomeStatus::Parked
            {
                assert!(settled.insert(outcome.event), "settled twice: {outcome:?}");
            }
        }
        settled.len()
    }
}
