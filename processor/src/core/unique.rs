//! Unique clicks: the first of a visitor on a link, and on an offer, in 24 hours.
//!
//! A click that counts is unique on its link if its visitor has had no unique click there in the 24 hours of core time before it,
//! and on its offer likewise. So the window begins with the unique click, and repeated ones do not extend it. Who was first
//! follows the log's order: what a sender says of the time, and what an edge brings days later, cannot move the window. Without
//! a visitor nobody can tell, and there is no label. Test clicks are unique among themselves.
//!
//! The labels stand on the click's fact and are all that the state learns from, so that whoever applies it knows the same. A window
//! that is over reads as none, so that no fact forgets it: a store drops it when it rewrites what lies beside it ([`super::horizon::is_over`]).

use schemas::event::{Hit, label};
use schemas::id::WorkspaceNumber;
use schemas::time::Timestamp;

use super::decide::Decider;
use super::key;
use super::keys::Key;
use super::state::{Overlay, State, StateError};

/// From one unique click until the next can be one.
const WINDOW_MICROS: i64 = 24 * 3_600 * 1_000_000;

impl Decider<'_, '_> {
    /// Says where a click is unique: at most two reads, and none for one without a visitor.
    pub(super) fn label_unique(&self, workspace: WorkspaceNumber, hit: &mut Hit) -> Result<(), StateError> {
        drop_claims(hit);
        if !hit.is_counted() {
            return Ok(());
        }
        let now = self.state.head().core_time;
        for (label, key) in places(workspace, hit).into_iter().flatten() {
            let last = self.state.get(&key)?.map(|bytes| decode(&bytes)).transpose()?;
            if last.is_none_or(|last| now.micros_since(last) >= WINDOW_MICROS) {
                hit.labels.push(label.to_owned());
            }
        }
        Ok(())
    }
}

/// Takes away what only the core can know, should a sender have said it.
pub(super) fn drop_claims(hit: &mut Hit) {
    hit.labels.retain(|label| ![label::UNIQUE_LINK_24H, label::UNIQUE_OFFER_24H].contains(&label.as_str()));
}

/// Where a click can be unique: the label that says so, and the key of the last one that was.
fn places(workspace: WorkspaceNumber, hit: &Hit) -> [Option<(&'static str, Key)>; 2] {
    let Some(visitor) = hit.visitor else { return [None, None] };
    let key = |on, id: &[u8; 16]| key::unique(workspace, visitor, hit.test, on, id);
    [
        hit.link.map(|link| (label::UNIQUE_LINK_24H, key(key::UniqueOn::Link, link.bytes()))),
        Some((label::UNIQUE_OFFER_24H, key(key::UniqueOn::Offer, hit.offer.bytes()))),
    ]
}

/// Begins the windows of a click that was found unique.
pub(super) fn apply_click(state: &mut Overlay<'_>, workspace: WorkspaceNumber, hit: &Hit) {
    let now = state.head().core_time;
    for (label, key) in places(workspace, hit).into_iter().flatten() {
        if hit.labels.iter().any(|known| known == label) {
            state.put(key, now.micros().to_be_bytes());
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Timestamp, StateError> {
    let micros = bytes.try_into().map_err(|_| StateError::Unreadable("unique click"))?;
    Ok(Timestamp::from_micros(i64::from_be_bytes(micros)))
}

/// Whether the window of a unique click is over, which is sooner than it would pay to look for it.
pub(super) fn is_window_over(value: &[u8], core_time: Timestamp) -> bool {
    decode(value).is_ok_and(|unique| core_time.micros_since(unique) >= WINDOW_MICROS)
}
