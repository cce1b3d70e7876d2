//! Processors that come and go, with their disks.

use std::path::Path;
use std::time::{Duration, Instant};

use eventlog::Partition;
use processor::store::{Committed as _, Store};
use processor::{
    Failpoints, Health, Metrics, Objects, ProcessorSettings, Share, Surroundings, start_processor,
};
use prometheus::Registry;
use schemas::event::Event;
use service::lifecycle::{Shutdown, Tasks};
use warehouse::Endpoint;

use super::traffic;
use crate::site::{EVENTS, FACTS, PATIENCE, Site};

/// A processor with its own disk.
pub(crate) struct Processor {
    tasks: Tasks,
    registry: Registry,
}

impl Processor {
    /// One that archives nothing, so that nobody is asked how far a sink is.
    fn start(site: &Site, disk: &Path, objects: &Objects) -> Self {
        let nowhere = Endpoint::new("http://127.0.0.1:1", "", "", "");
        Self::start_with(site, disk, objects, (&nowhere, 0))
    }

    pub(crate) fn start_with(
        site: &Site,
        disk: &Path,
        objects: &Objects,
        (warehouse, archive_after_hours): (&Endpoint, u64),
    ) -> Self {
        let (registry, tasks) = (Registry::new(), Tasks::new(Shutdown::new()));
        let surroundings = Surroundings {
            log: site.log.clone(),
            clock: site.clock.clone(),
            health: Health::default(),
            metrics: Metrics::register(&registry).unwrap(),
            tasks: tasks.clone(),
            shutdown: tasks.shutdown().clone(),
            partitions: 1,
            failpoints: Failpoints::default(),
            objects: Some(objects.clone()),
            catalog: site.follower(),
        };
        let settings = ProcessorSettings {
            batch_linger_ms: 0,
            max_batch_events: 4,
            snapshot_period_s: 1,
            archive_after_hours,
            ..ProcessorSettings::default()
        };
        let (warehouse, _) = warehouse::connect(warehouse);
        start_processor(&surroundings, (&settings, Share::Named(Vec::new())), &warehouse, disk.to_owned())
            .unwrap();
        Self { tasks, registry }
    }

    /// Waits until a metric's line holds.
    pub(crate) async fn reaches(&self, metric: &str, holds: impl Fn(u64) -> bool) {
        let begun = Instant::now();
        loop {
            let text = service::telemetry::metrics_text(&self.registry).unwrap();
            let value =
                text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.parse().ok());
            if value.is_some_and(&holds) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{metric} in {text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn stop(self) {
        self.tasks.shutdown().trigger();
        self.tasks.join_all(PATIENCE).await.unwrap();
    }
}

pub(crate) const SOURCE: &str = "tributary_processor_source_position{partition=\"0\"}";
pub(crate) const POSITION: &str = "tributary_snapshot_position{partition=\"0\"}";
const FAILURES: &str = "tributary_snapshot_failures_total{partition=\"0\"}";

async fn send(site: &Site, events: &[Event]) {
    for event in events {
        site.send(event).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machine_goes_on_from_the_snapshot_where_what_comes_before_it_is_gone() {
    for partition in [FACTS, EVENTS] {
        goes_on_without_the_beginning_of(partition).await;
    }
}

async fn goes_on_without_the_beginning_of(partition: Partition) {
    let site = Site::with_small_segments().await;
    let objects = Objects::in_directory(&site.dir.path().join("objects")).unwrap();
    let events = traffic(&mut site.edge(1), 200);
    let (before, after) = events.split_at(300);
    // A disk with the state of long ago.
    site.decide("old/p0", &before[..8]).await;
    let first = Processor::start(&site, &site.state_dir("first"), &objects);
    send(&site, &before[8..]).await;
    first.reaches(SOURCE, |source| source >= 300).await;
    let facts = site.log.bounds(FACTS).await.unwrap().end;
    first.reaches(POSITION, |position| position + 1 >= facts).await;
    first.stop().await;
    let kept = site.snapshots().kept().await.unwrap();
    assert!(kept.len() <= 2, "{kept:?}");
    let needed = if partition == FACTS { kept[0].position } else { 299 };
    site.log.delete_below(partition, needed).await.unwrap();
    let start = site.log.bounds(partition).await.unwrap().start;
    assert!(start > 8 && start <= needed, "{start}");

    // The machine is gone with its disk; more has come meanwhile.
    send(&site, after).await;
    for disk in ["second", "old"] {
        let processor = Processor::start(&site, &site.state_dir(disk), &objects);
        processor.reaches(SOURCE, |source| source >= 400).await;
        processor.stop().await;
        let head = Store::open(&site.state_dir(disk).join("p0"), 0).unwrap().head().unwrap();
        assert_eq!((head.counters.outcomes[0], head.imbalance()), (400, 0), "{disk}: each once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_counted_and_stops_no_decision() {
    let site = Site::start().await;
    let place = site.dir.path().join("objects");
    let objects = Objects::in_directory(&place).unwrap();
    // Where the folder of the snapshots should be is something else.
    std::fs::write(place.join("snapshots"), "x").unwrap();
    let processor = Processor::start(&site, &site.state_dir("state"), &objects);
    let events = traffic(&mut site.edge(1), 20);
    send(&site, &events[..20]).await;
    processor.reaches(FAILURES, |failures| failures >= 2).await;
    send(&site, &events[20..]).await;
    processor.reaches(SOURCE, |source| source >= 40).await;
    // And once it works again, there is a snapshot.
    std::fs::remove_file(place.join("snapshots")).unwrap();
    processor.reaches(POSITION, |_| true).await;
    processor.stop().await;
    assert_eq!(site.snapshots().kept().await.unwrap().len(), 1);
}
