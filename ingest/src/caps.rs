//! Caps at the edge: how much of what an offer or a link takes is used up.
//!
//! The core counts exactly, but learns of a click only after it was redirected. So an edge counts its own as well, and
//! knows of a cap: what the core has counted, without those of them that came from this edge, and all that this edge has
//! sent. What other edges have sent and the core has not counted yet is missing, and that is the overshoot: see
//! `docs/caps.md`.

use std::collections::HashMap;

use catalog::resource::caps_of;
use catalog::{Cap, CapMetric, Catalog, OnExceed};
use parking_lot::Mutex;
use schemas::cap::CapPlace;
use schemas::event::{Body, Event, Hit};
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

impl CountOf {
    /// The count of this place. When its window ends follows from the rest, and each build may reckon it differently.
    const fn of(place: CapPlace) -> Self {
        let CapPlace { cap: key, window_start, ends_by: _, partner } = place;
        Self { key, window_start, partner }
    }
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

    fn learn(&mut self, source: u64, total: u64, confirmed: u64) {
        // Two owners of a partition may publish at once; who has read further knows more.
        if source < self.source {
            return;
        }
        (self.source, self.total, self.confirmed) = (source, total, confirmed);
        // What the core has from this edge was sent by it, also before the cap turned anything away or while there was no room
        // for the count.
        self.sent = self.sent.max(confirmed);
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
            let Some(count) = counts.touch(CountOf::of(counted_place.place), now) else { continue };
            let own = counted_place.of_edges.iter().find(|(edge, _)| *edge == self.life);
            count.learn(counted.source, counted_place.total, own.map_or(0, |(_, clicks)| *clicks));
        }
    }

    /// Whether its caps let this click through; if so, it is counted. One that `may_be_turned_away` has somewhere else to go.
    ///
    /// Only caps that send clicks elsewhere matter here. What is beyond another one, the core labels, which knows exactly.
    pub(crate) fn let_through(&self, click: &Clicked<'_>, may_be_turned_away: bool) -> bool {
        let mut counts = None;
        for (cap, owner) in turning_away(&click.aim) {
            // Nearly no click has such a cap: the others take no lock.
            let counts = counts.get_or_insert_with(|| self.counts.lock());
            let Some(of) = click.count_of(cap, owner) else { continue };
            let Some(count) = counts.touch(of, click.received_at) else { continue };
            if may_be_turned_away && count.known() >= cap.value {
                return false;
            }
        }
        if let Some(mut counts) = counts {
            click.added_to().into_iter().for_each(|of| counts.add_sent(of, click.received_at));
        }
        true
    }

    /// Counts a click that nobody turns away, because it has happened already.
    pub(crate) fn add(&self, counts: &[CountOf], received_at: Timestamp) {
        if !counts.is_empty() {
            let mut known = self.counts.lock();
            counts.iter().for_each(|of| known.add_sent(*of, received_at));
        }
    }

    /// Takes a click back that was counted and is not sent after all.
    pub(crate) fn take_back(&self, counts: &[CountOf]) {
        if !counts.is_empty() {
            let mut known = self.counts.lock();
            counts.iter().for_each(|of| known.take_sent(*of));
        }
    }
}

/// The aim's caps that send clicks elsewhere, with their owners.
fn turning_away<'c>(aim: &Aim<'c>) -> impl Iterator<Item = (&'c Cap, &'c [u8; 16])> + use<'c> {
    caps_of(Some(aim.offer), aim.link).filter(|(cap, _)| match cap.on_exceed {
        OnExceed::Fallback => true,
        OnExceed::Flag | OnExceed::Pending | OnExceed::Reject => false,
    })
}

/// A click, at what it is aimed, and when it came by this edge's clock: as in the core, no sender chooses the window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clicked<'c> {
    pub(crate) aim: Aim<'c>,
    pub(crate) hit: &'c Hit,
    pub(crate) received_at: Timestamp,
}

impl<'c> Clicked<'c> {
    /// The click in this event, if it is one. The catalog may be a newer one than the one by which it was read.
    pub(crate) fn of(event: &'c Event, catalog: &'c Catalog) -> Option<Self> {
        let hit = match &event.body {
            Body::Click(click) => &click.hit,
            Body::Impression(_)
            | Body::Conversion(_)
            | Body::Refund(_)
            | Body::Command(_)
            | Body::Delayed(_)
            | Body::Tick => {
                return None;
            }
        };
        let workspace = catalog.workspace(event.workspace)?;
        let offer = catalog.offer(event.workspace, hit.offer)?;
        let link = hit.link.and_then(|link| catalog.link(event.workspace, link));
        let aim = Aim { workspace, domain: None, link, offer };
        Some(Self { aim, hit, received_at: event.received_at })
    }

    /// The counts that the click adds to: those of caps that send clicks elsewhere. Caps that differ in their limits only
    /// share a count, which a click is in once.
    pub(crate) fn added_to(&self) -> Vec<CountOf> {
        let mut counts = Vec::new();
        if !self.hit.is_counted_by_caps() {
            return counts;
        }
        for (cap, owner) in turning_away(&self.aim).filter(|(cap, _)| cap.metric == CapMetric::Clicks) {
            if let Some(of) = self.count_of(cap, owner)
                && !counts.contains(&of)
            {
                counts.push(of);
            }
        }
        counts
    }

    /// The count of a cap; `None` for a cap per partner where there is no partner.
    fn count_of(&self, cap: &Cap, owner: &[u8; 16]) -> Option<CountOf> {
        let timezone = &self.aim.workspace.timezone;
        cap.place(owner, self.hit.partner, self.received_at, timezone).map(CountOf::of)
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

    fn add_sent(&mut self, of: CountOf, now: Timestamp) {
        if let Some(count) = self.touch(of, now) {
            count.sent = count.sent.saturating_add(1);
        }
    }

    fn take_sent(&mut self, of: CountOf) {
        if let Some(count) = self.by_name.get_mut(&of) {
            count.sent = count.sent.saturating_sub(1);
        }
    }
}
