//! What only Kafka has: a broker that goes away and comes back, and options of its client.

use std::time::Duration;

use eventlog::kafka::KafkaLog;
use eventlog::metrics::Metrics;
use eventlog::{Error, EventLog as _, Partition, ProducerUse, TopicSpec};

use crate::engine::{
    Engine as _, Fixture, Kafka, LIMIT, MAX_RECORD_BYTES, USE, numbered, payloads, read, record, topic,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_is_answered_and_found_again() {
    let fixture = Fixture::on(Kafka::own().await, 1).await;
    let partition = fixture.partition(0);
    let hasty = ProducerUse { deadline: Duration::from_secs(5), ..USE };
    let producer = fixture.log.producer(hasty).unwrap();
    assert_eq!(producer.append(partition, vec![record("record 0".into())]).await, [Ok(0)]);
    let mut subscription = fixture.subscribe(0).await;
    assert_eq!(payloads(&read(&mut *subscription, 1).await), numbered(0..1));
    fixture.engine.kill().await;
    let answers = producer.append(partition, vec![record("lost".into())]).await;
    assert_eq!(answers, [Err(Error::Deadline)]);
    let error = subscription.next(1, LIMIT).await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    fixture.engine.restart().await;
    // A producer that had an error is thrown away.
    drop(producer);
    let patient = fixture.producer();
    assert_eq!(patient.append(partition, vec![record("record 1".into())]).await, [Ok(1)]);
    let batch = loop {
        match subscription.next(10, LIMIT).await {
            Ok(batch) => break batch.unwrap(),
            Err(error) => assert!(error.is_retriable(), "{error}"),
        }
    };
    assert_eq!(payloads(&batch.records), ["record 1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_a_broker_is_unavailable() {
    let mut settings = Kafka::shared().await.settings();
    settings.brokers = "127.0.0.1:9".into();
    settings.request_timeout = Duration::from_millis(500);
    let error = KafkaLog::connect(settings.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let log = KafkaLog::open(settings.clone()).unwrap();
    let spec = topic(2);
    log.expect(&[spec]);
    assert!(matches!(log.partitions(spec.name).await, Err(Error::Unavailable(_))));
    let usage = ProducerUse { deadline: Duration::from_millis(50), ..USE };
    let partition = Partition { topic: spec.name, number: 1 };
    let answers = log.producer(usage).unwrap().append(partition, vec![record("x".into())]).await;
    assert_eq!(answers, [Err(Error::Deadline)]);
    log.close(LIMIT).await;
    settings.extra.insert("no.such.setting".into(), "1".into());
    let error = KafkaLog::connect(settings).await.unwrap_err();
    assert!(matches!(error, Error::Settings(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_that_break_the_promise_are_refused_on_connecting() {
    for name in ["acks", "delivery.timeout.ms", "topic.auto.offset.reset", "check.crcs"] {
        let mut settings = Kafka::shared().await.settings();
        settings.extra.insert(name.into(), "the-value".into());
        let Err(Error::Settings(message)) = KafkaLog::connect(settings).await else {
            panic!("{name} was accepted");
        };
        assert!(message.contains(name) && !message.contains("the-value"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_options_are_never_shown() {
    let mut settings = Kafka::shared().await.settings();
    settings.extra.insert("sasl.password".into(), "c0rrect-h0rse".into());
    let mut refused = settings.clone();
    refused.extra.insert("security.protocol".into(), "c0rrect-h0rse".into());
    let error = KafkaLog::connect(refused).await.unwrap_err();
    let log = KafkaLog::connect(settings.clone()).await.unwrap();
    let texts = [format!("{settings:?}"), format!("{log:#?}"), format!("{error} {error:?}")];
    for (text, name) in texts.iter().zip(["sasl.password", "sasl.password", "security.protocol"]) {
        assert!(text.contains(name), "{text}");
        assert!(!text.contains("c0rrect-h0rse"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_what_was_acknowledged() {
    let registry = prometheus::Registry::new();
    let mut settings = Kafka::shared().await.settings();
    settings.metrics = Some(Metrics::register(&registry, "main").unwrap());
    let log = KafkaLog::connect(settings).await.unwrap();
    let spec = topic(1);
    log.ensure_topics(&[spec]).await.unwrap();
    let large = "l".repeat(MAX_RECORD_BYTES);
    let sent = vec![record("12345".into()), record(large), record("123".into())];
    let answers = log.producer(USE).unwrap().append(Partition { topic: spec.name, number: 0 }, sent).await;
    assert!(matches!(answers[..], [Ok(0), Err(Error::TooLarge { .. }), Ok(1)]), "{answers:?}");
    let value = |name: &str| {
        let family = registry.gather().into_iter().find(|family| family.name() == name).unwrap();
        family.get_metric()[0].clone()
    };
    assert_eq!(value("eventlog_appended_records_total").get_counter().get_value(), 2.0);
    assert_eq!(value("eventlog_appended_bytes_total").get_counter().get_value(), 14.0);
    assert_eq!(value("eventlog_refused_records_total").get_counter().get_value(), 1.0);
    assert_eq!(value("eventlog_pending_bytes").get_gauge().get_value(), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn installations_with_prefixes_of_their_own_share_a_broker() {
    let spec = topic(1);
    let partition = Partition { topic: spec.name, number: 0 };
    let mut logs = Vec::new();
    for (prefix, partitions) in [("one-", 1), ("two-", 2)] {
        let mut settings = Kafka::shared().await.settings();
        settings.topic_prefix = prefix.to_owned();
        let log = KafkaLog::connect(settings).await.unwrap();
        log.ensure_topics(&[TopicSpec { partitions, ..spec }]).await.unwrap();
        assert_eq!(log.partitions(spec.name).await.unwrap(), Some(partitions));
        let producer = log.producer(USE).unwrap();
        assert_eq!(producer.append(partition, vec![record(prefix.to_owned())]).await, [Ok(0)]);
        logs.push((log, prefix));
    }
    for (log, prefix) in logs {
        let mut subscription = log.subscribe(&[(partition, 0)]).await.unwrap();
        assert_eq!(payloads(&read(&mut *subscription, 1).await), [prefix]);
        log.delete_below(partition, 1).await.unwrap();
        assert_eq!(log.bounds(partition).await.unwrap().start, 1);
    }
}
