//! Revisions of conversions on the wire.

use bytes::Bytes;
use jiff::civil::Date;

use super::cap::{place_from_pb, place_to_pb};
use super::command::{actor_from_pb, actor_to_pb};
use super::conversion::{conversion_from_pb, conversion_to_pb, optional_status_from_pb, status_to_pb};
use super::pb_facts as pb;
use super::{WireError, array, id, id_bytes, optional_id, optional_id_bytes, present, workspace};
use crate::fact::{
    AppliedRate, AppliedRefund, Attributed, Cause, Change, Credits, DecidedBy, Gross, Lost, Revision, Touch,
    TouchId, Values,
};
use crate::money::{Currency, ExchangeRate};
use crate::time::{Timestamp, parse_date};

pub(super) fn revision_to_pb(revision: &Revision, touches: &[Touch]) -> pb::Revision {
    pb::Revision {
        conversion: id_bytes(revision.conversion),
        workspace: revision.workspace.get(),
        version: revision.version,
        event: id_bytes(revision.event),
        change: match revision.change {
            Change::Recorded => pb::Change::Recorded,
            Change::Status => pb::Change::Status,
            Change::Refund => pb::Change::Refund,
            Change::Report => pb::Change::Report,
            Change::Attribution => pb::Change::Attribution,
            Change::Rate => pb::Change::Rate,
        }
        .into(),
        decided_by: match revision.decided_by {
            DecidedBy::Beginning => pb::DecidedBy::Beginning,
            DecidedBy::Course => pb::DecidedBy::Course,
            DecidedBy::Report => pb::DecidedBy::Report,
            DecidedBy::Person => pb::DecidedBy::Person,
        }
        .into(),
        reason: revision.reason.clone(),
        received: Some(conversion_to_pb(revision.received.clone())),
        dedupe_key: Bytes::copy_from_slice(&revision.dedupe_key),
        attributed: Some(attributed_to_pb(&revision.attributed)),
        attributed_before: revision.attributed_before.as_deref().map(attributed_to_pb),
        rates: revision.rates.iter().map(rate_to_pb).collect(),
        lacks_rates_of: revision.lacks_rates_of.iter().map(|currency| currency.code().to_owned()).collect(),
        hold_until: revision.hold_until.map(Timestamp::micros),
        identified_by: revision.identified_by.clone(),
        payout_rule: revision.payout_rule.clone(),
        before: revision.before.map(values_to_pb),
        after: Some(values_to_pb(revision.after)),
        touches: touches.iter().map(touch_to_pb).collect(),
        received_at: revision.received_at.micros(),
        recorded_at: revision.recorded_at.micros(),
        gross: Some(pb::Gross {
            revenue: revision.gross.revenue_micros,
            payout: revision.gross.payout_micros,
        }),
        refund: revision.refund.as_ref().map(refund_to_pb),
        counted_in: revision.counted_in.iter().copied().map(place_to_pb).collect(),
        cause: Some(cause_to_pb(&revision.cause)),
    }
}

pub(super) fn revision_from_pb(revision: pb::Revision) -> Result<Revision, WireError> {
    let change = pb::Change::try_from(revision.change).map_err(|_| WireError::Impossible("change"))?;
    Ok(Revision {
        conversion: id(&revision.conversion, "conversion")?,
        workspace: workspace(revision.workspace)?,
        version: revision.version,
        event: id(&revision.event, "revision.event")?,
        change: match change {
            pb::Change::Unspecified => return Err(WireError::Impossible("change")),
            pb::Change::Recorded => Change::Recorded,
            pb::Change::Status => Change::Status,
            pb::Change::Refund => Change::Refund,
            pb::Change::Report => Change::Report,
            pb::Change::Attribution => Change::Attribution,
            pb::Change::Rate => Change::Rate,
        },
        decided_by: decided_by_from_pb(revision.decided_by)?,
        reason: revision.reason,
        received: conversion_from_pb(present(revision.received, "received")?)?,
        dedupe_key: array(&revision.dedupe_key, "dedupe_key")?,
        attributed: attributed_from_pb(present(revision.attributed, "attributed")?)?,
        attributed_before: revision.attributed_before.map(attributed_from_pb).transpose()?.map(Box::new),
        rates: revision.rates.iter().map(rate_from_pb).collect::<Result<_, _>>()?,
        lacks_rates_of: revision
            .lacks_rates_of
            .iter()
            .map(|code| currency_from(code))
            .collect::<Result<_, _>>()?,
        hold_until: revision.hold_until.map(Timestamp::from_micros),
        identified_by: revision.identified_by,
        payout_rule: revision.payout_rule,
        before: revision.before.map(values_from_pb).transpose()?,
        after: values_from_pb(present(revision.after, "after")?)?,
        touches: revision.touches.into_iter().map(touch_from_pb).collect::<Result<_, _>>()?,
        received_at: Timestamp::from_micros(revision.received_at),
        recorded_at: Timestamp::from_micros(revision.recorded_at),
        gross: gross_from_pb(&present(revision.gross, "gross")?),
        refund: revision.refund.map(refund_from_pb),
        counted_in: revision.counted_in.iter().map(place_from_pb).collect::<Result<_, _>>()?,
        cause: cause_from_pb(present(revision.cause, "cause")?)?,
    })
}

fn decided_by_from_pb(decided_by: i32) -> Result<DecidedBy, WireError> {
    match pb::DecidedBy::try_from(decided_by) {
        Ok(pb::DecidedBy::Beginning) => Ok(DecidedBy::Beginning),
        Ok(pb::DecidedBy::Course) => Ok(DecidedBy::Course),
        Ok(pb::DecidedBy::Report) => Ok(DecidedBy::Report),
        Ok(pb::DecidedBy::Person) => Ok(DecidedBy::Person),
        Ok(pb::DecidedBy::Unspecified) | Err(_) => Err(WireError::Impossible("decided_by")),
    }
}

fn cause_to_pb(cause: &Cause) -> pb::Cause {
    pb::Cause {
        actor: Some(actor_to_pb(cause.actor)),
        request_id: cause.request_id.clone(),
        reason: cause.reason.clone(),
        note: cause.note.clone(),
    }
}

fn cause_from_pb(cause: pb::Cause) -> Result<Cause, WireError> {
    Ok(Cause {
        actor: actor_from_pb(&present(cause.actor, "cause.actor")?)?,
        request_id: cause.request_id,
        reason: cause.reason,
        note: cause.note,
    })
}

fn rate_to_pb(rate: &AppliedRate) -> pb::AppliedRate {
    pb::AppliedRate {
        from: rate.from.code().to_owned(),
        to: rate.to.code().to_owned(),
        date: rate.date.to_string(),
        rate: rate.rate.to_string(),
    }
}

fn rate_from_pb(rate: &pb::AppliedRate) -> Result<AppliedRate, WireError> {
    Ok(AppliedRate {
        from: currency_from(&rate.from)?,
        to: currency_from(&rate.to)?,
        date: date_from(&rate.date)?,
        rate: ExchangeRate::parse(&rate.rate).map_err(|_| WireError::Impossible("rate"))?,
    })
}

pub(super) fn currency_from(code: &str) -> Result<Currency, WireError> {
    Currency::from_code(code).map_err(|_| WireError::Impossible("currency"))
}

pub(super) fn date_from(text: &str) -> Result<Date, WireError> {
    parse_date(text).map_err(|_| WireError::Impossible("date"))
}

fn attributed_to_pb(attributed: &Attributed) -> pb::Attributed {
    pb::Attributed {
        offer: optional_id_bytes(attributed.offer),
        partner: optional_id_bytes(attributed.partner),
        campaign: optional_id_bytes(attributed.campaign),
        link: optional_id_bytes(attributed.link),
        click: optional_id_bytes(attributed.click.map(|(click, _)| click)),
        click_at: attributed.click.map_or(0, |(_, at)| at.micros()),
        visitor: optional_id_bytes(attributed.visitor),
        subs: attributed.subs.clone(),
        source_id: attributed.source_id.clone(),
        creative: attributed.creative.clone(),
        labels: attributed.labels.clone(),
    }
}

fn attributed_from_pb(attributed: pb::Attributed) -> Result<Attributed, WireError> {
    let click = optional_id(&attributed.click, "attributed.click")?;
    let click_at = Timestamp::from_micros(attributed.click_at);
    Ok(Attributed {
        offer: optional_id(&attributed.offer, "attributed.offer")?,
        partner: optional_id(&attributed.partner, "attributed.partner")?,
        campaign: optional_id(&attributed.campaign, "attributed.campaign")?,
        link: optional_id(&attributed.link, "attributed.link")?,
        click: click.map(|click| (click, click_at)),
        visitor: optional_id(&attributed.visitor, "attributed.visitor")?,
        subs: attributed.subs,
        source_id: attributed.source_id,
        creative: attributed.creative,
        labels: attributed.labels,
    })
}

const fn gross_from_pb(gross: &pb::Gross) -> Gross {
    Gross { revenue_micros: gross.revenue, payout_micros: gross.payout }
}

fn refund_to_pb(refund: &AppliedRefund) -> pb::AppliedRefund {
    pb::AppliedRefund {
        refund_id: refund.refund_id.clone(),
        amount: refund.amount_micros,
        reason: refund.reason.clone(),
    }
}

fn refund_from_pb(refund: pb::AppliedRefund) -> AppliedRefund {
    AppliedRefund { refund_id: refund.refund_id, amount_micros: refund.amount, reason: refund.reason }
}

fn values_to_pb(values: Values) -> pb::Values {
    pb::Values {
        status: status_to_pb(values.status).into(),
        currency: values.currency.code().to_owned(),
        amount: values.amount_micros,
        revenue: values.revenue_micros,
        payout: values.payout_micros,
        refunded: values.refunded_micros,
    }
}

fn values_from_pb(values: pb::Values) -> Result<Values, WireError> {
    Ok(Values {
        status: present(optional_status_from_pb(values.status)?, "values.status")?,
        currency: currency_from(&values.currency)?,
        amount_micros: values.amount,
        revenue_micros: values.revenue,
        payout_micros: values.payout,
        refunded_micros: values.refunded,
    })
}

fn touch_to_pb(touch: &Touch) -> pb::Touch {
    let (click, impression) = match touch.id {
        TouchId::Click(click) => (id_bytes(click), Bytes::new()),
        TouchId::Impression(impression) => (Bytes::new(), id_bytes(impression)),
    };
    pb::Touch {
        click,
        impression,
        at: touch.at.micros(),
        partner: optional_id_bytes(touch.partner),
        link: optional_id_bytes(touch.link),
        lost: match touch.lost {
            None => pb::Lost::Unspecified,
            Some(Lost::Earlier) => pb::Lost::Earlier,
            Some(Lost::LessCredit) => pb::Lost::LessCredit,
            Some(Lost::LowerType) => pb::Lost::LowerType,
            Some(Lost::TooSoon) => pb::Lost::TooSoon,
            Some(Lost::OutsideLookback) => pb::Lost::OutsideLookback,
            Some(Lost::AfterConversion) => pb::Lost::AfterConversion,
            Some(Lost::ExcludedLabel) => pb::Lost::ExcludedLabel,
            Some(Lost::Coupon) => pb::Lost::Coupon,
        }
        .into(),
        credits: Some(credits_to_pb(touch.credits)),
    }
}

fn touch_from_pb(touch: pb::Touch) -> Result<Touch, WireError> {
    let click = optional_id(&touch.click, "touch.click")?.map(TouchId::Click);
    let impression = optional_id(&touch.impression, "touch.impression")?.map(TouchId::Impression);
    let ((Some(id), None) | (None, Some(id))) = (click, impression) else {
        return Err(WireError::Impossible("touch"));
    };
    Ok(Touch {
        id,
        at: Timestamp::from_micros(touch.at),
        partner: optional_id(&touch.partner, "touch.partner")?,
        link: optional_id(&touch.link, "touch.link")?,
        lost: match pb::Lost::try_from(touch.lost).map_err(|_| WireError::Impossible("lost"))? {
            pb::Lost::Unspecified => None,
            pb::Lost::Earlier => Some(Lost::Earlier),
            pb::Lost::LessCredit => Some(Lost::LessCredit),
            pb::Lost::LowerType => Some(Lost::LowerType),
            pb::Lost::TooSoon => Some(Lost::TooSoon),
            pb::Lost::OutsideLookback => Some(Lost::OutsideLookback),
            pb::Lost::AfterConversion => Some(Lost::AfterConversion),
            pb::Lost::ExcludedLabel => Some(Lost::ExcludedLabel),
            pb::Lost::Coupon => Some(Lost::Coupon),
        },
        credits: credits_from_pb(&present(touch.credits, "credits")?)?,
    })
}

fn credits_to_pb(credits: Credits) -> pb::Credits {
    pb::Credits {
        last_touch: credits.last_touch.into(),
        first_touch: credits.first_touch.into(),
        linear: credits.linear.into(),
        time_decay: credits.time_decay.into(),
        position_based: credits.position_based.into(),
    }
}

fn credits_from_pb(credits: &pb::Credits) -> Result<Credits, WireError> {
    let points = |points: u32| {
        let points = u16::try_from(points).ok().filter(|points| *points <= 10_000);
        points.ok_or(WireError::Impossible("credits"))
    };
    Ok(Credits {
        last_touch: points(credits.last_touch)?,
        first_touch: points(credits.first_touch)?,
        linear: points(credits.linear)?,
        time_decay: points(credits.time_decay)?,
        position_based: points(credits.position_based)?,
    })
}
