//! Caps: what an offer or a link takes at most in a window of time.
//!
//! The core counts exactly, in the log's order: a click of a person, a conversion while its status counts. A window is that of
//! `received_at`, the edge's own clock: what a sender says about the time cannot choose the window, and the edge, which must
//! send no more than the cap takes, counts by the same. What is beyond a cap is counted too, for it was delivered; only a
//! click that the edge has labelled as beyond a cap with a fallback was not, and does not count there.

use bytes::Bytes;
use catalog::resource::caps_of;
use catalog::{Cap, CapMetric, OnExceed, Workspace};
use schemas::cap::{CapCount, CapPlace};
use schemas::event::{Click, Event, label};
use schemas::fact::{CapCounted, Fact, Revision};
use schemas::id::{EdgeId, LinkId, OfferId, PartnerId, WorkspaceNumber};
use schemas::time::Timestamp;
use schemas::wire;

use super::WAIT_MICROS;
use super::decide::Decider;
use super::key;
use super::mark;
use super::state::{Changes, Overlay, State, StateError};

/// Beyond so many lives of edges, those that have died are looked for in a count: most restart much more rarely than that.
const EDGES_UNSEARCHED: usize = 64;
/// A life that has delivered nothing at all for so long, in core time, has died. One that is alive needs its part in a count: it
/// adds all that it has sent.
const DEAD_AFTER_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// Lives that are kept in any case; beyond them the one that has added nothing to the count for longest goes first.
const EDGES_PER_COUNT: usize = 256;
/// Counts forgotten in one sweep; the rest goes with the next.
const SWEPT_COUNTS: usize = 10_000;

/// An own count for whom, and where.
struct Counted<'a> {
    workspace: &'a Workspace,
    offer: Option<OfferId>,
    link: Option<LinkId>,
    partner: Option<PartnerId>,
    received_at: Timestamp,
}

/// A cap that counts an event, and whether it had been reached before.
struct Found {
    place: CapPlace,
    on_exceed: OnExceed,
    is_beyond: bool,
}

/// What caps make of a conversion.
pub(super) struct Capped {
    /// The counts that count it.
    pub(super) places: Vec<CapPlace>,
    /// The most that a cap wants of those beyond it.
    pub(super) beyond: Option<OnExceed>,
}

impl Decider<'_, '_> {
    /// The counts that a click adds to, and whether one of its caps had been reached.
    pub(super) fn caps_of_click(
        &self,
        event: &Event,
        workspace: &Workspace,
        click: &Click,
    ) -> Result<(Vec<CapPlace>, bool), StateError> {
        let hit = &click.hit;
        if !hit.is_counted_by_caps() {
            return Ok((Vec::new(), false));
        }
        let counted = Counted {
            workspace,
            offer: Some(hit.offer),
            link: hit.link,
            partner: hit.partner,
            received_at: event.received_at,
        };
        let found = self.find(&counted, CapMetric::Clicks)?;
        let is_beyond = found.iter().any(|cap| cap.is_beyond);
        let was_turned_away = hit.labels.iter().any(|known| known == label::CAP);
        let adds_to = |cap: &Found| !(was_turned_away && cap.on_exceed == OnExceed::Fallback);
        Ok((once(found.into_iter().filter(adds_to)), is_beyond))
    }

    /// The counts that a conversion adds to while its status counts, and what they want if it is beyond. Those that count it
    /// `already` have judged it.
    pub(super) fn caps_of_conversion(
        &self,
        workspace: &Workspace,
        revision: &Revision,
        already: &[CapPlace],
    ) -> Result<Capped, StateError> {
        if revision.received.test {
            return Ok(Capped { places: Vec::new(), beyond: None });
        }
        let attributed = &revision.attributed;
        let counted = Counted {
            workspace,
            offer: attributed.offer,
            link: attributed.link,
            partner: attributed.partner,
            received_at: revision.received_at,
        };
        let found = self.find(&counted, CapMetric::Conversions)?;
        let judging = found.iter().filter(|cap| !already.contains(&cap.place));
        let beyond = judging.filter(|cap| cap.is_beyond).map(|cap| cap.on_exceed).max_by_key(severity);
        Ok(Capped { places: once(found.into_iter()), beyond })
    }

    fn find(&self, counted: &Counted<'_>, metric: CapMetric) -> Result<Vec<Found>, StateError> {
        let workspace = counted.workspace.number;
        // Most have none, and then nothing is looked up.
        let offer = counted.offer.and_then(|offer| self.catalog.capped_offer(workspace, offer));
        let link = counted.link.and_then(|link| self.catalog.capped_link(workspace, link));
        let place = |cap: &Cap, owner| {
            cap.place(owner, counted.partner, counted.received_at, &counted.workspace.timezone)
        };
        caps_of(offer, link)
            .filter(|(cap, _)| cap.metric == metric)
            .filter_map(|(cap, owner)| Some((cap, place(cap, owner)?)))
            .map(|(cap, place)| {
                let total = read(self.state, workspace, &place)?.map_or(0, |count| count.total);
                Ok(Found { place, on_exceed: cap.on_exceed, is_beyond: total >= cap.value })
            })
            .collect()
    }

    /// Counts a click.
    pub(super) fn count_click(&mut self, event: &Event, places: Vec<CapPlace>) -> Result<(), StateError> {
        let edge = event.mark.map(|mark| mark.edge);
        for place in places {
            let counted = CapCounted { workspace: event.workspace, place, edge, is_withdrawal: false };
            self.emit(Fact::CapCounted(Box::new(counted)))?;
        }
        Ok(())
    }

    /// Records a revision of what was before it, and counts its conversion where it begins or ends to count.
    pub(super) fn revise(&mut self, before: Option<&Revision>, revision: Revision) -> Result<(), StateError> {
        fn counting(revision: &Revision) -> &[CapPlace] {
            if revision.after.status.is_counted() { &revision.counted_in } else { &[] }
        }
        let workspace = revision.workspace;
        let old = before.map_or(&[] as &[CapPlace], counting);
        let new = counting(&revision).to_vec();
        self.emit(Fact::Revision(Box::new(revision)))?;
        let withdrawn = old.iter().filter(|place| !new.contains(place)).map(|place| (*place, true));
        let added = new.iter().filter(|place| !old.contains(place)).map(|place| (*place, false));
        for (place, is_withdrawal) in withdrawn.chain(added) {
            let counted = CapCounted { workspace, place, edge: None, is_withdrawal };
            self.emit(Fact::CapCounted(Box::new(counted)))?;
        }
        Ok(())
    }
}

/// The counts of these caps, each once: caps that differ in their limits only share one.
fn once(found: impl Iterator<Item = Found>) -> Vec<CapPlace> {
    let mut places = Vec::new();
    for cap in found {
        if !places.contains(&cap.place) {
            places.push(cap.place);
        }
    }
    places
}

/// Of several caps the strictest decides.
const fn severity(on_exceed: &OnExceed) -> u8 {
    match on_exceed {
        // A conversion has happened: it cannot be sent elsewhere.
        OnExceed::Flag | OnExceed::Fallback => 0,
        OnExceed::Pending => 1,
        OnExceed::Reject => 2,
    }
}

fn decode(bytes: &[u8]) -> Result<CapCount, StateError> {
    wire::decode_cap_count(Bytes::copy_from_slice(bytes))
        .map_err(|_| StateError::Unreadable("count of a cap"))
}

fn read(
    state: &Overlay<'_>,
    workspace: WorkspaceNumber,
    place: &CapPlace,
) -> Result<Option<CapCount>, StateError> {
    state.get(&key::cap(workspace, place))?.as_deref().map(decode).transpose()
}

pub(super) fn apply_counted(state: &mut Overlay<'_>, counted: &CapCounted) -> Result<(), StateError> {
    let CapCounted { workspace, place, edge, is_withdrawal } = *counted;
    let mut count = match read(state, workspace, &place)? {
        Some(count) => count,
        // The window is forgotten: there is nothing left to take it from.
        None if is_withdrawal => return Ok(()),
        None => CapCount { workspace, place, total: 0, of_edges: Vec::new() },
    };
    if is_withdrawal {
        count.total = count.total.saturating_sub(1);
    } else {
        count.total = count.total.saturating_add(1);
    }
    if let Some(edge) = edge {
        let known = count.of_edges.iter().position(|(known, _)| *known == edge);
        let sent = known.map_or(0, |at| count.of_edges.remove(at).1);
        // In the order in which they last delivered one.
        count.of_edges.push((edge, sent.saturating_add(1)));
        if known.is_none() && count.of_edges.len() > EDGES_UNSEARCHED {
            forget_dead(state, &mut count.of_edges)?;
        }
    }
    state.put(key::cap(workspace, &place), wire::encode_cap_count(&count));
    Ok(())
}

/// Leaves out the lives that have died. The last of them has just added to the count.
fn forget_dead(state: &Overlay<'_>, of_edges: &mut Vec<(EdgeId, u64)>) -> Result<(), StateError> {
    let Some(newest) = of_edges.pop() else { return Ok(()) };
    let since = state.head().core_time.saturating_add(-DEAD_AFTER_MICROS);
    let mut living = Vec::with_capacity(of_edges.len() + 1);
    for (edge, clicks) in of_edges.drain(..) {
        if mark::last_seen(state, edge)?.is_some_and(|seen| seen >= since) {
            living.push((edge, clicks));
        }
    }
    living.push(newest);
    living.drain(..living.len().saturating_sub(EDGES_PER_COUNT));
    *of_edges = living;
    Ok(())
}

/// Forgets the counts of windows that ended so long ago that nothing can come for them.
pub(super) fn sweep(state: &mut Overlay<'_>) -> Result<(), StateError> {
    let [(from, to), _] = key::caps_around(state.head().core_time.saturating_add(-WAIT_MICROS));
    for (key, _) in state.scan(&from, &to, SWEPT_COUNTS, false)? {
        state.remove(key);
    }
    Ok(())
}

/// The counts that these changes moved.
pub fn moved_cap_counts(changes: &Changes) -> Result<Vec<CapCount>, StateError> {
    let (from, to) = key::caps();
    let mut range = changes.keys.range(&from, &to);
    std::iter::from_fn(|| range.step(false)).filter_map(|(_, value)| value).map(decode).collect()
}

/// Up to `limit` counts whose windows may not be over, those that end last first: the windows without end.
pub fn live_cap_counts(state: &dyn State, now: Timestamp, limit: usize) -> Result<Vec<CapCount>, StateError> {
    let [_, (from, to)] = key::caps_around(now);
    state.scan(&from, &to, limit, true)?.into_iter().map(|(_, value)| decode(&value)).collect()
}
