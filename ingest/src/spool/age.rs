//! How long events have been in the spool.
//!
//! The machine's clock may be set, so of what came in this life of the process it is not asked: no event can be older than
//! the moment when the spool's end was below it. Of what an earlier life left only the clock tells.

use std::collections::VecDeque;

use eventlog::{Position, Record};
use tokio::time::{Duration, Instant};

/// A second less than the core remembers deliveries, and a day: what is older could count twice.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3_600);
const MAX_AGE_MICROS: i64 = 7 * 24 * 3_600 * 1_000_000;
/// How often it is noted where the spool ends; so much longer than [`MAX_AGE`] an event may wait at most. It also bounds the
/// notes, which are kept for [`MAX_AGE`].
const NOTE_INTERVAL: Duration = Duration::from_secs(3_600);

/// What is known of the age of one partition's events.
pub(super) struct Ages {
    /// Events below this were left by an earlier life.
    left_below: Position,
    /// Where the spool ended, and when; the oldest first.
    notes: VecDeque<(Instant, Position)>,
}

impl Ages {
    /// Of a spool that ends at `end` when it is opened.
    pub(super) fn new(opened: Instant, end: Position) -> Self {
        Self { left_below: end, notes: VecDeque::from([(opened, end)]) }
    }

    /// Notes that the spool ends at `end` now.
    pub(super) fn note(&mut self, now: Instant, end: Position) {
        if self.notes.back().is_some_and(|(at, _)| now.duration_since(*at) < NOTE_INTERVAL) {
            return;
        }
        // One that old says all that older ones say.
        while self.notes.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= MAX_AGE) {
            self.notes.pop_front();
        }
        self.notes.push_back((now, end));
    }

    /// How many of these records, which follow each other, are too old.
    pub(super) fn too_old(&self, records: &[Record], now: Instant, clock_micros: i64) -> usize {
        let old = self.notes.iter().rev().find(|(at, _)| now.duration_since(*at) >= MAX_AGE);
        let old_below = old.map_or(0, |(_, end)| *end);
        let oldest_allowed = clock_micros.saturating_sub(MAX_AGE_MICROS);
        // Positions and the spool's log time never go back.
        records.partition_point(|record| {
            record.position < old_below
                || (record.position < self.left_below && record.log_time.micros() < oldest_allowed)
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use schemas::time::Timestamp;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn records(log_time_micros: i64) -> Vec<Record> {
        let record = |position| Record {
            position,
            log_time: Timestamp::from_micros(log_time_micros),
            key: Bytes::new(),
            payload: Bytes::new(),
        };
        (0..10).map(record).collect()
    }

    #[test]
    fn a_clock_that_is_set_makes_nothing_of_this_life_old() {
        let opened = Instant::now();
        let ages = Ages::new(opened, 4);
        let fresh = records(1_000_000);
        assert_eq!(ages.too_old(&fresh, opened, 1_000_000), 0);
        // Only of what was there before nobody knows better.
        assert_eq!(ages.too_old(&fresh, opened, 1_000_001 + MAX_AGE_MICROS), 4);
    }

    #[test]
    fn a_clock_that_ran_ahead_keeps_nothing_young() {
        let opened = Instant::now();
        let mut ages = Ages::new(opened, 4);
        let ahead = records(i64::MAX);
        ages.note(opened + HOUR, 7);
        ages.note(opened + HOUR + HOUR / 2, 9);
        assert_eq!(ages.too_old(&ahead, opened + MAX_AGE - HOUR, 0), 0);
        assert_eq!(ages.too_old(&ahead, opened + MAX_AGE, 0), 4);
        assert_eq!(ages.too_old(&ahead, opened + MAX_AGE + HOUR, 0), 7);
    }

    #[test]
    fn the_notes_are_bounded() {
        let opened = Instant::now();
        let mut ages = Ages::new(opened, 0);
        for hour in 0..1_000 {
            ages.note(opened + hour * HOUR, Position::from(hour));
        }
        assert!(ages.notes.len() <= 7 * 24 + 2, "{}", ages.notes.len());
        let last = opened + 999 * HOUR;
        assert_eq!(ages.too_old(&records(0), last, 0), 10);
    }
}
