//! What only the inside shows: a disk that fails, and what an opened spool says of itself.

use async_trait::async_trait;
use bytes::Bytes;
use service::clock::ManualClock;
use tempfile::TempDir;

use super::lane::Lane;
use super::metrics::SpoolMetrics;
use super::*;

const LIMITS: Limits = Limits { max_bytes: 1 << 20, min_free_bytes: 0, queue_bytes: 8 << 20 };
const SOON: Duration = Duration::from_secs(20);

async fn open(dir: &Path) -> Result<Spool, SpoolError> {
    Spool::open(dir, 2, LIMITS, ManualClock::at(1), EdgeId::from_bytes([3; 16])).await
}

fn records(count: usize) -> Vec<NewRecord> {
    (0..count).map(|_| NewRecord { key: Bytes::new(), payload: Bytes::from_static(b"event") }).collect()
}

fn by() -> Instant {
    Instant::now() + SOON
}

/// What a partition of the embedded log answers after its `fdatasync` has failed.
struct BrokenDisk;

#[async_trait]
impl Producer for BrokenDisk {
    async fn append(&self, _: Partition, records: Vec<NewRecord>) -> Vec<Result<Position, eventlog::Error>> {
        vec![Err(eventlog::Error::Unavailable("an earlier fdatasync failed".into())); records.len()]
    }
}

#[tokio::test]
async fn what_is_held_survives_and_what_was_drained_does_not_come_back() {
    let dir = TempDir::new().unwrap();
    let each = disk_bytes(b"", b"event");
    let spool = open(dir.path()).await.unwrap();
    assert!(spool.keep(1, records(10), by()).await.iter().all(Result::is_ok));
    assert_eq!(spool.held(1), Held { events: 10, bytes: 10 * each });
    assert_eq!(spool.held(0), Held::default());
    for (position, is_durable) in [(3, true), (4, false)] {
        let bytes = if position == 3 { 3 * each } else { each };
        spool.drained(1, position, bytes, is_durable).await.unwrap();
    }
    assert_eq!(spool.held(1), Held { events: 6, bytes: 6 * each });
    spool.close(SOON).await;
    drop(spool);
    let spool = open(dir.path()).await.unwrap();
    assert_eq!(spool.held(1), Held { events: 6, bytes: 6 * each });
    let batch = spool.read(1).await.unwrap().next(100, SOON).await.unwrap().unwrap();
    assert_eq!((batch.records.len(), batch.records[0].position), (6, 4));
}

#[tokio::test]
async fn another_process_or_another_installation_is_a_contradiction() {
    let dir = TempDir::new().unwrap();
    let spool = open(dir.path()).await.unwrap();
    assert!(matches!(open(dir.path()).await, Err(SpoolError::Contradiction(_))));
    spool.close(SOON).await;
    drop(spool);
    let other = Spool::open(dir.path(), 3, LIMITS, ManualClock::at(1), EdgeId::from_bytes([4; 16])).await;
    assert!(matches!(other, Err(SpoolError::Contradiction(_))));
}

#[tokio::test]
async fn it_takes_no_more_than_its_limit() {
    let dir = TempDir::new().unwrap();
    let limits = Limits { max_bytes: 10 * disk_bytes(b"", b"event"), ..LIMITS };
    let spool = Spool::open(dir.path(), 1, limits, ManualClock::at(1), EdgeId::from_bytes([3; 16])).await;
    let spool = spool.unwrap();
    assert!(spool.keep(0, records(6), by()).await.iter().all(Result::is_ok));
    assert!(spool.keep(0, records(5), by()).await.iter().all(|it| matches!(it, Err(AppendError::SpoolFull))));
    assert!(spool.keep(0, records(4), by()).await.iter().all(Result::is_ok));
    spool.drained(0, 2, 2 * disk_bytes(b"", b"event"), false).await.unwrap();
    assert!(spool.keep(0, records(2), by()).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_broken_disk_ends_recording_only_while_the_log_is_away() {
    let dir = TempDir::new().unwrap();
    let mut spool = open(dir.path()).await.unwrap();
    spool.producer = Box::new(BrokenDisk);
    let metrics = SpoolMetrics::register(&prometheus::Registry::new()).unwrap();
    let lane = Lane::new(0, Some(Arc::new(spool)), metrics.lane(0));
    assert!(lane.can_record());
    lane.divert(&"away");
    assert!(lane.can_record(), "nobody knows yet");
    assert!(lane.keep(records(2), by()).await.iter().all(Result::is_err));
    assert!(!lane.can_record());
    // A broken disk says so again; one that was only slow must get the chance to show it.
    assert!(lane.can_record_at(Instant::now() + SOON));
    assert!(lane.keep(records(1), by()).await.iter().all(Result::is_err));
    assert!(!lane.can_record());
    lane.resume();
    assert!(lane.can_record() && !lane.has_work());
}

#[tokio::test]
async fn a_full_spool_ends_recording_before_it_has_refused_anything() {
    let dir = TempDir::new().unwrap();
    let limits = Limits { max_bytes: ROOM_BYTES, ..LIMITS };
    let clock = ManualClock::at(1);
    let spool = Spool::open(dir.path(), 1, limits, clock, EdgeId::from_bytes([3; 16])).await.unwrap();
    let metrics = SpoolMetrics::register(&prometheus::Registry::new()).unwrap();
    let lane = Lane::new(0, Some(Arc::new(spool)), metrics.lane(0));
    lane.divert(&"away");
    assert!(lane.can_record());
    assert!(lane.keep(records(1), by()).await.iter().all(Result::is_ok));
    assert!(!lane.can_record_at(Instant::now() + SOON));
}

#[tokio::test]
async fn a_spool_that_cannot_be_read_takes_nothing_more() {
    let dir = TempDir::new().unwrap();
    let metrics = SpoolMetrics::register(&prometheus::Registry::new()).unwrap();
    let lane = Lane::new(0, Some(Arc::new(open(dir.path()).await.unwrap())), metrics.lane(0));
    lane.divert(&"away");
    lane.saw_readable(false);
    let answers = lane.keep(records(2), by()).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(AppendError::SpoolUnreadable))));
    assert!(!lane.can_record_at(Instant::now() + SOON));
    assert_eq!(lane.held().events, 0);
    lane.saw_readable(true);
    assert!(lane.keep(records(2), by()).await.iter().all(Result::is_ok));
    assert!(lane.can_record());
}

#[tokio::test]
async fn a_note_beyond_the_spools_end_hides_no_later_events() {
    let dir = TempDir::new().unwrap();
    place::note_drained(dir.path(), 1, 50_000, true).unwrap();
    for _ in 0..2 {
        let spool = open(dir.path()).await.unwrap();
        let held = spool.held(1).events;
        assert!(spool.keep(1, records(10), by()).await.iter().all(Result::is_ok));
        assert_eq!(spool.held(1).events, held + 10);
        spool.close(SOON).await;
    }
    assert_eq!(open(dir.path()).await.unwrap().held(1).events, 20);
}
