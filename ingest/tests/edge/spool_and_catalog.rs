//! The spool and the catalog's copy on disk: starts without the log, and logs that are not the one of before.

use catalog::Follower;
use catalog::follower::FollowerSettings;
use eventlog::EventLog;
use schemas::event::{Body, label};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

use crate::fault::{Control, FaultyLog, Weather, edge_on};
use crate::harness::TestEdge;
use crate::spool::{OPEN, away, brief, check_once, clicks, copy_dir, metric, wait_until_drained};

#[tokio::test]
async fn an_edge_starts_while_the_log_is_away() {
    let first = TestEdge::start().await;
    let control = Control::new(OPEN, away());
    let faulty = Arc::clone(&control);
    let dir = TempDir::new().unwrap();
    let edge = first.reborn(brief(), dir, |real| Arc::new(FaultyLog { real, control: faulty })).await;
    assert_eq!(edge.get("/readyz").await.status, 200);
    let receipts = clicks(&edge, 20).await;
    assert_eq!(metric(&edge, "ingest_spool_events").await, 20.0);
    control.weather.send_replace(Weather::Fair);
    wait_until_drained(&edge).await;
    check_once(&edge, &receipts).await;
}

/// A copy of the edge's catalog that nobody has open.
async fn copied(edge: &TestEdge) -> TempDir {
    let copy = TempDir::new().unwrap();
    let log = Arc::clone(&edge.log);
    let follower = Follower::start_with_copy(log, FollowerSettings::default(), copy.path()).await.unwrap();
    follower.shutdown().await;
    copy
}

/// An edge that starts with a copy of the catalog while its log is away.
async fn start_from(copy: &TempDir, real: &TestEdge, control: &Arc<Control>) -> TestEdge {
    let log: Arc<dyn EventLog> =
        Arc::new(FaultyLog { real: Arc::clone(&real.log), control: Arc::clone(control) });
    let settings = FollowerSettings::default();
    let follower = Follower::start_with_copy(Arc::clone(&log), settings, copy.path()).await.unwrap();
    let logs = (log, Arc::clone(&real.log));
    TestEdge::launch(brief(), logs, follower, Arc::clone(&real.clock), TempDir::new().unwrap()).await
}

#[tokio::test]
async fn a_start_from_the_catalogs_copy_is_labelled_and_its_events_arrive() {
    let real = TestEdge::start().await;
    let copy = copied(&real).await;
    let control = Control::new(OPEN, away());
    let edge = start_from(&copy, &real, &control).await;
    assert_eq!(edge.get("/readyz").await.status, 200);
    let receipts = clicks(&edge, 10).await;
    control.weather.send_replace(Weather::Fair);
    wait_until_drained(&edge).await;
    check_once(&edge, &receipts).await;
    for event in edge.events().await {
        let Body::Click(click) = event.body else { panic!("no click") };
        assert!(click.hit.labels.iter().any(|label| label == label::STALE_CATALOG), "{:?}", click.hit.labels);
    }
    clicks(&edge, 1).await;
    let Body::Click(click) = edge.events().await.pop().unwrap().body else { panic!("no click") };
    assert!(!click.hit.labels.iter().any(|label| label == label::STALE_CATALOG));
}

#[tokio::test]
async fn what_the_catalog_of_another_log_made_of_requests_never_reaches_this_one() {
    let mut other = TestEdge::start().await;
    other.second_workspace().await;
    let copy = copied(&other).await;
    let mut real = TestEdge::start().await;
    for _ in 0..2 {
        real.put(Vec::new()).await;
    }
    let control = Control::new(OPEN, away());
    let edge = start_from(&copy, &real, &control).await;
    clicks(&edge, 10).await;
    control.weather.send_replace(Weather::Fair);
    wait_until_drained(&edge).await;
    assert!(edge.events().await.is_empty());
    assert_eq!(metric(&edge, "ingest_quarantined_total").await, 10.0);
    assert_eq!(edge.follower.revision(), real.follower.revision());
    let receipts = clicks(&edge, 3).await;
    check_once(&edge, &receipts).await;
}

#[tokio::test]
async fn a_clock_that_is_set_puts_nothing_aside_that_just_came() {
    let control = Control::new(OPEN, away());
    let edge = edge_on(&control, brief()).await;
    let receipts = clicks(&edge, 7).await;
    edge.clock.advance(Duration::from_secs(30 * 24 * 3_600));
    control.weather.send_replace(Weather::Fair);
    wait_until_drained(&edge).await;
    check_once(&edge, &receipts).await;
    assert_eq!(metric(&edge, "ingest_quarantined_total").await, 0.0);
}

#[tokio::test]
async fn what_another_log_left_in_the_spool_is_told_from_what_came_since() {
    let control = Control::new(OPEN, away());
    let mut other = edge_on(&control, brief()).await;
    other.second_workspace().await;
    clicks(&other, 10).await;
    let dir = TempDir::new().unwrap();
    copy_dir(&other.spool_dir(), &dir.path().join("spool"));
    // Its catalog is longer, so that only the hash tells.
    let mut real = TestEdge::start().await;
    for _ in 0..2 {
        real.put(Vec::new()).await;
    }
    let faulty = Arc::clone(&control);
    let edge = real.reborn(brief(), dir, |real| Arc::new(FaultyLog { real, control: faulty })).await;
    let receipts = clicks(&edge, 5).await;
    assert_eq!(metric(&edge, "ingest_spool_events").await, 15.0);
    control.weather.send_replace(Weather::Fair);
    wait_until_drained(&edge).await;
    check_once(&edge, &receipts).await;
    assert_eq!(metric(&edge, "ingest_quarantined_total").await, 10.0);
}
