//! Which way a partition's events go: to the log, or into the spool.
//!
//! What the log does not confirm in time goes into the spool, and from then on everything does, at once, so that nobody
//! waits for a log that is away. The drainer gives the way to the log free again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventlog::NewRecord;
use parking_lot::Mutex;
use schemas::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, timeout};

use super::metrics::LaneMetrics;
use super::{Held, Spool};
use crate::appender::AppendError;

/// How often the drainer looks by itself: an event whose writer gave up waiting comes without a word.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How long a refusal of the spool says that the next event will be refused, too. Nobody sends one to an edge that is not
/// ready, so nothing else would ever show that the spool is fine again.
const REFUSAL_MEMORY: Duration = Duration::from_secs(5);

/// One partition's way.
pub(crate) struct Lane {
    number: u32,
    /// `None` if it could not be opened.
    spool: Option<Arc<Spool>>,
    is_diverted: AtomicBool,
    /// When the spool last refused events, if it has taken none since.
    refused: Mutex<Option<Instant>>,
    /// Whether what the spool holds cannot be read. What it took on top would be as good as lost.
    is_unreadable: AtomicBool,
    wake: Notify,
    metrics: LaneMetrics,
}

impl Lane {
    pub(crate) fn new(number: u32, spool: Option<Arc<Spool>>, metrics: LaneMetrics) -> Self {
        Self {
            number,
            spool,
            is_diverted: AtomicBool::new(false),
            refused: Mutex::new(None),
            is_unreadable: AtomicBool::new(false),
            wake: Notify::new(),
            metrics,
        }
    }

    /// Whether new events go into the spool.
    pub(crate) fn is_diverted(&self) -> bool {
        self.is_diverted.load(Ordering::Acquire)
    }

    /// Sends new events into the spool from here on.
    pub(crate) fn divert(&self, reason: &impl fmt::Display) {
        if !self.is_diverted.swap(true, Ordering::AcqRel) {
            tracing::warn!(partition = self.number, %reason, "the log does not keep up; events go into the spool");
            self.wake.notify_one();
        }
    }

    /// Sends new events to the log again. Those in the spool still have to be brought there.
    pub(super) fn resume(&self) {
        if self.is_diverted.swap(false, Ordering::AcqRel) {
            *self.refused.lock() = None;
            let Held { events, .. } = self.held();
            tracing::info!(partition = self.number, events, "the log keeps up; events go to it again");
        }
    }

    /// Keeps events in the spool; see [`Spool::keep`].
    pub(crate) async fn keep(&self, records: Vec<NewRecord>, by: Instant) -> Vec<Result<(), AppendError>> {
        let count = records.len();
        let answers = match &self.spool {
            Some(_) if self.is_unreadable.load(Ordering::Acquire) => {
                vec![Err(AppendError::SpoolUnreadable); count]
            }
            Some(spool) => spool.keep(self.number, records, by).await,
            None => vec![Err(AppendError::NoSpool); count],
        };
        let kept = answers.iter().filter(|answer| answer.is_ok()).count();
        self.metrics.spooled.inc_by(kept as u64);
        let error = answers.iter().find_map(|answer| answer.as_ref().err());
        let refused_before = std::mem::replace(&mut *self.refused.lock(), error.map(|_| Instant::now()));
        match error {
            Some(error) if refused_before.is_none() => {
                tracing::error!(partition = self.number, %error, "the spool does not take events either");
            }
            None if refused_before.is_some() => {
                tracing::info!(partition = self.number, "the spool takes events again");
            }
            Some(_) | None => {}
        }
        if kept > 0 {
            self.wake.notify_one();
        }
        answers
    }

    /// Whether an event that comes now will be recorded, as far as one can tell.
    pub(crate) fn can_record(&self) -> bool {
        self.can_record_at(Instant::now())
    }

    pub(super) fn can_record_at(&self, now: Instant) -> bool {
        if !self.is_diverted() {
            return true;
        }
        let has_just_refused = self.refused.lock().is_some_and(|at| now.duration_since(at) < REFUSAL_MEMORY);
        !has_just_refused
            && !self.is_unreadable.load(Ordering::Acquire)
            && self.spool.as_ref().is_some_and(|spool| spool.has_room())
    }

    /// Notes whether what the spool holds can be read.
    pub(super) fn saw_readable(&self, is_readable: bool) {
        self.is_unreadable.store(!is_readable, Ordering::Release);
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn spool(&self) -> Option<&Arc<Spool>> {
        self.spool.as_ref()
    }

    pub(super) fn metrics(&self) -> &LaneMetrics {
        &self.metrics
    }

    pub(crate) fn held(&self) -> Held {
        self.spool.as_ref().map(|spool| spool.held(self.number)).unwrap_or_default()
    }

    /// Whether there is anything for the drainer to do.
    pub(super) fn has_work(&self) -> bool {
        self.is_diverted() || self.held().events > 0
    }

    /// Waits until there is.
    pub(super) async fn work(&self) {
        while !self.has_work() {
            // Whoever gives work leaves a permit, so none is missed between the look and the wait.
            let _ = timeout(LOOK_INTERVAL, self.wake.notified()).await;
        }
    }

    /// Notes what is held at `now`.
    pub(crate) fn measure(&self, now: Timestamp) {
        let Held { events, bytes } = self.held();
        self.metrics.events.set(i64::try_from(events).unwrap_or(i64::MAX));
        self.metrics.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let oldest = self.spool.as_ref().and_then(|spool| spool.oldest(self.number));
        let age = oldest.filter(|_| events > 0).map_or(0, |oldest| now.micros_since(oldest).max(0));
        self.metrics.oldest_seconds.set(age as f64 / 1e6);
        self.metrics.state.set(match (self.is_diverted(), self.can_record()) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        });
    }
}
