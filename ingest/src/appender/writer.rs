//! The task of one partition: takes what waits, appends it, and answers.

use std::sync::Arc;

use catalog::Follower;
use eventlog::{Partition, Producer};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use prometheus::HistogramTimer;
use schemas::event::CatalogRevision;
use service::lifecycle::Shutdown;
use tokio::time::{Instant, timeout_at};

use super::answer::SharedAnswer;
use super::group::{Group, Sealed};
use super::queue::Queue;
use super::{Answer, AppendError};
use crate::metrics::Metrics;
use crate::spool::lane::Lane;

/// The task of one partition.
pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    pub(super) lane: Arc<Lane>,
    pub(super) producer: Arc<dyn Producer>,
    pub(super) follower: Follower,
    /// The revision of the copy of the catalog that the edge started from.
    pub(super) copied: Option<CatalogRevision>,
    pub(super) partition: Partition,
    pub(super) metrics: Arc<Metrics>,
}

impl Writer {
    pub(super) async fn run(self, stop: Shutdown) -> Result<(), AppendError> {
        // However this ends, nobody waits for it in vain.
        let _close = CloseOnDrop(Arc::clone(&self.queue));
        let mut in_flight = FuturesUnordered::new();
        loop {
            while let Some(group) = self.queue.take() {
                in_flight.push(self.settle(group));
            }
            let is_done = self.queue.close_if(stop.is_started());
            if is_done && in_flight.is_empty() {
                return Ok(());
            }
            tokio::select! {
                Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
                // The waker put this task in front of all that are ready: let them come first and join the group.
                () = self.queue.wake.notified() => tokio::task::yield_now().await,
                () = stop.started(), if !stop.is_started() => {}
            }
        }
    }

    /// Makes the group's events durable, by the log or by the spool, and answers.
    fn settle(&self, mut group: Group) -> impl Future<Output = ()> + Send {
        let events = group.seal();
        self.metrics.group(events.len());
        let (log_deadline, spool_deadline) = (group.log_deadline, group.spool_deadline);
        let has_copied = group.has_copied;
        let answer = AnswerOnDrop {
            queue: Arc::clone(&self.queue),
            answer: group.answer,
            count: events.len(),
            timer: Some(group.timer),
        };
        async move {
            answer.give(match self.append(&events, has_copied, log_deadline).await {
                None => Answer::Durable,
                Some(answers) => self.keep(&events, answers, spool_deadline).await,
            });
        }
    }

    /// Appends the events to the log. `None` if all are durable; else an answer for each, of which those with an error
    /// worth a retry are not known to be in the log.
    async fn append(
        &self,
        events: &Sealed,
        has_copied: bool,
        deadline: Instant,
    ) -> Option<Vec<Result<(), eventlog::Error>>> {
        let late = || Some(vec![Err(eventlog::Error::Deadline); events.len()]);
        if self.lane.is_diverted() {
            return late();
        }
        if has_copied && !self.is_copy_of_log() {
            // The drainer tells them apart from the others.
            self.lane.divert(&"events were understood by the catalog of another log");
            return late();
        }
        if deadline <= Instant::now() {
            self.lane.divert(&"events waited for it until their deadline");
            return late();
        }
        let append = self.producer.append(self.partition, events.records());
        let Ok(answers) = timeout_at(deadline, append).await else {
            self.lane.divert(&eventlog::Error::Deadline);
            return late();
        };
        if answers.len() == events.len() && answers.iter().all(Result::is_ok) {
            return None;
        }
        let mut answers: Vec<_> = answers.into_iter().map(|answer| answer.map(|_| ())).collect();
        // One that is missing is one that the log did not give.
        answers.resize(events.len(), Err(eventlog::Error::Deadline));
        Some(answers)
    }

    /// Whether the catalog's copy is of this log. While that is not known the way to the log is not free.
    fn is_copy_of_log(&self) -> bool {
        self.copied.is_none_or(|revision| self.follower.knows(revision) == Some(true))
    }

    /// Puts into the spool what is not in the log.
    async fn keep(&self, events: &Sealed, answers: Vec<Result<(), eventlog::Error>>, by: Instant) -> Answer {
        let mut settled: Vec<Result<(), AppendError>> = Vec::with_capacity(answers.len());
        let mut unsettled = Vec::new();
        for (index, answer) in answers.into_iter().enumerate() {
            match &answer {
                // The spool could take it, but would never get it into the log.
                Ok(()) | Err(eventlog::Error::TooLarge { .. }) => {}
                Err(error) => {
                    self.lane.divert(error);
                    unsettled.push(index);
                }
            }
            settled.push(answer.map_err(AppendError::Log));
        }
        let records = if unsettled.len() == events.len() {
            events.records()
        } else {
            unsettled.iter().map(|&index| events.record(index)).collect()
        };
        if !records.is_empty() {
            let kept = self.lane.keep(records, by).await;
            for (index, answer) in unsettled.into_iter().zip(kept) {
                settled[index] = answer;
            }
        }
        if settled.iter().all(Result::is_ok) { Answer::Durable } else { Answer::Each(settled) }
    }
}

/// Answers its group's requests, with an error if nobody gave a better answer.
struct AnswerOnDrop {
    queue: Arc<Queue>,
    answer: Arc<SharedAnswer<Answer>>,
    count: usize,
    timer: Option<HistogramTimer>,
}

impl AnswerOnDrop {
    fn give(mut self, answer: Answer) {
        self.finish(answer);
    }

    fn finish(&mut self, answer: Answer) {
        let Some(timer) = self.timer.take() else { return };
        drop(timer);
        self.queue.answered(self.count);
        self.answer.give(answer);
    }
}

impl Drop for AnswerOnDrop {
    fn drop(&mut self) {
        self.finish(Answer::Stopped);
    }
}

/// Closes the queue and answers what is left in it.
struct CloseOnDrop(Arc<Queue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        for group in self.0.close() {
            group.answer.give(Answer::Stopped);
        }
        let _ = self.0.ended.set(());
    }
}
