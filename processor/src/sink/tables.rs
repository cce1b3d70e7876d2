//! What the sink asks of the warehouse and what it tells it: the seam between them. A simulation has tables of its own behind it.

use async_trait::async_trait;
use bytes::Bytes;
use clickhouse::Row;
use schemas::hex;
use schemas::table::{RowCounts, Table};
use schemas::time::Timestamp;
use serde::Deserialize;
use warehouse::{InsertSettings, Limits, Marks, Param};

use super::position::SinkPosition;
use super::rows::Place;
use crate::error::Error;

/// The tables that a sink loads.
#[async_trait]
pub trait Tables: Send + Sync {
    /// Where the last finished cut of a log partition ends; `None` if nothing of it was ever finished.
    ///
    /// # Errors
    /// [`Error::Warehouse`] if they cannot be asked, [`Error::Foreign`] if no sink of ours has written the answer.
    async fn last_cut(&self, log_partition: u16) -> Result<Option<SinkPosition>, Error>;

    /// What a table holds of a chunk of a cut.
    ///
    /// # Errors
    /// [`warehouse::Error`] if it cannot be asked.
    async fn marks(&self, table: Table, of: Place) -> Result<Marks, warehouse::Error>;

    /// The time by the clock that judges `insert_before`, in seconds since 1970.
    ///
    /// # Errors
    /// [`warehouse::Error`] if it cannot be asked.
    async fn now(&self) -> Result<u32, warehouse::Error>;

    /// Inserts rows, an Arrow stream.
    ///
    /// # Errors
    /// [`warehouse::Error`], which does not say that nothing was committed.
    async fn insert(
        &self,
        table: &'static str,
        arrow_stream: Bytes,
        settings: &InsertSettings,
    ) -> Result<(), warehouse::Error>;
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

impl TryFrom<CutRow> for SinkPosition {
    type Error = Error;

    fn try_from(row: CutRow) -> Result<Self, Error> {
        let CutRow { clicks, impressions, conversion_revisions, credits, outcomes, .. } = row;
        Ok(Self {
            cut: row.cut,
            record: row.record,
            record_hash: hex::decode(&row.record_hash)
                .ok_or(Error::Foreign("the record hash of the last cut"))?,
            fact_seq: row.fact_seq,
            rows: RowCounts::new([clicks, impressions, conversion_revisions, credits, outcomes]),
            core_time: Timestamp::from_micros(row.core_time_micros),
        })
    }
}

#[async_trait]
impl Tables for warehouse::Sink {
    async fn last_cut(&self, log_partition: u16) -> Result<Option<SinkPosition>, Error> {
        let sql = "SELECT cut, record, record_hash, fact_seq, clicks, impressions, conversion_revisions, \
                   credits, outcomes, toUnixTimestamp64Micro(core_time) AS core_time_micros \
                   FROM cuts WHERE log_partition = {log_partition:UInt16} ORDER BY cut DESC LIMIT 1";
        let params = [("log_partition", Param::from(log_partition))];
        let rows: Vec<CutRow> = self.reader().rows(sql, &params, &Limits::default()).await?;
        rows.into_iter().next().map(SinkPosition::try_from).transpose()
    }

    async fn marks(&self, table: Table, of: Place) -> Result<Marks, warehouse::Error> {
        let Place { log_partition, cut, chunk } = of;
        Self::marks(self, table.name(), log_partition, cut, chunk, &Limits::default()).await
    }

    async fn now(&self) -> Result<u32, warehouse::Error> {
        Self::now(self, &Limits::default()).await
    }

    async fn insert(
        &self,
        table: &'static str,
        arrow_stream: Bytes,
        settings: &InsertSettings,
    ) -> Result<(), warehouse::Error> {
        Self::insert(self, table, arrow_stream, settings).await
    }
}
