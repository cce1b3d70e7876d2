//! `GET /api/v1/conversions/{id}/explain`: which touches were considered, why each lost, what each was credited.

use axum::Json;
use axum::extract::{Path, State};
use catalog::{Catalog, Model, PayoutRule};
use schemas::hex;
use schemas::id::{ClickKind, ImpressionKind, OfferId, PartnerId, WorkspaceNumber};
use schemas::money::{Money, Percent};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::find;
use crate::auth::{Allowed, Read};
use crate::error::Error;
use crate::params::Params;
use crate::reference::{Named, Referent, id_text};
use crate::show::{instant, money, named, text};
use crate::sql::{Select, Statement, Table, Tenant, Values};
use crate::state::Desk;

/// The most touches that the core keeps of a conversion: the first and last clicks and impressions, and the named click.
const MAX_TOUCHES: usize = 501;

/// The type of a touch that is an impression, as the sink writes it.
const IMPRESSION: &str = "impression";

/// How a conversion came to its partner and its payout.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    conversion: Option<String>,
    version: u32,
    identified_by: Option<String>,
    /// The workspace's payable model as it is now.
    model: Option<Model>,
    touches: Vec<Touch>,
    payout: Payout,
    /// The rate of the amount; where that needs none, of the payout or the revenue.
    rate: Option<Rate>,
}

/// An exchange rate that a conversion was valued by.
#[derive(Debug, Serialize)]
struct Rate {
    date: String,
    from: String,
    to: String,
    rate: String,
}

#[derive(Debug, Serialize)]
struct Touch {
    id: Option<String>,
    r#type: String,
    at: Option<Timestamp>,
    partner: Option<Named>,
    lost: Option<String>,
    credits: Credits,
}

#[derive(Debug, Serialize)]
struct Credits {
    last_touch: u16,
    first_touch: u16,
    linear: u16,
    time_decay: u16,
    position_based: u16,
}

/// Which rule gave the payout. A conversion keeps the rule's name but not its terms, and the catalog keeps only the present
/// ones: `type` and `percent` are null unless they surely are those that were applied.
#[derive(Debug, Serialize)]
struct Payout {
    rule: String,
    r#type: Option<&'static str>,
    percent: Option<Percent>,
    base: Option<Money>,
    result: Option<Money>,
}

#[derive(Debug, Deserialize)]
struct Row {
    version: u32,
    touch_hex: String,
    r#type: String,
    touched_us: i64,
    partner_hex: String,
    lost: String,
    last_touch: u16,
    first_touch: u16,
    linear: u16,
    time_decay: u16,
    position_based: u16,
}

pub(crate) async fn explain(
    caller: Allowed<Read>,
    State(desk): State<Desk>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Explanation>, Error> {
    params.finish()?;
    let workspace = desk.workspace(caller.workspace)?;
    let conversion = find(&desk, &workspace, &id).await?;
    let cut = desk.last_cut(&workspace).await?;
    let mut touches: Vec<Row> = match hex::decode(&conversion.id_hex) {
        Some(id) => desk.fetch(touches(&id, workspace.up_to(cut))).await?,
        None => Vec::new(),
    };
    // Only a revision that was attributed anew has touches of its own: the last of them holds.
    let last = touches.iter().map(|row| row.version).max();
    touches.retain(|row| Some(row.version) == last);
    let catalog = desk.catalog().read();
    let terms = terms(&catalog, workspace.number, &conversion);
    let show = |row: Row| Touch {
        id: if row.r#type == IMPRESSION {
            id_text::<ImpressionKind>(&row.touch_hex)
        } else {
            id_text::<ClickKind>(&row.touch_hex)
        },
        r#type: row.r#type,
        at: instant(row.touched_us),
        partner: named(Referent::Partner, &row.partner_hex, &catalog, workspace.number),
        lost: text(row.lost),
        credits: Credits {
            last_touch: row.last_touch,
            first_touch: row.first_touch,
            linear: row.linear,
            time_decay: row.time_decay,
            position_based: row.position_based,
        },
    };
    let mut parts = conversion.rate_date.into_iter().zip(conversion.rate_from).zip(conversion.rate);
    let to = conversion.currency.clone();
    let rate = parts.next().map(|((date, from), rate)| Rate { date, from, to, rate });
    Ok(Json(Explanation {
        conversion: id_text::<schemas::id::ConversionKind>(&conversion.id_hex),
        version: conversion.version,
        identified_by: text(conversion.identified_by),
        model: catalog.workspace(workspace.number).map(|workspace| workspace.attribution.payable_model),
        touches: touches.into_iter().map(show).collect(),
        payout: Payout {
            r#type: terms.map(|(word, _)| word),
            percent: terms.and_then(|(_, percent)| percent),
            rule: conversion.payout_rule,
            base: money(conversion.amount, &conversion.currency).filter(|_| conversion.amount_known),
            result: money(conversion.payout, &conversion.currency),
        },
        rate,
    }))
}

/// The terms of the rule that the conversion was paid by, if they cannot have been others: those of an offer or a partner that
/// was never changed.
fn terms(
    catalog: &Catalog,
    workspace: WorkspaceNumber,
    conversion: &super::Row,
) -> Option<(&'static str, Option<Percent>)> {
    let rule = PayoutRule::from_word(&conversion.payout_rule)?;
    let offer = catalog.offer(workspace, OfferId::from_bytes(hex::decode(&conversion.offer_hex)?))?;
    let partner = catalog.partner(workspace, PartnerId::from_bytes(hex::decode(&conversion.partner_hex)?))?;
    let holder = match rule {
        PayoutRule::PartnerOfferGoal | PayoutRule::PartnerOffer => &partner.meta,
        PayoutRule::OfferGoal => &offer.meta,
    };
    let payout = rule.payout(offer, partner, &conversion.goal).filter(|_| holder.version == 1)?;
    Some(match payout {
        catalog::Payout::None => ("none", None),
        catalog::Payout::Fixed(_) => ("fixed", None),
        catalog::Payout::Percent(percent) => ("percent", Some(percent)),
    })
}

/// The touches of the conversion's latest revisions, in the order in which they happened.
fn touches(conversion: &[u8; 16], tenant: Tenant) -> Statement {
    let mut values = Values::of(tenant.generation);
    let id = values.bind_id(conversion);
    let columns = [
        "version",
        "lower(hex(touch)) AS touch_hex",
        "type",
        "toUnixTimestamp64Micro(touched_at) AS touched_us",
        "lower(hex(partner)) AS partner_hex",
        "lost",
        "last_touch",
        "first_touch",
        "linear",
        "time_decay",
        "position_based",
    ];
    let text = Select {
        columns: columns.map(str::to_owned).to_vec(),
        table: Table::Credits,
        conditions: vec![format!("conversion = {id}")],
        tail: format!("ORDER BY version DESC, touched_at, touch LIMIT {MAX_TOUCHES}"),
    }
    .text(tenant, &mut values);
    values.statement("credits", text)
}
