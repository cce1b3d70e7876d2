//! `GET /api/v1/conversions`, `/{id}`, `/{id}/history` and `/{id}/explain`; `POST /{id}/transitions`.

mod explain;
mod history;
mod transition;

use axum::Json;
use axum::extract::{Path, State};
use schemas::id::{ClickKind, ConversionId, ConversionKind, VisitorKind, WorkspaceNumber};
use schemas::money::Money;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::auth::{Allowed, Read};
use crate::error::Error;
use crate::list::{Place, Shape};
use crate::page::Page;
use crate::params::Params;
use crate::reference::{Named, Referent, id_text};
use crate::show::{Subs, instant, money, named, text};
use crate::sql::Table;
use crate::state::Desk;
use crate::store::Workspace;

pub(crate) use explain::explain;
pub(crate) use history::history;
pub(crate) use transition::transition;

const SHAPE: Shape = Shape {
    name: "conversions",
    table: Table::Conversions,
    columns: &[
        "lower(hex(id)) AS id_hex",
        "version",
        "status",
        "reason",
        "stated_reason",
        "goal",
        "lower(hex(offer)) AS offer_hex",
        "lower(hex(partner)) AS partner_hex",
        "lower(hex(campaign)) AS campaign_hex",
        "lower(hex(link)) AS link_hex",
        "lower(hex(source)) AS source_hex",
        "lower(hex(click)) AS click_hex",
        "lower(hex(visitor)) AS visitor_hex",
        "customer_id",
        "coupon",
        "transaction_id",
        "original_amount",
        "original_currency",
        "refunded",
        "amount",
        "amount_known",
        "revenue",
        "payout",
        "currency",
        "creative",
        "source_id",
        "subs",
        "labels",
        "metadata",
        "identified_by",
        "payout_rule",
        "rate_from",
        "rate_date",
        "rate",
        "toUnixTimestamp64Micro(click_at) AS click_us",
        "toUnixTimestamp64Micro(occurred_at) AS occurred_us",
        "toUnixTimestamp64Micro(received_at) AS received_us",
        "toUnixTimestamp64Micro(updated_at) AS updated_us",
        "test",
    ],
    has: |field| !field.is_of_click(),
};

#[derive(Debug, Deserialize)]
struct Row {
    id_hex: String,
    version: u32,
    status: String,
    reason: String,
    stated_reason: String,
    goal: String,
    offer_hex: String,
    partner_hex: String,
    campaign_hex: String,
    link_hex: String,
    source_hex: String,
    click_hex: String,
    visitor_hex: String,
    customer_id: String,
    coupon: String,
    transaction_id: String,
    original_amount: i64,
    refunded: i64,
    original_currency: String,
    amount: i64,
    amount_known: bool,
    revenue: i64,
    payout: i64,
    currency: String,
    creative: String,
    source_id: String,
    subs: Vec<String>,
    labels: Vec<String>,
    metadata: String,
    identified_by: String,
    payout_rule: String,
    rate_from: Vec<String>,
    rate_date: Vec<String>,
    rate: Vec<String>,
    click_us: i64,
    occurred_us: i64,
    received_us: i64,
    updated_us: i64,
    test: bool,
}

/// A conversion as it is now.
#[derive(Debug, Serialize)]
pub(crate) struct Conversion {
    id: Option<String>,
    status: String,
    reason: Option<String>,
    event: String,
    offer: Option<Named>,
    partner: Option<Named>,
    campaign: Option<Named>,
    link: Option<Named>,
    source: Option<Named>,
    click_id: Option<String>,
    visitor_id: Option<String>,
    customer_id: Option<String>,
    coupon: Option<String>,
    transaction_id: Option<String>,
    amount: Option<Money>,
    amount_workspace: Option<Money>,
    revenue: Option<Money>,
    payout: Option<Money>,
    refunded: Option<Money>,
    creative: Option<String>,
    source_id: Option<String>,
    #[serde(flatten)]
    subs: Subs,
    labels: Vec<String>,
    metadata: Map<String, Value>,
    click_at: Option<Timestamp>,
    occurred_at: Option<Timestamp>,
    received_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    version: u32,
    test: bool,
}

impl Row {
    fn show(self, catalog: &catalog::Catalog, workspace: WorkspaceNumber) -> Conversion {
        let named = |referent, digits: &str| named(referent, digits, catalog, workspace);
        Conversion {
            id: id_text::<ConversionKind>(&self.id_hex),
            status: self.status,
            // What a person says is more than the code that goes with it.
            reason: text(self.stated_reason).or_else(|| text(self.reason)),
            event: self.goal,
            offer: named(Referent::Offer, &self.offer_hex),
            partner: named(Referent::Partner, &self.partner_hex),
            campaign: named(Referent::Campaign, &self.campaign_hex),
            link: named(Referent::Link, &self.link_hex),
            source: named(Referent::Source, &self.source_hex),
            click_id: id_text::<ClickKind>(&self.click_hex),
            visitor_id: id_text::<VisitorKind>(&self.visitor_hex),
            customer_id: text(self.customer_id),
            coupon: text(self.coupon),
            transaction_id: text(self.transaction_id),
            amount: money(self.original_amount, &self.original_currency),
            amount_workspace: money(self.amount, &self.currency).filter(|_| self.amount_known),
            revenue: money(self.revenue, &self.currency),
            payout: money(self.payout, &self.currency),
            refunded: money(self.refunded, &self.original_currency),
            creative: text(self.creative),
            source_id: text(self.source_id),
            subs: Subs::new(self.subs),
            labels: self.labels,
            // The edge has checked that it is an object; what is none after all is not worth a failed list.
            metadata: serde_json::from_str(&self.metadata).unwrap_or_default(),
            click_at: instant(self.click_us),
            occurred_at: instant(self.occurred_us),
            received_at: instant(self.received_us),
            updated_at: instant(self.updated_us),
            version: self.version,
            test: self.test,
        }
    }
}

pub(crate) async fn list(
    caller: Allowed<Read>,
    State(desk): State<Desk>,
    params: Params,
) -> Result<Json<Page<Conversion>>, Error> {
    let workspace = desk.workspace(caller.workspace)?;
    let list = SHAPE.read(params, &caller, &desk)?;
    // This table has no cuts: see `Table::Conversions`.
    let rows: Vec<Row> = SHAPE.rows(&desk, &list, workspace.up_to(None)).await?;
    let page = list.page.page(rows, |row| Place { at: row.occurred_us, id: row.id_hex.clone() })?;
    let catalog = desk.catalog().read();
    Ok(Json(page.map(|row| row.show(&catalog, workspace.number))))
}

pub(crate) async fn one(
    caller: Allowed<Read>,
    State(desk): State<Desk>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Conversion>, Error> {
    params.finish()?;
    let row = find(&desk, &desk.workspace(caller.workspace)?, &id).await?;
    Ok(Json(row.show(&desk.catalog().read(), caller.workspace)))
}

/// The conversion with this id. One of another workspace is as unknown as one that never was.
async fn find(desk: &Desk, workspace: &Workspace, id: &str) -> Result<Row, Error> {
    let unknown = || Error::not_found("conversion");
    let id: ConversionId = id.parse().map_err(|_| unknown())?;
    // The bytes are those of the event that made it, and those hold the workspace's number.
    if id.workspace() != workspace.number {
        return Err(unknown());
    }
    let rows: Vec<Row> = desk.fetch(SHAPE.one(id.bytes(), workspace.up_to(None))).await?;
    rows.into_iter().next().ok_or_else(unknown)
}
