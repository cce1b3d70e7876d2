//! Disks that are full, disks that break, and more work than there is room for.

use super::*;

/// The file system, with faults that are switched on and off.
#[derive(Debug, Clone, Default)]
struct FaultyDisk {
    faults: Arc<Faults>,
}

#[derive(Debug)]
struct Faults {
    /// Bytes that still fit; a write beyond is cut short and fails.
    room: AtomicU64,
    sync_fails: AtomicBool,
    /// While set, `fdatasync` does not return.
    sync_hangs: AtomicBool,
    syncs: AtomicUsize,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            room: AtomicU64::new(u64::MAX),
            sync_fails: AtomicBool::new(false),
            sync_hangs: AtomicBool::new(false),
            syncs: AtomicUsize::new(0),
        }
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn SegmentFile>,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    fn wrap(&self, file: Box<dyn SegmentFile>) -> Box<dyn SegmentFile> {
        Box::new(FaultyFile { file, faults: Arc::clone(&self.faults) })
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        if self.faults.room.load(Ordering::SeqCst) == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(self.wrap(FileSystem.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(self.wrap(FileSystem.open(path)?))
    }
}

impl SegmentFile for FaultyFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let room = self.faults.room.load(Ordering::SeqCst);
        let fits = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        self.file.write_at(&bytes[..fits], offset)?;
        self.faults.room.store(room - fits as u64, Ordering::SeqCst);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        while self.faults.sync_hangs.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        if self.faults.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.file.sync()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.cut(length)
    }
}

#[tokio::test]
async fn a_full_disk_is_answered_and_survived() {
    let big = "z".repeat(9_000);
    // Where the disk is full: at once, inside the first frame, between frames, and after the roll of the third.
    for room in [0, 1, 20, 9_036, 9_037, 9_038, 18_080, 18_500] {
        let bench = Bench::new();
        let disk = FaultyDisk::default();
        let log = bench.open_on(Arc::new(disk.clone())).await;
        assert_eq!(append(&log, &["first"]).await, [Ok(0)]);
        disk.faults.room.store(room, Ordering::SeqCst);
        let answers = append(&log, &[&big, &big, &big]).await;
        let durable = answers.iter().filter(|answer| answer.is_ok()).count();
        for (at, answer) in answers.iter().enumerate() {
            match answer {
                Ok(position) => assert_eq!(*position, 1 + at as u64, "room {room}"),
                Err(error) => assert!(matches!(error, Error::Unavailable(_)), "room {room}: {error}"),
            }
        }
        assert!(durable < 3, "room {room}");
        assert_eq!(log.bounds(P0).await.unwrap().end, 1 + durable as u64);
        disk.faults.room.store(u64::MAX, Ordering::SeqCst);
        let next = 1 + durable as u64;
        assert_eq!(append(&log, &["there is room again"]).await, [Ok(next)], "room {room}");
        log.close(WAIT).await;
        let log = bench.open().await;
        let read = payloads(&log).await;
        assert_eq!(read.len() as u64, next + 1, "room {room}");
        assert_eq!(read.last().unwrap(), "there is room again");
    }
}

#[tokio::test]
async fn log_time_does_not_go_back_after_half_a_group_failed() {
    let bench = Bench::new();
    let disk = FaultyDisk::default();
    let log = bench.open_on(Arc::new(disk.clone())).await;
    let big = "z".repeat(9_000);
    bench.now.store(9_000, Ordering::SeqCst);
    // Two fit into the first segment; there is no room to begin the next one.
    disk.faults.room.store(2 * (OVERHEAD_BYTES as u64 + 9_001), Ordering::SeqCst);
    let answers = append(&log, &[&big, &big, &big]).await;
    assert!(matches!(answers[..], [Ok(0), Ok(1), Err(Error::Unavailable(_))]), "{answers:?}");
    disk.faults.room.store(u64::MAX, Ordering::SeqCst);
    bench.now.store(1_000, Ordering::SeqCst);
    assert_eq!(append(&log, &["later"]).await, [Ok(2)]);
    let times: Vec<i64> =
        read_all(&log).await.unwrap().iter().map(|record| record.log_time.micros()).collect();
    assert_eq!(times, [9_000, 9_000, 9_000]);
}

#[tokio::test]
async fn a_failed_sync_calls_the_hook_and_nothing_more_is_promised() {
    let mut bench = Bench::new();
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    bench.settings.on_fsync_failure = Arc::new(move |error| {
        assert_eq!(error.raw_os_error(), Some(5));
        count.fetch_add(1, Ordering::SeqCst);
    });
    let disk = FaultyDisk::default();
    let log = bench.open_on(Arc::new(disk.clone())).await;
    append(&log, &["one"]).await;
    disk.faults.sync_fails.store(true, Ordering::SeqCst);
    assert!(matches!(append(&log, &["two"]).await[..], [Err(Error::Unavailable(_))]));
    disk.faults.sync_fails.store(false, Ordering::SeqCst);
    assert!(matches!(append(&log, &["three"]).await[..], [Err(Error::Unavailable(_))]));
    assert_eq!(called.load(Ordering::SeqCst), 1);
    assert_eq!(payloads(&log).await, ["one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_share_one_sync() {
    let bench = Bench::new();
    let disk = FaultyDisk::default();
    let log = bench.open_on(Arc::new(disk.clone())).await;
    disk.faults.sync_hangs.store(true, Ordering::SeqCst);
    let producer = log.producer(USE).unwrap();
    let one = || producer.append(P0, vec![record("x")]);
    let appends = futures::future::join_all((0..100).map(|_| one()));
    let release = async {
        // All hundred are queued before this is polled: join polls in order.
        disk.faults.sync_hangs.store(false, Ordering::SeqCst);
    };
    let (answers, ()) = futures::future::join(appends, release).await;
    let positions: Vec<u64> = answers.into_iter().map(|answer| *answer[0].as_ref().unwrap()).collect();
    assert_eq!(positions, (0..100).collect::<Vec<_>>());
    // The first group may have been taken with any number in it; the rest is one more.
    assert!(disk.faults.syncs.load(Ordering::SeqCst) <= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_may_wait_is_refused_and_later_taken() {
    let bench = Bench::new();
    let disk = FaultyDisk::default();
    let log = bench.open_on(Arc::new(disk.clone())).await;
    disk.faults.sync_hangs.store(true, Ordering::SeqCst);
    let small = ProducerUse { max_pending_bytes: 10_000, ..USE };
    let producer = log.producer(small).unwrap();
    let half = "h".repeat(5_000 - 1);
    let filling = producer.append(P0, vec![record(&half), record(&half), record("over")]);
    let refused = async {
        let answers = producer.append(P0, vec![record("more")]).await;
        disk.faults.sync_hangs.store(false, Ordering::SeqCst);
        answers
    };
    let (filled, refused) = futures::future::join(filling, refused).await;
    assert!(matches!(filled[..], [Ok(0), Ok(1), Err(Error::Full)]), "{filled:?}");
    assert!(matches!(refused[..], [Err(Error::Full)]), "{refused:?}");
    assert_eq!(producer.append(P0, vec![record("more")]).await, [Ok(2)]);
    let too_small = ProducerUse { max_pending_bytes: 9_999, ..USE };
    assert!(matches!(log.producer(too_small).err(), Some(Error::Settings(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_append_ends_at_its_deadline_and_its_record_may_still_come() {
    let bench = Bench::new();
    let disk = FaultyDisk::default();
    let log = bench.open_on(Arc::new(disk.clone())).await;
    disk.faults.sync_hangs.store(true, Ordering::SeqCst);
    let producer = log.producer(ProducerUse { deadline: Duration::from_millis(20), ..USE }).unwrap();
    assert!(matches!(producer.append(P0, vec![record("late")]).await[..], [Err(Error::Deadline)]));
    assert_eq!(log.bounds(P0).await.unwrap().end, 0);
    disk.faults.sync_hangs.store(false, Ordering::SeqCst);
    let mut subscription = log.subscribe(&[(P0, 0)]).await.unwrap();
    let batch = subscription.next(10, WAIT).await.unwrap().unwrap();
    assert_eq!(batch.records[0].payload, "late");
}

#[tokio::test]
async fn after_closing_appends_are_refused_and_readers_end() {
    let bench = Bench::new();
    let log = bench.open().await;
    append(&log, &["one"]).await;
    let producer = log.producer(USE).unwrap();
    let mut subscription = log.subscribe(&[(P0, 0)]).await.unwrap();
    log.close(WAIT).await;
    assert_eq!(producer.append(P0, vec![record("two")]).await, [Err(Error::Closed)]);
    assert_eq!(subscription.next(10, WAIT).await.unwrap().unwrap().records.len(), 1);
    assert!(matches!(subscription.next(10, WAIT).await, Err(Error::Closed)));
}

#[tokio::test]
async fn metrics_count_what_became_durable_and_what_was_refused() {
    let mut bench = Bench::new();
    let registry = prometheus::Registry::new();
    bench.settings.metrics = Some(crate::metrics::Metrics::register(&registry, "main").unwrap());
    let log = bench.open().await;
    let big = "b".repeat(10_000);
    append(&log, &["12345", &big, "123"]).await;
    let value = |name: &str| {
        let family = registry.gather().into_iter().find(|family| family.name() == name).unwrap();
        family.get_metric()[0].clone()
    };
    assert_eq!(value("eventlog_appended_records_total").get_counter().get_value(), 2.0);
    assert_eq!(value("eventlog_appended_bytes_total").get_counter().get_value(), 10.0);
    assert_eq!(value("eventlog_refused_records_total").get_counter().get_value(), 1.0);
    assert_eq!(value("eventlog_fsync_seconds").get_histogram().get_sample_count(), 1);
    assert_eq!(value("eventlog_pending_bytes").get_gauge().get_value(), 0.0);
    assert!(crate::metrics::Metrics::register(&registry, "main").is_err());
    crate::metrics::Metrics::register(&registry, "spool").unwrap();
}
