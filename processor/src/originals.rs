//! How commands ended originally: a generation that reads the past once more asks the one that was live.
//!
//! Until the core's catalog says that this generation is the live one, it decides no event before the earlier one has: its facts
//! say how a command ended, and that holds. From there on it decides by its own state, and the earlier one decides nothing more. All
//! of that is told by the event's own catalog revision, so that it is the same whoever asks and whenever.

use std::collections::VecDeque;
use std::time::Duration;

use catalog::Catalog;
use eventlog::{Position, Subscription};
use schemas::fact::{Fact, Record, Subject};
use schemas::generation::Generation;

use crate::archive;
use crate::assignment::PartitionOf;
use crate::chain::{Chain, Judged};
use crate::core::Original;
use crate::error::Error;
use crate::owner::OwnerParts;

/// Records of the earlier facts read at once.
const FACTS_READ: usize = 64;

/// Why an event is not decided now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// The earlier generation has not decided it yet.
    NotYet,
    /// A later generation decides it, and all that come after it.
    Over,
}

/// Whose turn it is to decide, event by event.
#[derive(Clone, Copy)]
pub(crate) struct Turn<'a> {
    /// The generation that decides.
    pub(crate) generation: Generation,
    /// The partition.
    pub(crate) partition: u32,
    /// How commands ended in the earlier one; `None` for a generation that was live all along.
    pub(crate) originals: Option<&'a Originals>,
}

impl<'a> Turn<'a> {
    /// How the command at a position ended originally; `None` if it is to be decided by the state, or is no command.
    pub(crate) fn of(self, position: Position, catalog: &Catalog) -> Result<Option<&'a Original>, Held> {
        let live = catalog.live_generation();
        if live > self.generation {
            return Err(Held::Over);
        }
        if live == self.generation {
            return Ok(None);
        }
        match self.originals {
            Some(originals) if position < originals.known_to => Ok(originals.at(position)),
            Some(_) | None => Err(Held::NotYet),
        }
    }
}

/// How the commands among some events ended.
#[derive(Debug, Default)]
pub(crate) struct Originals {
    /// One past the last event that was decided.
    known_to: Position,
    outcomes: VecDeque<(Position, Original)>,
}

impl Originals {
    /// Takes in what a record says of the events from a position on.
    pub(crate) fn take_in(&mut self, record: &Record, from: Position) {
        self.known_to = record.source_to;
        for decision in record.decisions.iter().filter(|decision| decision.source >= from) {
            let outcomes = decision
                .facts
                .iter()
                .filter_map(|fact| if let Fact::Outcome(it) = fact { Some(it) } else { None });
            if let Some(ended) = outcomes.into_iter().find(|outcome| outcome.subject == Subject::Command) {
                let original = Original { status: ended.status, reason: ended.reason.clone() };
                self.outcomes.push_back((decision.source, original));
            }
        }
    }

    fn at(&self, position: Position) -> Option<&Original> {
        let found = self.outcomes.binary_search_by_key(&position, |(position, _)| *position);
        found.ok().and_then(|at| self.outcomes.get(at)).map(|(_, original)| original)
    }

    fn forget_below(&mut self, position: Position) {
        drop(self.outcomes.drain(..self.outcomes.partition_point(|(known, _)| *known < position)));
    }
}

/// Reads the facts of the earlier generation from the first one on: the chain proves itself from there.
pub(crate) struct EarlierFacts {
    chain: Chain,
    facts: Box<dyn Subscription>,
    originals: Originals,
    /// The first event of which anybody may ask.
    from: Position,
}

impl EarlierFacts {
    /// Those of the generation after which this one was planned.
    pub(crate) async fn of(parts: &OwnerParts, from: Position) -> Result<Self, Error> {
        let generation = parts.assignment.projection.after;
        let partition = PartitionOf { generation, number: parts.partition };
        let facts = archive::subscribe(&parts.log, parts.objects.as_ref(), partition.facts(), 0).await?;
        let chain = Chain::start(parts.partition);
        Ok(Self { chain, facts, originals: Originals::default(), from })
    }

    pub(crate) const fn originals(&self) -> &Originals {
        &self.originals
    }

    /// Reads until the events below a position are known, or until nothing more comes in time.
    pub(crate) async fn read_to(&mut self, position: Position, wait: Duration) -> Result<(), Error> {
        while self.originals.known_to < position
            && let Some(batch) = self.facts.next(FACTS_READ, wait).await?
        {
            for record in &batch.records {
                let position = record.position;
                let judged = self
                    .chain
                    .judge(&record.payload)
                    .map_err(|error| Error::UnreadableRecord { position, error })?;
                if let Judged::Accepted(accepted) = judged {
                    accepted.check_core(position)?;
                    self.originals.take_in(&accepted.record, self.from);
                }
            }
        }
        Ok(())
    }

    /// Nobody asks any more of the events below a position.
    pub(crate) fn forget_below(&mut self, position: Position) {
        self.from = self.from.max(position);
        self.originals.forget_below(position);
    }
}
