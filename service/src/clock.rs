//! Time and randomness: the one place where either enters the program.
//!
//! Everything else is handed a [`SharedClock`] or a seed, so that tests and replays can set both.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time, in microseconds since 1970-01-01T00:00:00Z.
pub trait Clock: Send + Sync + 'static {
    /// The time now, in microseconds since the Unix epoch.
    fn now_micros(&self) -> i64;
}

/// The clock as it is handed around.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl SystemClock {
    /// The machine's clock, ready to be handed around.
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now_micros(&self) -> i64 {
        let now = SystemTime::now();
        match now.duration_since(UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => -micros(before.duration()),
        }
    }
}

/// A clock that stands still until it is moved, for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_micros: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `now_micros`.
    pub fn at(now_micros: i64) -> Arc<Self> {
        Arc::new(Self { now_micros: AtomicI64::new(now_micros) })
    }

    /// Moves the clock to `now_micros`, backwards too.
    pub fn set(&self, now_micros: i64) {
        self.now_micros.store(now_micros, Ordering::SeqCst);
    }

    /// Moves the clock forward and returns the new time in microseconds.
    pub fn advance(&self, by: Duration) -> i64 {
        let by = micros(by);
        self.now_micros.fetch_add(by, Ordering::SeqCst).saturating_add(by)
    }
}

impl Clock for ManualClock {
    fn now_micros(&self) -> i64 {
        self.now_micros.load(Ordering::SeqCst)
    }
}

/// A seed from the operating system's randomness: everything random in the program grows from seeds like this one. It has
/// as many bits as a key, because ids that must not be foretold grow from it.
pub fn random_seed() -> u128 {
    rand::random()
}

/// The duration in whole microseconds; one of more than 292,000 years is cut to that.
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_OF_2024: i64 = 1_704_067_200_000_000;

    #[test]
    fn the_system_clock_counts_microseconds_since_1970() {
        let now = SystemClock.now_micros();
        assert!(now > FIRST_OF_2024, "{now} is before 2024");
        assert!(now < FIRST_OF_2024 * 3, "{now} is not in microseconds");
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(10);
        let shared: SharedClock = clock.clone();
        assert_eq!(shared.now_micros(), 10);
        assert_eq!(clock.advance(Duration::from_millis(2)), 2_010);
        assert_eq!(shared.now_micros(), 2_010);
        clock.set(5);
        assert_eq!(shared.now_micros(), 5);
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(random_seed(), random_seed());
    }
}
