//! Requests that wait for one `fdatasync` together, and the queue they wait in.

use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::admission::Room;
use crate::{Error, NewRecord, Position};

/// One call of `append`.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) records: Vec<NewRecord>,
    pub(super) _room: Room,
}

/// What became of one request: its first `durable` records stand from `first` on, the others failed.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) first: Position,
    pub(super) durable: usize,
    /// Set if not all records are durable.
    pub(super) error: Option<Error>,
}

/// The requests of one `fdatasync`; all of them wait for this one completion.
#[derive(Debug, Default)]
pub(super) struct Group {
    outcomes: OnceLock<Vec<Outcome>>,
    done: Notify,
}

impl Group {
    /// Answers all requests, in the order in which they were queued.
    pub(super) fn complete(&self, outcomes: Vec<Outcome>) {
        // Only the writer completes, and only once; a second value would be dropped.
        let _ = self.outcomes.set(outcomes);
        self.done.notify_waiters();
    }

    /// Waits for the answer to request number `index`.
    pub(super) async fn outcome(&self, index: usize) -> Result<Outcome, Error> {
        // The order matters: a completion between the two lines wakes a waiter that exists already.
        let done = self.done.notified();
        if self.outcomes.get().is_none() {
            done.await;
        }
        self.outcomes.get().and_then(|outcomes| outcomes.get(index)).cloned().ok_or(Error::Closed)
    }
}

/// Requests on their way to a partition's writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: Vec<Request>,
    group: Arc<Group>,
    closed: bool,
}

impl Queue {
    /// Queues a request. Its length is bounded by the producers' limits of pending bytes.
    pub(super) fn push(&self, request: Request) -> Result<(Arc<Group>, usize), Error> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(Error::Closed);
        }
        let index = waiting.requests.len();
        waiting.requests.push(request);
        let group = Arc::clone(&waiting.group);
        drop(waiting);
        if index == 0 {
            self.wake.notify_one();
        }
        Ok((group, index))
    }

    /// Waits for requests and takes them all into `requests`, which is empty; `None` once closed and drained.
    pub(super) fn take(&self, requests: &mut Vec<Request>) -> Option<Arc<Group>> {
        let mut waiting = self.waiting.lock();
        while waiting.requests.is_empty() {
            if waiting.closed {
                return None;
            }
            self.wake.wait(&mut waiting);
        }
        std::mem::swap(&mut waiting.requests, requests);
        Some(std::mem::take(&mut waiting.group))
    }

    /// Takes no more requests.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.wake.notify_all();
    }
}
