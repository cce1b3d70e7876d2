//! Nonces of signed requests: each is good once.
//!
//! The edge takes a signature that is up to five minutes old or ahead, so that a request can be sent again for ten minutes.
//! But an edge may hold what it took for days while the log is away. So a nonce is remembered, in core time, for as long as a
//! delivery may be late; after that no edge brings the request again. It takes less room than the conversion that it came with,
//! which is kept for longer.

use prost::Message;
use schemas::event::Nonce;
use schemas::fact::{Fact, OutcomeStatus, UsedNonce, reason};
use schemas::id::{ConversionId, EventId};
use schemas::time::Timestamp;

use super::WAIT_MICROS;
use super::decide::{Case, Decider, Settled};
use super::dedupe::digest;
use super::key;
use super::state::{Overlay, State, StateError};

/// Nonces forgotten at one tick or cut. No more can be used between two cuts: each comes with an outcome, which is a row.
const FORGOTTEN_AT_ONCE: usize = super::FACTS_PER_CUT as usize;

#[derive(Clone, PartialEq, Message)]
struct NonceMessage {
    #[prost(bytes = "vec", tag = "1")]
    event: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    body_sha256: Vec<u8>,
    /// Core time.
    #[prost(int64, tag = "3")]
    used_at: i64,
}

const fn unreadable() -> StateError {
    StateError::Unreadable("nonce")
}

impl Decider<'_, '_> {
    /// Uses up the nonce of a signed request. True if it was used up before, and the event has its outcome.
    pub(super) fn is_replay(&mut self, case: &Case<'_>, nonce: Option<&Nonce>) -> Result<bool, StateError> {
        // One that waited used its nonce when it came.
        let Some(nonce) = nonce.filter(|_| case.mark.is_some()) else { return Ok(false) };
        let workspace = case.event.workspace;
        let key = key::nonce(workspace, case.source, &digest(nonce.text.as_bytes()));
        if let Some(bytes) = self.state.get(&key)? {
            let used = NonceMessage::decode(&*bytes).map_err(|_| unreadable())?;
            let age = self.state.head().core_time.micros_since(Timestamp::from_micros(used.used_at));
            if age <= WAIT_MICROS {
                self.replayed(case, nonce, &used)?;
                return Ok(true);
            }
        }
        self.emit(Fact::Nonce(Box::new(UsedNonce {
            workspace,
            source: case.source,
            nonce: nonce.clone(),
            event: case.event.id,
        })))?;
        Ok(false)
    }

    fn replayed(&mut self, case: &Case<'_>, nonce: &Nonce, used: &NonceMessage) -> Result<(), StateError> {
        if used.body_sha256 != nonce.body_sha256 {
            return self.reject(case, reason::REPLAYED_NONCE);
        }
        let original = EventId::from_slice(&used.event).ok_or_else(unreadable)?;
        // The conversion that came of it, if one did: it has the event's own bytes.
        let conversion: ConversionId = original.rename();
        let is_there = self.state.get(&key::conversion(case.event.workspace, conversion))?.is_some();
        let settled =
            Settled { reason: "", conversion: is_there.then_some(conversion), original: Some(original) };
        self.settle(case, OutcomeStatus::Duplicate, settled)
    }
}

pub(super) fn apply_nonce(state: &mut Overlay<'_>, used: &UsedNonce) {
    let used_at = state.head().core_time;
    let key = key::nonce(used.workspace, used.source, &digest(used.nonce.text.as_bytes()));
    let value = NonceMessage {
        event: used.event.bytes().to_vec(),
        body_sha256: used.nonce.body_sha256.to_vec(),
        used_at: used_at.micros(),
    };
    state.put(key::nonce_age(used_at, used.event), key.as_slice());
    state.put(key, value.encode_to_vec());
}

/// Forgets the nonces whose time has passed.
pub(super) fn sweep(state: &mut Overlay<'_>) -> Result<(), StateError> {
    let (from, to) = key::nonces_before(state.head().core_time.saturating_add(-WAIT_MICROS));
    for (age, nonce) in state.scan(&from, &to, FORGOTTEN_AT_ONCE, false)? {
        // A nonce that was used again after its time has a later entry, which keeps it.
        if let Some(bytes) = state.get(&nonce)? {
            let kept = NonceMessage::decode(&*bytes).map_err(|_| unreadable())?;
            let event = EventId::from_slice(&kept.event).ok_or_else(unreadable)?;
            if key::nonce_age(Timestamp::from_micros(kept.used_at), event)[..] == age[..] {
                state.remove(nonce);
            }
        }
        state.remove(age);
    }
    Ok(())
}
