//! Fact records on the wire.

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use super::cap::{place_from_pb, place_to_pb};
use super::conversion::{nonce_from_pb, nonce_to_pb};
use super::event::{
    catalog_from_pb, catalog_to_pb, delayed_from_pb, delayed_to_pb, event_from_pb, event_to_pb, mark_from_pb,
    mark_to_pb,
};
use super::hit::{click_from_pb, click_to_pb, impression_from_pb, impression_to_pb};
use super::pb_facts as pb;
use super::revision::{currency_from, date_from, revision_from_pb, revision_to_pb};
use super::{
    RECORD_VERSION, WireError, array, decode_strictly, decode_versioned, id, id_bytes, optional_id,
    optional_id_bytes, present, workspace,
};
use crate::fact::{
    CapCounted, ClickFact, Cut, Decision, Fact, Identity, IdentityKind, ImpressionFact, Joined, Outcome,
    OutcomeStatus, Parked, RateSweep, Record, RecordHash, Revision, Subject, SweepReached, Touch, Unparked,
    UsedNonce,
};
use crate::table::RowCounts;
use crate::time::Timestamp;

/// The bytes of a record. One record has one encoding, so that its hash names it. It takes the record, so that no click is copied on
/// the way.
pub fn encode_record(record: Record) -> Bytes {
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
            .into_iter()
            .map(|decision| pb::Decision {
                source: decision.source,
                core_time: decision.core_time.micros(),
                facts: decision.facts.into_iter().map(fact_to_pb).collect(),
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

/// The bytes of one revision with these touches, for a state that keeps conversions as they are now.
pub fn encode_revision(revision: &Revision, touches: &[Touch]) -> Vec<u8> {
    revision_to_pb(revision, touches).encode_to_vec()
}

/// The revision in these bytes.
///
/// # Errors
/// [`WireError`] if the bytes are not exactly a revision.
pub fn decode_revision(bytes: Bytes) -> Result<Revision, WireError> {
    revision_from_pb(decode_strictly(bytes)?)
}

/// The bytes of a sweep, for a state that keeps how far it got.
pub fn encode_rate_sweep(sweep: &RateSweep) -> Vec<u8> {
    sweep_to_pb(sweep).encode_to_vec()
}

/// The sweep in these bytes.
///
/// # Errors
/// [`WireError`] if the bytes are not exactly a sweep.
pub fn decode_rate_sweep(bytes: Bytes) -> Result<RateSweep, WireError> {
    sweep_from_pb(&decode_strictly(bytes)?)
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

fn fact_to_pb(fact: Fact) -> pb::Fact {
    let body = match fact {
        Fact::Click(click) => pb::fact::Body::Click(pb::Click {
            receipt: id_bytes(click.receipt),
            workspace: click.workspace.get(),
            received_at: click.received_at.micros(),
            click: Some(click_to_pb(*click.click)),
        }),
        Fact::Impression(shown) => pb::fact::Body::Impression(pb::Impression {
            receipt: id_bytes(shown.receipt),
            workspace: shown.workspace.get(),
            received_at: shown.received_at.micros(),
            impression: Some(impression_to_pb(*shown.impression)),
        }),
        Fact::Revision(revision) => pb::fact::Body::Revision(revision_to_pb(&revision, &revision.touches)),
        Fact::Outcome(outcome) => pb::fact::Body::Outcome(outcome_to_pb(*outcome)),
        Fact::Parked(parked) => pb::fact::Body::Parked(pb::Parked {
            event: Some(event_to_pb(parked.event)),
            due: parked.due.micros(),
        }),
        Fact::Unparked(unparked) => pb::fact::Body::Unparked(pb::Unparked {
            event: id_bytes(unparked.event),
            workspace: unparked.workspace.get(),
            due: unparked.due.micros(),
        }),
        Fact::Redelivered(mark) => {
            pb::fact::Body::Redelivered(pb::Redelivered { mark: Some(mark_to_pb(mark)) })
        }
        Fact::Nonce(used) => pb::fact::Body::Nonce(pb::UsedNonce {
            workspace: used.workspace.get(),
            source: optional_id_bytes(used.source),
            nonce: Some(nonce_to_pb(used.nonce)),
            event: id_bytes(used.event),
        }),
        Fact::CapCounted(counted) => pb::fact::Body::CapCounted(pb::CapCounted {
            workspace: counted.workspace.get(),
            place: Some(place_to_pb(counted.place)),
            edge: optional_id_bytes(counted.edge),
            is_withdrawal: counted.is_withdrawal,
        }),
        Fact::Joined(joined) => pb::fact::Body::Joined(pb::Joined {
            workspace: joined.workspace.get(),
            identities: joined.identities.iter().map(identity_to_pb).collect(),
        }),
        Fact::RateSweep(sweep) => pb::fact::Body::RateSweep(sweep_to_pb(&sweep)),
        Fact::Delayed(delayed) => pb::fact::Body::Delayed(delayed_to_pb(delayed)),
        Fact::Ticked => pb::fact::Body::Ticked(pb::Ticked {}),
        Fact::Cut(cut) => {
            pb::fact::Body::Cut(pb::Cut { number: cut.number, row_seqs: cut.rows.all().to_vec() })
        }
    };
    pb::Fact { body: Some(body) }
}

fn sweep_to_pb(sweep: &RateSweep) -> pb::RateSweep {
    let (conversion, occurred_at) = match sweep.reached {
        SweepReached::Conversion(occurred_at, conversion) => (id_bytes(conversion), occurred_at.micros()),
        SweepReached::Start | SweepReached::End => (Bytes::new(), 0),
    };
    pb::RateSweep {
        workspace: sweep.workspace.get(),
        from: sweep.from.code().to_owned(),
        date: sweep.date.to_string(),
        conversion,
        occurred_at,
        is_end: sweep.reached == SweepReached::End,
    }
}

fn sweep_from_pb(sweep: &pb::RateSweep) -> Result<RateSweep, WireError> {
    let conversion = optional_id(&sweep.conversion, "rate_sweep.conversion")?;
    Ok(RateSweep {
        workspace: workspace(sweep.workspace)?,
        from: currency_from(&sweep.from)?,
        date: date_from(&sweep.date)?,
        reached: match (conversion, sweep.is_end) {
            (None, true) => SweepReached::End,
            (None, false) => SweepReached::Start,
            (Some(conversion), false) => {
                SweepReached::Conversion(Timestamp::from_micros(sweep.occurred_at), conversion)
            }
            (Some(_), true) => return Err(WireError::Impossible("rate_sweep")),
        },
    })
}

fn identity_to_pb(identity: &Identity) -> pb::Identity {
    pb::Identity {
        kind: match identity.kind {
            IdentityKind::Visitor => pb::IdentityKind::Visitor,
            IdentityKind::Customer => pb::IdentityKind::Customer,
            IdentityKind::Email => pb::IdentityKind::Email,
        }
        .into(),
        id: Bytes::copy_from_slice(&identity.id),
        test: identity.test,
    }
}

fn identity_from_pb(identity: &pb::Identity) -> Result<Identity, WireError> {
    let impossible = || WireError::Impossible("identity.kind");
    Ok(Identity {
        kind: match pb::IdentityKind::try_from(identity.kind).map_err(|_| impossible())? {
            pb::IdentityKind::Unspecified => return Err(impossible()),
            pb::IdentityKind::Visitor => IdentityKind::Visitor,
            pb::IdentityKind::Customer => IdentityKind::Customer,
            pb::IdentityKind::Email => IdentityKind::Email,
        },
        id: array(&identity.id, "identity.id")?,
        test: identity.test,
    })
}

fn fact_from_pb(fact: pb::Fact) -> Result<Fact, WireError> {
    Ok(match present(fact.body, "fact")? {
        pb::fact::Body::Click(click) => Fact::Click(Box::new(ClickFact {
            receipt: id(&click.receipt, "receipt")?,
            workspace: workspace(click.workspace)?,
            received_at: Timestamp::from_micros(click.received_at),
            click: Box::new(click_from_pb(present(click.click, "click")?)?),
        })),
        pb::fact::Body::Impression(shown) => Fact::Impression(Box::new(ImpressionFact {
            receipt: id(&shown.receipt, "receipt")?,
            workspace: workspace(shown.workspace)?,
            received_at: Timestamp::from_micros(shown.received_at),
            impression: Box::new(impression_from_pb(present(shown.impression, "impression")?)?),
        })),
        pb::fact::Body::Revision(revision) => Fact::Revision(Box::new(revision_from_pb(revision)?)),
        pb::fact::Body::Outcome(outcome) => Fact::Outcome(Box::new(outcome_from_pb(outcome)?)),
        pb::fact::Body::Parked(parked) => Fact::Parked(Box::new(Parked {
            event: event_from_pb(present(parked.event, "parked.event")?)?,
            due: Timestamp::from_micros(parked.due),
        })),
        pb::fact::Body::Unparked(unparked) => Fact::Unparked(Unparked {
            event: id(&unparked.event, "unparked.event")?,
            workspace: workspace(unparked.workspace)?,
            due: Timestamp::from_micros(unparked.due),
        }),
        pb::fact::Body::Redelivered(redelivered) => {
            Fact::Redelivered(mark_from_pb(&present(redelivered.mark, "redelivered.mark")?)?)
        }
        pb::fact::Body::Nonce(used) => Fact::Nonce(Box::new(UsedNonce {
            workspace: workspace(used.workspace)?,
            source: optional_id(&used.source, "used_nonce.source")?,
            nonce: nonce_from_pb(present(used.nonce, "used_nonce.nonce")?)?,
            event: id(&used.event, "used_nonce.event")?,
        })),
        pb::fact::Body::CapCounted(counted) => Fact::CapCounted(Box::new(CapCounted {
            workspace: workspace(counted.workspace)?,
            place: place_from_pb(&present(counted.place, "cap_counted.place")?)?,
            edge: optional_id(&counted.edge, "cap_counted.edge")?,
            is_withdrawal: counted.is_withdrawal,
        })),
        pb::fact::Body::Joined(joined) => Fact::Joined(Box::new(Joined {
            workspace: workspace(joined.workspace)?,
            identities: joined.identities.iter().map(identity_from_pb).collect::<Result<_, _>>()?,
        })),
        pb::fact::Body::RateSweep(sweep) => Fact::RateSweep(sweep_from_pb(&sweep)?),
        pb::fact::Body::Delayed(delayed) => Fact::Delayed(delayed_from_pb(&delayed)?),
        pb::fact::Body::Ticked(pb::Ticked {}) => Fact::Ticked,
        pb::fact::Body::Cut(cut) => Fact::Cut(Cut {
            number: cut.number,
            rows: RowCounts::new(cut.row_seqs.try_into().map_err(|_| WireError::Impossible("cut.row_seqs"))?),
        }),
    })
}

fn outcome_to_pb(outcome: Outcome) -> pb::Outcome {
    pb::Outcome {
        event: id_bytes(outcome.event),
        workspace: outcome.workspace.get(),
        mark: outcome.mark.map(mark_to_pb),
        subject: match outcome.subject {
            Subject::Click => pb::Subject::Click,
            Subject::Impression => pb::Subject::Impression,
            Subject::Refund => pb::Subject::Refund,
            Subject::Command => pb::Subject::Command,
            Subject::Conversion => pb::Subject::Conversion,
            Subject::Unreadable => pb::Subject::Unreadable,
        }
        .into(),
        status: outcome_status_to_pb(outcome.status).into(),
        reason: outcome.reason,
        conversion: optional_id_bytes(outcome.conversion),
        original: optional_id_bytes(outcome.original),
        source: optional_id_bytes(outcome.source),
        received_at: outcome.received_at.micros(),
        test: outcome.test,
    }
}

fn outcome_from_pb(outcome: pb::Outcome) -> Result<Outcome, WireError> {
    let subject = pb::Subject::try_from(outcome.subject).map_err(|_| WireError::Impossible("subject"))?;
    Ok(Outcome {
        event: id(&outcome.event, "outcome.event")?,
        workspace: workspace(outcome.workspace)?,
        mark: outcome.mark.as_ref().map(mark_from_pb).transpose()?,
        subject: match subject {
            pb::Subject::Unspecified => return Err(WireError::Impossible("subject")),
            pb::Subject::Click => Subject::Click,
            pb::Subject::Impression => Subject::Impression,
            pb::Subject::Refund => Subject::Refund,
            pb::Subject::Command => Subject::Command,
            pb::Subject::Conversion => Subject::Conversion,
            pb::Subject::Unreadable => Subject::Unreadable,
        },
        status: outcome_status_from_pb(outcome.status)?,
        reason: outcome.reason,
        conversion: optional_id(&outcome.conversion, "outcome.conversion")?,
        original: optional_id(&outcome.original, "outcome.original")?,
        source: optional_id(&outcome.source, "outcome.source")?,
        received_at: Timestamp::from_micros(outcome.received_at),
        test: outcome.test,
    })
}

pub(super) const fn outcome_status_to_pb(status: OutcomeStatus) -> pb::OutcomeStatus {
    match status {
        OutcomeStatus::Recorded => pb::OutcomeStatus::Recorded,
        OutcomeStatus::Duplicate => pb::OutcomeStatus::Duplicate,
        OutcomeStatus::Updated => pb::OutcomeStatus::Updated,
        OutcomeStatus::Conflict => pb::OutcomeStatus::Conflict,
        OutcomeStatus::Rejected => pb::OutcomeStatus::Rejected,
        OutcomeStatus::Parked => pb::OutcomeStatus::Parked,
    }
}

pub(super) fn outcome_status_from_pb(status: i32) -> Result<OutcomeStatus, WireError> {
    match pb::OutcomeStatus::try_from(status) {
        Ok(pb::OutcomeStatus::Recorded) => Ok(OutcomeStatus::Recorded),
        Ok(pb::OutcomeStatus::Duplicate) => Ok(OutcomeStatus::Duplicate),
        Ok(pb::OutcomeStatus::Updated) => Ok(OutcomeStatus::Updated),
        Ok(pb::OutcomeStatus::Conflict) => Ok(OutcomeStatus::Conflict),
        Ok(pb::OutcomeStatus::Rejected) => Ok(OutcomeStatus::Rejected),
        Ok(pb::OutcomeStatus::Parked) => Ok(OutcomeStatus::Parked),
        Ok(pb::OutcomeStatus::Unspecified) | Err(_) => Err(WireError::Impossible("outcome.status")),
    }
}
