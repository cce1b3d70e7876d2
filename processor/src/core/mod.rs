//! The pure core: `decide(state, event)` yields facts, only `apply(state, fact)` changes state.
//!
//! No clock, no randomness, no I/O of its own: time enters with the log time of each record, ids are taken from the
//! events, reads go through [`State`]. Two cores of one version that read the same log write the same facts.

mod apply;
mod assessment;
mod attribution;
mod cap;
mod cause;
mod command;
mod conversion;
mod decide;
mod dedupe;
mod head;
mod hold;
mod horizon;
mod key;
mod keys;
mod mark;
mod model;
mod nonce;
mod payout;
mod person;
mod rates;
mod refund;
mod reopening;
mod repetition;
mod revision;
mod state;
mod stored;
mod unique;
mod waiting;

pub use apply::{apply_decision, apply_record};
pub use cap::{live_cap_counts, moved_cap_counts};
pub use command::{Original, conversion_now};
pub use decide::{Input, decide, decide_as};
pub use head::{Counters, Head};
pub use horizon::{TOUCH_HORIZON_MICROS, is_over};
pub use key::{VisitorKey, visitor_of};
pub use keys::{Key, Keys};
pub use rates::is_waiting_for_rates;
pub use state::{Changes, Layers, Overlay, Pair, State, StateError, Value, Visit, Walk};
pub use waiting::is_timer_due;

/// Which version of the core this is. Records carry it; byte-equal rebuilds hold within one version.
pub const CORE_VERSION: u32 = 1;

/// How long a conversion waits for its click, and how long delivery marks of a silent edge and nonces are kept: 8 days of core
/// time, longer than the 7 days after which an edge gives up a spooled event.
pub const WAIT_MICROS: i64 = 8 * 24 * 3_600 * 1_000_000;

/// A referenced click may be this much later than the conversion: clocks differ.
pub const CLOCK_SKEW_MICROS: i64 = 5 * 60 * 1_000_000;

/// Events of one source that may wait: conversions for their clicks, refunds for their conversions.
pub const PARKED_LIMIT: u64 = 100_000;

/// The same for whoever cannot approve conversions: anybody can make up clicks there.
pub const OPEN_PARKED_LIMIT: u64 = 10_000;

/// Of a visitor's clicks the first and the last this many are considered.
pub const TOUCHES_PER_END: usize = 200;

/// Of a visitor's impressions the first and the last this many are considered.
pub const VIEWS_PER_END: usize = 50;

/// After this many facts with rows a cut is made without waiting for a tick.
pub const FACTS_PER_CUT: u64 = 100_000;

/// After facts of about this many bytes, too: a sink holds a batch in memory and sends its tables' rows in one piece.
pub const BYTES_PER_CUT: u64 = 32 * 1024 * 1024;
