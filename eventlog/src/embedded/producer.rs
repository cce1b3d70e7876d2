//! Appending: checks what can be checked at once, queues the rest and waits for its group.

use std::sync::Arc;

use async_trait::async_trait;

use super::Shared;
use super::group::Request;
use crate::admission::Pending;
use crate::{Error, NewRecord, Partition, Position, Producer, ProducerUse, admission};

/// A producer of the embedded engine.
#[derive(Debug)]
pub(super) struct EmbeddedProducer {
    shared: Arc<Shared>,
    usage: ProducerUse,
    pending: Arc<Pending>,
}

impl EmbeddedProducer {
    pub(super) fn new(shared: Arc<Shared>, usage: ProducerUse) -> Self {
        let metrics = shared.settings.metrics.as_ref().map(|metrics| metrics.producer(usage.name));
        Self { shared, usage, pending: Pending::new(usage.max_pending_bytes, metrics) }
    }

    /// Queues what fits and waits; the answers are those of `records`, in order.
    async fn append_sized(
        &self,
        partition: Partition,
        mut records: Vec<NewRecord>,
    ) -> Vec<Result<Position, Error>> {
        let total = records.len();
        let log = match self.shared.partition(partition) {
            Ok(log) => log,
            Err(error) => return vec![Err(error); total],
        };
        let (taken, room) = self.pending.take(records.iter().map(admission::size));
        if taken == 0 {
            return vec![Err(Error::Full); total];
        }
        records.truncate(taken);
        let (group, index) = match log.queue.push(Request { records, _room: room }) {
            Ok(ticket) => ticket,
            Err(error) => return vec![Err(error); total],
        };
        let waited = tokio::time::timeout(self.usage.deadline, group.outcome(index)).await;
        let mut answers = match waited.unwrap_or(Err(Error::Deadline)) {
            Ok(outcome) => (0..taken)
                .map(|at| match &outcome.error {
                    Some(error) if at >= outcome.durable => Err(error.clone()),
                    Some(_) | None => Ok(outcome.first + at as u64),
                })
                .collect(),
            Err(error) => vec![Err(error); taken],
        };
        answers.resize(total, Err(Error::Full));
        answers
    }
}

#[async_trait]
impl Producer for EmbeddedProducer {
    async fn append(&self, partition: Partition, records: Vec<NewRecord>) -> Vec<Result<Position, Error>> {
        if records.is_empty() {
            return Vec::new();
        }
        let limit = self.shared.settings.max_record_bytes;
        let answers =
            admission::refuse_large(records, limit, |rest| self.append_sized(partition, rest)).await;
        self.pending.count_refused(&answers);
        answers
    }
}
