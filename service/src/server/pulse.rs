//! What the parts of one connection and the server's rounds tell each other, without locks and without timers.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::Context;

use futures::task::AtomicWaker;

/// What a connection shows of itself, and what is wished of it.
///
/// Counters wrap; only whether they changed between two looks is asked.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Reads that brought something.
    reads: AtomicU32,
    /// Writes that took something.
    writes: AtomicU32,
    /// Requests that were begun.
    requests: AtomicU32,
    /// Requests that are in work.
    in_work: AtomicU32,
    /// The reads there had been when a request was begun or answered last: later ones belong to a head to come.
    reads_understood: AtomicU32,
    phase: AtomicU8,
    wishes: AtomicU8,
    waker: AtomicWaker,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its cipher, or enough to tell its protocol.
    Opening,
    /// Requests, by HTTP/1.
    Http1,
    /// Requests, by HTTP/2.
    Http2,
    /// Its first request or the next, without holding any buffer.
    Parked,
}

/// What the rounds wish of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Give back the buffers, as nothing is happening.
    Park = 1,
    /// Answer that the head took too long.
    TimeOut = 2,
    /// Take no further request.
    Drain = 4,
}

impl Pulse {
    pub(super) fn note_read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_work.fetch_add(1, Ordering::Relaxed);
        self.understand();
    }

    pub(super) fn end_request(&self) {
        self.in_work.fetch_sub(1, Ordering::Relaxed);
        self.understand();
    }

    fn understand(&self) {
        self.reads_understood.store(self.reads.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn look(&self) -> Look {
        let count = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
        let phases = [Phase::Opening, Phase::Http1, Phase::Http2, Phase::Parked];
        Look {
            phase: phases
                .get(usize::from(self.phase.load(Ordering::Relaxed)))
                .copied()
                .unwrap_or(Phase::Opening),
            moved: count(&self.reads).wrapping_add(count(&self.writes)),
            requests: count(&self.requests),
            is_working: count(&self.in_work) > 0,
            is_in_head: count(&self.reads) != count(&self.reads_understood),
        }
    }

    /// Says a wish and wakes the connection for it.
    pub(super) fn wish(&self, wish: Wish) {
        self.wishes.fetch_or(wish as u8, Ordering::Release);
        self.waker.wake();
    }

    /// Whether this was wished; it counts as heard.
    pub(super) fn hears(&self, wish: Wish, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        let bit = wish as u8;
        self.wishes.load(Ordering::Acquire) & bit != 0
            && self.wishes.fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    /// Whether the connection is to take no further request; once said, it stays so.
    pub(super) fn is_draining(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.wishes.load(Ordering::Acquire) & Wish::Drain as u8 != 0
    }
}

/// A connection as one look shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) phase: Phase,
    /// Reads and writes so far.
    pub(super) moved: u32,
    pub(super) requests: u32,
    /// Requests are in work: what happens next is up to us.
    pub(super) is_working: bool,
    /// Bytes came that are no whole request yet.
    pub(super) is_in_head: bool,
}
