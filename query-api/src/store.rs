//! Asking the warehouse: statements out, rows in, its errors made ours.

use catalog::Stage;
use schemas::generation::Generation;
use schemas::id::WorkspaceNumber;
use schemas::money::Currency;
use schemas::time::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use warehouse::{Limits, Param};

use crate::error::Error;
use crate::sql::{self, Statement, Tenant};
use crate::state::Desk;

/// The most rows that a statement of ours answers; every list has a smaller limit of its own.
const MAX_RESULT_ROWS: u64 = 10_000;
/// The most memory that a query may take.
const MAX_QUERY_MEMORY_BYTES: u64 = 512 << 20;

/// What a route must know of the caller's workspace.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    pub(crate) number: WorkspaceNumber,
    pub(crate) partition: u32,
    /// The generation that answers: all of one answer comes from its tables.
    pub(crate) generation: Generation,
    pub(crate) currency: Currency,
    pub(crate) timezone: String,
}

/// How far the warehouse has the rows of a log partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Cut {
    /// The last finished cut.
    pub(crate) cut: u64,
    /// Everything logged before this instant is counted, in microseconds.
    pub(crate) core_time: i64,
}

impl Cut {
    /// The instant as answers show it.
    pub(crate) const fn data_through(self) -> Timestamp {
        Timestamp::from_micros(self.core_time)
    }
}

impl Workspace {
    /// The rows of this workspace up to a cut; none at all before the first.
    pub(crate) fn up_to(&self, cut: Option<Cut>) -> Tenant {
        let Self { number: workspace, partition, generation, .. } = *self;
        Tenant { workspace, partition, generation, cut: cut.map_or(0, |cut| cut.cut) }
    }
}

impl Desk {
    /// The caller's workspace, and the generation that answers: asked once for an answer.
    pub(crate) fn workspace(&self, number: WorkspaceNumber) -> Result<Workspace, Error> {
        let catalog = self.catalog().read();
        let workspace = catalog.workspace(number).ok_or_else(|| Error::not_found("workspace"))?;
        Ok(Workspace {
            number,
            partition: workspace.partition,
            generation: catalog.live_generation(),
            currency: workspace.currency,
            timezone: workspace.timezone.clone(),
        })
    }

    /// The workspace as a page before was read of it, whichever generation answers now.
    pub(crate) fn as_read_before(
        &self,
        workspace: Workspace,
        generation: Generation,
    ) -> Result<Workspace, Error> {
        let projection = self.catalog().read().projection(generation);
        if projection.is_some_and(|projection| projection.stage == Stage::Live) {
            return Ok(Workspace { generation, ..workspace });
        }
        Err(Error::invalid("cursor", "is of tables that are gone: begin again without it"))
    }

    /// The last finished cut of the workspace's log partition; `None` before the first.
    pub(crate) async fn last_cut(&self, workspace: &Workspace) -> Result<Option<Cut>, Error> {
        Ok(self.fetch(sql::last_cut(workspace.generation, workspace.partition)).await?.into_iter().next())
    }

    /// The rows of a statement.
    pub(crate) async fn fetch<T: DeserializeOwned>(&self, statement: Statement) -> Result<Vec<T>, Error> {
        let _timer = self.metrics().time_query(statement.name);
        let params: Vec<(&str, Param)> = statement
            .values
            .iter()
            .map(|(name, value)| (name.as_str(), Param::Text(value.clone())))
            .collect();
        let limits = Limits {
            timeout: self.settings().query_timeout(),
            memory_bytes: MAX_QUERY_MEMORY_BYTES,
            result_rows: MAX_RESULT_ROWS,
            query_id: None,
        };
        let rows = self.warehouse(statement.generation).json(&statement.text, &params, &limits).await;
        let rows = rows.map_err(|error| self.refused(statement.name, &error))?;
        rows.into_iter()
            .map(|row| serde_json::from_value(serde_json::Value::Object(row)))
            .collect::<Result<_, _>>()
            .map_err(|error| Error::Internal(format!("a row of {}: {error}", statement.name)))
    }

    fn refused(&self, name: &str, error: &warehouse::Error) -> Error {
        use warehouse::Error as Away;
        match error {
            Away::Timeout(_) => Error::Timeout(self.settings().query_timeout_ms),
            Away::Query { code, .. } if *code == warehouse::error::code::TIMEOUT_EXCEEDED => {
                Error::Timeout(self.settings().query_timeout_ms)
            }
            Away::Unavailable(_) | Away::Query { .. } if error.is_retriable() => {
                Error::Unavailable { part: "the warehouse", reason: error.to_string() }
            }
            Away::Unavailable(_)
            | Away::Query { .. }
            | Away::Decode(_)
            | Away::Request(_)
            | Away::Batch(_) => Error::Internal(format!("query {name}: {error}")),
        }
    }
}
