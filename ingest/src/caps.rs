//! Caps at the edge: how much of what an offer or a link takes is used up.
//!
//! The core counts exactly, but learns of a click only after it was redirected. So an edge counts its own as well, and
//! knows of a cap: what the core has counted, without those of them that came from this edge, and all that this edge has
//! sent. What other edges have sent and the core has not counted yet is missing, and that is the overshoot: see
//! `docs/caps.md`.

use std::collections::HashMap;

use catalog::{Cap, CapMetric, CapScope, OnExceed};
use parking_lot::Mutex;
use schemas::cap::CapPlace;
use schemas::event::{Hit, label};
use schemas::id::{EdgeId, PartnerId};
use schemas::time::Timestamp;

use crate::aim::Aim;

/// Counts that are kept. A cap without a count is not kept, which is better than an edge that is full.
const MAX_COUNTS: usize = 65_536;
/// How often the counts are searched for dead ones, when there is no room.
const SEARCHED_EVERY_MICROS: i64 = 60 * 1_000_000;
/// What neither a click nor the core has touched for so long belongs to a window that is over: the core repeats what is
/// alive every few seconds.
const FORGOTTEN_AFTER_MICROS: i64 = 60 * 60 * 1_000_000;

/// One count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CountOf {
    /// The cap's key.
    pub(crate) key: [u8; 16],
    /// When its window began.
    pub(crate) window_start: Timestamp,
    /// Whose count it is, where each partner has one.
    pub(crate) partner: Option<PartnerId>,
}

/// What is known of a count.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// What the core has counted.
    total: u64,
    /// Those of them that this edge sent.
    confirmed: u64,
    /// What this edge has sent.
    sent: u64,
    /// How far into the events the core had counted.
    source: u64,
    touched_at: Timestamp,
}

impl Count {
    const fn known(self) -> u64 {
        self.total.saturating_sub(self.confirmed).saturating_add(self.sent)
    }
}

/// What is beyond a cap, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exceeded {
    /// Nothing is.
    No,
    /// The click goes on, with a label.
    Flag,
    /// The click goes to the fallback address, with a label.
    Fallback,
}

/// The counts that an edge knows of.
#[derive(Debug)]
pub(crate) struct CapCounts {
    life: EdgeId,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_name: HashMap<CountOf, Count>,
    searched_at: Timestamp,
}

impl CapCounts {
    /// No counts yet, for this life of an edge.
    pub(crate) fn new(life: EdgeId) -> Self {
        Self { life, counts: Mutex::default() }
    }

    /// Learns what the core has counted, and how much of that came from this edge.
    pub(crate) fn learn(&self, counted: &schemas::cap::CapCounts, now: Timestamp) {
        let mut counts = self.counts.lock();
        for counted_place in &counted.counts {
            let CapPlace { cap: key, window_start, ends_by: _, partner } = counted_place.place;
            let Some(count) = counts.touch(CountOf { key, window_start, partner }, now) else { continue };
            // Two owners of a partition may publish at once; who has read further knows more.
            if counted.source < count.source {
                continue;
            }
            let own = counted_place.of_edges.iter().find(|(edge, _)| *edge == self.life);
            count.source = counted.source;
            count.total = counted_place.total;
            count.confirmed = own.map_or(0, |(_, clicks)| *clicks);
        }
    }

    /// Counts a click on this aim, if it is one that counts, and says what is exceeded.
    pub(crate) fn take(&self, aim: &Aim<'_>, hit: &Hit) -> Exceeded {
        let of_link = aim.link.map_or(&[][..], |link| &link.caps);
        if of_link.is_empty() && aim.offer.caps.is_empty() {
            return Exceeded::No;
        }
        let owners = [
            (aim.link.map(|link| *link.id.bytes()), of_link),
            (Some(*aim.offer.id.bytes()), &aim.offer.caps),
        ];
        let is_counted = counts(hit);
        let mut taken: Vec<CountOf> = Vec::new();
        let mut exceeded = Exceeded::No;
        let mut counts = self.counts.lock();
        for (owner, caps) in owners {
            let Some(owner) = owner else { continue };
            for cap in caps {
                let of = count_of(cap, &owner, aim, hit);
                let Some(count) = counts.touch(of, hit.occurred_at) else { continue };
                // Caps that differ in their limits only share a count, which this click is in once.
                let is_taken = taken.contains(&of);
                if count.known() - u64::from(is_taken) >= cap.value {
                    exceeded = exceeded.max(cap.on_exceed.into());
                }
                if is_counted && !is_taken && cap.metric == CapMetric::Clicks {
                    count.sent += 1;
                    taken.push(of);
                }
            }
        }
        exceeded
    }
}

impl From<OnExceed> for Exceeded {
    fn from(on_exceed: OnExceed) -> Self {
        match on_exceed {
            OnExceed::Flag => Self::Flag,
            OnExceed::Fallback => Self::Fallback,
            // That is decided where the conversion is; the click that may lead to it is a click like any other.
            OnExceed::Pending | OnExceed::Reject => Self::No,
        }
    }
}

/// Whether the core will count this click.
fn counts(hit: &Hit) -> bool {
    !hit.test && !hit.labels.iter().any(|known| label::NOT_COUNTED.contains(&known.as_str()))
}

fn count_of(cap: &Cap, owner: &[u8; 16], aim: &Aim<'_>, hit: &Hit) -> CountOf {
    CountOf {
        key: cap.key(owner),
        window_start: cap.window_start(hit.occurred_at, &aim.workspace.timezone),
        partner: match cap.per {
            CapScope::All => None,
            CapScope::Partner => hit.partner,
        },
    }
}

impl Counts {
    /// The count, which is alive now; `None` if there is no room for it.
    fn touch(&mut self, of: CountOf, now: Timestamp) -> Option<&mut Count> {
        if self.by_name.len() >= MAX_COUNTS && !self.by_name.contains_key(&of) {
            let age = |since: Timestamp| now.micros().saturating_sub(since.micros());
            if age(self.searched_at) >= SEARCHED_EVERY_MICROS {
                self.searched_at = now;
                self.by_name.retain(|_, count| age(count.touched_at) < FORGOTTEN_AFTER_MICROS);
            }
            if self.by_name.len() >= MAX_COUNTS {
                return None;
            }
        }
        let count = self.by_name.entry(of).or_default();
        count.touched_at = now;
        Some(count)
    }
}
