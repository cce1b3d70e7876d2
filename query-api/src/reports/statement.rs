//! A plan as SQL: the aggregates of the tables that take part, put together and grouped once more.

use super::dimension::{Dimension, Form, has};
use super::metric::{Base, Formula};
use super::plan::{Plan, Sort, SortBy};
use crate::error::Error;
use crate::filter::Field;
use crate::sql::{KeyPart, Select, Statement, Table, Tenant, Values, beyond};

/// Ratios are compared as integers: the quotient times this.
const RATIO_SCALE: &str = "1000000000000";

/// A part of the order of rows, and how its value travels in a cursor.
struct Key {
    part: KeyPart,
    form: Form,
}

/// The statement of one page of rows: columns `d0…` (dimensions), `m0…` (bases), `k0…` (sort keys), all text.
pub(crate) fn rows(plan: &Plan, bases: &[Base], tenant: Tenant) -> Result<Statement, Error> {
    let mut values = Values::of(tenant.generation);
    let keys = keys(plan, bases);
    let mut condition = String::new();
    if let Some(place) = &plan.after {
        let foreign = || Error::invalid("cursor", "is not a cursor of this query");
        if place.keys.len() != keys.len() {
            return Err(foreign());
        }
        let bound = keys.iter().zip(&place.keys).map(|(key, text)| key.form.bind(text, &mut values));
        let places = bound.collect::<Option<Vec<_>>>().ok_or_else(foreign)?;
        let parts: Vec<_> = keys.iter().map(|key| key.part.clone()).collect();
        condition = format!(" WHERE {}", beyond(&parts, &places));
    }
    let dimensions = plan.dimensions.iter().enumerate();
    let columns = dimensions
        .map(|(at, dimension)| format!("{} AS d{at}", dimension.form().output(&format!("g{at}"))))
        .chain((0..bases.len()).map(|at| format!("toString(t{at}) AS m{at}")))
        .chain(
            keys.iter()
                .enumerate()
                .map(|(at, key)| format!("{} AS k{at}", key.form.output(&key.part.expression))),
        );
    let text = format!(
        "SELECT {} FROM ({}){condition} ORDER BY {} LIMIT {}",
        columns.collect::<Vec<_>>().join(", "),
        groups(plan, &plan.dimensions, bases, tenant, &mut values),
        keys.iter().map(|key| key.part.order()).collect::<Vec<_>>().join(", "),
        plan.page.limit(),
    );
    Ok(values.statement("report", text))
}

/// The statement of the totals, over all rows: one row with the columns `m0…`.
pub(crate) fn totals(plan: &Plan, bases: &[Base], tenant: Tenant) -> Statement {
    let mut values = Values::of(tenant.generation);
    let columns: Vec<_> = (0..bases.len()).map(|at| format!("toString(t{at}) AS m{at}")).collect();
    let groups = groups(plan, &[], bases, tenant, &mut values);
    let text = format!("SELECT {} FROM ({groups})", columns.join(", "));
    values.statement("report_totals", text)
}

/// The tables of reports, in the order in which people come to convert.
const TABLES: [Table; 3] = [Table::Impressions, Table::Clicks, Table::Revisions];

/// One row a group: `g0…` (dimensions) and `t0…` (bases).
///
/// A table whose numbers nobody asked for takes no part: its groups would be rows of nothing.
fn groups(
    plan: &Plan,
    dimensions: &[Dimension],
    bases: &[Base],
    tenant: Tenant,
    values: &mut Values,
) -> String {
    let names = (0..dimensions.len()).map(|at| format!("g{at}"));
    let sums = (0..bases.len()).map(|at| format!("sum(p{at}) AS t{at}"));
    let has_part = |table: Table| {
        bases.iter().any(|base| base.is_in(table)) && (table == Table::Revisions || !leaves_hits_out(plan))
    };
    let mut tables: Vec<Table> = TABLES.into_iter().filter(|table| has_part(*table)).collect();
    if tables.is_empty() {
        tables.push(Table::Revisions);
    }
    let parts = tables.into_iter().map(|table| match table {
        Table::Revisions => revisions(plan, dimensions, bases, tenant, values),
        Table::Clicks
        | Table::Impressions
        | Table::Credits
        | Table::Outcomes
        | Table::Conversions
        | Table::ConversionVersions => hits(plan, table, dimensions, bases, tenant, values),
    });
    format!(
        "SELECT {} FROM ({}){}",
        names.chain(sums).collect::<Vec<_>>().join(", "),
        parts.collect::<Vec<_>>().join(" UNION ALL "),
        group_by(dimensions.len()),
    )
}

/// Whether the report is cut by what hits do not have, and filtered on it as well: then no row of it, and so no total,
/// has any hit.
fn leaves_hits_out(plan: &Plan) -> bool {
    plan.filters.iter().any(|filter| {
        is_of_conversions(filter.field) && plan.dimensions.contains(&Dimension::Field(filter.field))
    })
}

/// Whether conversions have the field and hits do not.
const fn is_of_conversions(field: Field) -> bool {
    !has(Table::Clicks, field)
}

/// The expressions of the bases over rows of this table: `p0…` (parts of the sums).
fn parts_of_sums(plan: &Plan, table: Table, bases: &[Base], values: &mut Values) -> Vec<String> {
    let currency = values.bind("String", plan.currency.code());
    let cost = format!("sumIf(toInt128(cost), cost_currency = {currency})");
    let parts = bases.iter().enumerate();
    parts.map(|(at, base)| format!("{} AS p{at}", base.over(table, plan.gross, &cost))).collect()
}

/// One row a group of clicks or impressions: `g0…` and `p0…`.
fn hits(
    plan: &Plan,
    table: Table,
    dimensions: &[Dimension],
    bases: &[Base],
    tenant: Tenant,
    values: &mut Values,
) -> String {
    let named = dimensions.iter().enumerate();
    let mut columns: Vec<_> =
        named.map(|(at, dimension)| format!("{} AS g{at}", dimension.over(table, &plan.offsets))).collect();
    columns.extend(parts_of_sums(plan, table, bases, values));
    let mut conditions = conditions(plan, |field| has(table, field), values);
    // What impressions never have cannot be what a filter asks for.
    let lacking =
        plan.filters.iter().filter(|filter| !has(table, filter.field) && !is_of_conversions(filter.field));
    conditions.extend(lacking.map(|filter| filter.condition(filter.field.nothing(), values)));
    Select { columns, table, conditions, tail: group_by(dimensions.len()) }.text(tenant, values)
}

/// One row a group of revisions: `g0…` and `p0…`.
///
/// Where the status matters, revisions are first put together to conversions, whose status is that of the last one: a
/// revision tells by how much the sums change, not what they were under the status before.
fn revisions(
    plan: &Plan,
    dimensions: &[Dimension],
    bases: &[Base],
    tenant: Tenant,
    values: &mut Values,
) -> String {
    let is_status = |dimension: &Dimension| *dimension == Dimension::Field(Field::Status);
    let needs_status =
        dimensions.iter().any(is_status) || plan.filters.iter().any(|filter| filter.field == Field::Status);
    let mut columns = Vec::new();
    let mut groups = Vec::new();
    for (at, dimension) in dimensions.iter().enumerate() {
        if is_status(dimension) {
            columns.push(format!("{LAST_STATUS} AS g{at}"));
        } else {
            columns.push(format!("{} AS g{at}", dimension.over(Table::Revisions, &plan.offsets)));
            groups.push(format!("g{at}"));
        }
    }
    columns.extend(parts_of_sums(plan, Table::Revisions, bases, values));
    if needs_status {
        columns.push(format!("{LAST_STATUS} AS last_status"));
        groups.push("conversion".to_owned());
    }
    let tail = if groups.is_empty() { String::new() } else { format!("GROUP BY {}", groups.join(", ")) };
    let conditions = conditions(plan, |field| field != Field::Status, values);
    let join = clicked(plan, dimensions, tenant, values);
    let text = Select { columns, table: Table::Revisions, conditions, tail }.joined(&join, tenant, values);
    if !needs_status {
        return text;
    }
    let outer = (0..dimensions.len()).map(|at| format!("g{at}"));
    let outer = outer.chain((0..bases.len()).map(|at| format!("p{at}")));
    let on_status = plan.filters.iter().filter(|filter| filter.field == Field::Status);
    let on_status: Vec<_> = on_status.map(|filter| filter.condition("last_status", values)).collect();
    let condition = if on_status.is_empty() { "1".to_owned() } else { on_status.join(" AND ") };
    format!("SELECT {} FROM ({text}) WHERE {condition}", outer.collect::<Vec<_>>().join(", "))
}

/// The status that a conversion's revisions leave it in. A row that takes it from somebody leaves it to them as it was.
const LAST_STATUS: &str = "argMax(toString(if(is_taken, status_before, status)), (version, NOT is_taken))";

/// The join that gives revisions what they have only from their click; empty where nothing of it is asked for.
///
/// A click may lie long before the range, so it is looked up by the ids in the revisions of the range.
fn clicked(plan: &Plan, dimensions: &[Dimension], tenant: Tenant, values: &mut Values) -> String {
    let of_dimensions = dimensions.iter().filter_map(|dimension| match dimension {
        Dimension::Field(field) => Some(*field),
        Dimension::Time(_) => None,
    });
    let of_filters = plan.filters.iter().map(|filter| filter.field);
    if !of_dimensions.chain(of_filters).any(Field::is_of_click) {
        return String::new();
    }
    let in_range = conditions(plan, |_| false, values);
    let ids = Select {
        columns: vec!["click".to_owned()],
        table: Table::Revisions,
        conditions: in_range,
        tail: String::new(),
    }
    .text(tenant, values);
    let clicks = Select {
        columns: CLICKED.iter().map(|column| (*column).to_owned()).collect(),
        table: Table::Clicks,
        conditions: vec![format!("id IN ({ids})")],
        tail: String::new(),
    }
    .text(tenant, values);
    format!(" LEFT ANY JOIN ({clicks}) AS clicked USING (click)")
}

/// What a revision takes from its click.
const CLICKED: [&str; 12] = [
    "id AS click",
    "country",
    "region",
    "city",
    "device",
    "os",
    "browser",
    "language",
    "referrer",
    "params",
    "rule",
    "variant",
];

/// Range, test rows, and those filters that the table understands.
fn conditions(plan: &Plan, understands: impl Fn(Field) -> bool, values: &mut Values) -> Vec<String> {
    let from = values.bind_time(plan.range.from.micros());
    let to = values.bind_time(plan.range.to.micros());
    let mut conditions =
        vec![format!("occurred_at >= {from} AND occurred_at < {to}"), plan.test.condition().to_owned()];
    let filters = plan.filters.iter().filter(|filter| understands(filter.field));
    conditions.extend(filters.map(|filter| filter.condition(&filter.field.column(), values)));
    conditions
}

fn group_by(dimensions: usize) -> String {
    if dimensions == 0 {
        return String::new();
    }
    let names: Vec<_> = (0..dimensions).map(|at| format!("g{at}")).collect();
    format!(" GROUP BY {}", names.join(", "))
}

/// The order of rows: the keys asked for, and then every other dimension, so that no two rows are equal.
fn keys(plan: &Plan, bases: &[Base]) -> Vec<Key> {
    let asked = plan.sort.iter().map(|key| key.by);
    let rest = (0..plan.dimensions.len())
        .map(SortBy::Dimension)
        .filter(|by| !asked.clone().any(|asked| asked == *by));
    let rest = rest.map(|by| Sort { by, descends: false });
    plan.sort.iter().copied().chain(rest).flat_map(|sort| parts(plan, bases, sort)).collect()
}

/// What a sort key compares; what has no value stands last in both directions.
fn parts(plan: &Plan, bases: &[Base], sort: Sort) -> Vec<Key> {
    let key =
        |expression: String, descends: bool, form: Form| Key { part: KeyPart { expression, descends }, form };
    let total = |base: Base| format!("t{}", bases.iter().position(|known| *known == base).unwrap_or(0));
    match sort.by {
        SortBy::Dimension(at) => {
            let name = format!("g{at}");
            let Some(dimension) = plan.dimensions.get(at) else { return Vec::new() };
            let nothing =
                dimension.nothing().map(|nothing| key(format!("({name} = {nothing})"), false, Form::Flag));
            nothing.into_iter().chain([key(name, sort.descends, dimension.form())]).collect()
        }
        SortBy::Metric(metric) => match metric.formula() {
            Formula::Plain(base) => vec![key(total(base), sort.descends, Form::Integer("Int128"))],
            Formula::Ratio(ratio) => {
                let (above, below) = (total(ratio.above), total(ratio.below));
                let quotient = format!(
                    "intDiv(toInt256({above}) * {RATIO_SCALE}, toInt256(if({below} = 0, 1, {below})))"
                );
                vec![
                    key(format!("({below} = 0)"), false, Form::Flag),
                    key(
                        format!("if({below} = 0, toInt256(0), {quotient})"),
                        sort.descends,
                        Form::Integer("Int256"),
                    ),
                ]
            }
        },
    }
}
