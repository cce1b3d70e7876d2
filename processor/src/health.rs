//! How each partition is: for readiness, for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use schemas::generation::Generation;

use crate::metrics::{Metrics, PartitionMetrics};

/// How a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has not begun yet.
    Starting,
    /// It works.
    Running,
    /// It tries again after an error.
    Retrying(String),
    /// It stopped for a reason that only a person can remove.
    Halted(String),
}

/// All partitions of a process, by the name of the part and the partition's number.
#[derive(Debug, Clone, Default)]
pub struct Health {
    states: Arc<Mutex<BTreeMap<(&'static str, u32), State>>>,
}

impl Health {
    /// The place where one partition of `part` says how it is; `metrics` show it, too.
    pub fn partition(&self, part: &'static str, number: u32, metrics: &Metrics) -> PartitionHealth {
        let (metrics, generation) = (metrics.partition(part, number), metrics.generation());
        let health = PartitionHealth { health: self.clone(), key: (part, number), generation, metrics };
        health.set(State::Starting);
        health
    }

    /// Another process works on the partition from now on.
    pub(crate) fn forget(&self, part: &'static str, number: u32) {
        self.states.lock().retain(|key, _| !(key.0 == part && key.1 == number));
    }

    /// What keeps the process from being ready: a line for each partition that does not run.
    pub fn problems(&self) -> Vec<String> {
        let states = self.states.lock();
        states
            .iter()
            .filter_map(|((part, number), state)| match state {
                State::Running => None,
                State::Starting => Some(format!("{part} {number} is starting")),
                State::Retrying(error) => Some(format!("{part} {number} tries again: {error}")),
                State::Halted(error) => Some(format!("{part} {number} halted: {error}")),
            })
            .collect()
    }
}

/// The place where one partition says how it is.
#[derive(Clone)]
pub struct PartitionHealth {
    health: Health,
    key: (&'static str, u32),
    /// The generation, unless it is the live one.
    generation: Option<Generation>,
    metrics: PartitionMetrics,
}

impl PartitionHealth {
    /// It works: it got past whatever stopped it before.
    pub fn running(&self) {
        self.set(State::Running);
    }

    /// It tries again.
    pub fn retrying(&self, error: &impl ToString) {
        self.set(State::Retrying(error.to_string()));
    }

    /// It stopped.
    pub fn halted(&self, error: &impl ToString) {
        self.set(State::Halted(error.to_string()));
    }

    fn set(&self, state: State) {
        let halted = i64::from(matches!(state, State::Halted(_)));
        self.metrics.halted.set(halted);
        if let Some(apart) = &self.metrics.halted_apart {
            apart.set(halted);
        }
        self.metrics.retrying.set(i64::from(matches!(state, State::Retrying(_))));
        self.health.states.lock().insert(self.key, state);
    }
}

impl std::fmt::Display for PartitionHealth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.key.0, self.key.1)?;
        self.generation.map_or(Ok(()), |generation| write!(f, " of generation {generation}"))
    }
}
