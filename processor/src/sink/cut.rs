//! Collecting facts up to the next cut.

use schemas::fact::{Cut, Decision, Fact, RecordHash};
use schemas::table::{RowCounts, Table};
use schemas::time::Timestamp;

use crate::chain::Accepted;
use crate::error::Error;

/// All facts between two cuts: one batch of the sink.
pub(super) struct CutBatch {
    pub(super) number: u64,
    /// Facts with the core time of their event.
    pub(super) facts: Vec<(Timestamp, Fact)>,
    /// Rows reached before the batch.
    pub(super) rows_before: RowCounts,
    /// Rows reached with the batch.
    pub(super) rows: RowCounts,
    /// Core time of the cut itself: everything logged before it is in this batch or an earlier one.
    pub(super) core_time: Timestamp,
    /// Position and hash of the record that holds the cut, and the cut's own number among the facts.
    pub(super) record: u64,
    pub(super) record_hash: RecordHash,
    pub(super) fact_seq: u64,
}

/// Gathers facts until a cut.
pub(super) struct Collector {
    facts: Vec<(Timestamp, Fact)>,
    last_cut: u64,
    rows_before: RowCounts,
    rows: RowCounts,
}

impl Collector {
    /// A collector that stands right after a cut.
    pub(super) fn new(last_cut: u64, rows: RowCounts) -> Self {
        Self { facts: Vec::new(), last_cut, rows_before: rows, rows }
    }

    /// Takes a record's facts in, less those up to and with `after`, and gives the batches that it completes.
    ///
    /// # Errors
    /// [`Error::CutMismatch`] if a cut counts other rows than its facts give.
    pub(super) fn take_in(
        &mut self,
        accepted: Accepted,
        position: u64,
        after: u64,
    ) -> Result<Vec<CutBatch>, Error> {
        let mut full = Vec::new();
        let mut seq = accepted.record.first_seq;
        for Decision { core_time, facts, .. } in accepted.record.decisions {
            for fact in facts {
                let fact_seq = seq;
                seq += 1;
                if fact_seq <= after {
                    continue;
                }
                if let Fact::Cut(cut) = fact {
                    self.check(&cut)?;
                    full.push(CutBatch {
                        number: cut.number,
                        facts: std::mem::take(&mut self.facts),
                        rows_before: std::mem::replace(&mut self.rows_before, self.rows),
                        rows: self.rows,
                        core_time,
                        record: position,
                        record_hash: accepted.hash,
                        fact_seq,
                    });
                    self.last_cut = cut.number;
                } else if fact.is_for_tables() {
                    self.rows.add(&fact);
                    self.facts.push((core_time, fact));
                }
            }
        }
        Ok(full)
    }

    fn check(&self, cut: &Cut) -> Result<(), Error> {
        if cut.number != self.last_cut + 1 {
            return Err(Error::Foreign("the numbering of cuts"));
        }
        for table in Table::ALL {
            let (expected, found) = (cut.rows.get(table), self.rows.get(table));
            if expected != found {
                return Err(Error::CutMismatch { cut: cut.number, table: table.name(), expected, found });
            }
        }
        Ok(())
    }
}
