//! From requests to the log: what waits together is appended together.
//!
//! Each partition of `events` has a queue and one task. A request encodes its event, puts it into the open group and
//! waits for that group's answer, which all its events share: one append for a group, and one wake-up for each thread that
//! waits for it. An event gets its mark in the queue, so the marks of a life of the edge are dense and in the order of the
//! appends.
//!
//! No request waits beyond its group's deadline for the log, and none has a timer of its own, unless its browser has waited
//! for the catalog before: the append of a group
//! is cut off at its deadline, and a group that waits for a place in flight gets one at the latest when an older group's
//! deadline has passed. What the log has not confirmed by then goes into the spool; see [`crate::spool`].

use std::cell::RefCell;
use std::sync::Arc;

use catalog::Follower;
use eventlog::{EventLog, Partition, ProducerUse};
use futures::future::join_all;
use schemas::event::{CatalogRevision, Event, Mark};
use schemas::id::{EdgeId, IdGenerator};
use schemas::time::Timestamp;
use schemas::topic;
use schemas::wire::encode_unmarked_event;
use service::clock::{SharedClock, random_seed};
use service::lifecycle::{Shutdown, Tasks};
use tokio::time::{Duration, Instant, timeout_at};

use crate::error::StartError;
use crate::metrics::{Metrics, Reason};
use crate::spool::Spool;
use crate::spool::drainer::{self, Drainer};
use crate::spool::lane::Lane;
use answer::SharedAnswer;
use group::Group;
use queue::Queue;
use writer::Writer;

mod answer;
mod group;
mod queue;
#[cfg(test)]
mod tests;
mod writer;

/// Events in one group; appending them keeps a thread busy for a few milliseconds at most.
const GROUP_EVENTS: usize = 2_048;
/// Bytes of one group; its last event may go beyond.
const GROUP_BYTES: usize = 1 << 20;
/// A thread's buffer for encoding grows to its largest event, but keeps no more than this.
const KEPT_BUFFER_BYTES: usize = 64 << 10;

/// A browser whose request took longer than this before its event was enqueued (the catalog had to catch up) has waited
/// part of its time.
const LATE: Duration = Duration::from_millis(10);

/// Why an event is not known to be durable.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum AppendError {
    /// Too many events wait already; this one was not taken.
    #[error("too many events wait for the log")]
    Full,
    /// The edge is stopping; the event was not taken.
    #[error("the edge is stopping")]
    Stopping,
    /// The log's error, where the spool is no help.
    #[error(transparent)]
    Log(#[from] eventlog::Error),
    /// The log is away and the spool has no room.
    #[error("the spool is full")]
    SpoolFull,
    /// The log is away and the spool could not be opened.
    #[error("there is no spool")]
    NoSpool,
    /// The log is away and what the spool holds cannot be read, so that it takes nothing more.
    #[error("the spool cannot be read")]
    SpoolUnreadable,
    /// The log is away and the spool fails. At a deadline the event may be in the spool all the same.
    #[error("the spool: {0}")]
    Spool(eventlog::Error),
}

impl AppendError {
    /// The same as a metric names it.
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::Full => Reason::Full,
            Self::Stopping => Reason::Stopping,
            Self::Log(eventlog::Error::TooLarge { .. }) => Reason::TooLarge,
            Self::Log(_) => Reason::Log,
            Self::SpoolFull => Reason::SpoolFull,
            Self::NoSpool => Reason::NoSpool,
            Self::SpoolUnreadable => Reason::SpoolUnreadable,
            Self::Spool(eventlog::Error::Deadline) => Reason::Deadline,
            Self::Spool(_) => Reason::Spool,
        }
    }
}

/// How events are appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How long an event may wait for the log.
    pub(crate) deadline: Duration,
    /// How much longer it may wait for the spool.
    pub(crate) spool_deadline: Duration,
    /// How many events of a partition may wait.
    pub(crate) queue_events: usize,
    /// Bytes of events of all partitions that the log may hold unanswered.
    pub(crate) queue_bytes: usize,
}

impl Limits {
    /// How many events of a partition may wait when this caller's comes. A system must not take the places of browsers: its
    /// batches fill any queue while the log makes a pause.
    const fn queue_events_for(self, caller: Caller) -> usize {
        match caller {
            Caller::Browser { .. } => self.queue_events,
            Caller::System => self.queue_events.div_ceil(2),
        }
    }

    /// Until when a caller waits who has lost time before its event was enqueued; the others wait for their group.
    fn own_deadline(self, caller: Caller, now: Instant) -> Option<Instant> {
        match caller {
            Caller::Browser { arrived } if now.duration_since(arrived) > LATE => {
                Some(arrived + self.deadline + self.spool_deadline)
            }
            Caller::Browser { .. } | Caller::System => None,
        }
    }
}

/// Who waits for an event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Caller {
    /// A browser that follows a link or sends on behalf of a page. It does not come again.
    Browser {
        /// When its request came.
        arrived: Instant,
    },
    /// A system, which sends again what is refused.
    System,
}

/// What the appender needs of the edge.
pub(crate) struct Parts {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) follower: Follower,
    /// `None` if it could not be opened.
    pub(crate) spool: Option<Arc<Spool>>,
    pub(crate) life: EdgeId,
    pub(crate) partitions: u32,
    pub(crate) limits: Limits,
    pub(crate) clock: SharedClock,
    pub(crate) metrics: Arc<Metrics>,
}

/// The queues of all partitions.
pub(crate) struct Appender {
    queues: Vec<Arc<Queue>>,
    lanes: Vec<Arc<Lane>>,
    spool: Option<Arc<Spool>>,
    life: EdgeId,
    stop: Shutdown,
    limits: Limits,
    metrics: Arc<Metrics>,
    /// The revision of the copy of the catalog that the edge started from. It may be another log's.
    copied: Option<CatalogRevision>,
}

impl Appender {
    /// Starts the tasks of each partition. They end when [`Appender::drain`] was called and everything is answered.
    pub(crate) fn start(parts: Parts, tasks: &Tasks) -> Result<Self, StartError> {
        let Parts { log, follower, spool, life, partitions, limits, clock, metrics } = parts;
        let usage =
            ProducerUse { name: "ingest", deadline: limits.deadline, max_pending_bytes: limits.queue_bytes };
        let drain = ProducerUse { name: "ingest_drain", deadline: drainer::APPEND_DEADLINE, ..usage };
        let (producer, drain) = (Arc::from(log.producer(usage)?), Arc::from(log.producer(drain)?));
        let (stop, copied) = (Shutdown::new(), follower.copied());
        let (mut queues, mut lanes, mut writers) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..partitions {
            let lane = Arc::new(Lane::new(number, spool.clone(), metrics.lane(number)));
            let queue = Arc::new(Queue::new(number, metrics.queue(number)));
            let writer = Writer {
                queue: Arc::clone(&queue),
                lane: Arc::clone(&lane),
                producer: Arc::clone(&producer),
                follower: follower.clone(),
                copied,
                partition: Partition { topic: topic::EVENTS, number },
                metrics: Arc::clone(&metrics),
            };
            let drainer = Drainer::new(drainer::Parts {
                lane: Arc::clone(&lane),
                follower: follower.clone(),
                producer: Arc::clone(&drain),
                direct: Arc::clone(&producer),
                clock: clock.clone(),
                ids: IdGenerator::new(random_seed()),
                life,
                deadline: limits.deadline,
            });
            writers.push(writer.run(stop.clone()));
            tasks.spawn_until(&stop, format!("ingest drain {number}"), drainer.run(stop.clone()));
            queues.push(queue);
            lanes.push(lane);
        }
        // Browsers wait for these, so whatever else the process has to do must not stand before them.
        let appended = || async { join_all(writers).await.into_iter().collect::<Result<(), AppendError>>() };
        tasks.spawn_thread(&stop, "ingest append", appended).map_err(StartError::Thread)?;
        Ok(Self { queues, lanes, spool, life, stop, limits, metrics, copied })
    }

    /// Encodes the event and puts it into its partition's queue; the ticket waits until it is durable.
    ///
    /// Once there is a ticket the event is on its way: dropping it does not take it back.
    pub(crate) fn enqueue(
        &self,
        partition: u32,
        event: Event,
        caller: Caller,
    ) -> Result<Ticket, AppendError> {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let Some(queue) = self.queues.get(partition as usize) else {
            let partition = Partition { topic: topic::EVENTS, number: partition };
            return Err(eventlog::Error::UnknownPartition(partition.to_string()).into());
        };
        let is_copied = self.copied == Some(event.catalog);
        // Encoding is the work here: it is done before the queue is locked, on the caller's thread.
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            buffer.shrink_to(KEPT_BUFFER_BYTES);
            encode_unmarked_event(event, buffer);
            self.push(queue, buffer, is_copied, caller)
        })
    }

    fn push(
        &self,
        queue: &Queue,
        unmarked: &[u8],
        is_copied: bool,
        caller: Caller,
    ) -> Result<Ticket, AppendError> {
        let now = Instant::now();
        let by = self.limits.own_deadline(caller, now);
        let mut waiting = queue.enter(now, self.limits.queue_events_for(caller))?;
        waiting.events += 1;
        let mark = Mark { edge: self.life, number: waiting.next_number };
        waiting.next_number += 1;
        if !waiting.groups.back().is_some_and(|group| group.is_open(now)) {
            waiting.groups.push_back(Group::new(now, self.limits, self.metrics.append()));
        }
        let could_leave = waiting.can_leave();
        let Some(group) = waiting.groups.back_mut() else { return Err(AppendError::Stopping) };
        let index = group.push(unmarked, mark, is_copied);
        let ticket = Ticket { answer: Arc::clone(&group.answer), index, by };
        let is_news = !could_leave && waiting.can_leave();
        drop(waiting);
        // Later events of the group need no signal: the task takes the group as it then is.
        if is_news {
            queue.wake.notify_one();
        }
        Ok(ticket)
    }

    /// Takes no further event and waits until those taken are answered; `false` if the deadline came first.
    pub(crate) async fn drain(&self, deadline: Duration) -> bool {
        let by = Instant::now() + deadline;
        self.stop.trigger();
        let ended = async {
            for queue in &self.queues {
                queue.ended.wait().await;
            }
        };
        let is_drained = tokio::time::timeout_at(by, ended).await.is_ok();
        if let Some(spool) = &self.spool {
            spool.close(by.saturating_duration_since(Instant::now())).await;
        }
        is_drained
    }

    /// Whether every partition's task lives and takes events that will be recorded, by the log or by the spool.
    pub(crate) fn is_open(&self) -> bool {
        self.queues.iter().all(|queue| !queue.is_closed()) && self.lanes.iter().all(|lane| lane.can_record())
    }

    /// Sends everything into the spool until the log was seen to keep up.
    pub(crate) fn divert(&self, reason: &impl std::fmt::Display) {
        for lane in &self.lanes {
            lane.divert(reason);
        }
    }

    /// Notes what the spool holds at `now`.
    pub(crate) fn measure(&self, now: Timestamp) {
        for lane in &self.lanes {
            lane.measure(now);
        }
    }
}

/// An event on its way.
pub(crate) struct Ticket {
    answer: Arc<SharedAnswer<Answer>>,
    index: usize,
    /// Until when it waits, where that may be before its group's deadlines.
    by: Option<Instant>,
}

impl Ticket {
    /// Waits until the event is durable, in the log or in the spool.
    pub(crate) async fn durable(self) -> Result<(), AppendError> {
        let answer = match self.by {
            None => self.answer.wait().await,
            // It is seldom needed, so it has room of its own.
            Some(by) => Box::pin(timeout_at(by, self.answer.wait()))
                .await
                .map_err(|_| AppendError::Spool(eventlog::Error::Deadline))?,
        };
        match answer {
            Answer::Durable => Ok(()),
            Answer::Each(answers) => answers.get(self.index).cloned().unwrap_or(Err(AppendError::Stopping)),
            Answer::Stopped => Err(AppendError::Stopping),
        }
    }
}

/// What a group's requests wait for.
enum Answer {
    Durable,
    Each(Vec<Result<(), AppendError>>),
    Stopped,
}
