//! Telling the desks how commands ended: best effort, beside the decisions.
//!
//! An outcome is told once its record was read back as accepted and is committed, by every owner that accepts it: of two owners
//! both tell, and a desk takes the first. What cannot be told is not told again, because no desk waits for longer than some
//! seconds; it finds the outcome among the rows. Nothing here ever halts or delays a partition.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventlog::{EventLog, NewRecord, Partition, Position, Producer, ProducerUse};
use parking_lot::Mutex;
use schemas::fact::{Fact, Outcome, Record, Subject};
use schemas::result::CommandResult;
use schemas::time::Timestamp;
use schemas::{topic, wire};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::core;
use crate::error::Error;
use crate::store::Committed;

/// Nobody waits for a command any more that is older: an owner that reads the past tells nothing of it.
const FRESH_MICROS: i64 = 60 * 1_000_000;
/// How old a result is before what lies below it is deleted. Others publish to the same topic: what lies below was published
/// before.
const KEPT: Duration = Duration::from_secs(60);
/// How long a publication may stay unconfirmed.
const DEADLINE: Duration = Duration::from_secs(5);
/// Results that wait to be published; beyond it the rows tell.
const MAX_WAITING: usize = 10_000;
/// Room for all records of one publication.
const MAX_PENDING_BYTES: usize = 8 * 1024 * 1024;

const RESULTS: Partition = Partition { topic: topic::RESULTS, number: 0 };

/// The outcomes of commands among the facts of a record.
pub(crate) fn outcomes(record: &Record) -> Vec<Outcome> {
    let facts = record.decisions.iter().flat_map(|decision| &decision.facts);
    let outcomes = facts.filter_map(|fact| if let Fact::Outcome(it) = fact { Some(&**it) } else { None });
    outcomes.filter(|outcome| outcome.subject == Subject::Command).cloned().collect()
}

/// Commands that have ended and of which no desk knows yet.
#[derive(Default)]
pub(crate) struct EndedCommands {
    waiting: Mutex<Vec<CommandResult>>,
    news: Notify,
}

impl EndedCommands {
    /// Takes note of outcomes whose record is committed, as far as somebody may wait for them at `now`.
    pub(crate) fn note(&self, outcomes: Vec<Outcome>, store: &dyn Committed, now: Timestamp) {
        let is_fresh = |outcome: &Outcome| now.micros_since(outcome.received_at) <= FRESH_MICROS;
        for outcome in outcomes.into_iter().filter(is_fresh) {
            let conversion = outcome.conversion.map(|id| core::conversion_now(store, outcome.workspace, id));
            let conversion = match conversion.transpose() {
                Ok(conversion) => conversion.flatten(),
                Err(error) => {
                    tracing::warn!(event = %outcome.event, %error, "the result of a command is not told");
                    continue;
                }
            };
            let mut waiting = self.waiting.lock();
            if waiting.len() >= MAX_WAITING {
                return;
            }
            let Outcome { workspace, event, status, reason, .. } = outcome;
            waiting.push(CommandResult { workspace, event, status, reason, conversion });
            self.news.notify_one();
        }
    }

    /// Waits until there is something, and takes it.
    async fn take(&self) -> Vec<CommandResult> {
        self.news.notified().await;
        std::mem::take(&mut *self.waiting.lock())
    }
}

/// Publishes the results of one partition.
pub(crate) struct ResultPublisher {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) partition: u32,
    pub(crate) ended: Arc<EndedCommands>,
}

impl ResultPublisher {
    /// Publishes until it is dropped.
    pub(crate) async fn run(self) -> Infallible {
        let mut producer = None;
        let mut old: Option<(Instant, Position)> = None;
        loop {
            let results = self.ended.take().await;
            match self.publish(&mut producer, &results).await {
                Ok(Some(last)) => self.delete_old(&mut old, last).await,
                Ok(None) => {}
                Err(error) => {
                    let (partition, lost) = (self.partition, results.len());
                    tracing::warn!(partition, lost, %error, "results of commands cannot be published");
                    producer = None;
                }
            }
        }
    }

    /// Publishes results; gives the position of the last one.
    async fn publish(
        &self,
        producer: &mut Option<Box<dyn Producer>>,
        results: &[CommandResult],
    ) -> Result<Option<Position>, Error> {
        let record = |result| NewRecord { key: Bytes::new(), payload: wire::encode_result(result) };
        let producer = match producer {
            Some(producer) => producer,
            None => producer.insert(self.log.producer(ProducerUse {
                name: "results",
                deadline: DEADLINE,
                max_pending_bytes: MAX_PENDING_BYTES,
            })?),
        };
        let mut last = None;
        for answer in producer.append(RESULTS, results.iter().map(record).collect()).await {
            last = Some(answer?);
        }
        Ok(last)
    }

    /// Lets the log delete what lies below a result that every desk has had time to read.
    async fn delete_old(&self, old: &mut Option<(Instant, Position)>, last: Position) {
        match *old {
            Some((at, _)) if at.elapsed() < KEPT => return,
            Some((_, below)) => {
                if let Err(error) = self.log.delete_below(RESULTS, below).await {
                    tracing::debug!(partition = self.partition, %error, "old results stay for now");
                }
            }
            None => {}
        }
        *old = Some((Instant::now(), last));
    }
}
