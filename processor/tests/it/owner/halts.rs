//! What an owner does not go on with.

use bytes::Bytes;
use processor::core::CORE_VERSION;
use processor::store::{Committed as _, Store};
use processor::{
    Error, Failpoints, Health, Metrics, ProcessorSettings, Share, Surroundings, start_processor,
};
use schemas::event::CatalogRevision;
use schemas::wire;
use service::clock::ManualClock;
use service::lifecycle::{Shutdown, Tasks};
use warehouse::Endpoint;

use crate::scene::{DAY, MINUTE, T0, Traffic, catalog};
use crate::site::{EVENTS, FACTS, Site};

/// An installation in which this many clicks of one edge are decided.
async fn decided_by(edge: u8, clicks: usize) -> Site {
    let site = Site::start().await;
    let store = site.store("state");
    let owner = site.owner(&store);
    let mut edge = site.edge(edge);
    for n in 0..clicks {
        site.send(&edge.click(n as i64, |_| {})).await;
    }
    site.decided(&store).await;
    owner.stop().await.unwrap();
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_another_installation_halts() {
    let foreign = decided_by(1, 4).await;
    for (clicks, name) in [(4, "as long"), (2, "shorter"), (9, "longer")] {
        let site = decided_by(2, clicks).await;
        foreign.copy_state("state", &site.state_dir("foreign"));
        let error = site.owner(&site.store("foreign")).ended().await.unwrap_err();
        assert!(matches!(error, Error::Foreign(_)), "{name}: {error}");
        assert!(error.to_string().contains("not of the same installation"), "{error}");
        assert!(!error.is_retriable());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_another_history_below_the_same_facts_halt() {
    let site = decided_by(1, 4).await;
    let other = decided_by(2, 4).await;
    // The facts are those of the state, the events are not.
    let mixed = Site::start().await;
    for (_, payload) in site.facts_log().await {
        mixed.append(FACTS, payload).await;
    }
    for payload in other.events_log().await {
        mixed.append(EVENTS, payload).await;
    }
    site.copy_state("state", &mixed.state_dir("state"));
    let error = mixed.owner(&mixed.store("state")).ended().await.unwrap_err();
    assert!(error.to_string().starts_with("the last event in the state does not match"), "{error}");
    // Without the state it is the facts that tell, before anything is decided on the wrong events.
    let more = other.edge(2).click(9, |_| {});
    mixed.send(&more).await;
    let store = mixed.store("empty");
    let error = mixed.owner(&store).ended().await.unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("the last event of the facts in the log does not match"), "{error}");
    assert_eq!((store.head().unwrap().source, mixed.facts_log().await), (4, site.facts_log().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_of_a_newer_core_wait_for_a_build_that_knows_it() {
    let site = decided_by(1, 3).await;
    let (records, _) = site.chain().await;
    let newer = Site::start().await;
    for payload in site.events_log().await {
        newer.append(EVENTS, payload).await;
    }
    let mut record = records[0].clone();
    record.core_version = CORE_VERSION + 1;
    newer.append(FACTS, wire::encode_record(record)).await;
    let store = newer.store("state");
    let error = newer.owner(&store).ended().await.unwrap_err();
    assert!(
        matches!(error, Error::NewerCore { position: 0, version } if version == CORE_VERSION + 1),
        "{error}"
    );
    assert!(!error.is_retriable());
    assert_eq!((store.head().unwrap().source, newer.facts_log().await.len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_the_future_halts_and_what_comes_before_it_is_decided() {
    let site = Site::start().await;
    let store = site.store("state");
    let mut edge = site.edge(1);
    site.send(&edge.click(0, |_| {})).await;
    site.clock.set(T0 + 10 * MINUTE);
    site.send(&edge.click(0, |_| {})).await;
    site.clock.set(T0 + 11 * MINUTE);
    site.send(&edge.click(0, |_| {})).await;
    let error = site.owner_with(&store, ManualClock::at(T0), 5_000).ended().await.unwrap_err();
    assert!(matches!(error, Error::ClockAhead { position: 2, ahead_s: 660 }), "{error}");
    assert!(!error.is_retriable());
    assert_eq!(store.head().unwrap().source, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_revision_beyond_the_end_or_of_another_catalog_halts() {
    let known = catalog().revision();
    for (revision, problem) in [
        (CatalogRevision { number: known.number + 1, hash: 7 }, "beyond the end"),
        (CatalogRevision { number: known.number, hash: known.hash ^ 1 }, "another hash"),
        (CatalogRevision { number: 1, hash: 1 }, "another hash"),
    ] {
        let site = Site::start().await;
        let store = site.store("state");
        let mut edge = site.edge(1);
        site.send(&edge.click(0, |_| {})).await;
        edge.catalog = revision;
        site.send(&edge.click(0, |_| {})).await;
        let error = site.owner(&store).ended().await.unwrap_err();
        assert!(matches!(error, Error::CatalogRevision { position: 1, .. }), "{error}");
        assert!(error.to_string().contains(problem) && !error.is_retriable(), "{error}");
        assert_eq!(store.head().unwrap().source, 1, "what comes before it is decided");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_newer_version_waits_for_a_build_that_knows_it() {
    let site = Site::start().await;
    let store = site.store("state");
    let event = wire::encode_event(site.edge(1).click(0, |_| {}));
    // Field 1 is the version.
    assert_eq!(event[..2], [8, 1]);
    let newer = Bytes::from([&[8, 2], &event[2..], b"\xf8\x7f\x01"].concat());
    site.append(EVENTS, newer).await;
    let error = site.owner(&store).ended().await.unwrap_err();
    assert!(matches!(error, Error::NewerEvent { position: 0, version: 2 }), "{error}");
    assert_eq!(store.head().unwrap().source, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_owner_that_looks_again_stays_halted_until_it_got_past_the_reason() {
    let site = Site::start().await;
    let store = site.store("state");
    let mut edge = site.edge(1);
    site.send(&edge.click(0, |_| {})).await;
    site.clock.set(T0 + 11 * MINUTE);
    site.send(&edge.click(0, |_| {})).await;
    site.clock.set(T0);
    let (health, metrics) = (Health::default(), Metrics::register(&prometheus::Registry::new()).unwrap());
    let partition = health.partition("processor", 0, &metrics);
    partition.halted(&"odd");
    // The first time it decides what comes before the reason; the second time it finds the reason at once.
    for _ in 0..2 {
        let again = site.owner_of_health(&store, partition.clone(), &metrics).ended().await;
        assert!(matches!(again, Err(Error::ClockAhead { position: 1, .. })), "{again:?}");
        assert_eq!(health.problems(), ["processor 0 halted: odd"]);
    }
    site.clock.set(T0 + 11 * MINUTE);
    let owner = site.owner_of_health(&store, partition, &metrics);
    site.decided(&store).await;
    owner.stop().await.unwrap();
    assert!(health.problems().is_empty(), "{:?}", health.problems());
}

/// What a process that decides partition 0 needs.
fn surroundings(site: &Site) -> Surroundings {
    let shutdown = Shutdown::new();
    Surroundings {
        log: site.log.clone(),
        clock: site.clock.clone(),
        health: Health::default(),
        metrics: Metrics::register(&prometheus::Registry::new()).unwrap(),
        tasks: Tasks::new(shutdown.clone()),
        shutdown,
        partitions: 1,
        failpoints: Failpoints::default(),
        objects: None,
        catalog: site.follower(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_cannot_be_right_is_refused_at_the_start_by_its_name() {
    let site = Site::start().await;
    let settings = ProcessorSettings::default();
    // Nobody asks how far a sink is before the directories are there.
    let (nowhere, _) = warehouse::connect(&Endpoint::new("http://127.0.0.1:1", "", "", ""));
    let start = |root: &str| {
        let settings = (&settings, Share::Named(Vec::new()));
        start_processor(&surroundings(&site), settings, &nowhere, site.state_dir(root))
    };
    std::fs::write(site.state_dir("file"), "").unwrap();
    drop(Store::open(&site.state_dir("other/p0"), 1).unwrap());
    for (root, problem) in [("file", "cannot be created: "), ("other", "is not that of partition 0")] {
        let error = start(root).unwrap_err();
        let Error::StateDirectory { dir, problem: found } = &error else { panic!("{root}: {error}") };
        assert!(dir.ends_with(&format!("{root}/p0")) && found.starts_with(problem), "{error}");
        assert!(!error.is_retriable());
    }
    // One that another process has open may be free a moment later.
    let held = Store::open(&site.state_dir("held/p0"), 0).unwrap();
    let error = start("held").unwrap_err();
    assert!(matches!(error, Error::State(_)) && error.is_retriable(), "{error}");
    drop(held);
    Store::open(&site.state_dir("held/p0"), 0).map(drop).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_facts_that_cannot_be_read_halts() {
    let site = decided_by(1, 1).await;
    site.append(FACTS, Bytes::from_static(b"\xff\xff")).await;
    let error = site.owner(&site.store("state")).ended().await.unwrap_err();
    assert!(matches!(error, Error::UnreadableRecord { position: 1, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_decided_by_the_catalog_that_its_edge_knew() {
    // The first edge knew the installation and its workspace only; the second one its offers too.
    let site = Site::start().await;
    let store = site.store("state");
    let owner = site.owner(&store);
    let mut early = Traffic::of_edge(1);
    let sale = |edge: &mut Traffic| {
        edge.conversion(DAY, |it| {
            (it.partner, it.offer) = (Some(crate::scene::PARTNER), Some(crate::scene::OFFER))
        })
    };
    let mut none = Traffic::of_edge(2);
    early.catalog = first_revision();
    for event in [sale(&mut none), sale(&mut early), sale(&mut site.edge(3)), sale(&mut early)] {
        site.send(&event).await;
    }
    site.decided(&store).await;
    owner.stop().await.unwrap();
    let records = site.chain().await.0;
    let facts: Vec<_> = records.into_iter().flat_map(|it| it.decisions).flat_map(|it| it.facts).collect();
    let reasons: Vec<&str> = crate::scene::outcomes(&facts).iter().map(|it| it.reason.as_str()).collect();
    // Before any catalog there is no workspace, then no offer; the catalog never goes back for a late edge.
    assert_eq!(reasons, ["unknown_workspace", "unknown_reference", "", ""]);
}

fn first_revision() -> CatalogRevision {
    let mut catalog = catalog::Catalog::new();
    let record = eventlog::Record {
        position: 0,
        log_time: schemas::time::Timestamp::from_micros(T0),
        key: Bytes::new(),
        payload: crate::scene::proposals().remove(0),
    };
    catalog.fold(&record).unwrap().verdict.unwrap();
    catalog.revision()
}
