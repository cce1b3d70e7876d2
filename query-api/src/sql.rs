//! Where SQL is put together: every value is bound, and no rows are read but those of one tenant.

use schemas::generation::Generation;
use schemas::hex;
use schemas::id::WorkspaceNumber;

/// Whose rows, of which tables, and how far: a workspace, its log partition, a generation, and its last finished cut. [`Select`] cannot be written
/// without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tenant {
    /// The workspace.
    pub(crate) workspace: WorkspaceNumber,
    /// The log partition that holds all its facts.
    pub(crate) partition: u32,
    /// The generation whose tables are read. All of one answer comes from one.
    pub(crate) generation: Generation,
    /// The last cut whose rows may be read. A sink writes table after table: rows beyond the last finished cut may be in
    /// one table and not yet in the next.
    pub(crate) cut: u64,
}

/// A table, and how its rows are bound to a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// Clicks.
    Clicks,
    /// Impressions.
    Impressions,
    /// Every revision of every conversion.
    Revisions,
    /// The touches of every revision.
    Credits,
    /// How events ended.
    Outcomes,
    /// Conversions as they are now. It has no cuts: the sink writes it before the other tables of a cut, so a list may
    /// show a conversion up to one cut before a report counts it.
    Conversions,
    /// Conversions in every version that the engine has not merged away yet.
    ConversionVersions,
}

impl Table {
    const fn source(self) -> &'static str {
        match self {
            Self::Clicks => "clicks",
            Self::Impressions => "impressions",
            Self::Revisions => "conversion_revisions",
            Self::Credits => "credits",
            Self::Outcomes => "outcomes",
            Self::Conversions => "conversions FINAL",
            Self::ConversionVersions => "conversions",
        }
    }

    const fn has_cuts(self) -> bool {
        match self {
            Self::Clicks | Self::Impressions | Self::Revisions | Self::Credits | Self::Outcomes => true,
            Self::Conversions | Self::ConversionVersions => false,
        }
    }
}

/// A statement with its bound values, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Names the query in metrics.
    pub(crate) name: &'static str,
    /// The generation whose tables it reads.
    pub(crate) generation: Generation,
    /// The text, with `{name:Type}` where values go.
    pub(crate) text: String,
    /// The values.
    pub(crate) values: Vec<(String, String)>,
}

/// The values of a statement under construction.
#[derive(Debug)]
pub(crate) struct Values {
    generation: Generation,
    values: Vec<(String, String)>,
}

impl Values {
    /// None yet, for the tables of this generation.
    pub(crate) const fn of(generation: Generation) -> Self {
        Self { generation, values: Vec::new() }
    }

    /// Binds a value; the answer stands for it in the text.
    pub(crate) fn bind(&mut self, kind: &str, value: impl ToString) -> String {
        let name = format!("v{}", self.values.len());
        let place = format!("{{{name}:{kind}}}");
        self.values.push((name, value.to_string()));
        place
    }

    /// Binds the sixteen bytes of an id.
    pub(crate) fn bind_id(&mut self, id: &[u8; 16]) -> String {
        let place = self.bind("String", hex::encode(id));
        format!("toFixedString(unhex({place}), 16)")
    }

    /// Binds an instant.
    pub(crate) fn bind_time(&mut self, micros: i64) -> String {
        let place = self.bind("Int64", micros);
        format!("fromUnixTimestamp64Micro({place}, 'UTC')")
    }

    /// The finished statement.
    pub(crate) fn statement(self, name: &'static str, text: String) -> Statement {
        Statement { name, generation: self.generation, text, values: self.values }
    }
}

/// A `SELECT` of one tenant's rows.
#[derive(Debug, Clone)]
pub(crate) struct Select {
    /// What is selected.
    pub(crate) columns: Vec<String>,
    /// From where.
    pub(crate) table: Table,
    /// Which of the tenant's rows, joined by and.
    pub(crate) conditions: Vec<String>,
    /// `GROUP BY`, `ORDER BY`, `LIMIT`.
    pub(crate) tail: String,
}

impl Select {
    /// The text, the tenant's values bound.
    pub(crate) fn text(&self, tenant: Tenant, values: &mut Values) -> String {
        self.joined("", tenant, values)
    }

    /// The text with a join behind the table. What is joined is a `SELECT` of the same tenant's, and names no column as
    /// this table does but those it is joined by.
    pub(crate) fn joined(&self, join: &str, tenant: Tenant, values: &mut Values) -> String {
        let mut text = format!(
            "SELECT {} FROM {}{join} WHERE workspace = {}",
            self.columns.join(", "),
            self.table.source(),
            values.bind("UInt32", tenant.workspace.get())
        );
        if self.table.has_cuts() {
            let partition = values.bind("UInt32", tenant.partition);
            let cut = values.bind("UInt64", tenant.cut);
            text.push_str(&format!(" AND log_partition = {partition} AND cut <= {cut}"));
        }
        for condition in &self.conditions {
            text.push_str(&format!(" AND ({condition})"));
        }
        if !self.tail.is_empty() {
            text.push(' ');
            text.push_str(&self.tail);
        }
        text
    }
}

/// The last finished cut of a log partition, and the time up to which it counts. Cuts belong to no workspace.
pub(crate) fn last_cut(generation: Generation, partition: u32) -> Statement {
    let mut values = Values::of(generation);
    let partition = values.bind("UInt32", partition);
    let text = format!(
        "SELECT cut, toUnixTimestamp64Micro(core_time) AS core_time FROM cuts WHERE log_partition = {partition} \
         ORDER BY log_partition DESC, cut DESC LIMIT 1"
    );
    values.statement("last_cut", text)
}

/// The edges that hold events of a log partition back, the one that began first first. Edges belong to no workspace, and
/// what they hold is newer than any cut.
pub(crate) fn delayed(generation: Generation, partition: u32, limit: usize) -> Statement {
    let mut values = Values::of(generation);
    let partition = values.bind("UInt32", partition);
    let text = format!(
        "SELECT lower(hex(edge)) AS edge_hex, toUnixTimestamp64Micro(since) AS since_us, events FROM delayed FINAL \
         WHERE log_partition = {partition} AND events > 0 ORDER BY since, edge LIMIT {limit}"
    );
    values.statement("delayed", text)
}

/// One side of a keyset: an expression, its direction, and the bound value at which the page before ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyPart {
    /// The expression.
    pub(crate) expression: String,
    /// Whether large values come first.
    pub(crate) descends: bool,
}

impl KeyPart {
    /// The part of an `ORDER BY`.
    pub(crate) fn order(&self) -> String {
        format!("{} {}", self.expression, if self.descends { "DESC" } else { "ASC" })
    }
}

/// The condition of what comes after `places` in the order of `parts`.
pub(crate) fn beyond(parts: &[KeyPart], places: &[String]) -> String {
    let mut equal = String::new();
    let mut alternatives = Vec::with_capacity(parts.len());
    for (part, place) in parts.iter().zip(places) {
        let sign = if part.descends { '<' } else { '>' };
        alternatives.push(format!("({equal}{} {sign} {place})", part.expression));
        equal.push_str(&format!("{} = {place} AND ", part.expression));
    }
    alternatives.join(" OR ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_select_is_bound_to_its_tenant_and_holds_no_value() {
        let (workspace, generation) = (WorkspaceNumber::new(7).unwrap(), Generation::FIRST.next());
        let tenant = Tenant { workspace, partition: 3, generation, cut: 9 };
        let mut values = Values::of(tenant.generation);
        let evil = values.bind("String", "x' OR 1=1 --");
        let select = Select {
            columns: vec!["count()".to_owned()],
            table: Table::Clicks,
            conditions: vec![format!("creative = {evil} OR 1")],
            tail: "LIMIT 1".to_owned(),
        };
        let text = select.text(tenant, &mut values);
        let statement = values.statement("test", text);
        assert_eq!(
            statement.text,
            "SELECT count() FROM clicks WHERE workspace = {v1:UInt32} AND log_partition = {v2:UInt32} \
             AND cut <= {v3:UInt64} AND (creative = {v0:String} OR 1) LIMIT 1"
        );
        assert_eq!(statement.generation, generation);
        let bound: Vec<_> = statement.values.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(bound, ["x' OR 1=1 --", "7", "3", "9"]);
    }

    #[test]
    fn a_keyset_compares_part_by_part() {
        let part = |expression: &str, descends| KeyPart { expression: expression.to_owned(), descends };
        let text =
            beyond(&[part("a", true), part("b", false)], &["{v0:Int64}".to_owned(), "{v1:Int64}".to_owned()]);
        assert_eq!(text, "(a < {v0:Int64}) OR (a = {v0:Int64} AND b > {v1:Int64})");
    }
}
