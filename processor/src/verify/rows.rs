//! Whether the warehouse has the rows that the facts give, each once.

use clickhouse::Row;
use schemas::table::{RowCounts, Table};
use serde::Deserialize;
use warehouse::{Limits, Param};

use crate::error::Error;
use crate::sink::Tables as _;
use crate::sink::position::log_partition;

/// A table's rows of one partition, up to a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    /// The table.
    pub table: &'static str,
    /// Rows that the facts give.
    pub expected: u64,
    /// How many of them are not there.
    pub missing: u64,
    /// How many are there more often than once.
    pub extra: u64,
}

#[derive(Row, Deserialize)]
struct CountRow {
    count: u64,
    different: u64,
}

/// The last cut that a sink has finished; `None` if there is none.
///
/// # Errors
/// [`Error::Warehouse`] if it cannot be asked.
pub async fn last_cut(warehouse: &warehouse::Sink, partition: u32) -> Result<Option<u64>, Error> {
    Ok(warehouse.last_cut(log_partition(partition)?).await?.map(|position| position.cut))
}

/// Counts the rows of a partition in each table that must be there at a cut.
///
/// # Errors
/// [`Error::Warehouse`] if it cannot be asked.
pub async fn count_rows(
    warehouse: &warehouse::Sink,
    partition: u32,
    expected: &RowCounts,
) -> Result<Vec<TableRows>, Error> {
    let mut tables = Vec::new();
    for table in Table::ALL {
        tables.push(count_rows_of(warehouse, partition, table, expected.get(table)).await?);
    }
    Ok(tables)
}

/// The same of one table, of whose rows so many are expected.
pub(crate) async fn count_rows_of(
    warehouse: &warehouse::Sink,
    partition: u32,
    table: Table,
    expected: u64,
) -> Result<TableRows, Error> {
    let sql = format!(
        "SELECT count() AS count, uniqExact(row_seq) AS different FROM {} \
             WHERE log_partition = {{log_partition:UInt16}} AND row_seq <= {{expected:UInt64}}",
        table.name()
    );
    let params =
        [("log_partition", Param::from(log_partition(partition)?)), ("expected", Param::from(expected))];
    let rows: Vec<CountRow> = warehouse.reader().rows(&sql, &params, &Limits::default()).await?;
    let (count, different) = rows.first().map_or((0, 0), |row| (row.count, row.different));
    let missing = expected.saturating_sub(different);
    Ok(TableRows { table: table.name(), expected, missing, extra: count.saturating_sub(different) })
}
