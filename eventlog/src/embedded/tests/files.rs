//! Segment files, torn and damaged ones too, and the directory around them.

use proptest::prelude::*;

use super::super::frame::{Stamp, encode};
use super::*;

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut_and_the_log_goes_on() {
    let bench = Bench::new();
    let log = bench.open().await;
    append(&log, &["one", "two"]).await;
    append(&log, &["the last one"]).await;
    log.close(WAIT).await;
    let whole = fs::read(bench.segment(0)).unwrap();
    let last_bytes = OVERHEAD_BYTES + "k".len() + "the last one".len();
    for kept in whole.len() - last_bytes..whole.len() {
        fs::write(bench.segment(0), &whole[..kept]).unwrap();
        let log = bench.open().await;
        assert_eq!(payloads(&log).await, ["one", "two"], "cut at byte {kept}");
        assert_eq!(append(&log, &["again"]).await, [Ok(2)]);
        assert_eq!(payloads(&log).await, ["one", "two", "again"], "cut at byte {kept}");
        log.close(WAIT).await;
        let log = bench.open().await;
        assert_eq!(payloads(&log).await, ["one", "two", "again"], "cut at byte {kept}, opened again");
        log.close(WAIT).await;
    }
}

#[tokio::test]
async fn a_tail_of_zeros_or_noise_is_cut() {
    for junk in [vec![0_u8; 5_000], (0..5_000_u32).map(|n| (n * 7_919) as u8).collect()] {
        let bench = Bench::new();
        let log = bench.open().await;
        append(&log, &["one", "two"]).await;
        log.close(WAIT).await;
        let mut bytes = fs::read(bench.segment(0)).unwrap();
        let good = bytes.len();
        bytes.extend_from_slice(&junk);
        fs::write(bench.segment(0), &bytes).unwrap();
        let log = bench.open().await;
        assert_eq!(payloads(&log).await, ["one", "two"]);
        assert_eq!(fs::metadata(bench.segment(0)).unwrap().len(), good as u64);
        log.close(WAIT).await;
    }
}

#[tokio::test]
async fn a_broken_frame_in_the_group_that_was_being_written_is_a_torn_tail() {
    let bench = Bench::new();
    let log = bench.open().await;
    append(&log, &["one"]).await;
    // One group: none of its frames says that another of them was durable.
    append(&log, &["two", "three", "four"]).await;
    log.close(WAIT).await;
    let mut bytes = fs::read(bench.segment(0)).unwrap();
    let in_two = OVERHEAD_BYTES + 4 + OVERHEAD_BYTES + 2;
    bytes[in_two] ^= 1;
    fs::write(bench.segment(0), &bytes).unwrap();
    let log = bench.open().await;
    assert_eq!(payloads(&log).await, ["one"]);
    log.close(WAIT).await;
}

#[tokio::test]
async fn a_payload_that_looks_like_a_later_frame_does_not_make_a_torn_tail_damage() {
    let bench = Bench::new();
    let log = bench.open().await;
    append(&log, &["one", "two"]).await;
    log.close(WAIT).await;
    let mut bytes = fs::read(bench.segment(0)).unwrap();
    // The second frame is torn, and behind it lies what a sender made up: a frame from far ahead.
    bytes[2 * OVERHEAD_BYTES + "kone".len()] ^= 1;
    let stamp = Stamp { position: 5_000, log_time: Timestamp::from_micros(1), durable_end: 4_000 };
    encode(&mut bytes, stamp, b"", b"");
    fs::write(bench.segment(0), &bytes).unwrap();
    let log = bench.open().await;
    assert_eq!(payloads(&log).await, ["one"]);
    log.close(WAIT).await;
}

#[tokio::test]
async fn damage_before_something_durable_is_named_and_refused() {
    let bench = Bench::new();
    let log = bench.open().await;
    append(&log, &["one"]).await;
    append(&log, &["two"]).await;
    append(&log, &["three"]).await;
    log.close(WAIT).await;
    let whole = fs::read(bench.segment(0)).unwrap();
    let second = OVERHEAD_BYTES + "kone".len();
    let third = second + OVERHEAD_BYTES + "ktwo".len();
    for at in second..third {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(bench.segment(0), &bytes).unwrap();
        let Err(Error::Corrupt(message)) = bench.try_open() else { panic!("opened with byte {at} damaged") };
        assert!(message.contains("00000000000000000000.log"), "{message}");
        assert!(message.contains(&format!("at byte {second},")), "{message}");
        assert_eq!(fs::read(bench.segment(0)).unwrap(), bytes, "a refused file stays as it is");
    }
}

#[tokio::test]
async fn damage_in_an_older_segment_is_named_when_it_is_read() {
    let bench = Bench::new();
    let log = bench.open().await;
    let big = "x".repeat(9_000);
    for _ in 0..4 {
        append(&log, &[&big]).await;
    }
    log.close(WAIT).await;
    assert_eq!(bench.segments(), [0, 2]);
    let mut bytes = fs::read(bench.segment(0)).unwrap();
    bytes[12_000] ^= 1;
    fs::write(bench.segment(0), &bytes).unwrap();
    let log = bench.open().await;
    let Err(Error::Corrupt(message)) = read_all(&log).await else { panic!("damage was served") };
    assert!(message.contains("00000000000000000000.log"), "{message}");
    let mut subscription = log.subscribe(&[(P0, 2)]).await.unwrap();
    assert_eq!(subscription.next(9, WAIT).await.unwrap().unwrap().records[0].position, 2);
}

#[tokio::test]
async fn segments_roll_and_are_read_across() {
    let bench = Bench::new();
    let log = bench.open().await;
    let payload = "y".repeat(3_000);
    let many: Vec<&str> = vec![&payload; 50];
    let expected: Vec<_> = (0..50).map(Ok).collect();
    assert_eq!(append(&log, &many).await, expected);
    let bases: Vec<u64> = (0..50).step_by(6).collect();
    assert_eq!(bench.segments(), bases);
    assert!(bases.iter().all(|&base| fs::metadata(bench.segment(base)).unwrap().len() <= 20_000));
    assert_eq!(read_all(&log).await.unwrap().len(), 50);
    log.close(WAIT).await;
    let log = bench.open().await;
    let positions: Vec<u64> = read_all(&log).await.unwrap().iter().map(|record| record.position).collect();
    assert_eq!(positions, (0..50).collect::<Vec<_>>());
    for from in 0..50 {
        let mut subscription = log.subscribe(&[(P0, from)]).await.unwrap();
        assert_eq!(subscription.next(1, WAIT).await.unwrap().unwrap().records[0].position, from);
    }
}

#[tokio::test]
async fn whole_segments_below_a_position_are_deleted_but_never_the_last_records() {
    let bench = Bench::new();
    let log = bench.open().await;
    let payload = "y".repeat(3_000);
    append(&log, &vec![payload.as_str(); 14]).await;
    assert_eq!(bench.segments(), [0, 6, 12]);
    log.delete_below(P0, 5).await.unwrap();
    assert_eq!(bench.segments(), [0, 6, 12]);
    let mut standing = log.subscribe(&[(P0, 3)]).await.unwrap();
    log.delete_below(P0, 7).await.unwrap();
    assert_eq!(bench.segments(), [6, 12]);
    assert_eq!(log.bounds(P0).await.unwrap(), Bounds { start: 6, end: 14 });
    let error = standing.next(1, WAIT).await.unwrap_err();
    assert!(matches!(error, Error::OutOfRange { position: 3, start: 6, end: 14, .. }), "{error}");
    log.delete_below(P0, u64::MAX).await.unwrap();
    assert_eq!(bench.segments(), [12]);
    log.close(WAIT).await;
    let log = bench.open().await;
    assert_eq!(log.bounds(P0).await.unwrap(), Bounds { start: 12, end: 14 });
    assert_eq!(append(&log, &["next"]).await, [Ok(14)]);
}

#[tokio::test]
async fn an_empty_last_segment_continues_the_one_before() {
    let bench = Bench::new();
    bench.now.store(5_000, Ordering::SeqCst);
    let log = bench.open().await;
    append(&log, &["one", "two"]).await;
    log.close(WAIT).await;
    fs::write(bench.segment(2), b"").unwrap();
    bench.now.store(1, Ordering::SeqCst);
    let log = bench.open().await;
    assert_eq!(append(&log, &["three"]).await, [Ok(2)]);
    let times: Vec<i64> =
        read_all(&log).await.unwrap().iter().map(|record| record.log_time.micros()).collect();
    assert_eq!(times, [5_000, 5_000, 5_000]);
    log.close(WAIT).await;
    // The next segment was begun, so everything before it had been durable: a torn end there is damage.
    let bytes = fs::read(bench.segment(0)).unwrap();
    fs::write(bench.segment(0), &bytes[..bytes.len() - 1]).unwrap();
    fs::write(bench.segment(2), b"").unwrap();
    assert!(matches!(bench.try_open(), Err(Error::Corrupt(_))));
}

#[tokio::test]
async fn log_time_never_goes_back_even_across_a_restart() {
    let bench = Bench::new();
    let log = bench.open().await;
    for now in [1_000, 3_000, 2_000] {
        bench.now.store(now, Ordering::SeqCst);
        append(&log, &["x"]).await;
    }
    log.close(WAIT).await;
    bench.now.store(500, Ordering::SeqCst);
    let log = bench.open().await;
    append(&log, &["x"]).await;
    let times: Vec<i64> =
        read_all(&log).await.unwrap().iter().map(|record| record.log_time.micros()).collect();
    assert_eq!(times, [1_000, 3_000, 3_000, 3_000]);
}

#[tokio::test]
async fn a_directory_is_open_once() {
    let bench = Bench::new();
    let log = bench.open().await;
    let Err(Error::Settings(message)) = bench.try_open() else { panic!("opened twice") };
    assert!(message.contains(&bench.path().display().to_string()), "{message}");
    log.close(WAIT).await;
    bench.try_open().unwrap();
}

#[tokio::test]
async fn another_format_is_refused() {
    let bench = Bench::new();
    bench.open().await.close(WAIT).await;
    fs::write(bench.path().join("format"), "2\n").unwrap();
    let Err(Error::Settings(message)) = bench.try_open() else { panic!("opened a newer format") };
    assert!(message.contains("has format 2, this program knows format 1"), "{message}");
    fs::remove_file(bench.path().join("format")).unwrap();
    assert!(matches!(bench.try_open(), Err(Error::Corrupt(_))));
}

#[tokio::test]
async fn a_topic_that_was_not_created_whole_is_created_again() {
    let bench = Bench::new();
    bench.open().await.close(WAIT).await;
    fs::remove_file(bench.path().join(TOPIC).join("partitions")).unwrap();
    let log = bench.try_open().unwrap();
    assert_eq!(log.partitions(TOPIC).await.unwrap(), None);
    log.ensure_topics(&[SPEC]).await.unwrap();
    assert_eq!(log.partitions(TOPIC).await.unwrap(), Some(1));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let mut bench = Bench::new();
    bench.settings.segment_bytes = 10_000;
    assert!(matches!(bench.try_open(), Err(Error::Settings(_))));
    bench.settings.max_record_bytes = 0;
    assert!(matches!(bench.try_open(), Err(Error::Settings(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// One damaged byte anywhere: refused, or at most what was written last is gone. Never something else.
    #[test]
    fn a_damaged_byte_never_costs_more_than_the_last_group(
        groups in prop::collection::vec(prop::collection::vec("[a-z]{0,40}", 1..5), 1..6),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let bench = Bench::new();
        let written: Vec<String> = groups.concat();
        runtime.block_on(async {
            let log = bench.open().await;
            for group in &groups {
                let group: Vec<&str> = group.iter().map(String::as_str).collect();
                append(&log, &group).await;
            }
            log.close(WAIT).await;
        });
        let mut bytes = fs::read(bench.segment(0)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(bench.segment(0), &bytes).unwrap();
        match bench.try_open() {
            Ok(log) => {
                let read = runtime.block_on(payloads(&log));
                prop_assert!(read.len() < written.len());
                prop_assert!(read.len() >= written.len() - groups[groups.len() - 1].len());
                prop_assert_eq!(&read[..], &written[..read.len()]);
            }
            Err(Error::Corrupt(_)) => prop_assert!(groups.len() > 1),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[tokio::test]
async fn bytes_are_told_from_any_position_on() {
    let bench = Bench::new();
    let big = "z".repeat(8_000);
    let all: Vec<&str> = vec!["a", &big, "b", &big, &big, "c"];
    let sizes: Vec<u64> = all.iter().map(|payload| disk_bytes(b"k", payload.as_bytes())).collect();
    let log = bench.open().await;
    append(&log, &all).await;
    assert!(bench.segments().len() > 1);
    assert_eq!(log.extent(P0).unwrap().appended_bytes, sizes.iter().sum::<u64>());
    for from in 0..=all.len() {
        assert_eq!(log.bytes_from(P0, from as u64), Ok(sizes[from..].iter().sum()), "from {from}");
    }
    log.close(WAIT).await;
    drop(log);
    let log = bench.open().await;
    assert_eq!(log.extent(P0).unwrap().appended_bytes, 0);
    assert_eq!(log.bytes_from(P0, 3), Ok(sizes[3..].iter().sum()));
    append(&log, &["d"]).await;
    let extent = log.extent(P0).unwrap();
    assert_eq!((extent.bounds.end, extent.appended_bytes), (7, disk_bytes(b"k", b"d")));
}
