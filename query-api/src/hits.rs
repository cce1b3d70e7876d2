//! `GET /api/v1/clicks` and `/impressions`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use catalog::Catalog;
use schemas::id::{ClickKind, EventKind, ImpressionKind, RuleKind, VisitorKind, WorkspaceNumber};
use schemas::money::Money;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::auth::{Allowed, Read};
use crate::error::Error;
use crate::filter::Field;
use crate::list::{Place, Shape};
use crate::page::Page;
use crate::params::Params;
use crate::reference::{Named, Referent, id_text};
use crate::show::{Subs, instant, money, named, text};
use crate::sql::Table;
use crate::state::Desk;

/// The columns of both tables; those of clicks alone stand behind them.
const COLUMNS: [&str; 33] = [
    "lower(hex(id)) AS id_hex",
    "lower(hex(receipt)) AS receipt_hex",
    "lower(hex(link)) AS link_hex",
    "lower(hex(offer)) AS offer_hex",
    "lower(hex(partner)) AS partner_hex",
    "lower(hex(campaign)) AS campaign_hex",
    "lower(hex(visitor)) AS visitor_hex",
    "creative",
    "source_id",
    "subs",
    "params",
    "labels",
    "counted",
    "referrer",
    "user_agent",
    "address",
    "language",
    "browser",
    "os",
    "device",
    "country",
    "region",
    "city",
    "cost",
    "cost_currency",
    "toUnixTimestamp64Micro(occurred_at) AS occurred_us",
    "toUnixTimestamp64Micro(received_at) AS received_us",
    "test",
    "ext_click_id",
    "destination_url",
    "lower(hex(rule)) AS rule_hex",
    "rule_version",
    "variant",
];
/// How many of the columns are of clicks alone.
const OF_CLICKS: usize = 5;

const CLICKS: Shape = Shape { name: "clicks", table: Table::Clicks, columns: &COLUMNS, has: clicks_have };
const IMPRESSIONS: Shape = Shape {
    name: "impressions",
    table: Table::Impressions,
    columns: COLUMNS.split_at(COLUMNS.len() - OF_CLICKS).0,
    has: impressions_have,
};

const fn clicks_have(field: Field) -> bool {
    match field {
        Field::Id(Referent::Rule) | Field::Variant => true,
        Field::Id(_)
        | Field::Creative
        | Field::SourceId
        | Field::Sub(_)
        | Field::Label
        | Field::Client(_)
        | Field::Goal
        | Field::Status
        | Field::TransactionId
        | Field::CustomerId => impressions_have(field),
    }
}

const fn impressions_have(field: Field) -> bool {
    match field {
        Field::Id(
            Referent::Offer | Referent::Partner | Referent::Campaign | Referent::Link | Referent::Visitor,
        )
        | Field::Creative
        | Field::SourceId
        | Field::Sub(_)
        | Field::Label
        | Field::Client(_) => true,
        Field::Id(Referent::Source | Referent::Click | Referent::Rule)
        | Field::Variant
        | Field::Goal
        | Field::Status
        | Field::TransactionId
        | Field::CustomerId => false,
    }
}

/// A row of either table.
#[derive(Debug, Deserialize)]
struct HitRow {
    id_hex: String,
    receipt_hex: String,
    link_hex: String,
    offer_hex: String,
    partner_hex: String,
    campaign_hex: String,
    visitor_hex: String,
    creative: String,
    source_id: String,
    subs: Vec<String>,
    params: BTreeMap<String, String>,
    labels: Vec<String>,
    counted: bool,
    referrer: String,
    user_agent: String,
    address: String,
    language: String,
    browser: String,
    os: String,
    device: String,
    country: String,
    region: String,
    city: String,
    cost: i64,
    cost_currency: String,
    occurred_us: i64,
    received_us: i64,
    test: bool,
}

#[derive(Debug, Deserialize)]
struct ClickRow {
    #[serde(flatten)]
    hit: HitRow,
    ext_click_id: String,
    destination_url: String,
    rule_hex: String,
    rule_version: u64,
    variant: u32,
}

/// What clicks and impressions have in common.
#[derive(Debug, Serialize)]
pub(crate) struct Hit {
    id: Option<String>,
    receipt: Option<String>,
    link: Option<Named>,
    offer: Option<Named>,
    partner: Option<Named>,
    campaign: Option<Named>,
    creative: Option<String>,
    source_id: Option<String>,
    #[serde(flatten)]
    subs: Subs,
    visitor_id: Option<String>,
    params: BTreeMap<String, String>,
    labels: Vec<String>,
    counted: bool,
    referrer: Option<String>,
    user_agent: Option<String>,
    address: Option<String>,
    language: Option<String>,
    browser: Option<String>,
    os: Option<String>,
    device: Option<String>,
    country: Option<String>,
    region: Option<String>,
    city: Option<String>,
    cost: Option<Money>,
    occurred_at: Option<Timestamp>,
    received_at: Option<Timestamp>,
    test: bool,
}

/// A click of the list.
#[derive(Debug, Serialize)]
pub(crate) struct Click {
    #[serde(flatten)]
    hit: Hit,
    ext_click_id: Option<String>,
    destination_url: Option<String>,
    /// The rule of the smart link that chose, the link's version that had it, and the target's place in it.
    rule: Option<String>,
    rule_version: Option<u64>,
    variant: Option<u32>,
}

impl HitRow {
    fn place(&self) -> Place {
        Place { at: self.occurred_us, id: self.id_hex.clone() }
    }

    /// The hit as answers show it; `id` is its id, whose kind depends on the table.
    fn show(self, id: Option<String>, catalog: &Catalog, workspace: WorkspaceNumber) -> Hit {
        let named = |referent, digits: &str| named(referent, digits, catalog, workspace);
        Hit {
            id,
            receipt: id_text::<EventKind>(&self.receipt_hex),
            link: named(Referent::Link, &self.link_hex),
            offer: named(Referent::Offer, &self.offer_hex),
            partner: named(Referent::Partner, &self.partner_hex),
            campaign: named(Referent::Campaign, &self.campaign_hex),
            creative: text(self.creative),
            source_id: text(self.source_id),
            subs: Subs::new(self.subs),
            visitor_id: id_text::<VisitorKind>(&self.visitor_hex),
            params: self.params,
            labels: self.labels,
            counted: self.counted,
            referrer: text(self.referrer),
            user_agent: text(self.user_agent),
            address: text(self.address),
            language: text(self.language),
            browser: text(self.browser),
            os: text(self.os),
            device: text(self.device),
            country: text(self.country),
            region: text(self.region),
            city: text(self.city),
            cost: money(self.cost, &self.cost_currency),
            occurred_at: instant(self.occurred_us),
            received_at: instant(self.received_us),
            test: self.test,
        }
    }
}

/// Answers `/clicks`.
pub(crate) async fn clicks(
    caller: Allowed<Read>,
    State(desk): State<Desk>,
    params: Params,
) -> Result<Json<Page<Click>>, Error> {
    let workspace = desk.workspace(caller.workspace)?;
    let list = CLICKS.read(params, &caller, &desk)?;
    let cut = desk.last_cut(&workspace).await?;
    let rows: Vec<ClickRow> = CLICKS.rows(&desk, &list, workspace.up_to(cut)).await?;
    let page = list.page.page(rows, |row| row.hit.place())?;
    let catalog = desk.catalog().read();
    Ok(Json(page.map(|row| {
        let rule = id_text::<RuleKind>(&row.rule_hex);
        Click {
            ext_click_id: text(row.ext_click_id),
            destination_url: text(row.destination_url),
            rule_version: rule.is_some().then_some(row.rule_version),
            variant: rule.is_some().then_some(row.variant),
            rule,
            hit: {
                let id = id_text::<ClickKind>(&row.hit.id_hex);
                row.hit.show(id, &catalog, workspace.number)
            },
        }
    })))
}

/// Answers `/impressions`.
pub(crate) async fn impressions(
    caller: Allowed<Read>,
    State(desk): State<Desk>,
    params: Params,
) -> Result<Json<Page<Hit>>, Error> {
    let workspace = desk.workspace(caller.workspace)?;
    let list = IMPRESSIONS.read(params, &caller, &desk)?;
    let cut = desk.last_cut(&workspace).await?;
    let rows: Vec<HitRow> = IMPRESSIONS.rows(&desk, &list, workspace.up_to(cut)).await?;
    let page = list.page.page(rows, HitRow::place)?;
    let catalog = desk.catalog().read();
    Ok(Json(page.map(|row| {
        let id = id_text::<ImpressionKind>(&row.id_hex);
        row.show(id, &catalog, workspace.number)
    })))
}
