//! Where the sink stands: the table `cuts` of the warehouse itself, so that it cannot disagree with the rows.

use schemas::fact::RecordHash;
use schemas::hex;
use schemas::table::RowCounts;
use schemas::time::Timestamp;
use warehouse::batch::{Batch, BatchBuilder, Micros};

use super::cut::CutBatch;
use crate::error::Error;

/// The table's name.
pub(super) const TABLE: &str = "cuts";

/// The last finished cut of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkPosition {
    /// Its number.
    pub cut: u64,
    /// The position in `facts` of the record that holds it.
    pub record: u64,
    /// That record's hash.
    pub record_hash: RecordHash,
    /// The cut's own number among the facts.
    pub fact_seq: u64,
    /// The rows reached with it in each table.
    pub rows: RowCounts,
    /// Everything logged before this time is in the tables.
    pub core_time: Timestamp,
}

/// The row that says that a cut is finished.
pub(super) fn row(partition: u32, cut: &CutBatch) -> Result<Batch, Error> {
    let hash = hex::encode(&cut.record_hash);
    let [clicks, impressions, conversion_revisions, credits, outcomes] = *cut.rows.all();
    Ok(BatchBuilder::new()
        .column("log_partition", [log_partition(partition)?])
        .column("cut", [cut.number])
        .column("record", [cut.record])
        .column("record_hash", [hash.as_str()])
        .column("fact_seq", [cut.fact_seq])
        .column("clicks", [clicks])
        .column("impressions", [impressions])
        .column("conversion_revisions", [conversion_revisions])
        .column("credits", [credits])
        .column("outcomes", [outcomes])
        .column("core_time", [Micros(cut.core_time.micros())])
        .build()?)
}

/// The partition's number as the tables have it.
pub(crate) fn log_partition(partition: u32) -> Result<u16, Error> {
    u16::try_from(partition)
        .map_err(|_| Error::Rows(format!("partition {partition} does not fit the tables")))
}
