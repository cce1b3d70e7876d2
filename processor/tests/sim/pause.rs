//! Where somebody gives way, and can be stopped for good.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};

use service::clock::{Clock, ManualClock};

/// Gives way to others so often.
pub(crate) async fn give_way(times: u32) {
    for _ in 0..times {
        GiveWay(false).await;
    }
}

/// Brings something to its end in which nothing goes wrong.
pub(crate) fn finished<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    for _ in 0..1_000_000 {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
    panic!("it does not come to its end");
}

struct GiveWay(bool);

impl Future for GiveWay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        // Nobody is woken: whoever polls owners and sinks polls them in the order that the seed gives.
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A machine's clock: it is wrong by as much as it says, and that changes.
pub(crate) struct WrongClock {
    right: Arc<ManualClock>,
    wrong_by: AtomicI64,
    was_behind_by: AtomicI64,
}

impl WrongClock {
    pub(crate) fn new(right: Arc<ManualClock>) -> Arc<Self> {
        Arc::new(Self { right, wrong_by: AtomicI64::new(0), was_behind_by: AtomicI64::new(0) })
    }

    pub(crate) fn wrong_by(&self) -> i64 {
        self.wrong_by.load(Ordering::Relaxed)
    }

    pub(crate) fn set_wrong_by(&self, micros: i64) {
        self.wrong_by.store(micros, Ordering::Relaxed);
        self.was_behind_by.fetch_max(-micros, Ordering::Relaxed);
    }

    /// By how much it was ever behind.
    pub(crate) fn was_behind_by(&self) -> i64 {
        self.was_behind_by.load(Ordering::Relaxed)
    }
}

impl Clock for WrongClock {
    fn now_micros(&self) -> i64 {
        self.right.now_micros() + self.wrong_by.load(Ordering::Relaxed)
    }
}
