//! What the raw lists have in common: a window of time, filters, and keyset pages by (`occurred_at`, `id`).

use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::auth::Caller;
use crate::error::Error;
use crate::filter::{self, Field, Filter};
use crate::page::PageRequest;
use crate::params::Params;
use crate::sql::{Select, Statement, Table, Tenant, Values, unhex};
use crate::state::Desk;
use crate::test_rows::TestRows;

/// Operators on `occurred_at`, and their signs.
const TIME_OPERATORS: [(&str, &str); 4] = [
    ("occurred_at[gte]", ">="),
    ("occurred_at[gt]", ">"),
    ("occurred_at[lt]", "<"),
    ("occurred_at[lte]", "<="),
];

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

    /// The statement of the wanted page.
    pub(crate) fn page(&self, list: &List, tenant: Tenant) -> Result<Statement, Error> {
        let mut values = Values::default();
        let mut conditions = vec![list.test.condition().to_owned()];
        for (sign, time) in &list.times {
            let time = values.bind_time(time.micros());
            conditions.push(format!("occurred_at {sign} {time}"));
        }
        for filter in &list.filters {
            conditions.push(filter.condition(&filter.field.column(), &mut values));
        }
        let (sign, order) = if list.ascends { ('>', "ASC") } else { ('<', "DESC") };
        if let Some(place) = &list.after {
            let id =
                unhex(&place.id).ok_or_else(|| Error::invalid("cursor", "is not a cursor of this query"))?;
            let (at, id) = (values.bind_time(place.at), values.bind_id(&id));
            // The first term is what the primary key can use; the tuple alone reads everything.
            conditions.push(format!("occurred_at {sign}= {at} AND (occurred_at, id) {sign} ({at}, {id})"));
        }
        let tail = format!("ORDER BY occurred_at {order}, id {order} LIMIT {}", list.page.limit());
        Ok(self.statement(conditions, tail, tenant, values))
    }

    /// The statement of the row with this id.
    pub(crate) fn one(&self, id: &[u8; 16], tenant: Tenant) -> Statement {
        let mut values = Values::default();
        let id = values.bind_id(id);
        self.statement(vec![format!("id = {id}")], "LIMIT 1".to_owned(), tenant, values)
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
