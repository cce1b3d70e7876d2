//! `GET /api/v1/reports`.

mod dimension;
mod metric;
mod plan;
mod statement;

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use schemas::money::Currency;
use schemas::time::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::auth::{Allowed, Read};
use crate::error::Error;
use crate::params::Params;
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
    /// Edges that hold spooled events; none of them reports that here yet.
    delayed: [(); 0],
    truncated: bool,
    #[serde(rename = "nextCursor")]
    next_cursor: Option<String>,
    #[serde(rename = "hasMore")]
    has_more: bool,
}

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
    let cut = match &plan.after {
        Some(place) => place.cut(),
        None => desk.last_cut(&workspace).await?,
    };
    let tenant = workspace.up_to(cut);
    let bases = plan.bases();
    // Both are read up to the same cut: the totals are those of the rows.
    let totals = desk.fetch::<Raw>(statement::totals(&plan, &bases, tenant));
    let (totals, rows) = if plan.dimensions.is_empty() {
        (totals.await?, Vec::new())
    } else {
        tokio::try_join!(totals, desk.fetch::<Raw>(statement::rows(&plan, &bases, tenant)?))?
    };
    answer(&desk, &workspace, &plan, cut, totals, rows).map(Json)
}

fn answer(
    desk: &Desk,
    workspace: &Workspace,
    plan: &Plan,
    cut: Option<Cut>,
    totals: Vec<Raw>,
    rows: Vec<Raw>,
) -> Result<Report, Error> {
    let totals = totals.into_iter().next().unwrap_or_default();
    let place = |row: &Raw| Place {
        from: plan.range.from.micros(),
        to: plan.range.to.micros(),
        cut: cut.map(|cut| (cut.cut, cut.core_time)),
        keys: (0..).map_while(|at| row.get(&format!("k{at}")).cloned()).collect(),
    };
    let page = plan.page.page(rows, place)?;
    let shown = page.items.iter().map(|row| shown(desk, workspace, plan, row));
    let mut items = shown.collect::<Result<Vec<_>, _>>()?;
    if plan.dimensions.is_empty() {
        items.push(Row { cells: numbers(plan, &totals, workspace.currency)? });
    }
    Ok(Report {
        items,
        totals: Row { cells: numbers(plan, &totals, workspace.currency)? },
        from: plan.zone.show(plan.range.from),
        to: plan.zone.show(plan.range.to),
        timezone: plan.zone.name().to_owned(),
        currency: workspace.currency,
        data_through: cut.map(Cut::data_through),
        delayed: [],
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
