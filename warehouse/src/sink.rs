//! Writing: one INSERT is one block and one part, and what a range holds can be asked.

use std::time::Duration;

use bytes::Bytes;
use clickhouse::{Client, Row};
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
    /// `{generation}/{partition}/{cut}/{table}/{month}/{chunk}+{rows there before}/{attempt}`: two INSERTs with one token are one.
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
        let mut marks = Self { count, ..Self::default() };
        if let Some(last) = count.checked_sub(1).map(|more| first.wrapping_add(more)) {
            (marks.min, marks.max) = (first, last);
        }
        for row_seq in (0..count).map(|offset| first.wrapping_add(offset)) {
            marks.sum = marks.sum.wrapping_add(row_seq);
            marks.sum_of_squares = marks.sum_of_squares.wrapping_add(row_seq.wrapping_mul(row_seq));
        }
        marks
    }
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

    /// What the chunk of a cut holds in `table`. The projection `marks` of each append-only table answers it.
    pub async fn marks(
        &self,
        table: &str,
        log_partition: u16,
        cut: u64,
        chunk: u16,
        limits: &Limits,
    ) -> Result<Marks, Error> {
        let table = plain_name(table)?;
        let params = [
            ("log_partition", Param::from(log_partition)),
            ("cut", Param::from(cut)),
            ("chunk", Param::from(chunk)),
        ];
        let rows = self.reader.rows::<Marks>(&marks_query(table), &params, limits).await?;
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

/// The question that the projection answers, expression by expression.
fn marks_query(table: &str) -> String {
    format!(
        "SELECT count() AS count, min(row_seq) AS min, max(row_seq) AS max, sum(row_seq) AS sum, \
         sum(row_seq * row_seq) AS sum_of_squares FROM {table} \
         WHERE log_partition = {{log_partition:UInt16}} AND cut = {{cut:UInt64}} AND chunk = {{chunk:UInt16}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_a_range_are_those_of_its_rows() {
        assert_eq!(
            Marks::of_range(3, 3),
            Marks { count: 3, min: 3, max: 5, sum: 12, sum_of_squares: 9 + 16 + 25 }
        );
        assert_eq!(Marks::of_range(3, 0), Marks::default());
        let wrapped = Marks::of_range(u64::MAX, 1);
        assert_eq!((wrapped.sum, wrapped.sum_of_squares), (u64::MAX, 1));
    }
}
