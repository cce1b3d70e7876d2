//! What becomes of a reported conversion.

use catalog::{Offer, Workspace};
use schemas::event::{Conversion, Event, Mark, Status};
use schemas::fact::{Attributed, Change, DedupeKey, Fact, OutcomeStatus, Parked, Revision, Values, reason};
use schemas::id::ConversionId;
use schemas::wire;
use sha2::{Digest, Sha256};

use super::apply::parked_count;
use super::attribution::{Answer, Question, attribute};
use super::decide::{Decider, Settled};
use super::key;
use super::payout::{Valuation, value};
use super::state::{State, StateError};
use super::stored::StoredClick;
use super::{PARKED_LIMIT, WAIT_MICROS};

/// A reported conversion on its way to a decision.
pub(super) struct Reported<'a> {
    pub(super) event: &'a Event,
    pub(super) conversion: &'a Conversion,
    /// `None` for one that waited: its delivery was settled when it was parked.
    pub(super) mark: Option<Mark>,
}

/// How a conversion found its touch.
struct Identified {
    by: &'static str,
    click: Option<StoredClick>,
}

impl Decider<'_, '_> {
    /// Decides a conversion; parks it if it waits for its click.
    pub(super) fn conversion(&mut self, reported: &Reported<'_>) -> Result<(), StateError> {
        let (event, conversion) = (reported.event, reported.conversion);
        if let Some(fault) = &conversion.fault {
            return self.settle(reported, OutcomeStatus::Rejected, Settled::because(&fault.reason));
        }
        let Some(workspace) = self.catalog.workspace(event.workspace) else {
            return self.settle(
                reported,
                OutcomeStatus::Rejected,
                Settled::because(reason::UNKNOWN_WORKSPACE),
            );
        };
        let key = dedupe_key(event, conversion);
        if let Some(existing) = self.existing(event, &key)? {
            return self.repeated(reported, &existing);
        }
        let click = match conversion.click {
            None => None,
            Some(click) if click.workspace() != event.workspace => {
                return self.settle(
                    reported,
                    OutcomeStatus::Rejected,
                    Settled::because(reason::UNKNOWN_CLICK),
                );
            }
            Some(click) => match self.state.get(&key::click(event.workspace, click))? {
                Some(bytes) => Some(StoredClick::decode(click, &bytes)?),
                None => return self.park(reported),
            },
        };
        let by = match (&click, conversion.visitor, conversion.partner) {
            (Some(_), _, _) => "click_id",
            (None, Some(_), _) => "visitor_id",
            (None, None, Some(_)) => "partner",
            (None, None, None) => "",
        };
        self.record(reported, workspace, key, Identified { by, click })
    }

    fn record(
        &mut self,
        reported: &Reported<'_>,
        workspace: &Workspace,
        dedupe_key: DedupeKey,
        identified: Identified,
    ) -> Result<(), StateError> {
        let (event, conversion) = (reported.event, reported.conversion);
        let named_offer = identified.click.as_ref().map(|click| click.offer).or(conversion.offer);
        let lookback_micros = named_offer
            .and_then(|offer| self.catalog.offer(event.workspace, offer))
            .and_then(|offer| offer.click_lookback_micros)
            .unwrap_or(workspace.click_lookback_micros);
        let question = Question {
            workspace: event.workspace,
            visitor: identified.click.as_ref().and_then(|click| click.visitor).or(conversion.visitor),
            named: identified.click,
            offer: named_offer,
            occurred_at: conversion.occurred_at,
            lookback_micros,
        };
        let Answer { touches, winner } = attribute(self.state, &question)?;
        let mut attributed = attributed(conversion, &question, winner);
        let offer: Option<&Offer> =
            attributed.offer.and_then(|offer| self.catalog.offer(event.workspace, offer));
        let Ok(valuation) = value(workspace, offer, attributed.partner, conversion) else {
            return self.settle(
                reported,
                OutcomeStatus::Rejected,
                Settled::because(reason::AMOUNT_OUT_OF_RANGE),
            );
        };
        let Valuation { values, reason, rule, label } = valuation;
        attributed.labels.extend(label.map(str::to_owned));
        let id = event.id.rename();
        self.emit(Fact::Revision(Box::new(Revision {
            conversion: id,
            workspace: event.workspace,
            version: 1,
            event: event.id,
            change: Change::Recorded,
            reason: reason.to_owned(),
            received: conversion.clone(),
            dedupe_key,
            attributed,
            identified_by: identified.by.to_owned(),
            payout_rule: rule.to_owned(),
            before: None,
            after: values,
            touches,
            received_at: event.received_at,
        })))?;
        let settled = Settled { reason, conversion: Some(id), original: None };
        self.settle(reported, OutcomeStatus::Recorded, settled)
    }

    fn park(&mut self, reported: &Reported<'_>) -> Result<(), StateError> {
        let event = reported.event;
        // One that waited already and still finds no click has waited long enough.
        if reported.mark.is_none() {
            return self.settle(reported, OutcomeStatus::Rejected, Settled::because(reason::UNKNOWN_CLICK));
        }
        if parked_count(self.state, event.workspace)? >= PARKED_LIMIT {
            return self.settle(reported, OutcomeStatus::Rejected, Settled::because(reason::TOO_MANY_PARKED));
        }
        let due = self.state.head().core_time.saturating_add(WAIT_MICROS);
        self.emit(Fact::Parked(Box::new(Parked { event: event.clone(), due })))?;
        self.settle(reported, OutcomeStatus::Parked, Settled::because(reason::UNKNOWN_CLICK))
    }

    /// The conversion that has this key already.
    fn existing(&self, event: &Event, key: &DedupeKey) -> Result<Option<Revision>, StateError> {
        let Some(bytes) = self.state.get(&key::dedupe(event.workspace, key))? else { return Ok(None) };
        let conversion =
            ConversionId::from_slice(&bytes).ok_or(StateError::Unreadable("conversion by its key"))?;
        let bytes = self
            .state
            .get(&key::conversion(event.workspace, conversion))?
            .ok_or(StateError::Unreadable("conversion"))?;
        wire::decode_revision(bytes.into()).map(Some).map_err(|_| StateError::Unreadable("conversion"))
    }

    /// The same key once more: a duplicate, a new status, or something else under the same key.
    fn repeated(&mut self, reported: &Reported<'_>, existing: &Revision) -> Result<(), StateError> {
        let settled = |reason| Settled {
            reason,
            conversion: Some(existing.conversion),
            original: Some(existing.conversion.rename()),
        };
        if !same_content(reported.conversion, &existing.received) {
            return self.settle(reported, OutcomeStatus::Conflict, settled(reason::DIFFERENT_CONTENT));
        }
        let Some(status) = wanted_status(reported.conversion, existing) else {
            return self.settle(reported, OutcomeStatus::Duplicate, settled(""));
        };
        if !reported.conversion.trust.may_approve() {
            return self.settle(reported, OutcomeStatus::Conflict, settled(reason::UNTRUSTED_SENDER));
        }
        if !existing.after.status.may_become(status) {
            return self.settle(reported, OutcomeStatus::Conflict, settled(reason::STATUS_NOT_REACHABLE));
        }
        let mut received = existing.received.clone();
        received.trust = received.trust.min(reported.conversion.trust);
        self.emit(Fact::Revision(Box::new(Revision {
            version: existing.version + 1,
            event: reported.event.id,
            change: Change::Status,
            reason: String::new(),
            received,
            before: Some(existing.after),
            after: Values { status, ..existing.after },
            touches: Vec::new(),
            ..existing.clone()
        })))?;
        self.settle(reported, OutcomeStatus::Updated, settled(""))
    }
}

/// The status that a repetition asks for, if it is another one than the conversion has.
///
/// A more trusted sender also confirms what an untrusted one had reported first.
fn wanted_status(repetition: &Conversion, existing: &Revision) -> Option<Status> {
    let confirms = existing.after.status == Status::Pending
        && existing.reason == reason::UNTRUSTED_SENDER
        && repetition.trust.may_approve();
    repetition
        .status
        .or(confirms.then_some(Status::Approved))
        .filter(|status| *status != existing.after.status)
}

/// Whether a repetition says the same. What only one of the two says is no difference.
fn same_content(new: &Conversion, old: &Conversion) -> bool {
    fn agree<T: PartialEq>(new: Option<T>, old: Option<T>) -> bool {
        new.is_none() || old.is_none() || new == old
    }
    fn text(text: &str) -> Option<&str> {
        (!text.is_empty()).then_some(text)
    }
    agree(new.amount, old.amount)
        && agree(new.click, old.click)
        && agree(text(&new.customer_id), text(&old.customer_id))
        && agree(text(&new.coupon), text(&old.coupon))
}

/// What the conversion belongs to: the winning touch; else what the report itself names.
fn attributed(conversion: &Conversion, question: &Question, winner: Option<StoredClick>) -> Attributed {
    let labels = conversion.labels.clone();
    match winner {
        Some(click) => Attributed {
            offer: Some(click.offer),
            partner: click.partner,
            campaign: click.campaign,
            link: click.link,
            click: Some((click.id, click.at)),
            visitor: question.visitor,
            subs: click.subs,
            source_id: click.source_id,
            creative: click.creative,
            labels,
        },
        None => Attributed {
            offer: question.offer,
            // A named click that lost for good reason does not hand its conversion to whom the report names.
            partner: if question.named.is_some() { None } else { conversion.partner },
            visitor: question.visitor,
            labels,
            ..Attributed::default()
        },
    }
}

/// The key of API section "Dedupe key": workspace, source, goal, and the transaction id, else the client's event id,
/// else the click; an event with none of them is its own key.
fn dedupe_key(event: &Event, conversion: &Conversion) -> DedupeKey {
    let (kind, key): (&[u8], &[u8]) = if !conversion.transaction_id.is_empty() {
        (b"transaction", conversion.transaction_id.as_bytes())
    } else if !conversion.client_event_id.is_empty() {
        (b"event", conversion.client_event_id.as_bytes())
    } else if let Some(click) = &conversion.click {
        (b"click", click.bytes())
    } else {
        (b"receipt", event.id.bytes())
    };
    let source: &[u8] = conversion.source.as_ref().map_or(b"default", |source| source.bytes());
    let mut hash = Sha256::new();
    hash.update(event.workspace.get().to_be_bytes());
    // A test never meets the live conversion that it rehearses.
    hash.update([u8::from(conversion.test)]);
    for part in [source, conversion.goal.as_bytes(), kind, key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut key = DedupeKey::default();
    key.copy_from_slice(&digest[..16]);
    key
}
