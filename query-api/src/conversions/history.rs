//! `GET /api/v1/conversions/{id}/history`: every revision of a conversion, who made it and why.

use axum::Json;
use axum::extract::{Path, State};
use schemas::event::Actor;
use schemas::hex;
use schemas::id::{KeyKind, SourceKind};
use schemas::money::Money;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::find;
use crate::auth::{Allowed, Read};
use crate::error::Error;
use crate::page::{Page, PageRequest};
use crate::params::Params;
use crate::reference::id_text;
use crate::show::{instant, money, text};
use crate::sql::{Select, Statement, Table, Tenant, Values};
use crate::state::Desk;

/// The id that the built-in source has in answers.
const BUILT_IN_SOURCE: &str = "default";

/// One revision.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    version: u32,
    at: Option<Timestamp>,
    actor: Who,
    request_id: Option<String>,
    change: String,
    reason: Option<String>,
    note: Option<String>,
    /// Null in version 1.
    before: Option<Standing>,
    after: Standing,
}

/// Who made it.
#[derive(Debug, Serialize)]
struct Who {
    r#type: String,
    id: Option<String>,
}

/// The values that a revision can change.
#[derive(Debug, Clone, Serialize)]
struct Standing {
    status: String,
    amount_workspace: Option<Money>,
    revenue: Option<Money>,
    payout: Option<Money>,
    refunded: Option<Money>,
}

#[derive(Debug, Deserialize)]
struct Row {
    version: u32,
    core_us: i64,
    actor_type: String,
    actor_hex: String,
    request_id: String,
    change: String,
    reason: String,
    stated_reason: String,
    refund_reason: String,
    note: String,
    status: String,
    original_currency: String,
    refunded: i64,
    amount: i64,
    amount_known: bool,
    revenue: i64,
    payout: i64,
    currency: String,
}

impl Row {
    fn standing(&self) -> Standing {
        Standing {
            status: self.status.clone(),
            amount_workspace: money(self.amount, &self.currency).filter(|_| self.amount_known),
            revenue: money(self.revenue, &self.currency),
            payout: money(self.payout, &self.currency),
            refunded: money(self.refunded, &self.original_currency),
        }
    }

    fn show(self, before: Option<Standing>) -> Item {
        let id = match self.actor_type.as_str() {
            Actor::KEY => id_text::<KeyKind>(&self.actor_hex),
            Actor::SOURCE => {
                id_text::<SourceKind>(&self.actor_hex).or_else(|| Some(BUILT_IN_SOURCE.to_owned()))
            }
            _ => None,
        };
        let after = self.standing();
        // What a person or a sender says is more than the code that goes with it.
        let said = text(self.stated_reason).or_else(|| text(self.refund_reason));
        Item {
            version: self.version,
            at: instant(self.core_us),
            actor: Who { r#type: self.actor_type, id },
            request_id: text(self.request_id),
            change: self.change,
            reason: said.or_else(|| text(self.reason)),
            note: text(self.note),
            before,
            after,
        }
    }
}

pub(crate) async fn history(
    caller: Allowed<Read>,
    State(desk): State<Desk>,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<Page<Item>>, Error> {
    let page = PageRequest::new(&mut params, &format!("history {id}"), caller.workspace)?;
    params.finish()?;
    let after: Option<u32> = page.after()?;
    let workspace = desk.workspace(caller.workspace)?;
    let conversion = find(&desk, &workspace, &id).await?;
    let cut = desk.last_cut(&workspace).await?;
    let unreadable = || Error::Internal("a conversion without an id".to_owned());
    let id = hex::decode(&conversion.id_hex).ok_or_else(unreadable)?;
    // The last revision of the page before says how the first one here began.
    let limit = page.limit() + usize::from(after.is_some());
    let statement = revisions((&id, conversion.occurred_us), after, limit, workspace.up_to(cut));
    let rows: Vec<Row> = desk.fetch(statement).await?;
    let mut before: Option<Standing> = None;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let began = before.replace(row.standing());
        if after != Some(row.version) {
            items.push(row.show(began));
        }
    }
    Ok(Json(page.page(items, |item| item.version)?))
}

/// Revisions of a conversion from a version on, in order. Its time makes the primary key find them.
fn revisions(
    (conversion, occurred_us): (&[u8; 16], i64),
    from: Option<u32>,
    limit: usize,
    tenant: Tenant,
) -> Statement {
    let mut values = Values::of(tenant.generation);
    let (at, id) = (values.bind_time(occurred_us), values.bind_id(conversion));
    let from = values.bind("UInt32", from.unwrap_or(0));
    let columns = [
        "version",
        "toUnixTimestamp64Micro(core_time) AS core_us",
        "actor_type",
        "lower(hex(actor)) AS actor_hex",
        "request_id",
        "change",
        "reason",
        "stated_reason",
        "refund_reason",
        "note",
        "status",
        "original_currency",
        "refunded",
        "amount",
        "amount_known",
        "revenue",
        "payout",
        "currency",
    ];
    let text = Select {
        columns: columns.map(str::to_owned).to_vec(),
        table: Table::Revisions,
        conditions: vec![format!(
            "occurred_at = {at} AND conversion = {id} AND version >= {from} AND NOT is_taken"
        )],
        tail: format!("ORDER BY version LIMIT {limit}"),
    }
    .text(tenant, &mut values);
    values.statement("history", text)
}
