//! Projections: what is made of the events in one generation.

use schemas::generation::Generation;
use serde::{Deserialize, Serialize};

/// One reading of all events: facts and tables of a generation's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// Which generation.
    pub generation: Generation,
    /// How far it is.
    pub stage: Stage,
    /// The generation that was live when this one was planned: how commands ended is taken from its facts.
    pub after: Generation,
    /// The revision whose attribution holds for all events that were stamped with an older one; `None` for each its own.
    pub settings_of: Option<u64>,
}

impl Projection {
    /// The one that every installation begins with, without a word about it.
    pub const FIRST: Self = Self {
        generation: Generation::FIRST,
        stage: Stage::Live,
        after: Generation::FIRST,
        settings_of: None,
    };
}

/// How far a projection is. It only ever goes on to a later stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is filled beside the live one, and nobody is answered from it.
    Planned,
    /// It answers, until a later one does.
    Live,
    /// It was given up before it was live, or taken away after a later one was.
    Dropped,
}
