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
/// Most resources in remembered answers at once, in the whole installation; beyond it the oldest answers go first.
pub(crate) const MAX_REMEMBERED: usize = 100_000;

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
    /// What all answers together weigh against [`MAX_REMEMBERED`].
    weight: usize,
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
        self.weight += answer.weight();
        let outdated = self.by_key.insert(key, answer);
        self.weight -= outdated.as_ref().map_or(0, Answer::weight);
        self.forget_old(proposal.at);
    }

    fn forget_old(&mut self, now: Timestamp) {
        while let Some((revision, key)) = self.order.front() {
            let answer = self.by_key.get(key).filter(|answer| answer.revision.number == *revision);
            let keep = answer.is_some_and(|answer| is_fresh(answer.at, now));
            if keep && self.weight <= MAX_REMEMBERED {
                break;
            }
            if let Some(answer) = answer {
                self.weight -= answer.weight();
                let key = key.clone();
                self.by_key.remove(&key);
            }
            self.order.pop_front();
        }
    }
}

impl Answer {
    /// An answer without resources is not free either.
    fn weight(&self) -> usize {
        self.resources.len().max(1)
    }
}

/// Whether an answer given at `then` holds at `now`. Desks' clocks differ, so `now` may be the earlier one.
const fn is_fresh(then: Timestamp, now: Timestamp) -> bool {
    now.micros_since(then).unsigned_abs() < WINDOW_MICROS.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use schemas::id::Id;

    use super::*;
    use crate::proposal::{Actor, ActorKind};
    use crate::resource::Installation;

    fn proposal(key: usize, at: i64) -> Proposal {
        Proposal {
            id: Id::from_bytes([1; 16]),
            workspace: WorkspaceNumber::new(1).unwrap(),
            actor: Actor { kind: ActorKind::System, id: String::new() },
            request_id: String::new(),
            at: Timestamp::from_micros(at),
            idempotency: Some(Idempotency { key: key.to_string(), payload_sha256: [0; 32] }),
            changes: Vec::new(),
        }
    }

    fn accepted(number: usize, resources: usize) -> Accepted {
        let resource = Resource::Installation(Installation { events_partitions: 1 });
        Accepted {
            revision: CatalogRevision { number: number as u64, hash: 0 },
            replayed: false,
            resources: vec![resource; resources],
        }
    }

    #[test]
    fn memory_is_bounded_by_resources_and_the_oldest_go_first() {
        let mut answers = Answers::default();
        for key in 0..250 {
            answers.remember(&proposal(key, 0), &accepted(key, 1_000));
            assert!(answers.weight <= MAX_REMEMBERED);
        }
        assert_eq!((answers.by_key.len(), answers.order.len()), (100, 100));
        let known = |key: usize| {
            let proposal = proposal(key, 0);
            let idempotency = proposal.idempotency.as_ref().unwrap();
            matches!(answers.look_up(proposal.workspace, idempotency, proposal.at), Known::Replay(_))
        };
        assert!(!known(149) && known(150) && known(249));
    }

    #[test]
    fn what_is_a_day_old_is_forgotten_and_a_key_used_again_counts_once() {
        let mut answers = Answers::default();
        for number in 0..10 {
            answers.remember(&proposal(1, WINDOW_MICROS * number), &accepted(number as usize, 3));
            assert_eq!((answers.weight, answers.by_key.len()), (3, 1));
        }
        answers.remember(&proposal(2, WINDOW_MICROS * 20), &accepted(10, 0));
        assert_eq!((answers.weight, answers.by_key.len(), answers.order.len()), (1, 1, 1));
    }
}
