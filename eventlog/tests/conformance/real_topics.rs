//! What only Kafka has: topics that somebody else makes, sets up and deletes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventlog::kafka::KafkaLog;
use eventlog::{Error, EventLog as _, Partition, ProducerUse, TopicSpec};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tokio::time::{Instant, sleep};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::engine::{Engine as _, Fixture, Kafka, LIMIT, USE, numbered, payloads, read, record, topic};

/// What the log asks of a topic and a broker's defaults do not give.
const ASKED: [(&str, &str); 4] = [
    ("message.timestamp.type", "LogAppendTime"),
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
];

fn admin(engine: &Kafka) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &engine.settings().brokers).create().unwrap()
}

async fn create(engine: &Kafka, spec: TopicSpec, settings: &[(&str, &str)]) {
    let mut new = NewTopic::new(spec.name, spec.partitions as i32, TopicReplication::Fixed(1));
    for (name, value) in settings {
        new = new.set(name, value);
    }
    admin(engine).create_topics([&new], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_restamps_forgets_or_loses_is_refused() {
    let engine = Kafka::shared().await;
    let log = KafkaLog::connect(engine.settings()).await.unwrap();
    let losing = [&ASKED[..], &[("unclean.leader.election.enable", "true")]].concat();
    for (settings, named) in [
        (&[][..], Some("message.timestamp.type=CreateTime")),
        (&losing[..], Some("unclean.leader.election.enable=true")),
        // One replica cannot have two in sync.
        (&ASKED[..], None),
    ] {
        let spec = topic(1);
        create(&engine, spec, settings).await;
        match (log.ensure_topics(&[spec]).await, named) {
            (Err(Error::Settings(message)), Some(named)) => assert!(message.contains(named), "{message}"),
            (answer, named) => assert_eq!((answer, named), (Ok(()), None)),
        }
    }
}

/// Counts the warnings that there are too few replicas.
struct Warnings(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let warns = event.metadata().fields().field("single_broker").is_some();
        self.0.fetch_add(usize::from(warns), Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_replicas_are_told_once_as_they_really_are() {
    let engine = Kafka::shared().await;
    let specs = [topic(1), topic(2)];
    for spec in specs {
        create(&engine, spec, &ASKED).await;
    }
    let warnings = Arc::new(AtomicUsize::new(0));
    let subscriber = tracing_subscriber::registry().with(Warnings(Arc::clone(&warnings)));
    let _guard = tracing::subscriber::set_default(subscriber);
    let count = || warnings.load(Ordering::Relaxed);
    // The setting is about topics that are yet to be made; these have one replica.
    let mut settings = engine.settings();
    settings.replication_factor = 3;
    let log = KafkaLog::connect(settings.clone()).await.unwrap();
    assert_eq!(count(), 0);
    log.ensure_topics(&specs).await.unwrap();
    assert_eq!(count(), 1);
    assert_eq!(log.partitions(specs[1].name).await, Ok(Some(2)));
    assert_eq!(count(), 1);
    // A process that creates nothing says it when it first looks.
    let log = KafkaLog::connect(settings).await.unwrap();
    assert_eq!(log.partitions(specs[0].name).await, Ok(Some(1)));
    assert_eq!(count(), 2);
}

/// Waits until the log answers about the topic as it is wanted.
async fn await_answer<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_was_there_is_away_and_not_unknown() {
    let mut fixture = Fixture::on(Kafka::own().await, 1).await;
    // For this long librdkafka itself hides that a topic is unknown, half a minute by default.
    let mut settings = fixture.engine.settings();
    settings.extra.insert("topic.metadata.propagation.max.ms".into(), "500".into());
    fixture.log = Arc::new(KafkaLog::connect(settings).await.unwrap());
    fixture.log.ensure_topics(&[fixture.spec]).await.unwrap();
    let (log, spec, partition) = (&fixture.log, fixture.spec, fixture.partition(0));
    let hasty = ProducerUse { deadline: Duration::from_secs(5), ..USE };
    let producer = log.producer(hasty).unwrap();
    assert_eq!(producer.append(partition, vec![record("record 0".into())]).await, [Ok(0)]);
    let mut subscription = fixture.subscribe(0).await;
    assert_eq!(payloads(&read(&mut *subscription, 1).await), numbered(0..1));
    // To a client, a broker that knows a topic no longer is one that does not know it yet.
    let deleted = admin(&fixture.engine).delete_topics(&[spec.name], &AdminOptions::new()).await;
    deleted.unwrap()[0].as_ref().unwrap();
    let error = await_answer("the deletion", async || log.bounds(partition).await.err()).await;
    assert_eq!((error.reason(), error.is_retriable()), ("unavailable", true), "{error}");
    let error = log.subscribe(&[(partition, 0)]).await.err().unwrap();
    assert_eq!(error.reason(), "unavailable", "{error}");
    let error = log.partitions(spec.name).await.unwrap_err();
    assert_eq!(error.reason(), "unavailable", "{error}");
    let error = producer.append(partition, vec![record("lost".into())]).await.remove(0).unwrap_err();
    assert!(error.is_retriable(), "{error}");
    let error = await_answer("the reader's error", async || subscription.next(1, LIMIT).await.err()).await;
    assert_eq!(error.reason(), "unavailable", "{error}");
    // Who never saw it, and whoever asks for what never was, is refused for good.
    let fresh = KafkaLog::connect(fixture.engine.settings()).await.unwrap();
    assert_eq!(fresh.partitions(spec.name).await, Ok(None));
    for (asked, number) in [(&fresh as &dyn eventlog::EventLog, 0), (&**log, 1)] {
        let unknown = Partition { number, ..partition };
        let error = asked.bounds(unknown).await.unwrap_err();
        assert_eq!((error.reason(), error.is_retriable()), ("unknown_partition", false), "{error}");
    }
    log.ensure_topics(&[spec]).await.unwrap();
    await_answer("the partition", async || log.bounds(partition).await.ok()).await;
    let patient = fixture.producer();
    await_answer("an append", async || {
        let answer = patient.append(partition, vec![record("record 1".into())]).await.remove(0);
        answer.inspect_err(|error| assert!(error.is_retriable(), "{error}")).ok()
    })
    .await;
    let mut subscription = log.subscribe(&[(partition, 0)]).await.unwrap();
    assert_eq!(payloads(&read(&mut *subscription, 1).await), ["record 1"]);
}
