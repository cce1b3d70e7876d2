//! Horizons: what is so old that it cannot matter any more.
//!
//! A touch belongs to a conversion at most [`MAX_LOOKBACK_MICROS`] later; a report may come 8 days after it happened, and for 8
//! days more its attribution is open ([`super::reopening`]). What lies further back reads as none, whether it is still there or
//! not, so that no fact forgets it: a store drops it when it rewrites what lies beside it ([`is_over`]). What was attributed
//! stays attributed.

use catalog::validate::MAX_LOOKBACK_MICROS;
use schemas::id::ClickId;
use schemas::time::Timestamp;

use super::{WAIT_MICROS, key, unique};

/// How long, in core time, a touch is known.
pub const TOUCH_HORIZON_MICROS: i64 = MAX_LOOKBACK_MICROS + 2 * WAIT_MICROS;

/// The oldest touches that are known.
pub(super) const fn oldest_touch(core_time: Timestamp) -> Timestamp {
    core_time.saturating_add(-TOUCH_HORIZON_MICROS)
}

/// Whether a click is beyond the horizon, which its id tells.
pub(super) fn is_click_over(click: ClickId, core_time: Timestamp) -> bool {
    click.unix_ms() < oldest_touch(core_time).unix_ms()
}

/// Whether what a key says is over at this core time, so that a store may forget it: the core takes it for gone already.
pub fn is_over(key: &[u8], value: &[u8], core_time: Timestamp) -> bool {
    match key.first() {
        Some(&key::UNIQUE) => unique::is_window_over(value, core_time),
        Some(&key::CLICK) => key::click_of(key).is_some_and(|click| is_click_over(click, core_time)),
        Some(&(key::TOUCH | key::VIEW)) => {
            key::touched_at(key).is_some_and(|at| at < oldest_touch(core_time))
        }
        Some(_) | None => false,
    }
}
