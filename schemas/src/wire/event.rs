//! Events on the wire.

use bytes::Bytes;
use prost::Message;

use super::pb_events as pb;
use super::{
    EVENT_VERSION, WireError, array, decode_versioned, id, id_bytes, optional_id, optional_id_bytes, present,
    workspace,
};
use crate::event::{
    Body, CatalogRevision, Click, Conversion, Event, Fault, Mark, StatedAmount, Status, Trust,
};
use crate::money::{Currency, Money};
use crate::time::Timestamp;

/// The bytes of an event.
pub fn encode_event(event: &Event) -> Bytes {
    event_to_pb(event).encode_to_vec().into()
}

/// The event in these bytes.
///
/// # Errors
/// [`WireError`] if the bytes are not exactly an event of a known version.
pub fn decode_event(bytes: Bytes) -> Result<Event, WireError> {
    event_from_pb(decode_versioned(bytes, EVENT_VERSION, |event: &pb::Event| event.version)?)
}

pub(super) fn event_to_pb(event: &Event) -> pb::Event {
    pb::Event {
        version: EVENT_VERSION,
        id: id_bytes(event.id),
        workspace: event.workspace.get(),
        mark: event.mark.map(mark_to_pb),
        received_at: event.received_at.micros(),
        catalog: Some(catalog_to_pb(event.catalog)),
        body: Some(match &event.body {
            Body::Click(click) => pb::event::Body::Click(click_to_pb(click)),
            Body::Conversion(conversion) => pb::event::Body::Conversion(conversion_to_pb(conversion)),
            Body::Tick => pb::event::Body::Tick(pb::Tick {}),
        }),
    }
}

pub(super) fn event_from_pb(event: pb::Event) -> Result<Event, WireError> {
    if event.version != EVENT_VERSION {
        return Err(WireError::UnknownVersion(event.version));
    }
    let mark = event.mark.as_ref().map(mark_from_pb).transpose()?;
    let body = match present(event.body, "body")? {
        pb::event::Body::Click(click) => Body::Click(Box::new(click_from_pb(click)?)),
        pb::event::Body::Conversion(conversion) => {
            Body::Conversion(Box::new(conversion_from_pb(conversion)?))
        }
        pb::event::Body::Tick(pb::Tick {}) => Body::Tick,
    };
    if mark.is_none() != (body == Body::Tick) {
        return Err(WireError::Impossible("mark"));
    }
    Ok(Event {
        id: id(&event.id, "id")?,
        workspace: workspace(event.workspace)?,
        mark,
        received_at: Timestamp::from_micros(event.received_at),
        catalog: catalog_from_pb(present(event.catalog, "catalog")?),
        body,
    })
}

pub(super) fn mark_to_pb(mark: Mark) -> pb::Mark {
    pb::Mark { edge: id_bytes(mark.edge), number: mark.number }
}

pub(super) fn mark_from_pb(mark: &pb::Mark) -> Result<Mark, WireError> {
    Ok(Mark { edge: id(&mark.edge, "mark")?, number: mark.number })
}

pub(super) fn catalog_to_pb(catalog: CatalogRevision) -> pb::CatalogRevision {
    pb::CatalogRevision { number: catalog.number, hash: catalog.hash }
}

pub(super) fn catalog_from_pb(catalog: pb::CatalogRevision) -> CatalogRevision {
    CatalogRevision { number: catalog.number, hash: catalog.hash }
}

pub(super) fn click_to_pb(click: &Click) -> pb::Click {
    pb::Click {
        id: id_bytes(click.id),
        link: optional_id_bytes(click.link),
        offer: id_bytes(click.offer),
        partner: optional_id_bytes(click.partner),
        campaign: optional_id_bytes(click.campaign),
        visitor: optional_id_bytes(click.visitor),
        creative: click.creative.clone(),
        subs: click.subs.clone(),
        source_id: click.source_id.clone(),
        ext_click_id: click.ext_click_id.clone(),
        params: click
            .params
            .iter()
            .map(|(name, value)| pb::Parameter { name: name.clone(), value: value.clone() })
            .collect(),
        labels: click.labels.clone(),
        referrer: click.referrer.clone(),
        user_agent: click.user_agent.clone(),
        address: click.address.clone(),
        destination_url: click.destination_url.clone(),
        test: click.test,
        occurred_at: click.occurred_at.micros(),
    }
}

pub(super) fn click_from_pb(click: pb::Click) -> Result<Click, WireError> {
    if click.subs.len() > 10 {
        return Err(WireError::Impossible("subs"));
    }
    Ok(Click {
        id: id(&click.id, "click.id")?,
        link: optional_id(&click.link, "click.link")?,
        offer: id(&click.offer, "click.offer")?,
        partner: optional_id(&click.partner, "click.partner")?,
        campaign: optional_id(&click.campaign, "click.campaign")?,
        visitor: optional_id(&click.visitor, "click.visitor")?,
        creative: click.creative,
        subs: click.subs,
        source_id: click.source_id,
        ext_click_id: click.ext_click_id,
        params: click.params.into_iter().map(|parameter| (parameter.name, parameter.value)).collect(),
        labels: click.labels,
        referrer: click.referrer,
        user_agent: click.user_agent,
        address: click.address,
        destination_url: click.destination_url,
        test: click.test,
        occurred_at: Timestamp::from_micros(click.occurred_at),
    })
}

pub(super) fn conversion_to_pb(conversion: &Conversion) -> pb::Conversion {
    pb::Conversion {
        goal: conversion.goal.clone(),
        click: optional_id_bytes(conversion.click),
        visitor: optional_id_bytes(conversion.visitor),
        customer_id: conversion.customer_id.clone(),
        email_sha256: conversion.email_sha256.map(|hash| Bytes::copy_from_slice(&hash)).unwrap_or_default(),
        coupon: conversion.coupon.clone(),
        partner: optional_id_bytes(conversion.partner),
        offer: optional_id_bytes(conversion.offer),
        transaction_id: conversion.transaction_id.clone(),
        client_event_id: conversion.client_event_id.clone(),
        amount: conversion
            .amount
            .map(|money| pb::Money { micros: money.micros, currency: money.currency.code().to_owned() }),
        stated_amount: conversion.stated_amount.as_ref().map(|stated| match stated {
            StatedAmount::Decimal(text) => pb::conversion::StatedAmount::StatedDecimal(text.clone()),
            StatedAmount::Minor(minor) => pb::conversion::StatedAmount::StatedMinor(*minor),
        }),
        status: conversion.status.map_or(pb::Status::Unspecified, status_to_pb).into(),
        source: optional_id_bytes(conversion.source),
        trust: trust_to_pb(conversion.trust).into(),
        metadata: conversion.metadata.clone(),
        occurred_at: conversion.occurred_at.micros(),
        labels: conversion.labels.clone(),
        test: conversion.test,
        fault: conversion.fault.as_ref().map(|fault| pb::Fault {
            reason: fault.reason.clone(),
            field: fault.field.clone(),
            message: fault.message.clone(),
        }),
    }
}

pub(super) fn conversion_from_pb(conversion: pb::Conversion) -> Result<Conversion, WireError> {
    Ok(Conversion {
        status: optional_status_from_pb(conversion.status)?,
        trust: trust_from_pb(conversion.trust)?,
        click: optional_id(&conversion.click, "conversion.click")?,
        visitor: optional_id(&conversion.visitor, "conversion.visitor")?,
        email_sha256: if conversion.email_sha256.is_empty() {
            None
        } else {
            Some(array(&conversion.email_sha256, "conversion.email_sha256")?)
        },
        partner: optional_id(&conversion.partner, "conversion.partner")?,
        offer: optional_id(&conversion.offer, "conversion.offer")?,
        amount: conversion.amount.map(money_from_pb).transpose()?,
        stated_amount: conversion.stated_amount.map(|stated| match stated {
            pb::conversion::StatedAmount::StatedDecimal(text) => StatedAmount::Decimal(text),
            pb::conversion::StatedAmount::StatedMinor(minor) => StatedAmount::Minor(minor),
        }),
        source: optional_id(&conversion.source, "conversion.source")?,
        goal: conversion.goal,
        customer_id: conversion.customer_id,
        coupon: conversion.coupon,
        transaction_id: conversion.transaction_id,
        client_event_id: conversion.client_event_id,
        metadata: conversion.metadata,
        occurred_at: Timestamp::from_micros(conversion.occurred_at),
        labels: conversion.labels,
        test: conversion.test,
        fault: conversion.fault.map(|fault| Fault {
            reason: fault.reason,
            field: fault.field,
            message: fault.message,
        }),
    })
}

fn money_from_pb(money: pb::Money) -> Result<Money, WireError> {
    let currency = Currency::from_code(&money.currency).map_err(|_| WireError::Impossible("currency"))?;
    Ok(Money { micros: money.micros, currency })
}

pub(super) fn status_to_pb(status: Status) -> pb::Status {
    match status {
        Status::Pending => pb::Status::Pending,
        Status::Hold => pb::Status::Hold,
        Status::Approved => pb::Status::Approved,
        Status::Rejected => pb::Status::Rejected,
        Status::Reversed => pb::Status::Reversed,
        Status::Paid => pb::Status::Paid,
    }
}

pub(super) fn optional_status_from_pb(status: i32) -> Result<Option<Status>, WireError> {
    let status = pb::Status::try_from(status).map_err(|_| WireError::Impossible("status"))?;
    Ok(match status {
        pb::Status::Unspecified => None,
        pb::Status::Pending => Some(Status::Pending),
        pb::Status::Hold => Some(Status::Hold),
        pb::Status::Approved => Some(Status::Approved),
        pb::Status::Rejected => Some(Status::Rejected),
        pb::Status::Reversed => Some(Status::Reversed),
        pb::Status::Paid => Some(Status::Paid),
    })
}

fn trust_to_pb(trust: Trust) -> pb::Trust {
    match trust {
        Trust::Secret => pb::Trust::Secret,
        Trust::Token => pb::Trust::Token,
        Trust::Publishable => pb::Trust::Publishable,
        Trust::Open => pb::Trust::Open,
    }
}

fn trust_from_pb(trust: i32) -> Result<Trust, WireError> {
    match pb::Trust::try_from(trust).map_err(|_| WireError::Impossible("trust"))? {
        pb::Trust::Unspecified => Err(WireError::Impossible("trust")),
        pb::Trust::Secret => Ok(Trust::Secret),
        pb::Trust::Token => Ok(Trust::Token),
        pb::Trust::Publishable => Ok(Trust::Publishable),
        pb::Trust::Open => Ok(Trust::Open),
    }
}
