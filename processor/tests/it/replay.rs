//! Another generation reads the past beside the live one, and decides alone from the switch on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Catalog, Projection, Stage};
use eventlog::{Partition, TopicSpec};
use processor::assignment::{Assignment, Standing};
use processor::core::{Head, conversion_now};
use processor::owner::OwnerParts;
use processor::store::{Committed as _, Store};
use processor::verify::{Beginning, Question, Verifier};
use processor::{Objects, ProcessorSettings};
use schemas::event::{Event, Status};
use schemas::fact::{Decision, OutcomeStatus};
use schemas::generation::Generation;
use schemas::id::ConversionId;
use schemas::time::Timestamp;
use schemas::topic;

use crate::scene::{
    DAY, HOUR, MINUTE, SECOND, Traffic, WORKSPACE, click_id, folded, lookback_proposal, projection_proposal,
    proposals,
};
use crate::site::{EVENTS, FACTS, PATIENCE, Running, Site};

const CATALOG: Partition = Partition { topic: topic::CATALOG, number: 0 };
const POLL: Duration = Duration::from_millis(10);
/// Long enough for an owner to decide what it may.
const A_WHILE: Duration = Duration::from_millis(400);

/// An installation, its live owner, and the catalog that its edges know.
struct Replay {
    site: Site,
    store: Arc<Store>,
    live: Option<Running>,
    edge: Traffic,
    catalog: Catalog,
    records: Vec<bytes::Bytes>,
}

fn second(stage: Stage, settings_of: Option<u64>) -> Projection {
    let generation = Generation::FIRST.next();
    Projection { generation, stage, after: Generation::FIRST, settings_of }
}

fn facts_of_second() -> Partition {
    Partition { topic: Generation::FIRST.next().facts(), number: 0 }
}

impl Replay {
    async fn start(site: Site) -> Self {
        let topic = TopicSpec { name: facts_of_second().topic, partitions: 1 };
        site.log.ensure_topics(&[topic]).await.unwrap();
        let (store, edge, records) = (site.store("state"), site.edge(1), proposals());
        let live = Some(site.owner(&store));
        let catalog = folded(records.clone());
        Self { site, store, live, edge, catalog, records }
    }

    /// Appends a record to the catalog, of which edges know at once.
    async fn propose(&mut self, record: impl FnOnce(u64) -> bytes::Bytes) {
        let record = record(self.catalog.revision().number);
        self.site.append(CATALOG, record.clone()).await;
        self.records.push(record);
        self.catalog = folded(self.records.clone());
        self.edge.catalog = self.catalog.revision();
    }

    async fn say(&mut self, stage: Stage, settings_of: Option<u64>) {
        self.propose(|position| projection_proposal(position, second(stage, settings_of))).await;
    }

    /// A click long before its sale, one right before its sale, a visit without one, a tick.
    async fn send_some(&mut self, at: i64) -> [ConversionId; 2] {
        let old = self.edge.click(at - 10 * DAY, |_| {});
        let fresh = self.edge.click(at - HOUR, |_| {});
        let mut sold = Vec::new();
        for click in [&old, &fresh] {
            let (click, at) = (click_id(click), at + sold.len() as i64);
            sold.push(self.edge.conversion(at, |sale| {
                sale.click = Some(click);
                sale.transaction_id = format!("t{at}");
                sale.status = Some(Status::Pending);
            }));
        }
        let ids = [sold[0].id.rename(), sold[1].id.rename()];
        for event in [old, fresh].into_iter().chain(sold) {
            self.site.send(&event).await;
        }
        self.site.send(&Traffic::of_edge(0).tick(at)).await;
        ids
    }

    async fn send(&self, event: Event) {
        self.site.send(&event).await;
    }

    /// Waits until the live owner has decided everything.
    async fn decided(&self) -> Head {
        self.site.decided(&self.store).await
    }

    fn parts(&self, settings_of: Option<u64>, max_batch_events: usize) -> OwnerParts {
        let projection = second(Stage::Planned, settings_of);
        let parts = self.site.owner_parts(Assignment { projection, standing: Standing::Planned });
        let settings = ProcessorSettings { max_batch_events, ..parts.settings.clone() };
        OwnerParts { settings, ..parts }
    }

    async fn decisions(&self, facts: Partition) -> Vec<Decision> {
        self.site.chain_of(facts).await.0.into_iter().flat_map(|record| record.decisions).collect()
    }

    async fn end_of_events(&self) -> u64 {
        self.site.log.bounds(EVENTS).await.unwrap().end
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_read_beside_the_live_generation_which_ends_at_the_switch() {
    let mut replay = Replay::start(Site::start().await).await;
    replay.send_some(0).await;
    replay.decided().await;
    replay.say(Stage::Planned, None).await;
    let store = replay.site.store("second");
    let planned = Site::run(&store, replay.parts(None, 3));
    replay.site.decided(&store).await;
    replay.send_some(MINUTE).await;
    replay.site.decided(&store).await;
    assert_eq!(replay.decisions(facts_of_second()).await, replay.decisions(FACTS).await);

    // It never goes ahead, and has no ticks of its own.
    replay.live.take().unwrap().stop().await.unwrap();
    let head = replay.store.head().unwrap();
    replay.send_some(2 * MINUTE).await;
    replay.site.clock.advance(Duration::from_secs(30));
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(store.head().unwrap().source, head.source);
    assert_eq!(replay.end_of_events().await, head.source + 5);
    let live = replay.site.owner(&replay.store);
    replay.site.decided(&store).await;

    // The first event that knows of the switch is the new one's, and all after it.
    replay.say(Stage::Live, None).await;
    let switched_at = replay.end_of_events().await;
    replay.send_some(3 * MINUTE).await;
    live.ended().await.unwrap();
    replay.site.decided(&store).await;
    assert_eq!(replay.store.head().unwrap().source, switched_at);
    let decided: Vec<u64> = replay.decisions(facts_of_second()).await.iter().map(|it| it.source).collect();
    assert_eq!(decided, (0..replay.end_of_events().await).collect::<Vec<_>>());
    // Now the ticks are its business.
    let end = replay.end_of_events().await;
    replay.send(replay.tickless(4 * MINUTE)).await;
    replay.site.decided(&store).await;
    let begun = Instant::now();
    while replay.end_of_events().await < end + 2 {
        assert!(begun.elapsed() < PATIENCE, "no tick");
        replay.site.clock.advance(Duration::from_millis(500));
        tokio::time::sleep(POLL).await;
    }
    planned.stop().await.unwrap();

    // Whoever was the live one's owner finds nothing left to do.
    let former = Site::run(&replay.store, replay.site.owner_parts(Assignment::default()));
    former.ended().await.unwrap();
    assert_eq!(replay.store.head().unwrap().source, switched_at);
}

impl Replay {
    /// A click that waits for a cut.
    fn tickless(&self, at: i64) -> Event {
        let mut edge = Traffic::of_edge(9);
        edge.catalog = self.edge.catalog;
        edge.click(at, |_| {})
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_partition_learns_of_the_switch_by_a_tick() {
    let mut replay = Replay::start(Site::start().await).await;
    replay.send_some(0).await;
    replay.decided().await;
    replay.say(Stage::Planned, None).await;
    replay.say(Stage::Live, None).await;
    replay.live.take().unwrap().stop().await.unwrap();
    let (by, since) = (Generation::FIRST.next(), replay.catalog.revision());
    let standing = Standing::Former { by, since };
    let former = Assignment { projection: Projection::FIRST, standing };
    let store = replay.site.store("second");
    let new = Site::run(&store, replay.parts(None, 5_000));
    Site::run(&replay.store, replay.site.owner_parts(former)).ended().await.unwrap();
    let head = replay.site.decided(&store).await;
    assert_eq!(head.catalog, replay.catalog.revision());
    assert!(replay.store.head().unwrap().source < head.source);
    new.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_and_robbed_of_its_state_it_comes_to_the_same() {
    let mut replay = Replay::start(Site::start().await).await;
    for n in 0..40 {
        replay.send_some(n * SECOND).await;
    }
    replay.decided().await;
    replay.say(Stage::Planned, None).await;
    let end = replay.end_of_events().await;
    for (life, (name, upto)) in [("one", 50), ("one", 120), ("two", 160)].into_iter().enumerate() {
        let store = replay.site.store(name);
        let parts = replay.parts(None, 1 + life);
        let owner = Site::run(&store, parts);
        let begun = Instant::now();
        while store.head().unwrap().source < upto {
            assert!(begun.elapsed() < PATIENCE, "not in time");
            tokio::time::sleep(POLL).await;
        }
        // As by a kill: nothing is finished.
        owner.task.abort();
        owner.stop().await.unwrap();
    }
    let store = replay.site.store("three");
    let owner = Site::run(&store, replay.parts(None, 7));
    assert_eq!(replay.site.decided(&store).await.source, end);
    owner.stop().await.unwrap();
    assert_eq!(replay.decisions(facts_of_second()).await, replay.decisions(FACTS).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_decided_stays_and_another_lookback_changes_the_rest() {
    let mut replay = Replay::start(Site::start().await).await;
    let [old, fresh] = replay.send_some(0).await;
    let [old_open, fresh_open] = replay.send_some(MINUTE).await;
    let step = |edge: &mut Traffic, conversion, to, expected_version| {
        edge.command(2 * MINUTE, conversion, to, |it| it.expected_version = expected_version)
    };
    let commands = [
        step(&mut replay.edge, old, Status::Approved, Some(1)),
        step(&mut replay.edge, old, Status::Paid, Some(2)),
        step(&mut replay.edge, fresh, Status::Approved, None),
        step(&mut replay.edge, fresh, Status::Approved, None),
        step(&mut replay.edge, fresh_open, Status::Approved, Some(5)),
        step(&mut replay.edge, old_open, Status::Paid, None),
    ];
    let ids: Vec<_> = commands.iter().map(|command| command.id).collect();
    for command in commands {
        replay.send(command).await;
    }
    replay.decided().await;
    let ended = replay.site.outcomes_of(FACTS).await;
    replay.propose(|position| lookback_proposal(position, 7 * DAY)).await;
    let settings_of = Some(replay.catalog.revision().number);
    replay.say(Stage::Planned, settings_of).await;
    let store = replay.site.store("second");
    let owner = Site::run(&store, replay.parts(settings_of, 2));
    replay.site.decided(&store).await;
    owner.stop().await.unwrap();

    let again = replay.site.outcomes_of(facts_of_second()).await;
    for id in &ids {
        assert_eq!(again[id], ended[id]);
    }
    let statuses: Vec<_> = ids.iter().map(|id| again[id].status).collect();
    use OutcomeStatus::{Conflict, Duplicate, Updated};
    assert_eq!(statuses, [Updated, Updated, Updated, Duplicate, Conflict, Conflict]);
    let now = |store: &Store, id| conversion_now(store, WORKSPACE, id).unwrap().unwrap();
    for id in [old, fresh, old_open, fresh_open] {
        assert_eq!(now(&store, id), now(&replay.store, id));
    }
    let projection = second(Stage::Planned, settings_of);
    let verifier = Verifier { log: replay.site.log.clone(), objects: None, partition: 0, projection };
    let verified = verifier.verify(Beginning::default(), Question::default()).await.unwrap();
    assert_eq!((verified.difference, verified.to), (None, replay.end_of_events().await));
    // Whose they are is another question.
    let partner = |facts| {
        let replay = &replay;
        async move {
            let mut last = std::collections::BTreeMap::new();
            for fact in replay.decisions(facts).await.into_iter().flat_map(|decision| decision.facts) {
                if let schemas::fact::Fact::Revision(revision) = fact {
                    last.insert(revision.conversion, revision.attributed.partner);
                }
            }
            last
        }
    };
    let (before, after) = (partner(FACTS).await, partner(facts_of_second()).await);
    for (id, stays) in [(old, false), (old_open, false), (fresh, true), (fresh_open, true)] {
        assert!(before[&id].is_some());
        assert_eq!(after[&id] == before[&id], stays, "{id}");
        assert_eq!(after[&id].is_some(), stays, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_read_from_the_archive_where_the_log_has_it_no_more() {
    let mut replay = Replay::start(Site::with_small_segments().await).await;
    for n in 0..60 {
        replay.send_some(n * SECOND).await;
    }
    let end = replay.decided().await.source;
    replay.site.clock.advance(Duration::from_micros(20 * DAY.unsigned_abs()));
    replay.site.archive_older(DAY, end - 50).await.unwrap();
    assert!(replay.site.log.bounds(EVENTS).await.unwrap().start > 0);
    replay.say(Stage::Planned, None).await;
    let objects = Objects::in_directory(&replay.site.dir.path().join("objects")).unwrap();
    // A first life ends where the log begins no more.
    for (max_batch_events, upto) in [(2, 20), (50, end)] {
        let store = replay.site.store("second");
        let parts = OwnerParts { objects: Some(objects.clone()), ..replay.parts(None, max_batch_events) };
        let owner = Site::run(&store, parts);
        let begun = Instant::now();
        while store.head().unwrap().source < upto {
            assert!(begun.elapsed() < PATIENCE, "not in time");
            tokio::time::sleep(POLL).await;
        }
        owner.stop().await.unwrap();
    }
    assert_eq!(replay.decisions(facts_of_second()).await, replay.decisions(FACTS).await);
    let last = replay.decisions(FACTS).await.pop().unwrap();
    assert!(last.core_time > Timestamp::default());
}
