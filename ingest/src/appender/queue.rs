//! What one partition's requests and its task share.

use std::collections::VecDeque;

use parking_lot::{Mutex, MutexGuard};
use prometheus::IntGauge;
use tokio::sync::{Notify, SetOnce};
use tokio::time::{Duration, Instant};

use super::AppendError;
use super::group::Group;

/// Groups of one partition that may be on their way at once. More would make the groups smaller without making the log
/// faster.
const GROUPS_IN_FLIGHT: usize = 4;
/// A group of fewer events waits until the one before it is answered: what a group costs, several threads to be woken, is as
/// much as what dozens of events cost.
const WORTHY_EVENTS: usize = 64;
/// How often a queue that refuses events says so.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// The queue of one partition.
pub(super) struct Queue {
    partition: u32,
    waiting: Mutex<Waiting>,
    pub(super) wake: Notify,
    pub(super) ended: SetOnce<()>,
    depth: IntGauge,
}

#[derive(Default)]
pub(super) struct Waiting {
    pub(super) groups: VecDeque<Group>,
    /// Events in these groups and in those in flight.
    pub(super) events: usize,
    /// Groups that were taken and are not answered.
    in_flight: usize,
    /// Of the next event's mark.
    pub(super) next_number: u64,
    is_closed: bool,
    complaints: Complaints,
}

impl Waiting {
    /// Whether the first group should be appended now: none is on its way before it, or it is worth a way of its own.
    pub(super) fn can_leave(&self) -> bool {
        self.groups.front().is_some_and(|first| match self.in_flight {
            0 => first.len() > 0,
            1..GROUPS_IN_FLIGHT => first.len() >= WORTHY_EVENTS,
            GROUPS_IN_FLIGHT.. => false,
        })
    }
}

impl Queue {
    pub(super) fn new(partition: u32, depth: IntGauge) -> Self {
        Self {
            partition,
            waiting: Mutex::new(Waiting::default()),
            wake: Notify::new(),
            ended: SetOnce::new(),
            depth,
        }
    }

    /// The queue, if it takes one more event: of those that may wait there are fewer than `limit`.
    pub(super) fn enter(&self, now: Instant, limit: usize) -> Result<MutexGuard<'_, Waiting>, AppendError> {
        let mut waiting = self.waiting.lock();
        let refused = if waiting.is_closed {
            AppendError::Stopping
        } else if waiting.events >= limit {
            AppendError::Full
        } else {
            return Ok(waiting);
        };
        let due = waiting.complaints.count(now);
        drop(waiting);
        if let Some(events) = due {
            tracing::warn!(partition = self.partition, reason = %refused, events, "events are refused");
        }
        Err(refused)
    }

    pub(super) fn take(&self) -> Option<Group> {
        let mut waiting = self.waiting.lock();
        self.depth.set(waiting.events as i64);
        if !waiting.can_leave() {
            return None;
        }
        waiting.in_flight += 1;
        waiting.groups.pop_front()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().is_closed
    }

    /// Takes no further event if it is to stop; says whether it does not and nothing waits.
    pub(super) fn close_if(&self, is_stopping: bool) -> bool {
        let mut waiting = self.waiting.lock();
        if is_stopping {
            waiting.close();
        }
        waiting.is_closed && waiting.groups.is_empty()
    }

    pub(super) fn answered(&self, events: usize) {
        let mut waiting = self.waiting.lock();
        waiting.events -= events;
        waiting.in_flight -= 1;
        self.depth.set(waiting.events as i64);
    }

    /// Takes no further event and gives those that wait.
    pub(super) fn close(&self) -> VecDeque<Group> {
        let mut waiting = self.waiting.lock();
        waiting.close();
        std::mem::take(&mut waiting.groups)
    }
}

impl Waiting {
    fn close(&mut self) {
        if !self.is_closed {
            self.is_closed = true;
            // From here on there is another reason, which is told at once.
            self.complaints = Complaints::default();
        }
    }
}

/// What is said of refused events: the first at once, and those that follow in one line for many.
#[derive(Debug, Default)]
struct Complaints {
    said_at: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    /// Counts a refusal; if it is time to say something, how many there were since the last time.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        if self.said_at.is_some_and(|at| now.duration_since(at) < COMPLAINT_INTERVAL) {
            return None;
        }
        self.said_at = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_at_once_and_then_together() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let mut at = |millis| complaints.count(start + Duration::from_millis(millis));
        assert_eq!([0, 1, 9_999, 10_000, 10_001].map(&mut at), [Some(1), None, None, Some(3), None]);
        assert_eq!(at(60_000), Some(2));
    }

    #[test]
    fn a_queue_that_closes_has_another_reason() {
        let (queue, now) = (Queue::new(0, IntGauge::new("queue", "Its depth.").unwrap()), Instant::now());
        assert!(queue.enter(now, 1).is_ok());
        assert!(matches!(queue.enter(now, 0), Err(AppendError::Full)));
        assert!(!queue.close_if(false) && queue.close_if(true));
        assert!(queue.waiting.lock().complaints.said_at.is_none());
        assert!(matches!(queue.enter(now, 1), Err(AppendError::Stopping)));
        assert!(queue.close_if(true) && queue.waiting.lock().complaints.said_at.is_some());
    }
}
