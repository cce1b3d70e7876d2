//! Commands: how the desk puts them into the workspace's order, and learns how they ended.
//!
//! A command is an event like those of an edge. The process has a life of its own, and dense numbers in each partition mark
//! its deliveries, so that an append that was written twice is one command. How a command ended is read from the topic
//! `results`, by one reader for the whole process however many wait. A result may get lost: the rows say the same, later.

mod results;
mod waits;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventlog::{EventLog, NewRecord, Partition, Producer, ProducerUse};
use parking_lot::Mutex;
use schemas::event::{Event, Mark};
use schemas::id::{EdgeId, EventId};
use schemas::{topic, wire};
use service::lifecycle::Tasks;

use self::waits::Waits;

pub(crate) use self::waits::Wait;

/// How long the log may take to make a command durable.
const DEADLINE: Duration = Duration::from_secs(3);
/// Bytes of commands that may wait for it.
const MAX_PENDING_BYTES: usize = 8 << 20;

/// The desk's way into the log.
pub(crate) struct Commands {
    producer: Box<dyn Producer>,
    life: EdgeId,
    /// The next number of each partition.
    numbers: Mutex<HashMap<u32, u64>>,
    waits: Arc<Waits>,
}

impl Commands {
    /// Begins the life `life`: opens the way into the log and starts the reader of results, which is one of `tasks`.
    ///
    /// # Errors
    /// Whatever the log has against a producer.
    pub(crate) fn start(
        log: Arc<dyn EventLog>,
        life: EdgeId,
        tasks: &Tasks,
    ) -> Result<Self, eventlog::Error> {
        let producer = log.producer(ProducerUse {
            name: "commands",
            deadline: DEADLINE,
            max_pending_bytes: MAX_PENDING_BYTES,
        })?;
        let waits = Arc::new(Waits::default());
        results::spawn(log, Arc::clone(&waits), tasks);
        Ok(Self { producer, life, numbers: Mutex::default(), waits })
    }

    /// Waits for the result of a command; to be called before it is appended.
    pub(crate) fn expect(&self, command: EventId) -> Wait {
        Waits::register(&self.waits, command)
    }

    /// Appends an event, which gets its mark here.
    ///
    /// # Errors
    /// The log's. After [`eventlog::Error::Deadline`] the command may be decided all the same.
    pub(crate) async fn append(&self, partition: u32, event: Event) -> Result<(), eventlog::Error> {
        let event = Event { mark: Some(self.next_mark(partition)), ..event };
        let record = NewRecord { key: Bytes::new(), payload: wire::encode_event(event) };
        let partition = Partition { topic: topic::EVENTS, number: partition };
        let answers = self.producer.append(partition, vec![record]).await;
        answers.into_iter().next().unwrap_or(Err(eventlog::Error::Closed)).map(|_| ())
    }

    fn next_mark(&self, partition: u32) -> Mark {
        let mut numbers = self.numbers.lock();
        let next = numbers.entry(partition).or_default();
        let mark = Mark { edge: self.life, number: *next };
        *next += 1;
        mark
    }
}
