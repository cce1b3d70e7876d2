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

    /// Whether the aim's caps let this click through; if so, it is counted. One that `may_be_turned_away` has somewhere else
    /// to go.
    ///
    /// Only caps that send clicks elsewhere matter here. What is beyond another one, the core labels, which knows exactly.
    pub(crate) fn let_through(&self, aim: &Aim<'_>, hit: &Hit, may_be_turned_away: bool) -> bool {
        let of_offer = aim.offer.caps.iter().map(|cap| (cap, aim.offer.id.bytes()));
        let of_link =
            aim.link.into_iter().flat_map(|link| link.caps.iter().map(|cap| (cap, link.id.bytes())));
        let turning_away = of_offer.chain(of_link).filter(|(cap, _)| match cap.on_exceed {
            OnExceed::Fallback => true,
            OnExceed::Flag | OnExceed::Pending | OnExceed::Reject => false,
        });
        let mut counts = None;
        let mut counted: Vec<CountOf> = Vec::new();
        for (cap, owner) in turning_away {
            // Nearly no click has such a cap: the others take no lock.
            let counts = counts.get_or_insert_with(|| self.counts.lock());
            let Some(of) = count_of(cap, owner, aim, hit) else { continue };
            let Some(count) = counts.touch(of, hit.occurred_at) else { continue };
            if may_be_turned_away && count.known() >= cap.value {
                return false;
            }
            // Caps that differ in their limits only share a count, which a click is in once.
            if cap.metric == CapMetric::Clicks && !counted.contains(&of) {
                counted.push(of);
            }
        }
        if let Some(mut counts) = counts.filter(|_| is_counted(hit)) {
            for of in counted {
                counts.add_sent(of);
            }
        }
        true
    }
}

/// Whether the core will count this click.
fn is_counted(hit: &Hit) -> bool {
    !hit.test && !hit.labels.iter().any(|known| label::NOT_COUNTED.contains(&known.as_str()))
}

/// The count of a cap; `None` for a cap per partner where there is no partner.
fn count_of(cap: &Cap, owner: &[u8; 16], aim: &Aim<'_>, hit: &Hit) -> Option<CountOf> {
    let partner = match cap.per {
        CapScope::All => None,
        CapScope::Partner => Some(hit.partner?),
    };
    let window_start = cap.window_start(hit.occurred_at, &aim.workspace.timezone);
    Some(CountOf { key: cap.key(owner), window_start, partner })
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

    fn add_sent(&mut self, of: CountOf) {
        if let Some(count) = self.by_name.get_mut(&of) {
            count.sent = count.sent.saturating_add(1);
        }
    }
}
