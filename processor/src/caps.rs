//! Telling the edges how far caps are: best effort, beside the decisions.
//!
//! What has moved is published a few times a second, but only once it was read back as accepted; everything that is alive is
//! repeated every few seconds, so that an edge that starts, or a publication that failed, waits no longer than that. Nothing here
//! ever halts or delays a partition.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventlog::{EventLog, NewRecord, Partition, Position, Producer, ProducerUse};
use parking_lot::Mutex;
use schemas::cap::{CapCount, CapCounts, CapPlace};
use schemas::id::WorkspaceNumber;
use schemas::time::Timestamp;
use schemas::{topic, wire};
use service::clock::SharedClock;
use tokio::time::Instant;

use crate::core::{self, Changes};
use crate::error::Error;
use crate::store::Committed;

/// How often what has moved is published.
const PERIOD: Duration = Duration::from_millis(250);
/// How often everything that is alive is published again.
const REPEATED_EVERY: Duration = Duration::from_secs(10);
/// How old a repetition is before what lies below it is deleted. Others publish to the same topic: one that is silent for longer
/// is missed by edges that start meanwhile.
const KEPT: Duration = Duration::from_secs(60);
/// How long a publication may stay unconfirmed.
const DEADLINE: Duration = Duration::from_secs(5);
/// Counts that have moved and wait to be published; beyond it the next repetition tells.
const MAX_MOVED: usize = 10_000;
/// Counts repeated at once, those that end last first.
const MAX_LIVE: usize = 10_000;
/// Counts in one record: each names up to some hundred lives of edges.
const COUNTS_PER_RECORD: usize = 100;
/// Room for all records of one publication.
const MAX_PENDING_BYTES: usize = 64 * 1024 * 1024;

const CAPS: Partition = Partition { topic: topic::CAPS, number: 0 };

/// Counts that have moved since they were published last.
#[derive(Default)]
pub(crate) struct MovedCounts {
    waiting: Mutex<BTreeMap<(WorkspaceNumber, CapPlace), CapCount>>,
}

impl MovedCounts {
    /// Takes note of changes that are committed.
    pub(crate) fn note(&self, changes: &Changes) -> Result<(), Error> {
        let counts = core::moved_cap_counts(changes)?;
        if counts.is_empty() {
            return Ok(());
        }
        let mut waiting = self.waiting.lock();
        for count in counts {
            let place = (count.workspace, count.place);
            // What waits already is replaced even where there is no room for more: it must not go out as it was before, beside
            // a position by which it has moved.
            if waiting.len() < MAX_MOVED || waiting.contains_key(&place) {
                waiting.insert(place, count);
            }
        }
        Ok(())
    }

    fn take(&self) -> Vec<CapCount> {
        std::mem::take(&mut *self.waiting.lock()).into_values().collect()
    }

    /// Puts back what could not be published and has not moved since, as far as there is room.
    fn put_back(&self, counts: Vec<CapCount>) {
        let mut waiting = self.waiting.lock();
        for count in counts {
            if waiting.len() >= MAX_MOVED {
                break;
            }
            waiting.entry((count.workspace, count.place)).or_insert(count);
        }
    }
}

/// Publishes the counts of one partition.
pub(crate) struct CapPublisher<'a> {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) store: &'a dyn Committed,
    pub(crate) clock: SharedClock,
    pub(crate) partition: u32,
    pub(crate) moved: Arc<MovedCounts>,
}

impl CapPublisher<'_> {
    /// Publishes until it is dropped.
    pub(crate) async fn run(self) -> Infallible {
        let mut producer = None;
        let mut repeated_at: Option<Instant> = None;
        let mut repetitions = VecDeque::new();
        let mut is_failing = false;
        loop {
            let is_repetition = repeated_at.is_none_or(|at| at.elapsed() >= REPEATED_EVERY);
            let moved = self.moved.take();
            match self.publish(&mut producer, &moved, is_repetition).await {
                Ok(first) => {
                    is_failing = false;
                    if is_repetition {
                        repeated_at = Some(Instant::now());
                        repetitions.extend(first.map(|first| (Instant::now(), first)));
                        self.delete_old(&mut repetitions).await;
                    }
                }
                Err(error) => {
                    // Once for each time that it begins to fail: it is tried again several times a second.
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(partition = self.partition, %error, "counts of caps cannot be published");
                    }
                    self.moved.put_back(moved);
                    producer = None;
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Publishes what has moved, and in a repetition everything; gives the position of the first record, if there was anything to say.
    async fn publish(
        &self,
        producer: &mut Option<Box<dyn Producer>>,
        moved: &[CapCount],
        is_repetition: bool,
    ) -> Result<Option<Position>, Error> {
        let now = Timestamp::from_micros(self.clock.now_micros());
        let live = if is_repetition { core::live_cap_counts(self.store, now, MAX_LIVE)? } else { Vec::new() };
        let counts = together(live, moved);
        if counts.is_empty() {
            return Ok(None);
        }
        // What moved was committed before it was noted, so that the store stands there at least.
        let source = self.store.head()?.source;
        let record = |counts: &[CapCount]| {
            let counts = CapCounts { partition: self.partition, source, counts: counts.to_vec() };
            NewRecord { key: Bytes::new(), payload: wire::encode_cap_counts(&counts) }
        };
        let records = counts.chunks(COUNTS_PER_RECORD).map(record).collect();
        let producer = match producer {
            Some(producer) => producer,
            None => producer.insert(self.log.producer(ProducerUse {
                name: "caps",
                deadline: DEADLINE,
                max_pending_bytes: MAX_PENDING_BYTES,
            })?),
        };
        let mut first = None;
        for answer in producer.append(CAPS, records).await {
            let position = answer?;
            first = first.or(Some(position));
        }
        Ok(first)
    }

    /// Lets the log delete what lies below a repetition that every reader has had time to read.
    async fn delete_old(&self, repetitions: &mut VecDeque<(Instant, Position)>) {
        let mut below = None;
        while let Some((at, first)) = repetitions.front()
            && at.elapsed() >= KEPT
        {
            below = Some(*first);
            repetitions.pop_front();
        }
        if let Some(below) = below
            && let Err(error) = self.log.delete_below(CAPS, below).await
        {
            tracing::debug!(partition = self.partition, %error, "old counts of caps stay for now");
        }
    }
}

/// What is alive, and what has moved and is not among it: there may be more of either than a repetition has room for. What is
/// alive was read later, so that of two counts of one place it is the newer one.
fn together(mut live: Vec<CapCount>, moved: &[CapCount]) -> Vec<CapCount> {
    let known: HashSet<_> = live.iter().map(|count| (count.workspace, count.place)).collect();
    live.extend(moved.iter().filter(|count| !known.contains(&(count.workspace, count.place))).cloned());
    live
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Head;

    fn count(number: u32, total: u64) -> CapCount {
        let mut cap = [0; 16];
        cap[..4].copy_from_slice(&number.to_be_bytes());
        let (window_start, ends_by) = (Timestamp::default(), Timestamp::from_micros(1));
        let place = CapPlace { cap, window_start, ends_by, partner: None };
        CapCount { workspace: WorkspaceNumber::NONE, place, total, of_edges: Vec::new() }
    }

    /// Changes of the state that move these counts.
    fn changes(counts: &[CapCount]) -> Changes {
        let moved = |count: &CapCount| {
            let key = [b"k", &count.place.cap[..]].concat();
            (key, Some(wire::encode_cap_count(count).into()))
        };
        Changes { head: Head::default(), keys: counts.iter().map(moved).collect() }
    }

    #[test]
    fn a_full_room_still_learns_of_the_counts_in_it() {
        let moved = MovedCounts::default();
        let full: Vec<CapCount> = (0..MAX_MOVED as u32).map(|number| count(number, 1)).collect();
        moved.note(&changes(&full)).unwrap();
        moved.note(&changes(&[count(0, 2), count(u32::MAX, 1)])).unwrap();
        let taken = moved.take();
        assert_eq!(taken.len(), MAX_MOVED, "the new one finds no room");
        assert_eq!(taken[0], count(0, 2));
        // What could not be published is no newer than what has moved since, and takes no more room.
        moved.note(&changes(&[count(0, 3), count(u32::MAX, 1)])).unwrap();
        moved.put_back(taken);
        let taken = moved.take();
        assert_eq!((taken.len(), taken[0].total), (MAX_MOVED, 3));
    }

    #[test]
    fn a_repetition_tells_what_moved_as_well() {
        let said = together(vec![count(1, 5), count(2, 1)], &[count(1, 4), count(3, 7)]);
        assert_eq!(said, [count(1, 5), count(2, 1), count(3, 7)]);
        assert_eq!(together(Vec::new(), &[count(3, 7)]), [count(3, 7)]);
    }
}
