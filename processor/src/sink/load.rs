//! Loading one cut: ask, insert, ask again.
//!
//! An INSERT whose answer is lost may have been committed, may be committed later, or never. So the tables themselves are asked
//! what they hold of the cut, all in one question: all of it means done, nothing or a beginning means insert the rest, anything else
//! halts the partition. Deduplication tokens make two INSERTs that race one; `insert_before` refuses those that come too late for a
//! token to remember them, and those of an earlier span: so two INSERTs of the same rows either have one token, or the later one has
//! asked when the other could not land any more.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::fact::Fact;
use schemas::table::Table;
use schemas::time::Timestamp;
use warehouse::batch::{Batch, Seconds};
use warehouse::error::code;
use warehouse::{InsertSettings, Marks};

use super::cut::CutBatch;
use super::derived;
use super::position::{self, log_partition};
use super::rows::{Place, rows};
use super::span::Span;
use super::tables::Tables;
use crate::assignment::PartitionOf;
use crate::error::Error;
use crate::failpoint::{Failpoint, Failpoints};
use crate::metrics::SinkMetrics;

/// Rows of one INSERT at most.
const ROWS_PER_INSERT: u64 = 500_000;
/// Conversions that are asked for at once: their keys are parameters of a request.
const CONVERSIONS_PER_QUESTION: usize = 500;
/// INSERTs of one chunk that may be answered with yes and leave it incomplete, or be refused as too late, before that is an error. One
/// that is not answered ends the attempt at the cut at once; it is tried again from the last finished one.
const ATTEMPTS: u32 = 5;

/// Loads cuts of one partition.
pub(super) struct Loader<'a> {
    pub(super) warehouse: &'a dyn Tables,
    pub(super) timeout: Duration,
    pub(super) metrics: &'a SinkMetrics,
    pub(super) failpoints: &'a Failpoints,
    pub(super) partition: PartitionOf,
}

/// One INSERT: rows of one table, one month of core time, dense.
struct Chunk {
    table: Table,
    place: Place,
    month: String,
    rows: Batch,
    /// What the table says when it has all of them.
    all: Marks,
}

impl Chunk {
    fn of(
        table: Table,
        place: Place,
        first_row_seq: u64,
        facts: &[(Timestamp, Fact)],
    ) -> Result<Self, Error> {
        let rows = rows(table, facts, first_row_seq, place)?;
        let all = Marks::of_range(first_row_seq, rows.rows() as u64);
        let month = facts.first().map(|(time, _)| month(*time)).unwrap_or_default();
        Ok(Self { table, place, month, rows, all })
    }

    /// The rows behind a beginning that is there already.
    ///
    /// # Errors
    /// [`Error::UnexplainedRows`] if what is there is no beginning.
    fn rest(&self, found: Marks) -> Result<Batch, Error> {
        let Marks { count, min: first, .. } = self.all;
        if found.count >= count || found != Marks::of_range(first, found.count) {
            return Err(Error::UnexplainedRows {
                table: self.table.name(),
                partition: self.place.log_partition.into(),
                cut: self.place.cut,
                chunk: self.place.chunk,
                expected: format!("{:?}", self.all),
                found: format!("{found:?}"),
            });
        }
        let missing = usize::try_from(count - found.count).unwrap_or(usize::MAX);
        Ok(self.rows.slice(self.rows.rows() - missing, missing)?)
    }
}

impl Loader<'_> {
    /// Loads a cut into every table and, when all are proven, marks it finished.
    pub(super) async fn load(&self, cut: &CutBatch) -> Result<(), Error> {
        // Derived rows first: once the cut is finished they must be there. Twice is as good as once.
        for batch in derived::conversions(&cut.facts)? {
            self.insert_replacing(derived::CONVERSIONS, &batch).await?;
        }
        self.check_conversions(cut).await?;
        if let Some(batch) = derived::delayed(cut, log_partition(self.partition.number)?)? {
            self.insert_replacing(derived::DELAYED, &batch).await?;
        }
        self.load_chunks(&self.chunks(cut)?).await?;
        self.failpoints.at(Failpoint::BeforeProgress);
        self.finish(cut).await
    }

    /// Makes sure that conversions are as the cut leaves them, or newer: a yes to an INSERT that wrote nothing would leave lists and
    /// revisions at odds for ever.
    async fn check_conversions(&self, cut: &CutBatch) -> Result<(), Error> {
        let newest: Vec<_> = derived::newest_versions(&cut.facts).into_iter().collect();
        for some in newest.chunks(CONVERSIONS_PER_QUESTION) {
            let keys: Vec<_> = some.iter().map(|(key, _)| *key).collect();
            let found: BTreeMap<_, _> = self.warehouse.versions(&keys).await?.into_iter().collect();
            if some.iter().any(|(key, version)| found.get(&key.id).is_none_or(|found| found < version)) {
                return Err(Error::ConversionsNotTaken { cut: cut.number });
            }
        }
        Ok(())
    }

    /// The rows of a cut, as they are inserted.
    fn chunks(&self, cut: &CutBatch) -> Result<Vec<Chunk>, Error> {
        let log_partition = log_partition(self.partition.number)?;
        let mut all = Vec::new();
        for table in Table::ALL.into_iter().filter(|table| cut.rows.get(*table) > cut.rows_before.get(*table))
        {
            let (mut row_seq, mut number) = (cut.rows_before.get(table) + 1, 0);
            for facts in chunks(table, &cut.facts) {
                let chunk = Chunk::of(
                    table,
                    Place { log_partition, cut: cut.number, chunk: number },
                    row_seq,
                    facts,
                )?;
                if chunk.all.count > 0 {
                    row_seq += chunk.all.count;
                    number += 1;
                    all.push(chunk);
                }
            }
        }
        Ok(all)
    }

    /// Says that a cut is finished. Here, too, it is not the yes to the INSERT that counts: while the row is missing, reports end
    /// before the cut, and the next one may be long in coming.
    async fn finish(&self, cut: &CutBatch) -> Result<(), Error> {
        self.insert_replacing(position::TABLE, &position::row(self.partition.number, cut)?).await?;
        let last = self.warehouse.last_cut(log_partition(self.partition.number)?).await?;
        if last.is_some_and(|last| last.cut >= cut.number) {
            Ok(())
        } else {
            Err(Error::CutNotFinished { cut: cut.number })
        }
    }

    async fn load_chunks(&self, chunks: &[Chunk]) -> Result<(), Error> {
        let mut refused = None;
        for _ in 0..ATTEMPTS {
            // Known before the question: whatever was sent in an earlier span has landed by now, or never will.
            let span = self.span().await?;
            let open = self.open(chunks).await?;
            // Nothing is sent if anything cannot be explained.
            let rest: Vec<_> = open
                .iter()
                .map(|(chunk, found)| Ok((*chunk, chunk.rest(*found)?, found.count)))
                .collect::<Result<_, Error>>()?;
            for (at, (chunk, rest, from)) in rest.iter().enumerate() {
                if at > 0 {
                    self.failpoints.at(Failpoint::BetweenTables);
                }
                match self.insert(chunk, rest, *from, span).await {
                    Ok(()) => {}
                    // It left nothing behind.
                    Err(error) if error.code() == Some(code::VIOLATED_CONSTRAINT) => refused = Some(error),
                    Err(error) => return Err(error.into()),
                }
            }
            if rest.is_empty() || self.open(chunks).await?.is_empty() {
                chunks.iter().for_each(|chunk| self.metrics.rows(chunk.table, chunk.all.count));
                return Ok(());
            }
        }
        // Rows that are gone although the token remembers them are taken under the next span's.
        let lacking = self.open(chunks).await?.first().map(|(chunk, _)| (chunk.table.name(), chunk.place));
        match (refused, lacking) {
            (Some(error), _) => Err(error.into()),
            (None, Some((table, Place { cut, chunk, .. }))) => Err(Error::RowsNotTaken { table, cut, chunk }),
            // They came while it was asked which are lacking.
            (None, None) => Ok(()),
        }
    }

    /// The chunks of which not all is there, each with what is.
    async fn open<'a>(&self, chunks: &'a [Chunk]) -> Result<Vec<(&'a Chunk, Marks)>, Error> {
        let places: Vec<_> = chunks.iter().map(|chunk| (chunk.table, chunk.place)).collect();
        let found = self.warehouse.marks(&places).await?;
        Ok(chunks.iter().zip(found).filter(|(chunk, found)| *found != chunk.all).collect())
    }

    /// The span of the clock that will judge the rows: the sink's own may be wrong.
    async fn span(&self) -> Result<Span, Error> {
        let now = self.warehouse.now().await?;
        if let Some(span) = Span::at(now) {
            return Ok(span);
        }
        tokio::time::sleep(Span::until_next(now)).await;
        Span::at(self.warehouse.now().await?).ok_or(Error::Warehouse(warehouse::Error::Timeout(self.timeout)))
    }

    async fn insert(
        &self,
        chunk: &Chunk,
        rest: &Batch,
        from: u64,
        span: Span,
    ) -> Result<(), warehouse::Error> {
        let Place { log_partition, cut, chunk: number } = chunk.place;
        let table = chunk.table.name();
        let month = &chunk.month;
        let generation = self.partition.generation;
        let settings = InsertSettings {
            dedup_token: format!(
                "{generation}/{log_partition}/{cut}/{table}/{month}/{number}+{from}/{}",
                span.number
            ),
            timeout: self.timeout,
        };
        let stream = rest.with_constant("insert_before", Seconds(span.insert_before))?.to_arrow_stream()?;
        self.failpoints.at(Failpoint::BeforeInsert);
        let answered = self.warehouse.insert(table, stream.into(), &settings).await;
        self.failpoints.at(Failpoint::AfterInsert);
        answered
    }

    /// Inserts into a table where the same row twice is the same as once.
    async fn insert_replacing(&self, table: &'static str, batch: &Batch) -> Result<(), Error> {
        let settings = InsertSettings { dedup_token: String::new(), timeout: self.timeout };
        Ok(self.warehouse.insert(table, batch.to_arrow_stream()?.into(), &settings).await?)
    }
}

/// Facts of one month of core time each, and of at most [`ROWS_PER_INSERT`] rows.
fn chunks(table: Table, facts: &[(Timestamp, Fact)]) -> Vec<&[(Timestamp, Fact)]> {
    let mut chunks = Vec::new();
    for month in months(facts) {
        let (mut start, mut rows) = (0, 0);
        for (at, (_, fact)) in month.iter().enumerate() {
            let more = table.rows_of(fact);
            if at > start && rows + more > ROWS_PER_INSERT {
                chunks.push(&month[start..at]);
                (start, rows) = (at, 0);
            }
            rows += more;
        }
        chunks.push(&month[start..]);
    }
    chunks
}

/// Facts by month. Core time never goes back, so that almost always one look at both ends is enough.
fn months(facts: &[(Timestamp, Fact)]) -> Vec<&[(Timestamp, Fact)]> {
    match (facts.first(), facts.last()) {
        (Some((first, _)), Some((last, _))) if month(*first) == month(*last) => vec![facts],
        _ => facts.chunk_by(|(one, _), (other, _)| month(*one) == month(*other)).collect(),
    }
}

/// The month as the tables are partitioned by it, such as `2026-11`.
pub(super) fn month(time: Timestamp) -> String {
    time.to_string().chars().take(7).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(times: &[&str]) -> Vec<(Timestamp, Fact)> {
        times.iter().map(|time| (time.parse().unwrap(), Fact::Ticked)).collect()
    }

    #[test]
    fn a_chunk_never_crosses_a_month() {
        let facts = ticks(&[
            "2026-10-31T23:59:59.999999Z",
            "2026-11-01T00:00:00Z",
            "2026-11-30T23:59:59Z",
            "2026-12-01T00:00:00Z",
        ]);
        let lengths =
            |facts| chunks(Table::Clicks, facts).iter().map(|chunk| chunk.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&facts), [1, 2, 1]);
        assert_eq!(lengths(&facts[1..3]), [2]);
        assert!(lengths(&[]).is_empty());
    }
}
