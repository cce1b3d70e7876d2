//! The auditor: whether the tables have each row of all finished cuts, once. It asks all the time, because the sink does not look
//! back: what is lost or doubled behind it, by hand, by a backup or by a disk, would stand in reports and nobody would say so.

use std::time::Duration;

use schemas::table::Table;
use service::lifecycle::Shutdown;
use warehouse::{Limits, Marks};

use super::position::{SinkPosition, log_partition};
use super::tables::Tables as _;
use crate::error::Error;
use crate::metrics::AuditMetrics;
use crate::verify::{TableRows, count_rows_of};

/// Audits one partition.
pub struct Auditor {
    /// The warehouse.
    pub warehouse: warehouse::Sink,
    /// The log partition.
    pub partition: u32,
    /// How long it waits between two audits.
    pub period: Duration,
    /// Where it says what it found.
    pub metrics: AuditMetrics,
}

impl Auditor {
    /// Audits until the shutdown.
    pub async fn work(&self, shutdown: &Shutdown) {
        let mut known = Vec::new();
        while !shutdown.is_started() {
            match self.audit().await {
                Ok(Some((cut, found))) => {
                    self.metrics.found(cut, &found);
                    let wrong: Vec<TableRows> =
                        found.into_iter().filter(|table| table.missing + table.extra > 0).collect();
                    // Said once, and not with each audit after it.
                    if wrong != known {
                        self.say(cut, &wrong);
                        known = wrong;
                    }
                }
                Ok(None) => {}
                // The sink says so, too, and louder.
                Err(error) => tracing::warn!(partition = self.partition, %error, "no audit"),
            }
            tokio::select! {
                () = tokio::time::sleep(self.period) => {}
                () = shutdown.started() => {}
            }
        }
    }

    /// The last finished cut and what the tables have up to it; `None` if no cut was ever finished.
    ///
    /// # Errors
    /// [`Error::Warehouse`] if it cannot be asked.
    pub async fn audit(&self) -> Result<Option<(u64, Vec<TableRows>)>, Error> {
        let Some(last) = self.warehouse.last_cut(log_partition(self.partition)?).await? else {
            return Ok(None);
        };
        let mut found = Vec::new();
        for table in Table::ALL {
            found.push(self.audit_table(table, &last).await?);
        }
        Ok(Some((last.cut, found)))
    }

    /// The projection answers almost always; the rows themselves are counted only where it says that something is wrong.
    async fn audit_table(&self, table: Table, last: &SinkPosition) -> Result<TableRows, Error> {
        let expected = last.rows.get(table);
        let log_partition = log_partition(self.partition)?;
        let marks =
            self.warehouse.marks_through(table.name(), log_partition, last.cut, &Limits::default()).await?;
        if marks == Marks::of_range(1, expected) {
            return Ok(TableRows { table: table.name(), expected, missing: 0, extra: 0 });
        }
        let counted = count_rows_of(&self.warehouse, self.partition, table, expected).await?;
        // Rows that say that they belong to a finished cut and lie beyond its last.
        let beyond = (marks.count + counted.missing).saturating_sub(expected);
        Ok(TableRows { extra: counted.extra.max(beyond), ..counted })
    }

    fn say(&self, cut: u64, wrong: &[TableRows]) {
        let partition = self.partition;
        if wrong.is_empty() {
            tracing::info!(partition, cut, "audit: each row is there, once");
        }
        for TableRows { table, expected, missing, extra } in wrong {
            tracing::error!(partition, cut, table, expected, missing, extra, "audit: rows are wrong");
        }
    }
}
