//! What stands in the blocks that a sink sends: the columns that the simulation looks at.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{TimestampMicrosecondType, UInt16Type, UInt64Type};
use arrow_array::{Array as _, RecordBatch};
use arrow_ipc::reader::StreamReader;
use processor::sink::{Place, SinkPosition};
use schemas::hex;
use schemas::table::{RowCounts, Table};
use schemas::time::Timestamp;

/// A row of a table that only grows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) row_seq: u64,
    pub(crate) place: Place,
    pub(crate) core_time: i64,
    /// Of whom it speaks.
    pub(crate) of: Vec<u8>,
}

/// The column that says of whom a row speaks.
const fn key_of(table: Table) -> &'static str {
    match table {
        Table::Clicks | Table::Impressions => "id",
        Table::ConversionRevisions => "conversion",
        Table::Credits => "touch",
        Table::Outcomes => "event",
    }
}

/// The block that an INSERT brings.
pub(crate) fn decoded(stream: &[u8]) -> RecordBatch {
    let mut batches = StreamReader::try_new(stream, None).unwrap();
    let batch = batches.next().unwrap().unwrap();
    assert!(batches.next().is_none(), "an INSERT of more than one block");
    batch
}

fn numbers(rows: &RecordBatch, name: &str) -> Vec<u64> {
    rows.column_by_name(name).unwrap().as_primitive::<UInt64Type>().values().to_vec()
}

fn partitions(rows: &RecordBatch) -> Vec<u16> {
    rows.column_by_name("log_partition").unwrap().as_primitive::<UInt16Type>().values().to_vec()
}

fn times(rows: &RecordBatch) -> Vec<i64> {
    rows.column_by_name("core_time").unwrap().as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

/// Ids in a column.
pub(crate) fn keys(rows: &RecordBatch, name: &str) -> Vec<Vec<u8>> {
    let column = rows.column_by_name(name).unwrap().as_fixed_size_binary();
    (0..column.len()).map(|at| column.value(at).to_vec()).collect()
}

/// The rows of an INSERT.
pub(crate) fn rows_in(table: Table, stream: &[u8]) -> Vec<Row> {
    rows_of(table, &decoded(stream))
}

/// The rows of a block of a table that only grows.
pub(crate) fn rows_of(table: Table, batch: &RecordBatch) -> Vec<Row> {
    let (partitions, cuts) = (partitions(batch), numbers(batch, "cut"));
    let chunks = batch.column_by_name("chunk").unwrap().as_primitive::<UInt16Type>().values().to_vec();
    let (row_seqs, times, keys) = (numbers(batch, "row_seq"), times(batch), keys(batch, key_of(table)));
    let row = |at: usize| Row {
        row_seq: row_seqs[at],
        place: Place { log_partition: partitions[at], cut: cuts[at], chunk: chunks[at] },
        core_time: times[at],
        of: keys[at].clone(),
    };
    (0..batch.num_rows()).map(row).collect()
}

/// The finished cuts in a block.
pub(crate) fn positions(batch: &RecordBatch) -> Vec<(u16, SinkPosition)> {
    let column = |name| numbers(batch, name);
    let counts: Vec<Vec<u64>> = Table::ALL.iter().map(|table| column(table.name())).collect();
    let hashes = batch.column_by_name("record_hash").unwrap().as_string::<i32>().clone();
    let position = |at: usize| SinkPosition {
        cut: column("cut")[at],
        record: column("record")[at],
        record_hash: hex::decode(hashes.value(at)).unwrap(),
        fact_seq: column("fact_seq")[at],
        rows: RowCounts::new(std::array::from_fn(|table| counts[table][at])),
        core_time: Timestamp::from_micros(times(batch)[at]),
    };
    (0..batch.num_rows()).map(|at| (partitions(batch)[at], position(at))).collect()
}
