//! Events that are appended together, encoded one behind the other in one buffer.

use std::sync::Arc;

use bytes::Bytes;
use eventlog::NewRecord;
use prometheus::HistogramTimer;
use schemas::event::Mark;
use schemas::wire::append_mark;
use tokio::time::Instant;

use super::answer::SharedAnswer;
use super::{Answer, GROUP_BYTES, GROUP_EVENTS, Limits};

/// Room for dozens of events, as a busy edge has them in a group; one that becomes larger grows.
const FIRST_BYTES: usize = 32 << 10;

/// A group that still takes events, or waits for its turn.
pub(super) struct Group {
    bytes: Vec<u8>,
    /// Where each event ends.
    ends: Vec<usize>,
    /// Until when further events may join. They need time of their own before the deadlines.
    open_until: Instant,
    /// One of its events was understood by the copy of the catalog that the edge started from.
    pub(super) has_copied: bool,
    /// Until when its events wait for the log.
    pub(super) log_deadline: Instant,
    /// Until when they wait for the spool.
    pub(super) spool_deadline: Instant,
    pub(super) answer: Arc<SharedAnswer<Answer>>,
    pub(super) timer: HistogramTimer,
}

impl Group {
    pub(super) fn new(now: Instant, limits: Limits, timer: HistogramTimer) -> Self {
        let log_deadline = now + limits.deadline;
        Self {
            bytes: Vec::with_capacity(FIRST_BYTES),
            ends: Vec::new(),
            open_until: now + limits.deadline / 2,
            has_copied: false,
            log_deadline,
            spool_deadline: log_deadline + limits.spool_deadline,
            answer: Arc::default(),
            timer,
        }
    }

    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.ends.len() < GROUP_EVENTS && self.bytes.len() < GROUP_BYTES && now < self.open_until
    }

    /// Its events.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds an encoded event and its mark; tells its place in the answer.
    pub(super) fn push(&mut self, unmarked: &[u8], mark: Mark, is_copied: bool) -> usize {
        self.has_copied |= is_copied;
        self.bytes.extend_from_slice(unmarked);
        append_mark(mark, &mut self.bytes);
        self.ends.push(self.bytes.len());
        self.ends.len() - 1
    }

    /// The events as they are appended.
    pub(super) fn seal(&mut self) -> Sealed {
        Sealed { bytes: Bytes::from(std::mem::take(&mut self.bytes)), ends: std::mem::take(&mut self.ends) }
    }
}

/// The events of a group. Records are cut from one buffer: they cost no allocation, and can be cut again.
pub(super) struct Sealed {
    bytes: Bytes,
    ends: Vec<usize>,
}

impl Sealed {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All events.
    pub(super) fn records(&self) -> Vec<NewRecord> {
        (0..self.len()).map(|index| self.record(index)).collect()
    }

    /// One event.
    pub(super) fn record(&self, index: usize) -> NewRecord {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        NewRecord { key: Bytes::new(), payload: self.bytes.slice(start..self.ends[index]) }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Histogram, HistogramOpts};
    use tokio::time::Duration;

    use super::*;

    #[test]
    fn who_joins_a_group_has_half_of_the_time_left() {
        let limits = Limits {
            deadline: Duration::from_millis(250),
            spool_deadline: Duration::from_millis(80),
            queue_events: 10,
            queue_bytes: 0,
        };
        let timer = Histogram::with_opts(HistogramOpts::new("append", "append")).unwrap().start_timer();
        let opened = Instant::now();
        let group = Group::new(opened, limits, timer);
        assert!(group.is_open(opened + Duration::from_millis(124)));
        assert!(!group.is_open(opened + Duration::from_millis(125)));
    }
}
