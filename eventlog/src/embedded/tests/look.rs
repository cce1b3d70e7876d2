//! A record read out of the files beside whoever has the log open.

use super::*;

#[tokio::test]
async fn any_record_can_be_read_while_the_log_is_open_and_when_it_is_closed() {
    let bench = Bench::new();
    let log = bench.open().await;
    let long = "x".repeat(9_000);
    for number in 0..10 {
        append(&log, &[&format!("{number} {long}")]).await;
    }
    assert!(bench.segments().len() > 2, "{:?}", bench.segments());
    let records = read_all(&log).await.unwrap();
    let assert_all = || {
        for record in &records {
            assert_eq!(read_record(bench.path(), P0, record.position).as_ref(), Ok(record));
        }
    };
    assert_all();
    log.close(WAIT).await;
    assert_all();
}

#[tokio::test]
async fn what_is_not_there_is_said_by_its_name_and_nothing_is_changed() {
    let bench = Bench::new();
    let nowhere = read_record(bench.path(), P0, 0).unwrap_err();
    assert!(nowhere.to_string().contains("there is none in"), "{nowhere}");
    assert_eq!(fs::read_dir(bench.path()).unwrap().count(), 0);
    let log = bench.open().await;
    let outside =
        |position, end| Err(Error::OutOfRange { topic: TOPIC, partition: 0, position, start: 0, end });
    assert_eq!(read_record(bench.path(), P0, 0), outside(0, 0));
    append(&log, &["one", "two"]).await;
    assert_eq!(read_record(bench.path(), P0, 2), outside(2, 2));
    let other = Partition { topic: TOPIC, number: 1 };
    assert_eq!(read_record(bench.path(), other, 0), Err(Error::UnknownPartition("events/1".into())));
    log.close(WAIT).await;
    // A torn tail is the end; nobody cuts it here. Damage before it is said.
    let whole = fs::read(bench.segment(0)).unwrap();
    fs::write(bench.segment(0), &whole[..whole.len() - 1]).unwrap();
    assert_eq!(read_record(bench.path(), P0, 1), outside(1, 1));
    assert_eq!(fs::read(bench.segment(0)).unwrap().len(), whole.len() - 1);
}

#[tokio::test]
async fn damage_in_a_segment_that_is_no_longer_written_is_said() {
    let bench = Bench::new();
    let log = bench.open().await;
    let long = "x".repeat(9_000);
    for _ in 0..4 {
        append(&log, &[&long]).await;
    }
    log.close(WAIT).await;
    let mut bytes = fs::read(bench.segment(0)).unwrap();
    bytes[OVERHEAD_BYTES + 5] ^= 1;
    fs::write(bench.segment(0), &bytes).unwrap();
    assert!(matches!(read_record(bench.path(), P0, 0), Err(Error::Corrupt(_))));
    assert!(read_record(bench.path(), P0, 3).is_ok());
}
