//! What the sink asks of the warehouse and what it tells it: the seam between them. A simulation has tables of its own behind it.

use async_trait::async_trait;
use bytes::Bytes;
use clickhouse::Row;
use schemas::hex;
use schemas::id::{ConversionId, WorkspaceNumber};
use schemas::table::{RowCounts, Table};
use schemas::time::Timestamp;
use serde::Deserialize;
use warehouse::{InsertSettings, Limits, Marks, Param, Range};

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

    /// What tables hold of chunks, in their order.
    ///
    /// # Errors
    /// [`warehouse::Error`] if they cannot be asked.
    async fn marks(&self, of: &[(Table, Place)]) -> Result<Vec<Marks>, warehouse::Error>;

    /// The newest versions that the table of conversions has of these; nothing of those that it does not have.
    ///
    /// # Errors
    /// [`warehouse::Error`] if it cannot be asked.
    async fn versions(&self, of: &[ConversionKey]) -> Result<Vec<(ConversionId, u32)>, warehouse::Error>;

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

/// Where a conversion stands in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConversionKey {
    /// Whose it is.
    pub workspace: WorkspaceNumber,
    /// When it occurred.
    pub occurred_at: Timestamp,
    /// Its id.
    pub id: ConversionId,
}

#[derive(Row, Deserialize)]
struct VersionRow {
    conversion: String,
    newest: u32,
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

    async fn marks(&self, of: &[(Table, Place)]) -> Result<Vec<Marks>, warehouse::Error> {
        let range = |(table, place): &(Table, Place)| Range {
            table: table.name(),
            log_partition: place.log_partition,
            cut: place.cut,
            chunk: place.chunk,
        };
        let ranges: Vec<_> = of.iter().map(range).collect();
        Self::marks(self, &ranges, &Limits::default()).await
    }

    async fn versions(&self, of: &[ConversionKey]) -> Result<Vec<(ConversionId, u32)>, warehouse::Error> {
        // As a set that is made first, so that it is looked up by the table's order and nothing else is read.
        let sql = "SELECT lower(hex(id)) AS conversion, max(version) AS newest FROM conversions \
                   WHERE (workspace, occurred_at, id) IN (\
                   SELECT key.1, fromUnixTimestamp64Micro(toInt64(key.2), 'UTC'), CAST(unhex(key.3), 'FixedString(16)') \
                   FROM (SELECT arrayJoin(arrayZip({workspaces:Array(UInt32)}, {times:Array(String)}, \
                   {ids:Array(String)})) AS key)) \
                   GROUP BY workspace, occurred_at, id";
        let workspaces: Vec<u64> = of.iter().map(|key| key.workspace.get().into()).collect();
        let times: Vec<String> = of.iter().map(|key| key.occurred_at.micros().to_string()).collect();
        let ids: Vec<String> = of.iter().map(|key| hex::encode(key.id.bytes())).collect();
        let params = [("workspaces", workspaces.into()), ("times", times.into()), ("ids", ids.into())];
        let rows: Vec<VersionRow> = self.reader().rows(sql, &params, &Limits::default()).await?;
        rows.into_iter()
            .map(|VersionRow { conversion, newest }| {
                let id = hex::decode(&conversion)
                    .ok_or_else(|| warehouse::Error::Decode("an id of 16 bytes".to_owned()))?;
                Ok((ConversionId::from_bytes(id), newest))
            })
            .collect()
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
