//! What the store forgets by itself: keys whose time is over, when it rewrites the tables that they lie in.
//!
//! The core takes such a key for gone whether it is there or not, and the time is that of the committed state, which never goes back:
//! facts after it are applied, never decided again. So no decision can tell, and forgetting costs neither an index nor a write.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use fjall::compaction::filter::{CompactionFilter, Context, Factory, ItemAccessor, Verdict};
use parking_lot::Mutex;
use schemas::time::Timestamp;

use crate::core;

/// The core time of the committed state, and of the views of it that somebody still reads.
#[derive(Clone)]
pub(crate) struct CommittedTime(Arc<AssertUnwindSafe<Mutex<Times>>>);

struct Times {
    committed: Timestamp,
    /// How many views hold a time.
    held: BTreeMap<Timestamp, usize>,
}

/// The time of a state that has not been read yet: nothing is over.
const UNKNOWN: Timestamp = Timestamp::from_micros(i64::MIN);

impl CommittedTime {
    pub(crate) fn unknown() -> Self {
        let times = Times { committed: UNKNOWN, held: BTreeMap::new() };
        // Nothing panics while it has the lock.
        Self(Arc::new(AssertUnwindSafe(Mutex::new(times))))
    }

    pub(crate) fn set(&self, core_time: Timestamp) {
        self.0.lock().committed = core_time;
    }

    /// The state begins anew.
    pub(crate) fn begin_anew(&self) {
        self.set(UNKNOWN);
    }

    /// Holds the present time for a view: until it is dropped, nothing is forgotten that is not over by then.
    pub(crate) fn hold(&self) -> HeldTime {
        let mut times = self.0.lock();
        let at = times.committed;
        *times.held.entry(at).or_default() += 1;
        HeldTime { of: self.clone(), at }
    }

    /// By what time a key has to be over so that nobody misses it.
    fn forgettable(&self) -> Timestamp {
        let times = self.0.lock();
        times.held.keys().next().map_or(times.committed, |oldest| times.committed.min(*oldest))
    }
}

/// A time that a view holds.
pub(crate) struct HeldTime {
    of: CommittedTime,
    at: Timestamp,
}

impl Drop for HeldTime {
    fn drop(&mut self) {
        let mut times = self.of.0.lock();
        if let Some(count) = times.held.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                times.held.remove(&self.at);
            }
        }
    }
}

impl Factory for CommittedTime {
    fn name(&self) -> &str {
        "forget"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Forget { core_time: self.forgettable() })
    }
}

struct Forget {
    core_time: Timestamp,
}

impl CompactionFilter for Forget {
    fn filter_item(
        &mut self,
        item: ItemAccessor<'_>,
        _: &Context,
    ) -> fjall::compaction::filter::CompactionFilterResult {
        // An older value of the key that may come to light is over all the more.
        Ok(if core::is_over(item.key(), &item.value()?, self.core_time) {
            Verdict::Destroy
        } else {
            Verdict::Keep
        })
    }
}
