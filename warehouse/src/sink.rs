//! Writing: one INSERT is one block and one part, and what a range holds can be asked.

use std::time::Duration;

use bytes::Bytes;
use clickhouse::{Client, Row};
use schemas::generation::Generation;
use serde::Deserialize;

use crate::connection::{client, plain_name, whole_seconds, within};
use crate::reader::Param;
use crate::{Endpoint, Error, Limits, Reader};

/// More rows than any INSERT of ours has, so that none is divided.
const BLOCK_ROWS: &str = "1048576";

/// What pins one INSERT to one part, whose deduplication token therefore covers all of it.
const ONE_PART: [(&str, &str); 8] = [
    ("async_insert", "0"),
    ("input_format_parallel_parsing", "0"),
    ("insert_deduplicate", "1"),
    ("max_insert_block_size", BLOCK_ROWS),
    ("max_insert_threads", "1"),
    ("max_partitions_per_insert_block", "1"),
    ("min_insert_block_size_bytes", "0"),
    ("min_insert_block_size_rows", BLOCK_ROWS),
];

/// How one INSERT is made.
#[derive(Clone, Debug)]
pub struct InsertSettings {
    /// `{generation}/{partition}/{cut}/{table}/{month}/{chunk}+{rows there before}/{span of the clock}`: two INSERTs with one token are
    /// one.
    /// Empty for a table in which the same row twice is the same as once.
    pub dedup_token: String,
    /// After this the caller asks the range again. The INSERT may still land, until its rows' `insert_before`.
    pub timeout: Duration,
}

/// What a range of an append-only table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Row, Deserialize)]
pub struct Marks {
    /// How many rows.
    pub count: u64,
    /// The lowest `row_seq`; 0 for no rows.
    pub min: u64,
    /// The highest `row_seq`; 0 for no rows.
    pub max: u64,
    /// The sum of `row_seq`, modulo 2⁶⁴.
    pub sum: u64,
    /// The sum of the squares of `row_seq`, modulo 2⁶⁴.
    pub sum_of_squares: u64,
}

impl Marks {
    /// The marks of the dense range from `first` on with `count` rows.
    pub fn of_range(first: u64, count: u64) -> Self {
        let Some(more) = count.checked_sub(1) else { return Self::default() };
        let (first, end) = (u128::from(first), u128::from(first) + u128::from(count));
        let ((sum, squares), (sum_before, squares_before)) = (sums_below(end), sums_below(first));
        Self {
            count,
            min: first as u64,
            max: (first as u64).wrapping_add(more),
            sum: sum.wrapping_sub(sum_before),
            sum_of_squares: squares.wrapping_sub(squares_before),
        }
    }
}

/// The sum of all numbers below `end` and that of their squares, modulo 2⁶⁴: `n(n-1)/2` and `n(n-1)(2n-1)/6`, each divided before
/// it is multiplied, so that what is cut off is nothing but multiples of 2⁶⁴.
const fn sums_below(end: u128) -> (u64, u64) {
    let Some(last) = end.checked_sub(1) else { return (0, 0) };
    let (a, b) = if end.is_multiple_of(2) { (end / 2, last) } else { (end, last / 2) };
    let c = end + last;
    let (d, e, f) = if a.is_multiple_of(3) {
        (a / 3, b, c)
    } else if b.is_multiple_of(3) {
        (a, b / 3, c)
    } else {
        (a, b, c / 3)
    };
    (a.wrapping_mul(b) as u64, d.wrapping_mul(e).wrapping_mul(f) as u64)
}

/// The chunk of a cut in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The table.
    pub table: &'static str,
    /// The log partition.
    pub log_partition: u16,
    /// The cut.
    pub cut: u64,
    /// The chunk's number in the cut.
    pub chunk: u16,
}

/// Writes to the warehouse.
#[derive(Clone, Debug)]
pub struct Sink {
    client: Client,
    reader: Reader,
}

impl Sink {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        Self { client: client(endpoint), reader: Reader::new(endpoint) }
    }

    /// The same for the tables of another generation.
    #[must_use]
    pub fn of_generation(&self, generation: Generation) -> Self {
        let reader = self.reader.of_generation(generation);
        let client = self.client.clone().with_database(reader.database());
        Self { client, reader }
    }

    /// Inserts a batch, an Arrow stream, into `table`. An error does not say that nothing was committed:
    /// only [`Sink::marks`] says what is there.
    pub async fn insert(
        &self,
        table: &str,
        arrow_stream: impl Into<Bytes>,
        settings: &InsertSettings,
    ) -> Result<(), Error> {
        let table = plain_name(table)?;
        let mut insert = self
            .client
            .insert_formatted_with(format!("INSERT INTO {table} FORMAT ArrowStream"))
            .with_setting("insert_deduplication_token", settings.dedup_token.as_str())
            .with_setting("max_execution_time", whole_seconds(settings.timeout));
        for (name, value) in ONE_PART {
            insert = insert.with_setting(name, value);
        }
        let data = arrow_stream.into();
        let sent = async move {
            insert.send(data).await?;
            insert.end().await
        };
        within(settings.timeout, sent).await
    }

    /// What is there of each range, in their order, by one question. The projection `marks` of each append-only table answers it.
    pub async fn marks(&self, of: &[Range], limits: &Limits) -> Result<Vec<Marks>, Error> {
        let (mut questions, mut params) = (Vec::new(), Vec::new());
        for (number, Range { table, log_partition, cut, chunk }) in of.iter().enumerate() {
            // Named by their number, since each of them has its own.
            let named = |name: &str| format!("{name}_{number}");
            let [partition_name, cut_name, chunk_name] = ["partition", "cut", "chunk"].map(named);
            questions.push(format!(
                "SELECT {number} AS number, {} WHERE log_partition = {{{partition_name}:UInt16}} \
                 AND cut = {{{cut_name}:UInt64}} AND chunk = {{{chunk_name}:UInt16}}",
                marks_of(plain_name(table)?)
            ));
            params.push((partition_name, Param::from(*log_partition)));
            params.push((cut_name, Param::from(*cut)));
            params.push((chunk_name, Param::from(*chunk)));
        }
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT * EXCEPT number FROM ({}) ORDER BY number", questions.join(" UNION ALL "));
        let params: Vec<(&str, Param)> =
            params.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let marks = self.reader.rows::<Marks>(&sql, &params, limits).await?;
        if marks.len() == of.len() { Ok(marks) } else { Err(Error::Decode("no marks".to_owned())) }
    }

    /// What `table` holds of a log partition up to a cut, this one included; the projection `marks` answers that, too.
    pub async fn marks_through(
        &self,
        table: &str,
        log_partition: u16,
        cut: u64,
        limits: &Limits,
    ) -> Result<Marks, Error> {
        let table = plain_name(table)?;
        let sql = format!(
            "SELECT {} WHERE log_partition = {{log_partition:UInt16}} AND cut <= {{cut:UInt64}}",
            marks_of(table)
        );
        let params = [("log_partition", Param::from(log_partition)), ("cut", Param::from(cut))];
        let rows = self.reader.rows::<Marks>(&sql, &params, limits).await?;
        rows.into_iter().next().ok_or_else(|| Error::Decode("no marks".to_owned()))
    }

    /// The time by the warehouse's own clock, in seconds since 1970: what its constraints are judged by.
    pub async fn now(&self, limits: &Limits) -> Result<u32, Error> {
        let rows = self.reader.rows::<u32>("SELECT toUInt32(toUnixTimestamp(now()))", &[], limits).await?;
        rows.into_iter().next().ok_or_else(|| Error::Decode("no time".to_owned()))
    }

    /// Rows for the sink's own bookkeeping: where it resumes.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }
}

/// What the projection answers, expression by expression.
fn marks_of(table: &str) -> String {
    format!(
        "count() AS count, min(row_seq) AS min, max(row_seq) AS max, sum(row_seq) AS sum, \
         sum(row_seq * row_seq) AS sum_of_squares FROM {table}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    type Wrap = std::num::Wrapping<u64>;

    #[test]
    fn marks_of_a_range_are_those_of_its_rows() {
        assert_eq!(
            Marks::of_range(3, 3),
            Marks { count: 3, min: 3, max: 5, sum: 12, sum_of_squares: 9 + 16 + 25 }
        );
        assert_eq!(Marks::of_range(3, 0), Marks::default());
        for (first, count) in [(0, 1), (0, 2), (1, 3), (2, 4), (7, 5), (11, 6), (u64::MAX - 2, 3)] {
            let marks = Marks::of_range(first, count);
            let rows = || (first..=first + (count - 1)).map(std::num::Wrapping);
            assert_eq!(
                (marks.sum, marks.sum_of_squares),
                (rows().sum::<Wrap>().0, rows().map(|it| it * it).sum::<Wrap>().0)
            );
        }
        let wrapped = Marks::of_range(u64::MAX, 1);
        assert_eq!((wrapped.sum, wrapped.sum_of_squares), (u64::MAX, 1));
    }
}
