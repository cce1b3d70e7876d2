//! A log that is slow, full or away. Only the producer of events is a double; what it lets through goes to the real log.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventlog::{
    Bounds, Error, EventLog, NewRecord, Partition, Position, Producer, ProducerUse, Subscription, TopicSpec,
};
use futures::StreamExt;
use ingest::IngestSettings;
use tokio::sync::{Semaphore, watch};

use crate::fixture::{PUBLISHABLE, SECRET};
use crate::harness::{SOON, TestEdge};

/// What appends meet.
#[derive(Debug, Clone)]
enum Weather {
    Fair,
    /// Every second record fails, the others become durable.
    Half,
    Fails(Error),
}

/// Lets appends through one permit at a time, into the weather of the moment.
struct FaultyLog {
    real: Arc<dyn EventLog>,
    control: Arc<Control>,
}

struct Control {
    gate: Semaphore,
    weather: watch::Sender<Weather>,
    waiting: watch::Sender<usize>,
}

impl Control {
    fn new(permits: usize, weather: Weather) -> Arc<Self> {
        let gate = Semaphore::new(permits);
        Arc::new(Self { gate, weather: watch::Sender::new(weather), waiting: watch::Sender::new(0) })
    }
}

#[async_trait]
impl EventLog for FaultyLog {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        self.real.ensure_topics(topics).await
    }
    async fn partitions(&self, topic: &'static str) -> Result<Option<u32>, Error> {
        self.real.partitions(topic).await
    }
    fn producer(&self, usage: ProducerUse) -> Result<Box<dyn Producer>, Error> {
        let real = self.real.producer(usage)?;
        Ok(Box::new(FaultyProducer { real, control: Arc::clone(&self.control) }))
    }
    async fn subscribe(&self, from: &[(Partition, Position)]) -> Result<Box<dyn Subscription>, Error> {
        self.real.subscribe(from).await
    }
    async fn bounds(&self, partition: Partition) -> Result<Bounds, Error> {
        self.real.bounds(partition).await
    }
    async fn delete_below(&self, partition: Partition, position: Position) -> Result<(), Error> {
        self.real.delete_below(partition, position).await
    }
    async fn close(&self, deadline: Duration) {
        self.real.close(deadline).await;
    }
}

struct FaultyProducer {
    real: Box<dyn Producer>,
    control: Arc<Control>,
}

#[async_trait]
impl Producer for FaultyProducer {
    async fn append(&self, partition: Partition, records: Vec<NewRecord>) -> Vec<Result<Position, Error>> {
        self.control.waiting.send_modify(|waiting| *waiting += 1);
        self.control.gate.acquire().await.unwrap().forget();
        let weather = self.control.weather.borrow().clone();
        match weather {
            Weather::Fair => self.real.append(partition, records).await,
            Weather::Half => {
                let mut answers = Vec::new();
                for (index, record) in records.into_iter().enumerate() {
                    answers.push(if index % 2 == 1 {
                        Err(Error::Unavailable("half of it".into()))
                    } else {
                        self.real.append(partition, vec![record]).await.remove(0)
                    });
                }
                answers
            }
            Weather::Fails(error) => records.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

async fn edge_on(control: &Arc<Control>, settings: IngestSettings) -> TestEdge {
    let control = Arc::clone(control);
    TestEdge::start_with(settings, |real| Arc::new(FaultyLog { real, control })).await
}

/// Every kind of request as it is answered when its event is not durable.
async fn check_unavailable(edge: &TestEdge) {
    let source = edge.fixture.open_source;
    let (pixel, postback) = (format!("/p.gif?key={PUBLISHABLE}"), format!("/postback?src={source}"));
    let answers =
        tokio::join!(edge.get("/c/anna"), edge.get(&pixel), edge.get(&postback), edge.report(SECRET, "{}"));
    let (click, pixel, postback, conversion) = answers;
    assert_eq!((click.status.as_u16(), click.header("x-receipt")), (302, None));
    assert!(click.header("location").unwrap().contains("cid=click_"));
    assert_eq!((pixel.status.as_u16(), pixel.header("x-error")), (200, Some("unavailable")));
    postback.error(503, "unavailable");
    conversion.error(503, "unavailable");
    assert_eq!(conversion.header("retry-after"), Some("1"));
    assert_eq!(edge.metric("ingest_unrecorded_total{route=\"click\"}").await, Some(1.0));
    let refused = "ingest_refused_total{error=\"unavailable\",route=\"conversions\"}";
    assert_eq!(edge.metric(refused).await, Some(1.0));
    assert_eq!(edge.metric("ingest_queue_events{partition=\"0\"}").await, Some(0.0));
}

#[tokio::test]
async fn a_log_that_does_not_answer_is_given_up_at_the_deadline() {
    let control = Control::new(0, Weather::Fair);
    let settings = IngestSettings { append_deadline_ms: 1_500, ..IngestSettings::default() };
    let edge = edge_on(&control, settings).await;
    check_unavailable(&edge).await;
    control.gate.add_permits(Semaphore::MAX_PERMITS);
    // It was no end: the next event goes through.
    assert!(edge.get("/c/anna").await.header("x-receipt").is_some());
}

#[tokio::test]
async fn a_log_that_refuses_is_answered_at_once() {
    for error in [Error::Full, Error::Deadline, Error::Closed, Error::Unavailable("no disk".into())] {
        let control = Control::new(Semaphore::MAX_PERMITS, Weather::Fails(error));
        let edge = edge_on(&control, IngestSettings::default()).await;
        check_unavailable(&edge).await;
        control.weather.send_replace(Weather::Fair);
        assert!(edge.get("/c/anna").await.header("x-receipt").is_some());
        let number = edge.only_event().await.mark.unwrap().number;
        assert_eq!(number, 4, "a number is spent even where the append failed: it may have been written");
    }
}

#[tokio::test]
async fn of_a_group_each_request_gets_its_own_answer() {
    let control = Control::new(0, Weather::Half);
    let edge = edge_on(&control, IngestSettings::default()).await;
    let release = async {
        let mut waiting = control.waiting.subscribe();
        waiting.wait_for(|waiting| *waiting > 0).await.unwrap();
        control.gate.add_permits(Semaphore::MAX_PERMITS);
    };
    let clicks = futures::future::join_all((0..20).map(|_| edge.get("/c/anna")));
    let (answers, ()) = tokio::join!(clicks, release);
    let mut receipts: Vec<_> =
        answers.iter().filter_map(|answer| answer.header("x-receipt").map(str::to_owned)).collect();
    let mut written: Vec<_> = edge.events().await.iter().map(|event| event.id.to_string()).collect();
    receipts.sort();
    written.sort();
    assert_eq!(receipts, written);
    assert!((1..20).contains(&written.len()), "{}", written.len());
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_what_waits_is_answered() {
    const QUEUE: usize = 10;
    let control = Control::new(0, Weather::Fair);
    let settings =
        IngestSettings { queue_events: QUEUE, append_deadline_ms: 60_000, ..IngestSettings::default() };
    let edge = edge_on(&control, settings).await;
    let answers = futures::future::join_all((0..QUEUE).map(|_| edge.report(SECRET, "{}")));
    let flood = async {
        let mut waiting = control.waiting.subscribe();
        waiting.wait_for(|waiting| *waiting > 0).await.unwrap();
        loop {
            let answer = tokio::time::timeout(Duration::from_millis(20), edge.get("/c/anna")).await;
            // While there is a place the click waits, and is dropped here; then it is refused at once.
            if let Ok(answer) = answer {
                assert_eq!((answer.status.as_u16(), answer.header("x-receipt")), (302, None));
                break;
            }
        }
        edge.report(SECRET, "{}").await.error(503, "unavailable");
        control.gate.add_permits(Semaphore::MAX_PERMITS);
    };
    let (answers, ()) = tokio::time::timeout(SOON, async { tokio::join!(answers, flood) }).await.unwrap();
    let accepted = answers.iter().filter(|answer| answer.status == 202).count();
    let cancelled = edge.metric("ingest_cancelled_total{route=\"click\"}").await.unwrap();
    assert_eq!(accepted as f64 + cancelled, QUEUE as f64);
    // A request that was given up may have been written all the same; none that was acknowledged is missing.
    assert!(edge.edge.drain(SOON).await);
    assert_eq!(edge.events().await.len(), QUEUE);
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let control = Control::new(0, Weather::Fair);
    let edge =
        edge_on(&control, IngestSettings { append_deadline_ms: 60_000, ..IngestSettings::default() }).await;
    let stuck = edge.get("/c/anna");
    let drain = async {
        let mut waiting = control.waiting.subscribe();
        waiting.wait_for(|waiting| *waiting > 0).await.unwrap();
        assert!(!edge.edge.drain(Duration::from_millis(20)).await);
        control.gate.add_permits(Semaphore::MAX_PERMITS);
        assert!(edge.edge.drain(SOON).await);
    };
    let (answer, ()) = tokio::time::timeout(SOON, async { tokio::join!(stuck, drain) }).await.unwrap();
    assert!(answer.header("x-receipt").is_some());
}

#[tokio::test]
async fn more_than_one_group_is_answered_to_the_last_event() {
    const EVENTS: usize = 3_000;
    let control = Control::new(0, Weather::Fair);
    let edge = edge_on(&control, IngestSettings::default()).await;
    let release = async {
        let mut waiting = control.waiting.subscribe();
        waiting.wait_for(|waiting| *waiting > 0).await.unwrap();
        control.gate.add_permits(Semaphore::MAX_PERMITS);
    };
    let clicks = futures::future::join_all((0..EVENTS).map(|_| edge.get("/c/anna")));
    let (answers, ()) = tokio::join!(clicks, release);
    assert!(answers.iter().all(|answer| answer.header("x-receipt").is_some()));
    let mut numbers: Vec<_> = edge.events().await.iter().map(|event| event.mark.unwrap().number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..EVENTS as u64).collect::<Vec<_>>());
    // A group holds 2,048 events at most.
    let groups = edge.metric("ingest_group_events_count").await.unwrap();
    assert!((2.0..20.0).contains(&groups), "{groups}");
}

#[tokio::test]
async fn groups_that_wait_for_a_place_in_flight_end_at_their_deadline_too() {
    let control = Control::new(0, Weather::Fair);
    let edge =
        edge_on(&control, IngestSettings { append_deadline_ms: 1_000, ..IngestSettings::default() }).await;
    let mut waiting = control.waiting.subscribe();
    let mut clicks = futures::stream::FuturesUnordered::new();
    // Four groups are in flight, one after the other; what comes then waits in the queue.
    for in_flight in 1..=8_usize {
        clicks.push(edge.get("/c/anna"));
        let flown = waiting.wait_for(|waiting| *waiting >= in_flight.min(4));
        tokio::select! {
            biased;
            _ = clicks.next() => panic!("answered before its deadline"),
            _ = flown => {}
        }
    }
    let answers: Vec<_> = tokio::time::timeout(SOON, clicks.collect()).await.unwrap();
    assert_eq!(answers.len(), 8);
    assert!(answers.iter().all(|answer| answer.status == 302 && answer.header("x-receipt").is_none()));
    assert_eq!(edge.metric("ingest_queue_events{partition=\"0\"}").await, Some(0.0));
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_and_its_event_stands() {
    let control = Control::new(0, Weather::Fair);
    let edge = edge_on(&control, IngestSettings::default()).await;
    let mut waiting = control.waiting.subscribe();
    tokio::select! {
        biased;
        _ = edge.get("/c/anna") => panic!("answered without the log"),
        _ = waiting.wait_for(|waiting| *waiting > 0) => {}
    }
    control.gate.add_permits(Semaphore::MAX_PERMITS);
    assert!(edge.edge.drain(SOON).await);
    assert_eq!(edge.events().await.len(), 1);
    assert_eq!(edge.metric("ingest_cancelled_total{route=\"click\"}").await, Some(1.0));
}
