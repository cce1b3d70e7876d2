//! What both engines refuse before they take a record.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::ProducerMetrics;
use crate::{Error, NewRecord, Position};

/// Answers [`Error::TooLarge`] for the records above `limit` and appends the others, each answer in its place.
pub(crate) async fn refuse_large<F, Fut>(
    records: Vec<NewRecord>,
    limit: usize,
    append: F,
) -> Vec<Result<Position, Error>>
where
    F: FnOnce(Vec<NewRecord>) -> Fut,
    Fut: Future<Output = Vec<Result<Position, Error>>>,
{
    if records.iter().all(|record| size(record) <= limit) {
        return append(records).await;
    }
    let refused: Vec<Option<Error>> = records
        .iter()
        .map(size)
        .map(|bytes| if bytes > limit { Some(Error::TooLarge { bytes, limit }) } else { None })
        .collect();
    let fitting: Vec<NewRecord> = records.into_iter().filter(|record| size(record) <= limit).collect();
    let mut answers = if fitting.is_empty() { Vec::new() } else { append(fitting).await }.into_iter();
    let place = |refused| match refused {
        Some(error) => Err(error),
        // Never short: `append` answers for every record.
        None => answers.next().unwrap_or(Err(Error::Closed)),
    };
    refused.into_iter().map(place).collect()
}

/// What a record counts against limits.
pub(crate) fn size(record: &NewRecord) -> usize {
    record.key.len() + record.payload.len()
}

/// Bytes that one producer has waiting.
#[derive(Debug)]
pub(crate) struct Pending {
    bytes: AtomicUsize,
    limit: usize,
    metrics: Option<ProducerMetrics>,
}

impl Pending {
    pub(crate) fn new(limit: usize, metrics: Option<ProducerMetrics>) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), limit, metrics })
    }

    /// Takes room for as many of these sizes as fit; tells how many.
    pub(crate) fn take(self: &Arc<Self>, sizes: impl Iterator<Item = usize>) -> (usize, Room) {
        let mut room = Room { pending: Arc::clone(self), bytes: 0 };
        let mut count = 0;
        for size in sizes {
            let before = self.bytes.fetch_add(size, Ordering::Relaxed);
            if before.saturating_add(size) > self.limit {
                self.bytes.fetch_sub(size, Ordering::Relaxed);
                break;
            }
            room.bytes += size;
            count += 1;
        }
        if let Some(metrics) = &self.metrics {
            metrics.pending(room.bytes as i64);
        }
        (count, room)
    }

    /// Counts the records that were answered with an error.
    pub(crate) fn count_refused(&self, answers: &[Result<Position, Error>]) {
        let Some(metrics) = &self.metrics else { return };
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            metrics.refused(error);
        }
    }
}

/// Room taken from a producer's limit; given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    pending: Arc<Pending>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.pending.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(metrics) = &self.pending.metrics {
            metrics.pending(-(self.bytes as i64));
        }
    }
}
