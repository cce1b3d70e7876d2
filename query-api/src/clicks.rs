//! `GET /api/v1/clicks`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use schemas::id::{ClickKind, EventKind, VisitorKind};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::auth::{Allowed, Read};
use crate::error::Error;
use crate::filter::Field;
use crate::list::{Place, Shape};
use crate::page::Page;
use crate::params::Params;
use crate::reference::{Named, Referent, id_text};
use crate::show::{Subs, instant, named, text};
use crate::sql::Table;
use crate::state::Desk;

const SHAPE: Shape = Shape {
    name: "clicks",
    table: Table::Clicks,
    columns: &[
        "lower(hex(id)) AS id_hex",
        "lower(hex(receipt)) AS receipt_hex",
        "lower(hex(link)) AS link_hex",
        "lower(hex(offer)) AS offer_hex",
        "lower(hex(partner)) AS partner_hex",
        "lower(hex(campaign)) AS campaign_hex",
        "lower(hex(visitor)) AS visitor_hex",
        "creative",
        "source_id",
        "ext_click_id",
        "subs",
        "params",
        "labels",
        "counted",
        "referrer",
        "destination_url",
        "toUnixTimestamp64Micro(occurred_at) AS occurred_us",
        "toUnixTimestamp64Micro(received_at) AS received_us",
        "test",
    ],
    has: has_field,
};

const fn has_field(field: Field) -> bool {
    match field {
        Field::Id(
            Referent::Offer | Referent::Partner | Referent::Campaign | Referent::Link | Referent::Visitor,
        )
        | Field::Creative
        | Field::SourceId
        | Field::Sub(_) => true,
        Field::Id(Referent::Source | Referent::Click)
        | Field::Goal
        | Field::Status
        | Field::TransactionId
        | Field::CustomerId => false,
    }
}

#[derive(Debug, Deserialize)]
struct Row {
    id_hex: String,
    receipt_hex: String,
    link_hex: String,
    offer_hex: String,
    partner_hex: String,
    campaign_hex: String,
    visitor_hex: String,
    creative: String,
    source_id: String,
    ext_click_id: String,
    subs: Vec<String>,
    params: BTreeMap<String, String>,
    labels: Vec<String>,
    counted: bool,
    referrer: String,
    destination_url: String,
    occurred_us: i64,
    received_us: i64,
    test: bool,
}

/// A click of the list.
#[derive(Debug, Serialize)]
pub(crate) struct Click {
    id: Option<String>,
    receipt: Option<String>,
    link: Option<Named>,
    offer: Option<Named>,
    partner: Option<Named>,
    campaign: Option<Named>,
    creative: Option<String>,
    source_id: Option<String>,
    ext_click_id: Option<String>,
    #[serde(flatten)]
    subs: Subs,
    visitor_id: Option<String>,
    params: BTreeMap<String, String>,
    labels: Vec<String>,
    counted: bool,
    referrer: Option<String>,
    destination_url: Option<String>,
    occurred_at: Option<Timestamp>,
    received_at: Option<Timestamp>,
    test: bool,
}

pub(crate) async fn list(
    caller: Allowed<Read>,
    State(desk): State<Desk>,
    params: Params,
) -> Result<Json<Page<Click>>, Error> {
    let workspace = desk.workspace(caller.workspace)?;
    let list = SHAPE.read(params, &caller, &desk)?;
    let cut = desk.last_cut(&workspace).await?;
    let rows: Vec<Row> = SHAPE.rows(&desk, &list, workspace.up_to(cut)).await?;
    let page = list.page.page(rows, |row| Place { at: row.occurred_us, id: row.id_hex.clone() })?;
    let catalog = desk.catalog().read();
    Ok(Json(page.map(|row| {
        let named = |referent, digits: &str| named(referent, digits, &catalog, workspace.number);
        Click {
            id: id_text::<ClickKind>(&row.id_hex),
            receipt: id_text::<EventKind>(&row.receipt_hex),
            link: named(Referent::Link, &row.link_hex),
            offer: named(Referent::Offer, &row.offer_hex),
            partner: named(Referent::Partner, &row.partner_hex),
            campaign: named(Referent::Campaign, &row.campaign_hex),
            creative: text(row.creative),
            source_id: text(row.source_id),
            ext_click_id: text(row.ext_click_id),
            subs: Subs::new(row.subs),
            visitor_id: id_text::<VisitorKind>(&row.visitor_hex),
            params: row.params,
            labels: row.labels,
            counted: row.counted,
            referrer: text(row.referrer),
            destination_url: text(row.destination_url),
            occurred_at: instant(row.occurred_us),
            received_at: instant(row.received_us),
            test: row.test,
        }
    })))
}
