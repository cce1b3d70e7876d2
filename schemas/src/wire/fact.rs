//! Fact records on the wire.

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use super::conversion::{conversion_from_pb, conversion_to_pb, optional_status_from_pb, status_to_pb};
use super::event::{
    catalog_from_pb, catalog_to_pb, delayed_from_pb, delayed_to_pb, event_from_pb, event_to_pb, mark_from_pb,
    mark_to_pb,
};
use super::hit::{click_from_pb, click_to_pb, impression_from_pb, impression_to_pb};
use super::pb_facts as pb;
use super::{
    RECORD_VERSION, WireError, array, decode_strictly, decode_versioned, id, id_bytes, optional_id,
    optional_id_bytes, present, workspace,
};
use crate::fact::{
    Attributed, Change, ClickFact, Credits, Cut, Decision, Fact, ImpressionFact, Lost, Outcome,
    OutcomeStatus, Parked, Record, RecordHash, Revision, Subject, Touch, Unparked, Values,
};
use crate::money::Currency;
use crate::table::RowCounts;
use crate::time::Timestamp;

/// The bytes of a record. One record has one encoding, so that its hash names it.
pub fn encode_record(record: &Record) -> Bytes {
    let message = pb::Record {
        version: RECORD_VERSION,
        core_version: record.core_version,
        partition: record.partition,
        previous: Bytes::copy_from_slice(&record.previous),
        first_seq: record.first_seq,
        source_from: record.source_from,
        source_to: record.source_to,
        catalog: Some(catalog_to_pb(record.catalog)),
        decisions: record
            .decisions
            .iter()
            .map(|decision| pb::Decision {
                source: decision.source,
                core_time: decision.core_time.micros(),
                facts: decision.facts.iter().map(fact_to_pb).collect(),
            })
            .collect(),
        last_event: Bytes::copy_from_slice(&record.last_event),
    };
    message.encode_to_vec().into()
}

/// The record in these bytes.
///
/// # Errors
/// [`WireError`] if the bytes are not exactly a record of a known version.
pub fn decode_record(bytes: Bytes) -> Result<Record, WireError> {
    let message = decode_versioned(bytes, RECORD_VERSION, |record: &pb::Record| record.version)?;
    Ok(Record {
        core_version: message.core_version,
        partition: message.partition,
        previous: array(&message.previous, "previous")?,
        first_seq: message.first_seq,
        source_from: message.source_from,
        source_to: message.source_to,
        catalog: catalog_from_pb(present(message.catalog, "catalog")?),
        last_event: array(&message.last_event, "last_event")?,
        decisions: message.decisions.into_iter().map(decision_from_pb).collect::<Result<_, _>>()?,
    })
}

/// The bytes of one revision, for a state that keeps conversions as they are now.
pub fn encode_revision(revision: &Revision) -> Vec<u8> {
    revision_to_pb(revision).encode_to_vec()
}

/// The revision in these bytes.
///
/// # Errors
/// [`WireError`] if the bytes are not exactly a revision.
pub fn decode_revision(bytes: Bytes) -> Result<Revision, WireError> {
    revision_from_pb(decode_strictly(bytes)?)
}

/// The hash that names a record or an event, over its bytes.
pub fn hash_record(bytes: &[u8]) -> RecordHash {
    Sha256::digest(bytes).into()
}

fn decision_from_pb(decision: pb::Decision) -> Result<Decision, WireError> {
    Ok(Decision {
        source: decision.source,
        core_time: Timestamp::from_micros(decision.core_time),
        facts: decision.facts.into_iter().map(fact_from_pb).collect::<Result<_, _>>()?,
    })
}

fn fact_to_pb(fact: &Fact) -> pb::Fact {
    let body = match fact {
        Fact::Click(click) => pb::fact::Body::Click(pb::Click {
            receipt: id_bytes(click.receipt),
            workspace: click.workspace.get(),
            received_at: click.received_at.micros(),
            click: Some(click_to_pb(click.click.clone())),
        }),
        Fact::Impression(shown) => pb::fact::Body::Impression(pb::Impression {
            receipt: id_bytes(shown.receipt),
            workspace: shown.workspace.get(),
            received_at: shown.received_at.micros(),
            impression: Some(impression_to_pb(shown.impression.clone())),
        }),
        Fact::Revision(revision) => pb::fact::Body::Revision(revision_to_pb(revision)),
        Fact::Outcome(outcome) => pb::fact::Body::Outcome(outcome_to_pb(outcome)),
        Fact::Parked(parked) => pb::fact::Body::Parked(pb::Parked {
            event: Some(event_to_pb(parked.event.clone())),
            due: parked.due.micros(),
        }),
        Fact::Unparked(unparked) => pb::fact::Body::Unparked(pb::Unparked {
            event: id_bytes(unparked.event),
            click: id_bytes(unparked.click),
            workspace: unparked.workspace.get(),
            due: unparked.due.micros(),
        }),
        Fact::Redelivered(mark) => {
            pb::fact::Body::Redelivered(pb::Redelivered { mark: Some(mark_to_pb(*mark)) })
        }
        Fact::Delayed(delayed) => pb::fact::Body::Delayed(delayed_to_pb(*delayed)),
        Fact::Ticked => pb::fact::Body::Ticked(pb::Ticked {}),
        Fact::Cut(cut) => {
            pb::fact::Body::Cut(pb::Cut { number: cut.number, row_seqs: cut.rows.all().to_vec() })
        }
    };
    pb::Fact { body: Some(body) }
}

fn fact_from_pb(fact: pb::Fact) -> Result<Fact, WireError> {
    Ok(match present(fact.body, "fact")? {
        pb::fact::Body::Click(click) => Fact::Click(Box::new(ClickFact {
            receipt: id(&click.receipt, "receipt")?,
            workspace: workspace(click.workspace)?,
            received_at: Timestamp::from_micros(click.received_at),
            click: click_from_pb(present(click.click, "click")?)?,
        })),
        pb::fact::Body::Impression(shown) => Fact::Impression(Box::new(ImpressionFact {
            receipt: id(&shown.receipt, "receipt")?,
            workspace: workspace(shown.workspace)?,
            received_at: Timestamp::from_micros(shown.received_at),
            impression: impression_from_pb(present(shown.impression, "impression")?)?,
        })),
        pb::fact::Body::Revision(revision) => Fact::Revision(Box::new(revision_from_pb(revision)?)),
        pb::fact::Body::Outcome(outcome) => Fact::Outcome(Box::new(outcome_from_pb(outcome)?)),
        pb::fact::Body::Parked(parked) => Fact::Parked(Box::new(Parked {
            event: event_from_pb(present(parked.event, "parked.event")?)?,
            due: Timestamp::from_micros(parked.due),
        })),
        pb::fact::Body::Unparked(unparked) => Fact::Unparked(Unparked {
            event: id(&unparked.event, "unparked.event")?,
            click: id(&unparked.click, "unparked.click")?,
            workspace: workspace(unparked.workspace)?,
            due: Timestamp::from_micros(unparked.due),
        }),
        pb::fact::Body::Redelivered(redelivered) => {
            Fact::Redelivered(mark_from_pb(&present(redelivered.mark, "redelivered.mark")?)?)
        }
        pb::fact::Body::Delayed(delayed) => Fact::Delayed(delayed_from_pb(&delayed)?),
        pb::fact::Body::Ticked(pb::Ticked {}) => Fact::Ticked,
        pb::fact::Body::Cut(cut) => Fact::Cut(Cut {
            number: cut.number,
            rows: RowCounts::new(cut.row_seqs.try_into().map_err(|_| WireError::Impossible("cut.row_seqs"))?),
        }),
    })
}

fn revision_to_pb(revision: &Revision) -> pb::Revision {
    let attributed = &revision.attributed;
    pb::Revision {
        conversion: id_bytes(revision.conversion),
        workspace: revision.workspace.get(),
        version: revision.version,
        event: id_bytes(revision.event),
        change: match revision.change {
            Change::Recorded => pb::Change::Recorded,
            Change::Status => pb::Change::Status,
        }
        .into(),
        reason: revision.reason.clone(),
        received: Some(conversion_to_pb(revision.received.clone())),
        dedupe_key: Bytes::copy_from_slice(&revision.dedupe_key),
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
        identified_by: revision.identified_by.clone(),
        payout_rule: revision.payout_rule.clone(),
        before: revision.before.map(values_to_pb),
        after: Some(values_to_pb(revision.after)),
        touches: revision.touches.iter().map(touch_to_pb).collect(),
        received_at: revision.received_at.micros(),
    }
}

fn revision_from_pb(revision: pb::Revision) -> Result<Revision, WireError> {
    let click = optional_id(&revision.click, "revision.click")?;
    let click_at = Timestamp::from_micros(revision.click_at);
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
        },
        reason: revision.reason,
        received: conversion_from_pb(present(revision.received, "received")?)?,
        dedupe_key: array(&revision.dedupe_key, "dedupe_key")?,
        attributed: Attributed {
            offer: optional_id(&revision.offer, "revision.offer")?,
            partner: optional_id(&revision.partner, "revision.partner")?,
            campaign: optional_id(&revision.campaign, "revision.campaign")?,
            link: optional_id(&revision.link, "revision.link")?,
            click: click.map(|click| (click, click_at)),
            visitor: optional_id(&revision.visitor, "revision.visitor")?,
            subs: revision.subs,
            source_id: revision.source_id,
            creative: revision.creative,
            labels: revision.labels,
        },
        identified_by: revision.identified_by,
        payout_rule: revision.payout_rule,
        before: revision.before.map(values_from_pb).transpose()?,
        after: values_from_pb(present(revision.after, "after")?)?,
        touches: revision.touches.into_iter().map(touch_from_pb).collect::<Result<_, _>>()?,
        received_at: Timestamp::from_micros(revision.received_at),
    })
}

fn values_to_pb(values: Values) -> pb::Values {
    pb::Values {
        status: status_to_pb(values.status).into(),
        currency: values.currency.code().to_owned(),
        amount: values.amount_micros,
        revenue: values.revenue_micros,
        payout: values.payout_micros,
    }
}

fn values_from_pb(values: pb::Values) -> Result<Values, WireError> {
    Ok(Values {
        status: present(optional_status_from_pb(values.status)?, "values.status")?,
        currency: Currency::from_code(&values.currency)
            .map_err(|_| WireError::Impossible("values.currency"))?,
        amount_micros: values.amount,
        revenue_micros: values.revenue,
        payout_micros: values.payout,
    })
}

fn touch_to_pb(touch: &Touch) -> pb::Touch {
    pb::Touch {
        click: id_bytes(touch.click),
        at: touch.at.micros(),
        partner: optional_id_bytes(touch.partner),
        link: optional_id_bytes(touch.link),
        lost: match touch.lost {
            None => pb::Lost::Unspecified,
            Some(Lost::Earlier) => pb::Lost::Earlier,
            Some(Lost::OutsideLookback) => pb::Lost::OutsideLookback,
            Some(Lost::AfterConversion) => pb::Lost::AfterConversion,
            Some(Lost::ExcludedLabel) => pb::Lost::ExcludedLabel,
        }
        .into(),
        credits: Some(pb::Credits { last_touch: touch.credits.last_touch.into() }),
    }
}

fn touch_from_pb(touch: pb::Touch) -> Result<Touch, WireError> {
    let credits = present(touch.credits, "credits")?;
    let last_touch = u16::try_from(credits.last_touch)
        .ok()
        .filter(|points| *points <= 10_000)
        .ok_or(WireError::Impossible("credits.last_touch"))?;
    Ok(Touch {
        click: id(&touch.click, "touch.click")?,
        at: Timestamp::from_micros(touch.at),
        partner: optional_id(&touch.partner, "touch.partner")?,
        link: optional_id(&touch.link, "touch.link")?,
        lost: match pb::Lost::try_from(touch.lost).map_err(|_| WireError::Impossible("lost"))? {
            pb::Lost::Unspecified => None,
            pb::Lost::Earlier => Some(Lost::Earlier),
            pb::Lost::OutsideLookback => Some(Lost::OutsideLookback),
            pb::Lost::AfterConversion => Some(Lost::AfterConversion),
            pb::Lost::ExcludedLabel => Some(Lost::ExcludedLabel),
        },
        credits: Credits { last_touch },
    })
}

fn outcome_to_pb(outcome: &Outcome) -> pb::Outcome {
    pb::Outcome {
        event: id_bytes(outcome.event),
        workspace: outcome.workspace.get(),
        mark: outcome.mark.map(mark_to_pb),
        subject: match outcome.subject {
            Subject::Click => pb::Subject::Click,
            Subject::Impression => pb::Subject::Impression,
            Subject::Refund => pb::Subject::Refund,
            Subject::Conversion => pb::Subject::Conversion,
            Subject::Unreadable => pb::Subject::Unreadable,
        }
        .into(),
        status: match outcome.status {
            OutcomeStatus::Recorded => pb::OutcomeStatus::Recorded,
            OutcomeStatus::Duplicate => pb::OutcomeStatus::Duplicate,
            OutcomeStatus::Updated => pb::OutcomeStatus::Updated,
            OutcomeStatus::Conflict => pb::OutcomeStatus::Conflict,
            OutcomeStatus::Rejected => pb::OutcomeStatus::Rejected,
            OutcomeStatus::Parked => pb::OutcomeStatus::Parked,
        }
        .into(),
        reason: outcome.reason.clone(),
        conversion: optional_id_bytes(outcome.conversion),
        original: optional_id_bytes(outcome.original),
        source: optional_id_bytes(outcome.source),
        received_at: outcome.received_at.micros(),
        test: outcome.test,
    }
}

fn outcome_from_pb(outcome: pb::Outcome) -> Result<Outcome, WireError> {
    let subject = pb::Subject::try_from(outcome.subject).map_err(|_| WireError::Impossible("subject"))?;
    let status =
        pb::OutcomeStatus::try_from(outcome.status).map_err(|_| WireError::Impossible("outcome.status"))?;
    Ok(Outcome {
        event: id(&outcome.event, "outcome.event")?,
        workspace: workspace(outcome.workspace)?,
        mark: outcome.mark.as_ref().map(mark_from_pb).transpose()?,
        subject: match subject {
            pb::Subject::Unspecified => return Err(WireError::Impossible("subject")),
            pb::Subject::Click => Subject::Click,
            pb::Subject::Impression => Subject::Impression,
            pb::Subject::Refund => Subject::Refund,
            pb::Subject::Conversion => Subject::Conversion,
            pb::Subject::Unreadable => Subject::Unreadable,
        },
        status: match status {
            pb::OutcomeStatus::Unspecified => return Err(WireError::Impossible("outcome.status")),
            pb::OutcomeStatus::Recorded => OutcomeStatus::Recorded,
            pb::OutcomeStatus::Duplicate => OutcomeStatus::Duplicate,
            pb::OutcomeStatus::Updated => OutcomeStatus::Updated,
            pb::OutcomeStatus::Conflict => OutcomeStatus::Conflict,
            pb::OutcomeStatus::Rejected => OutcomeStatus::Rejected,
            pb::OutcomeStatus::Parked => OutcomeStatus::Parked,
        },
        reason: outcome.reason,
        conversion: optional_id(&outcome.conversion, "outcome.conversion")?,
        original: optional_id(&outcome.original, "outcome.original")?,
        source: optional_id(&outcome.source, "outcome.source")?,
        received_at: Timestamp::from_micros(outcome.received_at),
        test: outcome.test,
    })
}
