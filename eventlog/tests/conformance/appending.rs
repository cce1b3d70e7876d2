//! Appending.

use bytes::Bytes;
use eventlog::{Bounds, Error, NewRecord, Partition, ProducerUse};

use crate::engine::{
    Engine, Fixture, LIMIT, MAX_RECORD_BYTES, USE, numbered, payloads, positions, read, record,
};

pub async fn append_answers_per_record<E: Engine>() {
    let fixture = Fixture::<E>::new(1).await;
    assert_eq!(fixture.append(Vec::new()).await, []);
    assert_eq!(fixture.append(numbered(0..3)).await, [Ok(0), Ok(1), Ok(2)]);
    assert_eq!(fixture.append(numbered(3..4)).await, [Ok(3)]);
    let bounds = fixture.log.bounds(fixture.partition(0)).await.unwrap();
    assert_eq!(bounds, Bounds { start: 0, end: 4 });
    let keyless = NewRecord { key: Bytes::new(), payload: Bytes::from_static(&[0, 255, 10]) };
    let empty = NewRecord { key: Bytes::from_static(&[7; 300]), payload: Bytes::new() };
    let sent = vec![keyless.clone(), empty.clone()];
    assert_eq!(fixture.producer().append(fixture.partition(0), sent).await, [Ok(4), Ok(5)]);
    let records = fixture.read_from(0).await;
    assert_eq!(positions(&records), [0, 1, 2, 3, 4, 5]);
    assert_eq!(payloads(&records[..4]), numbered(0..4));
    assert_eq!(records[3].key, "key");
    for (read, sent) in records[4..].iter().zip([keyless, empty]) {
        assert_eq!((&read.key, &read.payload), (&sent.key, &sent.payload));
    }
}

pub async fn append_keeps_the_order_within_a_partition<E: Engine>() {
    let fixture = Fixture::<E>::new(3).await;
    let producer = fixture.producer();
    for round in 0..20_u64 {
        for number in 0..3 {
            let records = numbered(round * 10..round * 10 + 10).into_iter().map(record).collect();
            let answers = producer.append(fixture.partition(number), records).await;
            let expected: Vec<_> = (round * 10..round * 10 + 10).map(Ok).collect();
            assert_eq!(answers, expected);
        }
    }
    for number in 0..3 {
        let mut subscription = fixture.log.subscribe(&[(fixture.partition(number), 0)]).await.unwrap();
        assert_eq!(payloads(&read(&mut *subscription, 200).await), numbered(0..200));
    }
}

pub async fn concurrent_appends_get_positions_of_their_own<E: Engine>() {
    let fixture = Fixture::<E>::new(1).await;
    let (one, other) = (fixture.producer(), fixture.producer());
    let partition = fixture.partition(0);
    let appends = (0..400_u64).map(|number| {
        let producer = if number % 2 == 0 { &one } else { &other };
        producer.append(partition, vec![record(format!("{number} a")), record(format!("{number} b"))])
    });
    let answers = futures::future::join_all(appends).await;
    let records = fixture.read_from(0).await;
    assert_eq!(positions(&records), (0..800).collect::<Vec<_>>());
    let read = payloads(&records);
    for (number, answer) in answers.into_iter().enumerate() {
        let [Ok(first), Ok(second)] = answer[..] else { panic!("{answer:?}") };
        assert!(first < second, "those of one call keep their order");
        assert_eq!(read[first as usize], format!("{number} a"));
        assert_eq!(read[second as usize], format!("{number} b"));
    }
}

pub async fn large_records_are_refused_in_their_place<E: Engine>() {
    let fixture = Fixture::<E>::new(1).await;
    let exact = "x".repeat(MAX_RECORD_BYTES - "key".len());
    let over = "y".repeat(MAX_RECORD_BYTES - "key".len() + 1);
    let answers = fixture.append([exact.clone(), over, "small".to_owned()]).await;
    let too_large = Error::TooLarge { bytes: MAX_RECORD_BYTES + 1, limit: MAX_RECORD_BYTES };
    assert_eq!(answers, [Ok(0), Err(too_large), Ok(1)]);
    assert_eq!(payloads(&fixture.read_from(0).await), [exact, "small".to_owned()]);
}

pub async fn unknown_partitions_are_refused<E: Engine>() {
    let fixture = Fixture::<E>::new(1).await;
    let no_number = fixture.partition(1);
    let no_topic = Partition { topic: "no-such-topic", number: 0 };
    for unknown in [no_number, no_topic] {
        let bounds = fixture.log.bounds(unknown).await;
        assert!(matches!(bounds, Err(Error::UnknownPartition(_))), "{bounds:?}");
        let subscription = fixture.log.subscribe(&[(unknown, 0)]).await.err();
        assert!(matches!(subscription, Some(Error::UnknownPartition(_))), "{subscription:?}");
    }
    let answers = fixture.producer().append(no_number, vec![record("lost".into())]).await;
    assert!(matches!(answers[..], [Err(Error::UnknownPartition(_))]), "{answers:?}");
}

pub async fn more_than_may_be_pending_is_refused<E: Engine>() {
    let fixture = Fixture::<E>::new(1).await;
    let small = ProducerUse { max_pending_bytes: MAX_RECORD_BYTES, ..USE };
    let producer = fixture.log.producer(small).unwrap();
    let half = || record("h".repeat(MAX_RECORD_BYTES / 2 - "key".len()));
    let answers = producer.append(fixture.partition(0), vec![half(), half(), half()]).await;
    assert_eq!(answers, [Ok(0), Ok(1), Err(Error::Full)]);
    // What was answered no longer takes room.
    assert_eq!(producer.append(fixture.partition(0), vec![half()]).await, [Ok(2)]);
    let too_small = ProducerUse { max_pending_bytes: MAX_RECORD_BYTES - 1, ..USE };
    assert!(matches!(fixture.log.producer(too_small).err(), Some(Error::Settings(_))));
}

pub async fn a_producer_is_dropped_with_appends_in_flight<E: Engine>() {
    let fixture = Fixture::<E>::new(1).await;
    let producer = fixture.producer();
    let partition = fixture.partition(0);
    let mut append = producer.append(partition, numbered(0..1_000).into_iter().map(record).collect());
    // Polled once: the records are on their way.
    let _ = futures::poll!(&mut append);
    drop(append);
    drop(producer);
    let answers = fixture.append(numbered(0..1)).await;
    let [Ok(position)] = answers[..] else { panic!("{answers:?}") };
    assert!(position <= 1_000);
}

pub async fn a_closed_log_takes_and_gives_nothing<E: Engine>() {
    let fixture = Fixture::<E>::new(1).await;
    fixture.fill(numbered(0..1)).await;
    let producer = fixture.producer();
    let mut subscription = fixture.subscribe(1).await;
    fixture.log.close(LIMIT).await;
    let answers = producer.append(fixture.partition(0), vec![record("late".into())]).await;
    assert_eq!(answers, [Err(Error::Closed)]);
    assert_eq!(subscription.next(1, LIMIT).await, Err(Error::Closed));
}
