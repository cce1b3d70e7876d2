//! From requests to the log: what waits together is appended together.
//!
//! Each partition of `events` has a queue and one task. A request puts its event into the open group and waits for that
//! group's answer, which all its events share: one append and one wake-up for a group, not for an event. The task
//! numbers the events in the order in which they are appended, so that the marks of a life of the edge are dense.
//!
//! No request waits beyond its group's deadline, and no request has a timer of its own: the append of a group is cut off
//! at its deadline, and a group that waits for a place in flight gets one at the latest when an older group's deadline
//! has passed.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use eventlog::{NewRecord, Partition, Position, Producer};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use prometheus::{HistogramTimer, IntGauge};
use schemas::event::{Event, Mark};
use schemas::id::EdgeId;
use schemas::topic;
use schemas::wire::encode_event;
use service::lifecycle::{Shutdown, Tasks};
use tokio::sync::{Notify, SetOnce};
use tokio::time::{Duration, Instant};

use crate::metrics::Metrics;

/// Groups of one partition that may be on their way at once. More would make the groups smaller without making the log
/// faster.
const GROUPS_IN_FLIGHT: usize = 4;
/// Events in one group; encoding them keeps a thread busy for a few milliseconds at most.
const GROUP_EVENTS: usize = 2_048;

/// Why an event is not known to be durable.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum AppendError {
    /// Too many events wait already; this one was not taken.
    #[error("too many events wait for the log")]
    Full,
    /// The edge is stopping; the event was not taken.
    #[error("the edge is stopping")]
    Stopping,
    /// The log's error. Only a full queue and an oversized record say for certain that the event was not written.
    #[error(transparent)]
    Log(#[from] eventlog::Error),
}

/// How events are appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How long an event may wait.
    pub(crate) deadline: Duration,
    /// How many events of a partition may wait.
    pub(crate) queue_events: usize,
}

/// The queues of all partitions.
pub(crate) struct Appender {
    queues: Vec<Arc<Queue>>,
    stop: Shutdown,
    metrics: Arc<Metrics>,
    limits: Limits,
}

impl Appender {
    /// Starts a task for each partition. They end when [`Appender::drain`] was called and everything is answered.
    pub(crate) fn start(
        producer: Arc<dyn Producer>,
        (edge, partitions): (EdgeId, u32),
        limits: Limits,
        metrics: Arc<Metrics>,
        tasks: &Tasks,
    ) -> Self {
        let stop = Shutdown::new();
        let queues = (0..partitions).map(|number| {
            let queue = Arc::new(Queue {
                waiting: Mutex::new(Waiting::default()),
                wake: Notify::new(),
                ended: SetOnce::new(),
                depth: metrics.queue(number),
            });
            let writer = Writer {
                queue: Arc::clone(&queue),
                producer: Arc::clone(&producer),
                partition: Partition { topic: topic::EVENTS, number },
                edge,
                next_number: 0,
                metrics: Arc::clone(&metrics),
            };
            tasks.spawn(format!("ingest append {number}"), writer.run(stop.clone()));
            queue
        });
        Self { queues: queues.collect(), stop, metrics: Arc::clone(&metrics), limits }
    }

    /// Gives the event its mark, appends it and waits until it is durable.
    ///
    /// From the first poll on the event is in the queue: dropping the future does not take it back.
    pub(crate) async fn append(&self, partition: u32, event: Event) -> Result<(), AppendError> {
        let Some(queue) = self.queues.get(partition as usize) else {
            let partition = Partition { topic: topic::EVENTS, number: partition };
            return Err(eventlog::Error::UnknownPartition(partition.to_string()).into());
        };
        let (answer, index) = self.enqueue(queue, event)?;
        match answer.wait().await {
            Answer::Each(answers) => match answers.get(index) {
                Some(Ok(_)) => Ok(()),
                Some(Err(error)) => Err(error.clone().into()),
                None => Err(eventlog::Error::Unavailable("it left a record unanswered".to_owned()).into()),
            },
            Answer::AllFailed(error) => Err(error.clone()),
        }
    }

    fn enqueue(&self, queue: &Queue, event: Event) -> Result<(Arc<SetOnce<Answer>>, usize), AppendError> {
        let mut waiting = queue.waiting.lock();
        if waiting.is_closed {
            return Err(AppendError::Stopping);
        }
        if waiting.events >= self.limits.queue_events {
            return Err(AppendError::Full);
        }
        waiting.events += 1;
        if let Some(open) = waiting.groups.back_mut().filter(|group| group.events.len() < GROUP_EVENTS) {
            open.events.push(event);
            return Ok((Arc::clone(&open.answer), open.events.len() - 1));
        }
        let answer = Arc::new(SetOnce::new());
        waiting.groups.push_back(Group {
            events: vec![event],
            deadline: Instant::now() + self.limits.deadline,
            answer: Arc::clone(&answer),
            timer: self.metrics.append(),
        });
        drop(waiting);
        // Later events of the group need no signal: the task takes the group as it then is.
        queue.wake.notify_one();
        Ok((answer, 0))
    }

    /// Takes no further event and waits until those taken are answered; `false` if the deadline came first.
    pub(crate) async fn drain(&self, deadline: Duration) -> bool {
        self.stop.trigger();
        let ended = async {
            for queue in &self.queues {
                queue.ended.wait().await;
            }
        };
        tokio::time::timeout(deadline, ended).await.is_ok()
    }

    /// Whether every partition's task lives and takes events.
    pub(crate) fn is_open(&self) -> bool {
        self.queues.iter().all(|queue| !queue.waiting.lock().is_closed)
    }
}

/// What one partition's requests and its task share.
struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
    ended: SetOnce<()>,
    depth: IntGauge,
}

#[derive(Default)]
struct Waiting {
    groups: VecDeque<Group>,
    /// Events in these groups and in those in flight.
    events: usize,
    is_closed: bool,
}

/// Events that are appended together.
struct Group {
    events: Vec<Event>,
    deadline: Instant,
    answer: Arc<SetOnce<Answer>>,
    timer: HistogramTimer,
}

/// What a group's requests wait for.
enum Answer {
    Each(Vec<Result<Position, eventlog::Error>>),
    AllFailed(AppendError),
}

/// The task of one partition.
struct Writer {
    queue: Arc<Queue>,
    producer: Arc<dyn Producer>,
    partition: Partition,
    edge: EdgeId,
    next_number: u64,
    metrics: Arc<Metrics>,
}

impl Writer {
    async fn run(mut self, stop: Shutdown) -> Result<(), AppendError> {
        // However this ends, nobody waits for it in vain.
        let _close = CloseOnDrop(Arc::clone(&self.queue));
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < GROUPS_IN_FLIGHT {
                let Some(group) = self.queue.take() else { break };
                in_flight.push(self.append(group));
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

    /// Numbers and encodes the group now; the future appends it and answers.
    fn append(&mut self, group: Group) -> impl Future<Output = ()> + Send + use<> {
        let Group { mut events, deadline, answer, timer } = group;
        let count = events.len();
        // Its clients have been refused by now. An event that they send again must not stand in the log already.
        let is_late = deadline <= Instant::now();
        if is_late {
            events.clear();
        }
        let answer = AnswerOnDrop { queue: Arc::clone(&self.queue), answer, count, timer: Some(timer) };
        let mut records = Vec::with_capacity(count);
        for mut event in events {
            event.mark = Some(Mark { edge: self.edge, number: self.next_number });
            self.next_number += 1;
            records.push(NewRecord { key: Bytes::new(), payload: encode_event(event) });
        }
        self.metrics.group(count);
        let (producer, partition) = (Arc::clone(&self.producer), self.partition);
        async move {
            if is_late {
                tracing::warn!(%partition, events = count, "events waited for the log until their deadline");
                return answer.give(Answer::AllFailed(eventlog::Error::Deadline.into()));
            }
            let answers = tokio::time::timeout_at(deadline, producer.append(partition, records)).await;
            match answers {
                Ok(answers) => {
                    let failed = answers.iter().filter_map(|answer| answer.as_ref().err());
                    if let Some(error) = failed.clone().next() {
                        tracing::warn!(%partition, events = failed.count(), %error, "events were not appended");
                    }
                    answer.give(Answer::Each(answers));
                }
                Err(_) => {
                    tracing::warn!(%partition, events = count, "the log did not answer in time");
                    answer.give(Answer::AllFailed(eventlog::Error::Deadline.into()));
                }
            }
        }
    }
}

impl Queue {
    fn take(&self) -> Option<Group> {
        let mut waiting = self.waiting.lock();
        self.depth.set(waiting.events as i64);
        waiting.groups.pop_front()
    }

    /// Takes no further event if it is to stop; says whether it does not and nothing waits.
    fn close_if(&self, is_stopping: bool) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.is_closed |= is_stopping;
        waiting.is_closed && waiting.groups.is_empty()
    }
}

/// Answers its group's requests, with an error if nobody gave a better answer.
struct AnswerOnDrop {
    queue: Arc<Queue>,
    answer: Arc<SetOnce<Answer>>,
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
        let mut waiting = self.queue.waiting.lock();
        waiting.events -= self.count;
        self.queue.depth.set(waiting.events as i64);
        drop(waiting);
        // Only the first answer counts, and there is only this one.
        let _ = self.answer.set(answer);
    }
}

impl Drop for AnswerOnDrop {
    fn drop(&mut self) {
        self.finish(Answer::AllFailed(AppendError::Stopping));
    }
}

/// Closes the queue and answers what is left in it.
struct CloseOnDrop(Arc<Queue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let groups = {
            let mut waiting = self.0.waiting.lock();
            waiting.is_closed = true;
            std::mem::take(&mut waiting.groups)
        };
        for group in groups {
            let _ = group.answer.set(Answer::AllFailed(AppendError::Stopping));
        }
        let _ = self.0.ended.set(());
    }
}
