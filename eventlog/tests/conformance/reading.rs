//! Reading.

use std::collections::BTreeMap;
use std::time::Duration;

use eventlog::{Bounds, Error, Position, Subscription};

use crate::engine::{
    Engine, Fixture, LIMIT, MAX_RECORD_BYTES, SHORT, numbered, payloads, positions, read, record,
};

pub async fn subscribe_starts_at_a_position<E: Engine>() {
    let fixture = Fixture::<E>::new(1).await;
    fixture.fill(numbered(0..100)).await;
    for from in [0, 1, 57, 99] {
        let mut subscription = fixture.subscribe(from).await;
        let records = read(&mut *subscription, (100 - from) as usize).await;
        assert_eq!(payloads(&records), numbered(from..100));
        assert_eq!(subscription.positions(), BTreeMap::from([(fixture.partition(0), 100)]));
        assert_eq!(subscription.next(1, SHORT).await, Ok(None));
    }
}

pub async fn a_batch_has_one_partition_and_a_limit<E: Engine>() {
    let fixture = Fixture::<E>::new(2).await;
    let producer = fixture.producer();
    for number in 0..2 {
        let records = numbered(0..50).into_iter().map(record).collect();
        producer.append(fixture.partition(number), records).await;
    }
    let from = [(fixture.partition(0), 10), (fixture.partition(1), 20)];
    let mut subscription = fixture.log.subscribe(&from).await.unwrap();
    let mut seen: BTreeMap<_, Vec<Position>> = BTreeMap::new();
    while seen.values().map(Vec::len).sum::<usize>() < 70 {
        let batch = subscription.next(7, LIMIT).await.unwrap().unwrap();
        assert!((1..=7).contains(&batch.records.len()));
        seen.entry(batch.partition).or_default().extend(positions(&batch.records));
    }
    assert_eq!(seen[&fixture.partition(0)], (10..50).collect::<Vec<_>>());
    assert_eq!(seen[&fixture.partition(1)], (20..50).collect::<Vec<_>>());
}

pub async fn next_waits_at_the_end_and_wakes<E: Engine>() {
    let fixture = Fixture::<E>::new(1).await;
    let mut subscription = fixture.subscribe(0).await;
    assert_eq!(subscription.next(10, Duration::ZERO).await, Ok(None));
    assert_eq!(subscription.next(10, SHORT).await, Ok(None));
    for round in 0..5 {
        let waiting = subscription.next(10, LIMIT);
        let appending = fixture.append(numbered(round..round + 1));
        let (batch, answers) = futures::future::join(waiting, appending).await;
        assert_eq!(answers, [Ok(round)]);
        assert_eq!(payloads(&batch.unwrap().unwrap().records), numbered(round..round + 1));
    }
}

pub async fn pause_holds_a_partition_and_resume_goes_on<E: Engine>() {
    let fixture = Fixture::<E>::new(2).await;
    let (held, free) = (fixture.partition(0), fixture.partition(1));
    let producer = fixture.producer();
    let append =
        |partition, range| producer.append(partition, numbered(range).into_iter().map(record).collect());
    append(held, 0..10).await;
    let mut subscription = fixture.log.subscribe(&[(held, 0), (free, 0)]).await.unwrap();
    assert_eq!(positions(&subscription.next(4, LIMIT).await.unwrap().unwrap().records), [0, 1, 2, 3]);
    subscription.pause(held);
    append(held, 10..20).await;
    append(free, 0..10).await;
    let records = read_only(&mut *subscription, free, 10).await;
    assert_eq!(payloads(&records), numbered(0..10));
    assert_eq!(subscription.next(10, SHORT).await, Ok(None));
    assert_eq!(subscription.positions(), BTreeMap::from([(held, 4), (free, 10)]));
    subscription.resume(held);
    let records = read_only(&mut *subscription, held, 16).await;
    assert_eq!(payloads(&records), numbered(4..20));
}

/// Reads `count` records that all belong to one partition.
async fn read_only(
    subscription: &mut dyn Subscription,
    partition: eventlog::Partition,
    count: usize,
) -> Vec<eventlog::Record> {
    let mut records = Vec::new();
    while records.len() < count {
        let batch = subscription.next(100, LIMIT).await.unwrap().unwrap();
        assert_eq!(batch.partition, partition);
        records.extend(batch.records);
    }
    records
}

pub async fn next_is_cancel_safe<E: Engine>() {
    let fixture = Fixture::<E>::new(1).await;
    fixture.fill(numbered(0..2_000)).await;
    let mut subscription = fixture.subscribe(0).await;
    let mut records = Vec::new();
    let mut cancelled = 0;
    while records.len() < 2_000 {
        // Dropped at whatever point it has come to after one poll.
        {
            let mut next = subscription.next(10, LIMIT);
            match futures::poll!(&mut next) {
                std::task::Poll::Ready(batch) => records.extend(batch.unwrap().unwrap().records),
                std::task::Poll::Pending => cancelled += 1,
            }
        }
        if records.len() < 2_000 {
            records.extend(subscription.next(10, LIMIT).await.unwrap().unwrap().records);
        }
    }
    assert!(cancelled > 0, "nothing was cancelled");
    assert_eq!(payloads(&records), numbered(0..2_000));
}

pub async fn positions_outside_the_log_halt<E: Engine>() {
    let fixture = Fixture::<E>::new(1).await;
    let partition = fixture.partition(0);
    fixture.fill(numbered(0..5)).await;
    fixture.subscribe(5).await;
    let error = fixture.log.subscribe(&[(partition, 6)]).await.err();
    let beyond = Error::OutOfRange { topic: partition.topic, partition: 0, position: 6, start: 0, end: 5 };
    assert_eq!(error, Some(beyond));
}

pub async fn a_reader_that_deletion_overtakes_halts<E: Engine>() {
    const RECORDS: u64 = 400;
    let fixture = Fixture::<E>::new(1).await;
    let partition = fixture.partition(0);
    let large = "z".repeat(MAX_RECORD_BYTES - "key".len());
    fixture.fill((0..RECORDS).map(|_| large.clone())).await;
    let mut subscription = fixture.subscribe(0).await;
    fixture.log.delete_below(partition, RECORDS).await.unwrap();
    let Bounds { start, end } = fixture.log.bounds(partition).await.unwrap();
    assert!(start > RECORDS / 2 && end == RECORDS, "{start}..{end}");
    // What was fetched ahead may still come, in order; then it halts instead of jumping to the start.
    let mut expected = 0;
    let error = loop {
        match subscription.next(10, LIMIT).await {
            Ok(batch) => {
                for position in positions(&batch.unwrap().records) {
                    assert_eq!(position, expected);
                    expected += 1;
                }
            }
            Err(error) => break error,
        }
    };
    let Error::OutOfRange { position, .. } = error else { panic!("{error}") };
    assert!(position < start, "{position}");
    assert!(matches!(subscription.next(10, LIMIT).await, Err(Error::OutOfRange { .. })));
}

pub async fn many_records_are_read_in_order<E: Engine>() {
    const RECORDS: u64 = 30_000;
    let fixture = Fixture::<E>::new(1).await;
    let producer = fixture.producer();
    let partition = fixture.partition(0);
    let chunks = (0..RECORDS / 1_000).map(|chunk| {
        let range = chunk * 1_000..(chunk + 1) * 1_000;
        producer.append(partition, numbered(range).into_iter().map(record).collect())
    });
    for answer in futures::future::join_all(chunks).await.into_iter().flatten() {
        answer.unwrap();
    }
    let records = fixture.read_from(0).await;
    assert_eq!(positions(&records), (0..RECORDS).collect::<Vec<_>>());
    let distinct: std::collections::BTreeSet<String> = payloads(&records).into_iter().collect();
    assert_eq!(distinct.len() as u64, RECORDS);
}
