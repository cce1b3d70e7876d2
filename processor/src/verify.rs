//! Verifying: a range of events is decided once more, in memory, and compared with the accepted chain byte by byte.

mod rows;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use catalog::Projection;
use eventlog::{EventLog, Partition, Position};
use schemas::fact::{Decision, Fact, Record};
use schemas::table::RowCounts;
use schemas::{topic, wire};

use crate::archive::History;
use crate::chain::{Accepted, Chain, Judged};
use crate::core::{CORE_VERSION, Head, Input};
use crate::core_catalog::CoreCatalog;
use crate::error::Error;
use crate::objects::Objects;
use crate::originals::{Originals, Turn};
use crate::range::decide_range;

pub(crate) use rows::count_rows_of;
pub use rows::{TableRows, count_rows, last_cut};

/// Where verifying begins.
#[derive(Debug, Clone, Default)]
pub struct Beginning {
    /// The state's keys and values.
    pub pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Where the state stands.
    pub head: Head,
}

/// What is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question {
    /// Verify up to the first record that leads beyond this event; `None` for all.
    pub until: Option<Position>,
    /// The number of a cut whose rows are wanted.
    pub cut: Option<u64>,
}

/// What was compared, and the first thing that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The position in `events` at which comparing began.
    pub from: Position,
    /// One past the last event that was decided once more, or whose record differs.
    pub to: Position,
    /// Records of `facts` that are the same.
    pub records: u64,
    /// Facts in them.
    pub facts: u64,
    /// Records that belong to no chain and were passed over, as by every reader.
    pub ignored: u64,
    /// The first difference.
    pub difference: Option<Difference>,
    /// The rows reached in each table with the cut that was asked for, if the range has it.
    pub rows: Option<RowCounts>,
}

/// A record that the core does not decide as it stands in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its position in `facts`.
    pub record: Position,
    /// The event whose decision differs; `None` if it is not a decision that does.
    pub event: Option<Position>,
    /// What was decided now.
    pub decided: String,
    /// What stands in the chain.
    pub accepted: String,
}

/// What is verified.
pub struct Verifier {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Where the records are that the log does not have any more.
    pub objects: Option<Objects>,
    /// The partition.
    pub partition: u32,
    /// What is made of the events. How commands ended that were decided before this generation was live, is taken as its facts say.
    pub projection: Projection,
}

impl Verifier {
    /// Decides everything after `beginning` once more, as far as it is asked.
    ///
    /// # Errors
    /// [`Error::OtherCore`] if another version of the core has decided some of it: that can be verified by that version only.
    pub async fn verify(&self, beginning: Beginning, question: Question) -> Result<Verified, Error> {
        let Beginning { mut pairs, mut head } = beginning;
        let mut chain = Chain {
            partition: self.partition,
            previous: head.record_hash,
            source: head.source,
            next_seq: head.next_seq,
        };
        let Projection { generation, settings_of, .. } = self.projection;
        let mut catalog = CoreCatalog::at(self.log.clone(), head.catalog, settings_of).await?;
        let mut facts = self.history(generation.facts(), head.record.map_or(0, |record| record + 1)).await?;
        let mut events = self.history(topic::EVENTS, head.source).await?;
        let mut verified = Verified {
            from: head.source,
            to: head.source,
            records: 0,
            facts: 0,
            ignored: 0,
            difference: None,
            rows: None,
        };
        while question.until.is_none_or(|until| verified.to <= until)
            && let Some(record) = facts.next().await?
        {
            let position = record.position;
            let judged =
                chain.judge(&record.payload).map_err(|error| Error::UnreadableRecord { position, error })?;
            let Judged::Accepted(accepted) = judged else {
                verified.ignored += 1;
                continue;
            };
            let Accepted { record: accepted, hash } = *accepted;
            if accepted.core_version != CORE_VERSION {
                return Err(Error::OtherCore { position, version: accepted.core_version });
            }
            let mut inputs = inputs(&mut events, accepted.source_to).await?;
            let all = inputs.len();
            let mut originals = Originals::default();
            originals.take_in(&accepted, 0);
            let turn = Turn { generation, partition: self.partition, originals: Some(&originals) };
            let decided = decide_range(&pairs, &head, turn, &mut catalog, (&mut inputs, all)).await?;
            // A generation decides nothing that is a later one's.
            let Ok((decided, changes)) = decided else { return Err(Error::Foreign("a record of facts")) };
            verified.to = accepted.source_to;
            if wire::encode_record(decided.clone()) != record.payload {
                verified.difference = Some(difference(position, &decided, &accepted));
                return Ok(verified);
            }
            for (key, value) in changes.keys {
                match value {
                    Some(value) => pairs.insert(key.to_vec(), value.to_vec()),
                    None => pairs.remove(key.as_slice()),
                };
            }
            head = Head { record: Some(position), record_hash: hash, ..changes.head };
            verified.records += 1;
            verified.facts += accepted.fact_count();
            verified.rows = verified.rows.or_else(|| rows_at(&accepted, question.cut?));
        }
        Ok(verified)
    }

    async fn history(&self, topic: &'static str, from: Position) -> Result<History, Error> {
        let partition = Partition { topic, number: self.partition };
        History::from(self.log.clone(), self.objects.clone(), partition, from).await
    }
}

/// The events before `to` that were not read yet.
async fn inputs(events: &mut History, to: Position) -> Result<VecDeque<Input>, Error> {
    let mut inputs = VecDeque::new();
    while events.position() < to {
        let event = events.next().await?.ok_or(Error::Foreign("a record of facts"))?;
        inputs.push_back(Input::read(&event));
    }
    Ok(inputs)
}

fn rows_at(record: &Record, number: u64) -> Option<RowCounts> {
    let mut facts = record.decisions.iter().flat_map(|decision| &decision.facts);
    facts.find_map(|fact| {
        if let Fact::Cut(cut) = fact
            && cut.number == number
        {
            return Some(cut.rows);
        }
        None
    })
}

fn difference(record: Position, decided: &Record, accepted: &Record) -> Difference {
    let said =
        |decision: Option<&Decision>| decision.map_or_else(|| "nothing".into(), |it| format!("{it:?}"));
    let count = decided.decisions.len().max(accepted.decisions.len());
    for index in 0..count {
        let (now, then) = (decided.decisions.get(index), accepted.decisions.get(index));
        if now != then {
            let event = now.or(then).map(|decision| decision.source);
            return Difference { record, event, decided: said(now), accepted: said(then) };
        }
    }
    // The decisions are the same: what is said around them is not, or the same is written in other bytes.
    let around = |record: &Record| format!("{:?}", Record { decisions: Vec::new(), ..record.clone() });
    Difference { record, event: None, decided: around(decided), accepted: around(accepted) }
}
