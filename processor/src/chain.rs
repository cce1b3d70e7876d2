//! The chain of fact records: compare-and-append on a log that only appends.
//!
//! Anybody may append a record. In log order the first one that fits the chain is the chain; every other is ignored, by
//! every reader alike, and halts nobody: late batches of a zombie, a delivery that timed out and landed later, two owners at
//! once are all the same harmless case.

use bytes::Bytes;
use schemas::fact::{NO_RECORD, Record, RecordHash};
use schemas::wire::{self, WireError};

use crate::core::CORE_VERSION;
use crate::error::Error;

/// Where a reader stands in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The partition.
    pub partition: u32,
    /// Hash of the last accepted record.
    pub previous: RecordHash,
    /// Where the next record's range of events must begin.
    pub source: u64,
    /// Number of the next fact.
    pub next_seq: u64,
}

/// A record that was found in the log, judged.
#[derive(Debug)]
pub enum Judged {
    /// It is the chain's next record.
    Accepted(Box<Accepted>),
    /// It does not fit: somebody else was first.
    Ignored,
}

/// The chain's next record.
#[derive(Debug)]
pub struct Accepted {
    /// The record.
    pub record: Record,
    /// Its hash, which the next one names.
    pub hash: RecordHash,
}

impl Accepted {
    /// Refuses what a newer core than ours has decided.
    ///
    /// # Errors
    /// [`Error::NewerCore`].
    pub const fn check_core(&self, position: u64) -> Result<(), Error> {
        let version = self.record.core_version;
        if version > CORE_VERSION { Err(Error::NewerCore { position, version }) } else { Ok(()) }
    }
}

impl Chain {
    /// The beginning of a partition's chain.
    pub const fn start(partition: u32) -> Self {
        Self { partition, previous: NO_RECORD, source: 0, next_seq: 1 }
    }

    /// Judges the next record of the log, and moves on if it is accepted.
    ///
    /// # Errors
    /// [`WireError`] if the record cannot be read: whether it fits cannot be told then, and guessing could split readers.
    pub fn judge(&mut self, payload: &Bytes) -> Result<Judged, WireError> {
        let record = wire::decode_record(payload.clone())?;
        if !self.fits(&record) {
            return Ok(Judged::Ignored);
        }
        let hash = wire::hash_record(payload);
        *self = Self {
            partition: self.partition,
            previous: hash,
            source: record.source_to,
            next_seq: self.next_seq + record.fact_count(),
        };
        Ok(Judged::Accepted(Box::new(Accepted { record, hash })))
    }

    fn fits(&self, record: &Record) -> bool {
        // Every event of the range is decided, each once: a record that leaves one out would lose it without a trace.
        let decided = record.decisions.iter().map(|decision| decision.source);
        let complete = decided.eq(record.source_from..record.source_to);
        let settled = record.decisions.iter().all(|decision| !decision.facts.is_empty());
        record.partition == self.partition
            && record.previous == self.previous
            && record.source_from == self.source
            && record.first_seq == self.next_seq
            && record.source_to > record.source_from
            && complete
            && settled
    }
}

#[cfg(test)]
mod tests {
    use schemas::event::CatalogRevision;
    use schemas::fact::{Decision, Fact};
    use schemas::time::Timestamp;

    use super::*;

    fn record(chain: &Chain, events: u64) -> Record {
        Record {
            core_version: 1,
            partition: chain.partition,
            previous: chain.previous,
            first_seq: chain.next_seq,
            source_from: chain.source,
            source_to: chain.source + events,
            catalog: CatalogRevision::default(),
            last_event: [7; 32],
            decisions: (0..events)
                .map(|n| Decision {
                    source: chain.source + n,
                    core_time: Timestamp::from_micros(1),
                    facts: vec![Fact::Ticked],
                })
                .collect(),
        }
    }

    fn accepts(chain: &mut Chain, bytes: &Bytes) -> bool {
        matches!(chain.judge(bytes).unwrap(), Judged::Accepted(_))
    }

    #[test]
    fn the_first_that_fits_is_the_chain_and_every_other_is_ignored() {
        let start = Chain::start(3);
        let (mine, theirs) = (wire::encode_record(record(&start, 5)), wire::encode_record(record(&start, 2)));
        let mut reader = start;
        assert!(accepts(&mut reader, &mine));
        assert!(!accepts(&mut reader, &theirs), "a second record on the same predecessor");
        assert!(!accepts(&mut reader, &mine), "the same record once more");
        assert_eq!((reader.source, reader.next_seq), (5, 6));

        let next = wire::encode_record(record(&reader, 1));
        let mut other = start;
        assert!(accepts(&mut other, &theirs));
        assert!(!accepts(&mut other, &next), "a record on another history");
    }

    #[test]
    fn a_record_that_lies_about_its_place_does_not_fit() {
        let chain = Chain::start(0);
        let lies: [fn(&mut Record); 9] = [
            |record| record.partition = 1,
            |record| record.first_seq = 2,
            |record| record.source_from = 1,
            |record| record.source_to = 0,
            |record| record.decisions[1].source = 0,
            |record| record.decisions[1].source = 9,
            |record| record.decisions.truncate(1),
            |record| record.decisions[1].facts.clear(),
            |record| record.source_to = 3,
        ];
        for lie in lies {
            let mut record = record(&chain, 2);
            lie(&mut record);
            assert!(!accepts(&mut chain.clone(), &wire::encode_record(record.clone())), "{record:?}");
        }
    }

    #[test]
    fn an_unreadable_record_is_an_error_not_a_guess() {
        assert!(Chain::start(0).judge(&Bytes::from_static(b"\xff\xff")).is_err());
    }
}
