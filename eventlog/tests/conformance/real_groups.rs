//! What only Kafka has: processes that share partitions out among them.

use std::time::Duration;

use eventlog::kafka::KafkaLog;
use eventlog::{Error, EventLog as _, Member, Membership, TopicSpec};
use tokio::time::timeout;

use crate::engine::{Engine as _, Kafka, LIMIT, topic};

/// The shortest that a broker takes.
const SESSION: Duration = Duration::from_secs(6);
/// A group is still; longer than it takes to share anew.
const STILL: Duration = Duration::from_secs(2);

fn membership(topic: TopicSpec, instance: &str) -> Membership {
    // The topic is this test's own, and so is the group.
    Membership { group: topic.name, instance: instance.into(), topic: topic.name, session: SESSION }
}

/// A log and its member; both end as a process would.
struct Process {
    log: KafkaLog,
    member: Box<dyn Member>,
}

impl Process {
    async fn start(engine: &Kafka, topic: TopicSpec, instance: &str) -> Self {
        let log = KafkaLog::connect(engine.settings()).await.unwrap();
        let member = log.join(&membership(topic, instance)).unwrap();
        Self { log, member }
    }

    /// The share once it is of this size.
    async fn share_of(&mut self, size: usize) -> Vec<u32> {
        let share = async {
            loop {
                let share = self.member.share().await.unwrap();
                if share.len() == size {
                    return share;
                }
            }
        };
        timeout(LIMIT, share).await.unwrap()
    }

    async fn is_left_alone(&mut self) -> bool {
        timeout(STILL, self.member.share()).await.is_err()
    }

    async fn end(self) {
        drop(self.member);
        self.log.close(LIMIT).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_partitions_out_and_one_that_restarts_has_its_own_again() {
    let engine = Kafka::shared().await;
    let topic = topic(4);
    let log = KafkaLog::connect(engine.settings()).await.unwrap();
    log.ensure_topics(&[topic]).await.unwrap();
    let mut one = Process::start(&engine, topic, "one").await;
    assert_eq!(one.share_of(4).await, [0, 1, 2, 3]);
    let mut two = Process::start(&engine, topic, "two").await;
    let (of_one, of_two) = (one.share_of(2).await, two.share_of(2).await);
    assert_eq!([&of_one[..], &of_two].concat().len(), 4);
    assert!(of_one.iter().all(|number| !of_two.contains(number)), "{of_one:?} {of_two:?}");
    // A restart within the session disturbs nobody.
    two.end().await;
    let mut two = Process::start(&engine, topic, "two").await;
    assert_eq!(two.share_of(2).await, of_two);
    assert!(one.is_left_alone().await);
    // One that stays away is replaced.
    two.end().await;
    assert_eq!(one.share_of(4).await, [0, 1, 2, 3]);
    one.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_with_one_name_the_first_is_told() {
    let engine = Kafka::shared().await;
    let topic = topic(1);
    let log = KafkaLog::connect(engine.settings()).await.unwrap();
    log.ensure_topics(&[topic]).await.unwrap();
    let mut first = Process::start(&engine, topic, "one").await;
    assert_eq!(first.share_of(1).await, [0]);
    let mut second = Process::start(&engine, topic, "one").await;
    assert_eq!(second.share_of(1).await, [0]);
    let told = timeout(LIMIT, async {
        loop {
            if let Err(error) = first.member.share().await {
                return error;
            }
        }
    });
    let Error::Settings(text) = told.await.unwrap() else { panic!("not a setting") };
    assert!(text.contains("instance one"), "{text}");
    first.end().await;
    second.end().await;
}
