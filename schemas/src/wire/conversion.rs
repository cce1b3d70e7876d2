//! Conversions and refunds on the wire.

use bytes::Bytes;

use super::pb_events as pb;
use super::{WireError, array, optional_id, optional_id_bytes};
use crate::event::{Conversion, Fault, Nonce, Refund, StatedAmount, Status, Trust};
use crate::money::{Currency, Money};
use crate::time::Timestamp;

pub(super) fn conversion_to_pb(conversion: Conversion) -> pb::Conversion {
    pb::Conversion {
        goal: conversion.goal,
        click: optional_id_bytes(conversion.click),
        visitor: optional_id_bytes(conversion.visitor),
        customer_id: conversion.customer_id,
        email_sha256: conversion.email_sha256.map(|hash| Bytes::copy_from_slice(&hash)).unwrap_or_default(),
        coupon: conversion.coupon,
        partner: optional_id_bytes(conversion.partner),
        offer: optional_id_bytes(conversion.offer),
        transaction_id: conversion.transaction_id,
        client_event_id: conversion.client_event_id,
        amount: conversion.amount.map(money_to_pb),
        stated_amount: conversion.stated_amount.map(|stated| match stated {
            StatedAmount::Decimal(text) => pb::conversion::StatedAmount::StatedDecimal(text),
            StatedAmount::Minor(minor) => pb::conversion::StatedAmount::StatedMinor(minor),
        }),
        status: conversion.status.map_or(pb::Status::Unspecified, status_to_pb).into(),
        source: optional_id_bytes(conversion.source),
        trust: trust_to_pb(conversion.trust).into(),
        metadata: conversion.metadata,
        occurred_at: conversion.occurred_at.micros(),
        labels: conversion.labels,
        test: conversion.test,
        fault: conversion.fault.map(fault_to_pb),
        nonce: conversion.nonce.map(nonce_to_pb),
        pixel: optional_id_bytes(conversion.pixel),
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
        amount: conversion.amount.as_ref().map(money_from_pb).transpose()?,
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
        fault: conversion.fault.map(fault_from_pb),
        nonce: conversion.nonce.map(nonce_from_pb).transpose()?,
        pixel: optional_id(&conversion.pixel, "conversion.pixel")?,
    })
}

pub(super) fn refund_to_pb(refund: Refund) -> pb::Refund {
    pb::Refund {
        refund_id: refund.refund_id,
        conversion: optional_id_bytes(refund.conversion),
        transaction_id: refund.transaction_id,
        goal: refund.goal,
        source: optional_id_bytes(refund.source),
        amount: refund.amount.map(money_to_pb),
        stated_amount: refund.stated_amount.map(|stated| match stated {
            StatedAmount::Decimal(text) => pb::refund::StatedAmount::StatedDecimal(text),
            StatedAmount::Minor(minor) => pb::refund::StatedAmount::StatedMinor(minor),
        }),
        reason: refund.reason,
        trust: trust_to_pb(refund.trust).into(),
        occurred_at: refund.occurred_at.micros(),
        labels: refund.labels,
        nonce: refund.nonce.map(nonce_to_pb),
        test: refund.test,
        fault: refund.fault.map(fault_to_pb),
    }
}

pub(super) fn refund_from_pb(refund: pb::Refund) -> Result<Refund, WireError> {
    Ok(Refund {
        conversion: optional_id(&refund.conversion, "refund.conversion")?,
        source: optional_id(&refund.source, "refund.source")?,
        amount: refund.amount.as_ref().map(money_from_pb).transpose()?,
        stated_amount: refund.stated_amount.map(|stated| match stated {
            pb::refund::StatedAmount::StatedDecimal(text) => StatedAmount::Decimal(text),
            pb::refund::StatedAmount::StatedMinor(minor) => StatedAmount::Minor(minor),
        }),
        trust: trust_from_pb(refund.trust)?,
        refund_id: refund.refund_id,
        transaction_id: refund.transaction_id,
        goal: refund.goal,
        reason: refund.reason,
        occurred_at: Timestamp::from_micros(refund.occurred_at),
        labels: refund.labels,
        nonce: refund.nonce.map(nonce_from_pb).transpose()?,
        test: refund.test,
        fault: refund.fault.map(fault_from_pb),
    })
}

fn fault_to_pb(fault: Fault) -> pb::Fault {
    pb::Fault { reason: fault.reason, field: fault.field, message: fault.message }
}

fn fault_from_pb(fault: pb::Fault) -> Fault {
    Fault { reason: fault.reason, field: fault.field, message: fault.message }
}

pub(super) fn nonce_to_pb(nonce: Nonce) -> pb::Nonce {
    pb::Nonce { text: nonce.text, body_sha256: Bytes::from_owner(nonce.body_sha256) }
}

pub(super) fn nonce_from_pb(nonce: pb::Nonce) -> Result<Nonce, WireError> {
    if nonce.text.len() > Nonce::MAX_BYTES {
        return Err(WireError::Impossible("nonce.text"));
    }
    Ok(Nonce { text: nonce.text, body_sha256: array(&nonce.body_sha256, "nonce.body_sha256")? })
}

pub(super) fn money_to_pb(money: Money) -> pb::Money {
    pb::Money { micros: money.micros, currency: money.currency.code().to_owned() }
}

pub(super) fn money_from_pb(money: &pb::Money) -> Result<Money, WireError> {
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
