//! The log is away, slow or refuses: events wait in the spool and arrive later, once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eventlog::Error;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ingest::IngestSettings;
use schemas::event::{Body, Mark};
use schemas::hex;
use schemas::wire::decode_event;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::fault::{Control, FaultyLog, Weather, check_unavailable, edge_on};
use crate::fixture::{NOW, SECRET};
use crate::harness::{SOON, TestEdge};

pub(crate) const OPEN: usize = Semaphore::MAX_PERMITS;

pub(crate) fn brief() -> IngestSettings {
    IngestSettings { append_deadline_ms: 50, ..IngestSettings::default() }
}

pub(crate) fn away() -> Weather {
    Weather::Fails(Error::Unavailable("away".into()))
}

/// The receipts of clicks that were made together.
pub(crate) async fn clicks(edge: &TestEdge, count: usize) -> BTreeSet<String> {
    let answers = futures::future::join_all((0..count).map(|_| edge.get("/c/anna"))).await;
    answers.iter().map(|answer| answer.header("x-receipt").expect("no receipt").to_owned()).collect()
}

/// A metric of the first workspace's partition.
pub(crate) async fn metric(edge: &TestEdge, name: &str) -> f64 {
    let partition = edge.follower.read().workspaces().next().unwrap().partition;
    edge.metric(&format!("{name}{{partition=\"{partition}\"}}")).await.unwrap()
}

async fn wait_for(edge: &TestEdge, name: &str, wanted: f64) {
    let reached = async {
        while metric(edge, name).await != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(SOON, reached).await.is_err() {
        panic!("{name} is {} and not {wanted}", metric(edge, name).await);
    }
}

/// Waits until new events go to the log and nothing is held any more.
pub(crate) async fn wait_until_drained(edge: &TestEdge) {
    wait_for(edge, "ingest_spool_state", 0.0).await;
    wait_for(edge, "ingest_spool_events", 0.0).await;
    assert_eq!(metric(edge, "ingest_spool_bytes").await, 0.0);
    assert_eq!(metric(edge, "ingest_spool_oldest_seconds").await, 0.0);
}

/// The events on the log by mark. However often one stands there, it is the same event.
async fn deliveries(edge: &TestEdge) -> BTreeMap<(String, u64), String> {
    let mut deliveries = BTreeMap::new();
    for event in edge.events().await {
        let Mark { edge: life, number } = event.mark.unwrap();
        let before = deliveries.insert((life.to_string(), number), event.id.to_string());
        assert!(before.is_none_or(|before| before == event.id.to_string()), "one mark, two events");
    }
    deliveries
}

/// Checks that the acknowledged events are on the log, each under one mark.
pub(crate) async fn check_once(edge: &TestEdge, receipts: &BTreeSet<String>) {
    let deliveries = deliveries(edge).await;
    let ids: BTreeSet<String> = deliveries.values().cloned().collect();
    assert_eq!(ids.len(), deliveries.len(), "one event under two marks");
    assert_eq!(&ids, receipts);
}

#[tokio::test]
async fn what_a_silent_log_does_not_confirm_arrives_later_once() {
    let control = Control::new(0, Weather::Fair);
    // Long enough for the log once it answers again, however busy the machine is.
    let settings = IngestSettings { append_deadline_ms: 2_000, ..IngestSettings::default() };
    let edge = edge_on(&control, settings).await;
    let mut receipts = clicks(&edge, 30).await;
    assert_eq!(metric(&edge, "ingest_spool_state").await, 1.0);
    // Now nobody waits for the log: only the drainer asks it.
    let asked = *control.waiting.borrow();
    receipts.extend(clicks(&edge, 30).await);
    assert!(*control.waiting.borrow() <= asked + 1);
    assert_eq!(metric(&edge, "ingest_spool_events").await, 60.0);
    assert!(metric(&edge, "ingest_spool_bytes").await > 60.0 * 100.0);
    assert_eq!(edge.get("/readyz").await.status, 200);
    assert!(edge.events().await.is_empty());
    control.gate.add_permits(OPEN);
    wait_until_drained(&edge).await;
    check_once(&edge, &receipts).await;
    assert_eq!(metric(&edge, "ingest_spooled_total").await, 60.0);
    assert_eq!(metric(&edge, "ingest_drained_total").await, 60.0);
    for reason in ["deadline", "full", "spool"] {
        assert_eq!(edge.unrecorded(reason).await, Some(0.0), "{reason}");
    }
    // The direct way is open again.
    receipts.extend(clicks(&edge, 5).await);
    check_once(&edge, &receipts).await;
    assert_eq!(metric(&edge, "ingest_spooled_total").await, 60.0);
}

#[tokio::test]
async fn the_log_hears_what_is_held_back_and_when_nothing_is_any_more() {
    let control = Control::new(0, Weather::Fair);
    let edge = edge_on(&control, brief()).await;
    clicks(&edge, 3).await;
    control.gate.add_permits(OPEN);
    wait_until_drained(&edge).await;
    let heard = async {
        loop {
            let events = edge.log_events().await;
            let heard: Vec<_> = events
                .into_iter()
                .filter_map(|event| match event.body {
                    Body::Delayed(delayed) => Some((event.mark, delayed)),
                    Body::Click(_)
                    | Body::Impression(_)
                    | Body::Conversion(_)
                    | Body::Refund(_)
                    | Body::Command(_)
                    | Body::Tick => None,
                })
                .collect();
            if heard.last().is_some_and(|(_, last)| last.since.is_none()) {
                break heard;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let heard = tokio::time::timeout(SOON, heard).await.unwrap();
    let last = heard[heard.len() - 1].1;
    assert!(heard.iter().all(|(mark, delayed)| mark.is_none() && delayed.edge == last.edge));
    let held = heard.iter().find(|(_, delayed)| delayed.since.is_some()).unwrap().1;
    assert_eq!((held.since, held.events), (Some(NOW), 3));
    assert_eq!((last.since, last.events), (None, 0));
}

#[tokio::test]
async fn a_log_that_refuses_costs_nobody_a_receipt() {
    for error in [Error::Full, Error::Deadline, Error::Closed, Error::Unavailable("no disk".into())] {
        let control = Control::new(OPEN, Weather::Fair);
        let edge = edge_on(&control, brief()).await;
        control.weather.send_replace(Weather::Fails(error));
        let mut receipts = clicks(&edge, 10).await;
        let conversion = edge.report(SECRET, "{}").await;
        assert_eq!(conversion.status, 202);
        receipts.insert(conversion.json()["receipt"].as_str().unwrap().to_owned());
        control.weather.send_replace(Weather::Fair);
        wait_until_drained(&edge).await;
        check_once(&edge, &receipts).await;
    }
}

#[tokio::test]
async fn what_landed_all_the_same_has_the_same_mark() {
    for weather in [Weather::Silent, Weather::Half] {
        let control = Control::new(0, weather);
        let settings = IngestSettings { append_deadline_ms: 10_000, ..IngestSettings::default() };
        let edge = edge_on(&control, settings).await;
        let release = async {
            let mut waiting = control.waiting.subscribe();
            waiting.wait_for(|waiting| *waiting > 0).await.unwrap();
            control.gate.add_permits(OPEN);
        };
        let (receipts, ()) = tokio::join!(clicks(&edge, 20), release);
        control.weather.send_replace(Weather::Fair);
        wait_until_drained(&edge).await;
        check_once(&edge, &receipts).await;
    }
}

#[tokio::test]
async fn a_slow_log_gets_everything_and_new_events_go_around_it() {
    let control = Control::new(OPEN, Weather::Slow(Duration::from_millis(300)));
    let edge = edge_on(&control, brief()).await;
    let receipts = clicks(&edge, 50).await;
    wait_for(&edge, "ingest_spool_events", 0.0).await;
    // Drained, and still not trusted.
    assert_eq!(metric(&edge, "ingest_spool_state").await, 1.0);
    check_once(&edge, &receipts).await;
    control.weather.send_replace(Weather::Fair);
    wait_until_drained(&edge).await;
}

#[tokio::test]
async fn events_that_wait_for_a_group_in_flight_go_into_the_spool_too() {
    let control = Control::new(0, Weather::Fair);
    let settings = IngestSettings { append_deadline_ms: 1_000, ..IngestSettings::default() };
    let edge = edge_on(&control, settings).await;
    let mut waiting = control.waiting.subscribe();
    let mut clicks = FuturesUnordered::new();
    // The first is in flight; what comes then waits for its answer.
    for _ in 0..8 {
        clicks.push(edge.get("/c/anna"));
        let flown = waiting.wait_for(|waiting| *waiting >= 1);
        tokio::select! {
            biased;
            _ = clicks.next() => panic!("answered before its deadline"),
            _ = flown => {}
        }
    }
    let answers: Vec<_> = tokio::time::timeout(SOON, clicks.collect()).await.unwrap();
    assert_eq!(answers.len(), 8);
    assert!(answers.iter().all(|answer| answer.status == 302 && answer.header("x-receipt").is_some()));
    assert_eq!(metric(&edge, "ingest_queue_events").await, 0.0);
    assert_eq!(metric(&edge, "ingest_spool_events").await, 8.0);
}

#[tokio::test]
async fn with_a_full_spool_redirects_are_answered_and_senders_refused() {
    let control = Control::new(OPEN, away());
    let settings = IngestSettings { spool_max_bytes: 1, ..brief() };
    let edge = edge_on(&control, settings).await;
    check_unavailable(&edge, "spool_full").await;
    assert_eq!(metric(&edge, "ingest_spool_state").await, 2.0);
    assert_eq!(edge.get("/readyz").await.status, 503);
    control.weather.send_replace(Weather::Fair);
    wait_for(&edge, "ingest_spool_state", 0.0).await;
    // The log was away at the start, so every partition has its own way back to it.
    let ready = async {
        while edge.get("/readyz").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, ready).await.unwrap();
    clicks(&edge, 1).await;
}

#[tokio::test]
async fn a_disk_that_lets_no_spool_be_does_not_keep_the_edge_from_its_log() {
    let first = TestEdge::start().await;
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("spool"), "in the way").unwrap();
    let control = Control::new(OPEN, Weather::Fair);
    let faulty = Arc::clone(&control);
    // Here a log in fair weather must keep its deadline, however busy the machine is: there is nothing else.
    let settings = IngestSettings { append_deadline_ms: 2_000, ..brief() };
    let edge = first.reborn(settings, dir, |real| Arc::new(FaultyLog { real, control: faulty })).await;
    assert_eq!(edge.get("/readyz").await.status, 200);
    assert!(edge.get("/c/anna").await.header("x-receipt").is_some());
    control.weather.send_replace(away());
    check_unavailable(&edge, "no_spool").await;
    control.weather.send_replace(Weather::Fair);
    wait_for(&edge, "ingest_spool_state", 0.0).await;
    assert!(edge.get("/c/anna").await.header("x-receipt").is_some());
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn what_an_earlier_life_left_is_drained_with_its_marks() {
    let control = Control::new(OPEN, away());
    let killed = edge_on(&control, brief()).await;
    let mut receipts = clicks(&killed, 40).await;
    // As if the process had been killed now: nothing was closed.
    let dir = TempDir::new().unwrap();
    copy_dir(&killed.spool_dir(), &dir.path().join("spool"));
    let again = killed.reborn(brief(), dir, |real| real).await;
    receipts.extend(clicks(&again, 5).await);
    wait_until_drained(&again).await;
    check_once(&again, &receipts).await;
    let lives: BTreeSet<String> = deliveries(&again).await.into_keys().map(|(life, _)| life).collect();
    assert_eq!(lives.len(), 2);
    // A third life has nothing to do again.
    assert!(again.edge.drain(SOON).await);
    let dir = TempDir::new().unwrap();
    copy_dir(&again.spool_dir(), &dir.path().join("spool"));
    let before = again.events().await.len();
    let third = again.reborn(brief(), dir, |real| real).await;
    assert_eq!(metric(&third, "ingest_spool_events").await, 0.0);
    assert_eq!(third.events().await.len(), before);
}

#[tokio::test]
async fn an_orderly_end_leaves_the_spool_to_the_next_life() {
    let control = Control::new(0, Weather::Fair);
    let edge = edge_on(&control, brief()).await;
    let receipts = clicks(&edge, 10).await;
    assert!(edge.edge.drain(SOON).await);
    let dir = TempDir::new().unwrap();
    copy_dir(&edge.spool_dir(), &dir.path().join("spool"));
    let next = edge.reborn(brief(), dir, |real| real).await;
    wait_until_drained(&next).await;
    check_once(&next, &receipts).await;
}

#[tokio::test]
async fn events_that_waited_too_long_are_put_aside_for_an_operator() {
    let killed = edge_on(&Control::new(OPEN, away()), brief()).await;
    let old = clicks(&killed, 7).await;
    let dir = TempDir::new().unwrap();
    copy_dir(&killed.spool_dir(), &dir.path().join("spool"));
    killed.clock.advance(Duration::from_secs(7 * 24 * 3_600 + 1));
    let control = Control::new(OPEN, away());
    let faulty = Arc::clone(&control);
    let edge = killed.reborn(brief(), dir, |real| Arc::new(FaultyLog { real, control: faulty })).await;
    let new = clicks(&edge, 3).await;
    control.weather.send_replace(Weather::Fair);
    wait_until_drained(&edge).await;
    check_once(&edge, &new).await;
    assert_eq!(metric(&edge, "ingest_quarantined_total").await, 7.0);
    assert_eq!(metric(&edge, "ingest_drained_total").await, 3.0);
    let mut ids = BTreeSet::new();
    for file in fs::read_dir(edge.spool_dir().join("quarantine")).unwrap() {
        for line in fs::read_to_string(file.unwrap().path()).unwrap().lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let digits = line["event"].as_str().unwrap().as_bytes().as_chunks::<2>().0;
            let bytes: Vec<u8> = digits
                .iter()
                .map(|pair| hex::decode::<1>(std::str::from_utf8(pair).unwrap()).unwrap()[0])
                .collect();
            ids.insert(decode_event(bytes.into()).unwrap().id.to_string());
        }
    }
    assert_eq!(ids, old);
}

#[tokio::test]
async fn without_room_for_the_quarantine_new_events_go_to_the_log_all_the_same() {
    let control = Control::new(OPEN, away());
    let mut other = edge_on(&control, brief()).await;
    other.second_workspace().await;
    clicks(&other, 4).await;
    let dir = TempDir::new().unwrap();
    copy_dir(&other.spool_dir(), &dir.path().join("spool"));
    let mut real = TestEdge::start().await;
    real.put(Vec::new()).await;
    let settings = IngestSettings { spool_min_free_bytes: u64::MAX, ..IngestSettings::default() };
    let faulty = Arc::clone(&control);
    let edge = real.reborn(settings, dir, |real| Arc::new(FaultyLog { real, control: faulty })).await;
    assert_eq!(edge.get("/c/anna").await.header("x-receipt"), None);
    assert_eq!(edge.get("/readyz").await.status, 503);
    control.weather.send_replace(Weather::Fair);
    wait_for(&edge, "ingest_spool_state", 0.0).await;
    let receipts = clicks(&edge, 3).await;
    check_once(&edge, &receipts).await;
    assert_eq!(metric(&edge, "ingest_spool_events").await, 4.0);
    assert!(!edge.spool_dir().join("quarantine").exists());
}

/// The log changes its mind all the time under load; every acknowledged event is there in the end, under one mark.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_between_the_two_ways() {
    const CLIENTS: usize = 16;
    const CLICKS: usize = 200;
    let control = Control::new(OPEN, Weather::Fair);
    let settings = IngestSettings { append_deadline_ms: 30, ..IngestSettings::default() };
    let edge = edge_on(&control, settings).await;
    let weathers = [
        Weather::Fair,
        away(),
        Weather::Fair,
        Weather::Half,
        Weather::Slow(Duration::from_millis(40)),
        Weather::Fair,
        Weather::Silent,
    ];
    let clients = futures::future::join_all((0..CLIENTS).map(|_| async {
        let mut receipts = BTreeSet::new();
        for _ in 0..CLICKS {
            receipts.extend(clicks(&edge, 1).await);
        }
        receipts
    }));
    let change = async {
        for weather in weathers.iter().cycle() {
            control.weather.send_replace(weather.clone());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let receipts = tokio::select! {
        receipts = clients => receipts,
        () = change => unreachable!("it goes on for ever"),
    };
    let receipts: BTreeSet<String> = receipts.into_iter().flatten().collect();
    assert_eq!(receipts.len(), CLIENTS * CLICKS);
    control.weather.send_replace(Weather::Fair);
    wait_until_drained(&edge).await;
    check_once(&edge, &receipts).await;
    let numbers: BTreeSet<u64> = deliveries(&edge).await.into_keys().map(|(_, number)| number).collect();
    assert_eq!(numbers, (0..(CLIENTS * CLICKS) as u64).collect());
    assert!(metric(&edge, "ingest_spooled_total").await > 0.0);
}
