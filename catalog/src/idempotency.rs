//! What was answered under which idempotency key, for a day.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use schemas::event::CatalogRevision;
use schemas::id::WorkspaceNumber;
use schemas::time::Timestamp;

use crate::fold::Accepted;
use crate::proposal::{Idempotency, Proposal};
use crate::resource::Resource;

/// How long an answer is remembered, in the proposals' own time.
pub(crate) const WINDOW_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
/// Most answers remembered at once, in the whole installation; beyond it the oldest go first.
pub(crate) const MAX_ANSWERS: usize = 100_000;

type AnswerKey = (WorkspaceNumber, String);

/// The answers by key.
///
/// Expiry goes by the proposals' time, not the log's: proposals are what the revision's hash covers, and so two copies with
/// one hash remember the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Answers {
    by_key: HashMap<AnswerKey, Answer>,
    /// Oldest first. An entry whose revision is no longer the key's is a leftover of a key that was used again.
    order: VecDeque<(u64, AnswerKey)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Answer {
    payload_sha256: [u8; 32],
    at: Timestamp,
    revision: CatalogRevision,
    resources: Arc<[Resource]>,
}

/// What is known about an idempotency key.
pub(crate) enum Known {
    /// Nothing.
    No,
    /// The same payload was accepted before.
    Replay(Accepted),
    /// Another payload was.
    Conflict,
}

impl Answers {
    pub(crate) fn look_up(
        &self,
        workspace: WorkspaceNumber,
        idempotency: &Idempotency,
        at: Timestamp,
    ) -> Known {
        let key = (workspace, idempotency.key.clone());
        let Some(answer) = self.by_key.get(&key).filter(|answer| is_fresh(answer.at, at)) else {
            return Known::No;
        };
        if answer.payload_sha256 != idempotency.payload_sha256 {
            return Known::Conflict;
        }
        Known::Replay(Accepted {
            revision: answer.revision,
            replayed: true,
            resources: answer.resources.to_vec(),
        })
    }

    pub(crate) fn remember(&mut self, proposal: &Proposal, accepted: &Accepted) {
        let Some(idempotency) = &proposal.idempotency else { return };
        let key = (proposal.workspace, idempotency.key.clone());
        let answer = Answer {
            payload_sha256: idempotency.payload_sha256,
            at: proposal.at,
            revision: accepted.revision,
            resources: accepted.resources.as_slice().into(),
        };
        self.order.push_back((answer.revision.number, key.clone()));
        self.by_key.insert(key, answer);
        self.forget_old(proposal.at);
    }

    fn forget_old(&mut self, now: Timestamp) {
        while let Some((revision, key)) = self.order.front() {
            let answer = self.by_key.get(key).filter(|answer| answer.revision.number == *revision);
            let keep = answer.is_some_and(|answer| is_fresh(answer.at, now));
            if keep && self.order.len() <= MAX_ANSWERS {
                break;
            }
            if answer.is_some() {
                let key = key.clone();
                self.by_key.remove(&key);
            }
            self.order.pop_front();
        }
    }
}

/// Whether an answer given at `then` holds at `now`. Desks' clocks differ, so `now` may be the earlier one.
const fn is_fresh(then: Timestamp, now: Timestamp) -> bool {
    now.micros_since(then).unsigned_abs() < WINDOW_MICROS.unsigned_abs()
}
