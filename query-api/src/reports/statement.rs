//! A plan as SQL: the aggregates of both tables, put together and grouped once more.

use super::dimension::{Dimension, Form};
use super::metric::{Base, Metric};
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
    let mut values = Values::default();
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
    let mut values = Values::default();
    let columns: Vec<_> = (0..bases.len()).map(|at| format!("toString(t{at}) AS m{at}")).collect();
    let groups = groups(plan, &[], bases, tenant, &mut values);
    let text = format!("SELECT {} FROM ({groups})", columns.join(", "));
    values.statement("report_totals", text)
}

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
    let has_clicks = bases.iter().any(|base| base.counts_clicks()) && !leaves_clicks_out(plan);
    let has_revisions = !has_clicks || bases.iter().any(|base| !base.counts_clicks());
    let clicks = has_clicks.then(|| clicks(plan, dimensions, bases, tenant, values));
    let revisions = has_revisions.then(|| revisions(plan, dimensions, bases, tenant, values));
    format!(
        "SELECT {} FROM ({}){}",
        names.chain(sums).collect::<Vec<_>>().join(", "),
        clicks.into_iter().chain(revisions).collect::<Vec<_>>().join(" UNION ALL "),
        group_by(dimensions.len()),
    )
}

/// Whether the report is cut by what clicks do not have, and filtered on it as well: then no row of it, and so no total,
/// has any click.
fn leaves_clicks_out(plan: &Plan) -> bool {
    plan.filters.iter().any(|filter| {
        is_of_conversions(filter.field) && plan.dimensions.contains(&Dimension::Field(filter.field))
    })
}

/// Whether conversions have the field and clicks do not.
const fn is_of_conversions(field: Field) -> bool {
    matches!(field, Field::Goal | Field::Status)
}

/// One row a group of clicks: `g0…` and `p0…` (parts of the sums).
fn clicks(
    plan: &Plan,
    dimensions: &[Dimension],
    bases: &[Base],
    tenant: Tenant,
    values: &mut Values,
) -> String {
    let columns = dimensions
        .iter()
        .enumerate()
        .map(|(at, dimension)| format!("{} AS g{at}", dimension.of_click(&plan.offsets)))
        .chain(bases.iter().enumerate().map(|(at, base)| format!("{} AS p{at}", base.of_clicks(plan.gross))));
    Select {
        columns: columns.collect(),
        table: Table::Clicks,
        conditions: conditions(plan, |field| !is_of_conversions(field), values),
        tail: group_by(dimensions.len()),
    }
    .text(tenant, values)
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
            columns.push(format!("argMax(toString(status), version) AS g{at}"));
        } else {
            columns.push(format!("{} AS g{at}", dimension.of_revision(&plan.offsets)));
            groups.push(format!("g{at}"));
        }
    }
    columns.extend(bases.iter().enumerate().map(|(at, base)| format!("{} AS p{at}", base.of_revisions())));
    if needs_status {
        columns.push("argMax(toString(status), version) AS last_status".to_owned());
        groups.push("conversion".to_owned());
    }
    let tail = if groups.is_empty() { String::new() } else { format!("GROUP BY {}", groups.join(", ")) };
    let conditions = conditions(plan, |field| field != Field::Status, values);
    let text = Select { columns, table: Table::Revisions, conditions, tail }.text(tenant, values);
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
        SortBy::Metric(Metric::Plain(base)) => vec![key(total(base), sort.descends, Form::Integer("Int128"))],
        SortBy::Metric(metric) => {
            let Some((above, below)) = metric.ratio() else { return Vec::new() };
            let (above, below) = (total(above), total(below));
            let quotient =
                format!("intDiv(toInt256({above}) * {RATIO_SCALE}, toInt256(if({below} = 0, 1, {below})))");
            vec![
                key(format!("({below} = 0)"), false, Form::Flag),
                key(
                    format!("if({below} = 0, toInt256(0), {quotient})"),
                    sort.descends,
                    Form::Integer("Int256"),
                ),
            ]
        }
    }
}
