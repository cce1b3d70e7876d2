//! What the raw lists have in common: a window of time, filters, and keyset pages by (`occurred_at`, `id`).

use schemas::hex;
use schemas::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::auth::Caller;
use crate::error::Error;
use crate::filter::{self, Field, Filter};
use crate::page::PageRequest;
use crate::params::Params;
use crate::sql::{Select, Statement, Table, Tenant, Values};
use crate::state::Desk;
use crate::test_rows::TestRows;

/// Operators on `occurred_at`, and their signs.
const TIME_OPERATORS: [(&str, &str); 4] = [
    ("occurred_at[gte]", ">="),
    ("occurred_at[gt]", ">"),
    ("occurred_at[lt]", "<"),
    ("occurred_at[lte]", "<="),
];

/// `FINAL` reads a whole workspace to answer one page (250 ms for a million conversions); bound to a window of time
/// it takes what a page should. These windows, in keys, are tried before the whole.
const WINDOWS: [u64; 2] = [1_024, 32_768];

/// A list as it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct List {
    pub(crate) page: PageRequest,
    ascends: bool,
    test: TestRows,
    times: Vec<(&'static str, Timestamp)>,
    filters: Vec<Filter>,
    after: Option<Place>,
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The last row's `occurred_at`, in microseconds.
    pub(crate) at: i64,
    /// The last row's id, in hexadecimal digits.
    pub(crate) id: String,
}

/// A part of a list's range: how many rows it has, and the instant at which it ends.
#[derive(Debug, Deserialize)]
struct Window {
    keys: u64,
    edge: i64,
}

impl List {
    const fn order(&self) -> &'static str {
        if self.ascends { "ASC" } else { "DESC" }
    }

    /// The conditions on time and place alone.
    fn range(&self, values: &mut Values) -> Result<Vec<String>, Error> {
        let mut conditions = Vec::new();
        for (sign, time) in &self.times {
            let time = values.bind_time(time.micros());
            conditions.push(format!("occurred_at {sign} {time}"));
        }
        if let Some(place) = &self.after {
            let foreign = || Error::invalid("cursor", "is not a cursor of this query");
            let id = hex::decode(&place.id).ok_or_else(foreign)?;
            let (at, id) = (values.bind_time(place.at), values.bind_id(&id));
            let sign = if self.ascends { '>' } else { '<' };
            // The first term is what the primary key can use; the tuple alone reads everything.
            conditions.push(format!("occurred_at {sign}= {at} AND (occurred_at, id) {sign} ({at}, {id})"));
        }
        Ok(conditions)
    }
}

/// A table as a list.
pub(crate) struct Shape {
    /// Names the list in cursors and its query in metrics.
    pub(crate) name: &'static str,
    /// The table.
    pub(crate) table: Table,
    /// What is selected.
    pub(crate) columns: &'static [&'static str],
    /// Which fields can be filtered on.
    pub(crate) has: fn(Field) -> bool,
}

impl Shape {
    /// Reads the parameters of this list.
    pub(crate) fn read(&self, mut params: Params, caller: &Caller, desk: &Desk) -> Result<List, Error> {
        let page = PageRequest::new(&mut params, self.name, caller.workspace)?;
        let after: Option<Place> = page.after()?;
        let ascends = match params.take("sort")?.as_deref() {
            None | Some("-occurred_at") => false,
            Some("occurred_at") => true,
            Some(_) => return Err(Error::invalid("sort", "must be occurred_at or -occurred_at")),
        };
        let test = TestRows::take(&mut params)?;
        let mut times = Vec::new();
        for (name, sign) in TIME_OPERATORS {
            times.extend(params.take_time(name)?.map(|time| (sign, time)));
        }
        let filters = filter::take(&mut params, &desk.catalog().read(), caller.workspace, self.has)?;
        params.finish()?;
        Ok(List { page, ascends, test, times, filters, after })
    }

    /// The rows of the wanted page, and one more if there is one.
    pub(crate) async fn rows<T: DeserializeOwned>(
        &self,
        desk: &Desk,
        list: &List,
        tenant: Tenant,
    ) -> Result<Vec<T>, Error> {
        let windows = if self.table == Table::Conversions { &WINDOWS[..] } else { &[] };
        for keys in windows {
            let window: Vec<Window> = desk.fetch(self.window(list, *keys, tenant)?).await?;
            let Some(window) = window.first().filter(|window| window.keys == *keys) else { break };
            let rows = desk.fetch(self.page(list, Some(window.edge), tenant)?).await?;
            if rows.len() >= list.page.limit() {
                return Ok(rows);
            }
        }
        desk.fetch(self.page(list, None, tenant)?).await
    }

    /// The statement of a page; `edge` is the last instant that it may look at.
    fn page(&self, list: &List, edge: Option<i64>, tenant: Tenant) -> Result<Statement, Error> {
        let mut values = Values::of(tenant.generation);
        let mut conditions = list.range(&mut values)?;
        if let Some(edge) = edge {
            let edge = values.bind_time(edge);
            conditions.push(format!("occurred_at {}= {edge}", if list.ascends { '<' } else { '>' }));
        }
        conditions.push(list.test.condition().to_owned());
        for filter in &list.filters {
            conditions.push(filter.condition(&filter.field.column(), &mut values));
        }
        let order = list.order();
        let tail = format!("ORDER BY occurred_at {order}, id {order} LIMIT {}", list.page.limit());
        Ok(self.statement(conditions, tail, tenant, values))
    }

    /// The statement of the window that holds the next `keys` rows, filters and versions apart.
    fn window(&self, list: &List, keys: u64, tenant: Tenant) -> Result<Statement, Error> {
        let mut values = Values::of(tenant.generation);
        let inner = Select {
            columns: vec!["occurred_at".to_owned()],
            table: Table::ConversionVersions,
            conditions: list.range(&mut values)?,
            tail: format!("ORDER BY occurred_at {} LIMIT {keys}", list.order()),
        }
        .text(tenant, &mut values);
        let edge = if list.ascends { "max" } else { "min" };
        let text = format!(
            "SELECT count() AS keys, toUnixTimestamp64Micro({edge}(occurred_at)) AS edge FROM ({inner})"
        );
        Ok(values.statement("window", text))
    }

    /// The statement of the row with this id.
    pub(crate) fn one(&self, id: &[u8; 16], tenant: Tenant) -> Statement {
        let mut values = Values::of(tenant.generation);
        let id = values.bind_id(id);
        let versions = Self { table: Table::ConversionVersions, ..*self };
        let tail = "ORDER BY version DESC LIMIT 1".to_owned();
        versions.statement(vec![format!("id = {id}")], tail, tenant, values)
    }

    fn statement(
        &self,
        conditions: Vec<String>,
        tail: String,
        tenant: Tenant,
        mut values: Values,
    ) -> Statement {
        let columns = self.columns.iter().map(|column| (*column).to_owned()).collect();
        let text = Select { columns, table: self.table, conditions, tail }.text(tenant, &mut values);
        values.statement(self.name, text)
    }
}
