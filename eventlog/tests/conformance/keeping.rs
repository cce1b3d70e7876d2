//! What is kept: topics, times, records; and what may go.

use eventlog::{Bounds, Error, TopicSpec};

use crate::engine::{Engine, Fixture, LIMIT, SHORT, numbered, payloads, read, record};

pub async fn topics_keep_their_partition_count<E: Engine>() {
    let fixture = Fixture::<E>::new(3).await;
    let TopicSpec { name, partitions } = fixture.spec;
    assert_eq!(fixture.log.partitions(name).await, Ok(Some(partitions)));
    assert_eq!(fixture.log.partitions("no-such-topic").await, Ok(None));
    fixture.log.ensure_topics(&[fixture.spec]).await.unwrap();
    for wanted in [2, 4] {
        let refused = fixture.log.ensure_topics(&[TopicSpec { name, partitions: wanted }]).await;
        assert_eq!(refused, Err(Error::PartitionCount { topic: name, found: 3, wanted }));
    }
    assert_eq!(fixture.log.partitions(name).await, Ok(Some(3)));
}

pub async fn log_times_never_go_back<E: Engine>() {
    let fixture = Fixture::<E>::new(1).await;
    let producer = fixture.producer();
    for round in 0..10 {
        let records = numbered(round..round + 3).into_iter().map(record).collect();
        assert_eq!(producer.append(fixture.partition(0), records).await.len(), 3);
    }
    let times: Vec<_> = fixture.read_from(0).await.into_iter().map(|record| record.log_time).collect();
    assert!(times[0].micros() > 0, "the log stamps records");
    assert!(times.is_sorted(), "{times:?}");
}

pub async fn records_below_a_position_are_deleted<E: Engine>() {
    let fixture = Fixture::<E>::new(1).await;
    let partition = fixture.partition(0);
    let payload = "d".repeat(1_000);
    fixture.fill((0..2_000).map(|_| payload.clone())).await;
    fixture.log.delete_below(partition, 1_500).await.unwrap();
    let Bounds { start, end } = fixture.log.bounds(partition).await.unwrap();
    assert!(start > 0 && start <= 1_500 && end == 2_000, "{start}..{end}");
    assert_eq!(fixture.read_from(start).await.len() as u64, end - start);
    let error = fixture.log.subscribe(&[(partition, start - 1)]).await.err();
    assert!(matches!(error, Some(Error::OutOfRange { .. })), "{error:?}");
    // Asking again, or for less, changes nothing.
    fixture.log.delete_below(partition, 1_500).await.unwrap();
    fixture.log.delete_below(partition, 0).await.unwrap();
    assert_eq!(fixture.log.bounds(partition).await, Ok(Bounds { start, end }));
    assert_eq!(fixture.append(numbered(0..1)).await, [Ok(2_000)]);
}

pub async fn a_crash_loses_nothing_acknowledged<E: Engine>() {
    let mut fixture = Fixture::on(E::own().await, 2).await;
    fixture.fill(numbered(0..500)).await;
    fixture.log = fixture.engine.crash(fixture.log).await;
    assert_eq!(fixture.log.partitions(fixture.spec.name).await, Ok(Some(2)));
    fixture.log.ensure_topics(&[fixture.spec]).await.unwrap();
    assert_eq!(fixture.log.bounds(fixture.partition(0)).await, Ok(Bounds { start: 0, end: 500 }));
    let mut subscription = fixture.subscribe(0).await;
    assert_eq!(payloads(&read(&mut *subscription, 500).await), numbered(0..500));
    assert_eq!(subscription.next(1, SHORT).await, Ok(None));
    assert_eq!(fixture.append(numbered(500..501)).await, [Ok(500)]);
    assert_eq!(payloads(&read(&mut *subscription, 1).await), numbered(500..501));
    fixture.log.close(LIMIT).await;
}
