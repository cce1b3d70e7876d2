//! A processor whose group shares partitions out.

use async_trait::async_trait;
use eventlog::{Error, Member};
use processor::{Failpoints, Health, Metrics, ProcessorSettings, Share, Surroundings, start_processor};
use prometheus::Registry;
use service::lifecycle::{Shutdown, Tasks};
use tokio::sync::mpsc;
use warehouse::Endpoint;

use crate::scene::Traffic;
use crate::site::{PATIENCE, Site};

/// A group that says what the test says.
struct Told(mpsc::Receiver<Result<Vec<u32>, Error>>);

#[async_trait]
impl Member for Told {
    async fn share(&mut self) -> Result<Vec<u32>, Error> {
        self.0.recv().await.unwrap_or(Err(Error::Closed))
    }
}

struct Processor {
    tasks: Tasks,
    registry: Registry,
    health: Health,
    say: mpsc::Sender<Result<Vec<u32>, Error>>,
}

const SOURCE: &str = "tributary_processor_source_position{partition=\"0\"} ";

impl Processor {
    fn start(site: &Site) -> Self {
        let (registry, tasks, health) = (Registry::new(), Tasks::new(Shutdown::new()), Health::default());
        let surroundings = Surroundings {
            log: site.log.clone(),
            clock: site.clock.clone(),
            health: health.clone(),
            metrics: Metrics::register(&registry).unwrap(),
            tasks: tasks.clone(),
            shutdown: tasks.shutdown().clone(),
            partitions: 1,
            failpoints: Failpoints::default(),
            objects: None,
            catalog: site.follower(),
        };
        let settings = ProcessorSettings { batch_linger_ms: 0, ..ProcessorSettings::default() };
        let (say, told) = mpsc::channel(1);
        let share = Share::OfGroup(Box::new(Told(told)));
        let (warehouse, _) = warehouse::connect(&Endpoint::new("http://127.0.0.1:1", "", "", ""));
        start_processor(&surroundings, (&settings, share), &warehouse, site.state_dir("shared")).unwrap();
        Self { tasks, registry, health, say }
    }

    /// How many events the partition has decided, if this process says anything of it.
    fn source(&self) -> Option<u64> {
        let text = service::telemetry::metrics_text(&self.registry).unwrap();
        text.lines().find_map(|line| line.strip_prefix(SOURCE)?.parse().ok())
    }

    async fn stands_at(&self, wanted: Option<u64>) {
        let begun = std::time::Instant::now();
        while self.source() != wanted || !self.health.problems().is_empty() {
            let problems = self.health.problems();
            assert!(begun.elapsed() < PATIENCE, "{:?}, not {wanted:?}; {problems:?}", self.source());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_decided_as_long_as_the_group_says_so() {
    let site = Site::start().await;
    let processor = Processor::start(&site);
    let mut edge = site.edge(1);
    let mut more = async |site: &Site| {
        site.send(&edge.click(0, |_| {})).await;
        site.send(&Traffic::of_edge(0).tick(0)).await;
    };
    more(&site).await;
    assert_eq!(processor.source(), None);
    processor.say.send(Ok(vec![0])).await.unwrap();
    processor.stands_at(Some(2)).await;
    // The same once more changes nothing.
    processor.say.send(Ok(vec![0])).await.unwrap();
    more(&site).await;
    processor.stands_at(Some(4)).await;
    processor.say.send(Ok(Vec::new())).await.unwrap();
    processor.stands_at(None).await;
    more(&site).await;
    assert_eq!(processor.source(), None);
    processor.say.send(Ok(vec![0])).await.unwrap();
    processor.stands_at(Some(6)).await;
    processor.tasks.shutdown().trigger();
    processor.tasks.join_all(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_its_group_does_not_have_any_more_ends_and_says_why() {
    let site = Site::start().await;
    let processor = Processor::start(&site);
    processor.say.send(Ok(vec![0])).await.unwrap();
    processor
        .say
        .send(Err(Error::Settings("another process has joined as instance a".into())))
        .await
        .unwrap();
    let ended = processor.tasks.join_all(PATIENCE).await.unwrap_err().to_string();
    assert!(ended.contains("another process has joined as instance a"), "{ended}");
}
