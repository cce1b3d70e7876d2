//! A log that is slow, full or away; what the spool makes of it is in `spool.rs`. Only the producer of events is a double; what it lets through goes to the real log.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventlog::{
    Bounds, Error, EventLog, NewRecord, Partition, Position, Producer, ProducerUse, Subscription, TopicSpec,
};
use ingest::IngestSettings;
use tokio::sync::{Semaphore, watch};

use crate::fixture::{PUBLISHABLE, SECRET};
use crate::harness::{SOON, TestEdge};

/// What appends meet.
#[derive(Debug, Clone)]
pub(crate) enum Weather {
    Fair,
    /// Every second record fails, the others become durable.
    Half,
    /// Everything becomes durable, and nobody is told.
    Silent,
    /// Everything becomes durable, later.
    Slow(Duration),
    Fails(Error),
}

/// Lets appends through one permit at a time, into the weather of the moment.
pub(crate) struct FaultyLog {
    pub(crate) real: Arc<dyn EventLog>,
    pub(crate) control: Arc<Control>,
}

pub(crate) struct Control {
    pub(crate) gate: Semaphore,
    pub(crate) weather: watch::Sender<Weather>,
    pub(crate) waiting: watch::Sender<usize>,
}

impl Control {
    pub(crate) fn new(permits: usize, weather: Weather) -> Arc<Self> {
        let gate = Semaphore::new(permits);
        Arc::new(Self { gate, weather: watch::Sender::new(weather), waiting: watch::Sender::new(0) })
    }
}

impl Control {
    fn there(&self) -> Result<(), Error> {
        match &*self.weather.borrow() {
            Weather::Fails(error) => Err(error.clone()),
            Weather::Fair | Weather::Half | Weather::Silent | Weather::Slow(_) => Ok(()),
        }
    }
}

#[async_trait]
impl EventLog for FaultyLog {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        self.real.ensure_topics(topics).await
    }
    async fn partitions(&self, topic: &'static str) -> Result<Option<u32>, Error> {
        self.control.there()?;
        self.real.partitions(topic).await
    }
    fn producer(&self, usage: ProducerUse) -> Result<Box<dyn Producer>, Error> {
        let real = self.real.producer(usage)?;
        Ok(Box::new(FaultyProducer { real, control: Arc::clone(&self.control) }))
    }
    async fn subscribe(&self, from: &[(Partition, Position)]) -> Result<Box<dyn Subscription>, Error> {
        self.control.there()?;
        self.real.subscribe(from).await
    }
    async fn bounds(&self, partition: Partition) -> Result<Bounds, Error> {
        self.control.there()?;
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
            Weather::Silent => {
                let answers = self.real.append(partition, records).await;
                answers.into_iter().map(|answer| answer.and(Err(Error::Deadline))).collect()
            }
            Weather::Slow(pause) => {
                tokio::time::sleep(pause).await;
                self.real.append(partition, records).await
            }
            Weather::Fails(error) => records.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

pub(crate) async fn edge_on(control: &Arc<Control>, settings: IngestSettings) -> TestEdge {
    let control = Arc::clone(control);
    TestEdge::start_with(settings, |real| Arc::new(FaultyLog { real, control })).await
}

/// Every kind of request as it is answered when its event is not durable, for this reason.
pub(crate) async fn check_unavailable(edge: &TestEdge, reason: &str) {
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
    assert_eq!(edge.unrecorded(reason).await, Some(1.0));
    let refused = "ingest_refused_total{error=\"unavailable\",route=\"conversions\"}";
    assert_eq!(edge.metric(refused).await, Some(1.0));
    assert_eq!(edge.metric("ingest_queue_events{partition=\"0\"}").await, Some(0.0));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_systems_leave_half_of_it_to_browsers() {
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
    assert_eq!(edge.unrecorded("full").await, Some(1.0));
    let cancelled = edge.metric("ingest_cancelled_total{route=\"click\"}").await.unwrap();
    assert!((1..=QUEUE / 2).contains(&accepted), "{accepted}");
    assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 202 | 503)));
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
