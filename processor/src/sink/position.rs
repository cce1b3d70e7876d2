//! Where the sink stands: the table `cuts` of the warehouse itself, so that it cannot disagree with the rows.

use clickhouse::Row;
use schemas::fact::RecordHash;
use schemas::hex;
use schemas::table::RowCounts;
use schemas::time::Timestamp;
use serde::Deserialize;
use warehouse::batch::{Batch, BatchBuilder, Micros};
use warehouse::{Limits, Param};

use super::cut::CutBatch;
use crate::error::Error;

/// The table's name.
pub(super) const TABLE: &str = "cuts";

/// The last finished cut of a partition.
pub(crate) struct SinkPosition {
    pub(crate) cut: u64,
    pub(crate) record: u64,
    pub(super) record_hash: RecordHash,
    pub(super) fact_seq: u64,
    pub(crate) rows: RowCounts,
    pub(super) core_time: Timestamp,
}

#[derive(Row, Deserialize)]
struct CutRow {
    cut: u64,
    record: u64,
    record_hash: String,
    fact_seq: u64,
    clicks: u64,
    impressions: u64,
    conversion_revisions: u64,
    credits: u64,
    outcomes: u64,
    core_time_micros: i64,
}

impl SinkPosition {
    /// Asks the warehouse; `None` if nothing of the partition was ever finished.
    pub(crate) async fn last(warehouse: &warehouse::Sink, partition: u32) -> Result<Option<Self>, Error> {
        let sql = "SELECT cut, record, record_hash, fact_seq, clicks, impressions, conversion_revisions, \
                   credits, outcomes, toUnixTimestamp64Micro(core_time) AS core_time_micros \
                   FROM cuts WHERE log_partition = {log_partition:UInt16} ORDER BY cut DESC LIMIT 1";
        let params = [("log_partition", Param::from(log_partition(partition)?))];
        let rows: Vec<CutRow> = warehouse.reader().rows(sql, &params, &Limits::default()).await?;
        rows.into_iter()
            .next()
            .map(|row| {
                let record_hash =
                    hex::decode(&row.record_hash).ok_or(Error::Foreign("the record hash of the last cut"))?;
                Ok(Self {
                    cut: row.cut,
                    record: row.record,
                    record_hash,
                    fact_seq: row.fact_seq,
                    rows: RowCounts::new([
                        row.clicks,
                        row.impressions,
                        row.conversion_revisions,
                        row.credits,
                        row.outcomes,
                    ]),
                    core_time: Timestamp::from_micros(row.core_time_micros),
                })
            })
            .transpose()
    }
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
