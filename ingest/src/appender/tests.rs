//! What only the inside shows: an event that outlived the catalog by which it was understood.

use catalog::bootstrap::{Bootstrap, bootstrap};
use catalog::follower::{Confirmed, FollowerSettings};
use eventlog::TopicSpec;
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings};
use prometheus::Registry;
use schemas::event::{Body, Refund, Trust};
use schemas::id::WorkspaceNumber;
use schemas::money::Currency;
use schemas::wire::decode_event;
use service::clock::ManualClock;
use tempfile::TempDir;

use super::*;
use crate::spool;

const LIMITS: Limits = Limits {
    deadline: Duration::from_millis(250),
    spool_deadline: Duration::from_millis(80),
    queue_events: 9,
    queue_bytes: 8 << 20,
};
const SOON: Duration = Duration::from_secs(20);
const NOW: Timestamp = Timestamp::from_micros(1_793_491_200_000_000);

#[test]
fn what_a_browser_has_waited_for_before_is_part_of_its_time() {
    let arrived = Instant::now();
    let caller = Caller::Browser { arrived };
    assert_eq!(LIMITS.own_deadline(caller, arrived + LATE), None);
    let late = LIMITS.own_deadline(caller, arrived + Duration::from_millis(200));
    assert_eq!(late, Some(arrived + Duration::from_millis(330)));
    assert_eq!(LIMITS.own_deadline(Caller::System, arrived + Duration::from_secs(10)), None);
}

#[test]
fn systems_get_half_of_the_places() {
    assert_eq!(LIMITS.queue_events_for(Caller::Browser { arrived: Instant::now() }), 9);
    assert_eq!(LIMITS.queue_events_for(Caller::System), 5);
    assert_eq!(Limits { queue_events: 1, ..LIMITS }.queue_events_for(Caller::System), 1);
}

/// A log with an installation of its own.
async fn installed(dir: &std::path::Path, seed: u8) -> Arc<dyn EventLog> {
    let log: Arc<dyn EventLog> =
        Arc::new(EmbeddedLog::open(dir, EmbeddedSettings::new(Arc::new(|| NOW))).unwrap());
    log.ensure_topics(&[TopicSpec { name: topic::EVENTS, partitions: 1 }]).await.unwrap();
    let follower = Follower::start(Arc::clone(&log), FollowerSettings::default()).await.unwrap();
    let first = Bootstrap {
        events_partitions: 1,
        workspace_name: "Main".into(),
        currency: Currency::USD,
        timezone: "UTC".into(),
        now: NOW,
        seed: [seed; 32],
    };
    bootstrap(&follower, first).await.unwrap().unwrap();
    follower.shutdown().await;
    log
}

async fn start_with_copy(log: &Arc<dyn EventLog>, dir: &std::path::Path) -> Follower {
    Follower::start_with_copy(Arc::clone(log), FollowerSettings::default(), dir).await.unwrap()
}

fn refund(ids: &mut IdGenerator, catalog: CatalogRevision) -> Event {
    let refund = Refund {
        refund_id: String::new(),
        conversion: None,
        transaction_id: "order".into(),
        goal: String::new(),
        source: None,
        amount: None,
        stated_amount: None,
        reason: String::new(),
        trust: Trust::Secret,
        occurred_at: NOW,
        labels: Vec::new(),
        nonce: None,
        test: false,
        fault: None,
    };
    let workspace = WorkspaceNumber::new(1).unwrap();
    Event {
        id: ids.next(NOW.unix_ms(), workspace),
        workspace,
        mark: None,
        received_at: NOW,
        catalog,
        body: Body::Refund(Box::new(refund)),
    }
}

async fn delivered(log: &Arc<dyn EventLog>) -> Vec<Event> {
    let partition = Partition { topic: topic::EVENTS, number: 0 };
    let end = log.bounds(partition).await.unwrap().end;
    let mut reader = log.subscribe(&[(partition, 0)]).await.unwrap();
    let mut events = Vec::new();
    while (events.len() as u64) < end {
        let batch = reader.next(100, SOON).await.unwrap().unwrap();
        events.extend(batch.records.into_iter().map(|record| decode_event(record.payload).unwrap()));
    }
    events.retain(|event| event.body.is_delivery());
    events
}

#[tokio::test]
async fn an_event_that_outlived_its_catalog_takes_no_way_to_the_log() {
    let dir = TempDir::new().unwrap();
    let path = |name| dir.path().join(name);
    let (other, log) = (installed(&path("other"), 1).await, installed(&path("log"), 2).await);
    start_with_copy(&other, &path("copy")).await.shutdown().await;
    let follower = start_with_copy(&log, &path("copy")).await;
    assert_eq!(follower.confirmed().await.unwrap(), Confirmed::FoldedAnew);

    let clock: SharedClock = ManualClock::at(NOW.micros());
    let mut ids = IdGenerator::new(1);
    let limits = spool::Limits { max_bytes: 1 << 20, min_free_bytes: 0, queue_bytes: 8 << 20 };
    let life: EdgeId = ids.next(0, WorkspaceNumber::NONE);
    let spool = Spool::open(&path("spool"), 1, limits, clock.clone(), life).await.unwrap();
    let metrics = Arc::new(Metrics::register(&Registry::new()).unwrap());
    let parts = Parts {
        log: Arc::clone(&log),
        follower: follower.clone(),
        spool: Some(Arc::new(spool)),
        life,
        partitions: 1,
        limits: Limits { deadline: SOON, spool_deadline: SOON, ..LIMITS },
        clock,
        metrics: Arc::clone(&metrics),
    };
    let appender = Appender::start(parts, &Tasks::new(Shutdown::new())).unwrap();

    // A request read the old catalog, waited, and comes only now.
    let revisions = [follower.revision(), follower.copied().unwrap(), follower.revision()];
    let events = revisions.map(|revision| refund(&mut ids, revision));
    let good = [events[0].id, events[2].id];
    for ticket in events.map(|event| appender.enqueue(0, event, Caller::System).unwrap()) {
        ticket.durable().await.unwrap();
    }
    let quarantined = async {
        while metrics.lane(0).quarantined.get() < 1 || metrics.lane(0).drained.get() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, quarantined).await.unwrap();
    let ids: Vec<_> = delivered(&log).await.into_iter().map(|event| event.id).collect();
    assert_eq!(ids, good);
    assert!(appender.drain(SOON).await);
}
