//! `GET /api/v1/reports`.

mod dimension;
mod metric;
mod plan;
mod statement;

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use schemas::id::EdgeKind;
use schemas::money::Currency;
use schemas::time::Timestamp;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::auth::{Allowed, Read};
use crate::error::Error;
use crate::params::Params;
use crate::reference::id_text;
use crate::show::instant;
use crate::sql;
use crate::state::Desk;
use crate::store::{Cut, Workspace};
use metric::{Base, Metric};
use plan::{Place, Plan};

/// A report.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    items: Vec<Row>,
    totals: Row,
    from: String,
    to: String,
    timezone: String,
    currency: Currency,
    data_through: Option<Timestamp>,
    /// Edges that hold events in their spools, which no number here counts yet.
    delayed: Vec<Delayed>,
    truncated: bool,
    #[serde(rename = "nextCursor")]
    next_cursor: Option<String>,
    #[serde(rename = "hasMore")]
    has_more: bool,
}

/// An edge that holds events of the workspace's log partition, which it may share with other workspaces.
#[derive(Debug, Serialize)]
struct Delayed {
    edge: Option<String>,
    /// When the oldest of them was taken.
    since: Option<Timestamp>,
    events: u64,
}

#[derive(Debug, Deserialize)]
struct DelayedRow {
    edge_hex: String,
    since_us: i64,
    events: u64,
}

/// Most edges that an answer names.
const MAX_DELAYED: usize = 100;

/// One key per dimension, then one per metric.
#[derive(Debug)]
struct Row {
    cells: Vec<(String, Value)>,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.cells.len()))?;
        for (name, value) in &self.cells {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A row as the warehouse gives it: `d0…`, `m0…`, `k0…`, all text.
type Raw = HashMap<String, String>;

pub(crate) async fn report(
    caller: Allowed<Read>,
    State(desk): State<Desk>,
    params: Params,
) -> Result<Json<Report>, Error> {
    let workspace = desk.workspace(caller.workspace)?;
    let plan = Plan::read(params, &caller, &workspace, &desk)?;
    let (workspace, cut) = match &plan.after {
        Some(place) => (desk.as_read_before(workspace, place.generation)?, place.cut()),
        None => {
            let cut = desk.last_cut(&workspace).await?;
            (workspace, cut)
        }
    };
    let tenant = workspace.up_to(cut);
    let bases = plan.bases();
    // Both are read up to the same cut: the totals are those of the rows.
    let totals = desk.fetch::<Raw>(statement::totals(&plan, &bases, tenant));
    let delayed =
        desk.fetch::<DelayedRow>(sql::delayed(workspace.generation, workspace.partition, MAX_DELAYED));
    let read = if plan.dimensions.is_empty() {
        let (totals, delayed) = tokio::try_join!(totals, delayed)?;
        Numbers { totals, rows: Vec::new(), delayed }
    } else {
        let rows = desk.fetch::<Raw>(statement::rows(&plan, &bases, tenant)?);
        let (totals, rows, delayed) = tokio::try_join!(totals, rows, delayed)?;
        Numbers { totals, rows, delayed }
    };
    answer(&desk, &workspace, &plan, cut, read).map(Json)
}

/// What the warehouse says to a report.
struct Numbers {
    totals: Vec<Raw>,
    rows: Vec<Raw>,
    delayed: Vec<DelayedRow>,
}

fn answer(
    desk: &Desk,
    workspace: &Workspace,
    plan: &Plan,
    cut: Option<Cut>,
    read: Numbers,
) -> Result<Report, Error> {
    let totals = read.totals.into_iter().next().unwrap_or_default();
    let place = |row: &Raw| Place {
        from: plan.range.from.micros(),
        to: plan.range.to.micros(),
        generation: workspace.generation,
        cut: cut.map(|cut| (cut.cut, cut.core_time)),
        keys: (0..).map_while(|at| row.get(&format!("k{at}")).cloned()).collect(),
    };
    let page = plan.page.page(read.rows, place)?;
    let shown = page.items.iter().map(|row| shown(desk, workspace, plan, row));
    let mut items = shown.collect::<Result<Vec<_>, _>>()?;
    if plan.dimensions.is_empty() {
        items.push(Row { cells: numbers(plan, &totals, workspace.currency)? });
    }
    let delayed = read.delayed.into_iter().map(|row| Delayed {
        edge: id_text::<EdgeKind>(&row.edge_hex),
        since: instant(row.since_us),
        events: row.events,
    });
    Ok(Report {
        items,
        totals: Row { cells: numbers(plan, &totals, workspace.currency)? },
        from: plan.zone.show(plan.range.from),
        to: plan.zone.show(plan.range.to),
        timezone: plan.zone.name().to_owned(),
        currency: workspace.currency,
        data_through: cut.map(Cut::data_through),
        delayed: delayed.collect(),
        truncated: false,
        next_cursor: page.next_cursor,
        has_more: page.has_more,
    })
}

fn shown(desk: &Desk, workspace: &Workspace, plan: &Plan, row: &Raw) -> Result<Row, Error> {
    let catalog = desk.catalog().read();
    let mut cells = Vec::with_capacity(plan.dimensions.len() + plan.metrics.len());
    for (at, dimension) in plan.dimensions.iter().enumerate() {
        let text = row.get(&format!("d{at}")).map_or("", String::as_str);
        cells.push((dimension.name(), dimension.show(text, &plan.zone, &catalog, workspace.number)?));
    }
    cells.extend(numbers(plan, row, workspace.currency)?);
    Ok(Row { cells })
}

fn numbers(plan: &Plan, row: &Raw, currency: Currency) -> Result<Vec<(String, Value)>, Error> {
    let bases = plan.bases();
    let mut totals: Vec<(Base, i128)> = Vec::with_capacity(bases.len());
    for (at, base) in bases.into_iter().enumerate() {
        let text = row.get(&format!("m{at}")).map_or("0", String::as_str);
        let total = text.parse().map_err(|_| Error::Internal(format!("a report's total: {text:?}")))?;
        totals.push((base, total));
    }
    let number = |base: Base| totals.iter().find(|(known, _)| *known == base).map_or(0, |(_, total)| *total);
    let cell = |metric: &Metric| Ok((metric.name().to_owned(), metric.show(number, currency)?));
    plan.metrics.iter().map(cell).collect()
}
