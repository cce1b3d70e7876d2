//! What becomes of a reported conversion.

use catalog::{Offer, Workspace};
use schemas::event::{Conversion, Event, Mark, Status, label};
use schemas::fact::{Attributed, Change, DedupeKey, Fact, OutcomeStatus, Parked, Revision, Values, reason};
use schemas::id::ConversionId;
use schemas::wire;
use sha2::{Digest, Sha256};

use super::apply::parked_count;
use super::attribution::{Answer, Lookback, Question, attribute};
use super::decide::{Decider, Settled};
use super::key;
use super::payout::{Valuation, priced, value};
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
        if self.names_unknown(event, conversion) {
            return self.settle(
                reported,
                OutcomeStatus::Rejected,
                Settled::because(reason::UNKNOWN_REFERENCE),
            );
        }
        let key = dedupe_key(event, conversion);
        if let Some(existing) = self.existing(event, &key)? {
            return self.repeated(reported, workspace, &existing);
        }
        if !may_begin_as(conversion) {
            return self.settle(
                reported,
                OutcomeStatus::Rejected,
                Settled::because(reason::STATUS_NOT_REACHABLE),
            );
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
        let question = Question {
            workspace: event.workspace,
            visitor: identified.click.as_ref().and_then(|click| click.visitor).or(conversion.visitor),
            named: identified.click,
            offer: named_offer,
            occurred_at: conversion.occurred_at,
            lookback: Lookback { catalog: self.catalog, workspace },
        };
        let Answer { touches, winner } = attribute(self.state, &question)?;
        let mut attributed = attributed(conversion, &question, winner);
        self.drop_unknown_partner(event, &mut attributed);
        let offer: Option<&Offer> =
            attributed.offer.and_then(|offer| self.catalog.offer(event.workspace, offer));
        let Ok(received) = priced(conversion, workspace, offer) else {
            return self.settle(reported, OutcomeStatus::Rejected, Settled::because(reason::INVALID_AMOUNT));
        };
        let Ok(valuation) = value(workspace, offer, attributed.partner, &received) else {
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
            received: received.into_owned(),
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

    /// Nobody is paid whom the catalog does not have as a partner of this workspace. A click's partner was looked up when it
    /// was clicked; one that is archived since keeps what it has earned.
    fn drop_unknown_partner(&self, event: &Event, attributed: &mut Attributed) {
        let Some(partner) = attributed.partner.filter(|_| attributed.click.is_none()) else { return };
        if self.catalog.partner(event.workspace, partner).is_none_or(|partner| partner.meta.archived) {
            attributed.partner = None;
            if !attributed.labels.iter().any(|known| known == label::UNKNOWN_PARTNER) {
                attributed.labels.push(label::UNKNOWN_PARTNER.to_owned());
            }
        }
    }

    /// Whether the report names a source or an offer that is none of its workspace's: under an invented source one
    /// transaction would count twice.
    fn names_unknown(&self, event: &Event, conversion: &Conversion) -> bool {
        let foreign = |source| self.catalog.source(source).is_none_or(|it| it.workspace != event.workspace);
        conversion.source.is_some_and(foreign)
            || conversion.offer.is_some_and(|offer| self.catalog.offer(event.workspace, offer).is_none())
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
    fn repeated(
        &mut self,
        reported: &Reported<'_>,
        workspace: &Workspace,
        existing: &Revision,
    ) -> Result<(), StateError> {
        let settled = |reason| Settled::meeting(existing, reason);
        let conflict = |reason| (OutcomeStatus::Conflict, settled(reason));
        let offer = existing.attributed.offer.and_then(|id| self.catalog.offer(existing.workspace, id));
        let Ok(repetition) = priced(reported.conversion, workspace, offer) else {
            return self.settle(reported, OutcomeStatus::Rejected, settled(reason::INVALID_AMOUNT));
        };
        let repetition = repetition.as_ref();
        let trusted = repetition.trust.may_approve();
        let confirms =
            trusted && !existing.received.trust.may_approve() && existing.after.status == Status::Pending;
        let wanted = repetition.status.filter(|status| *status != existing.after.status);
        let (status, settled) = if !same_content(repetition, &existing.received, confirms) {
            conflict(reason::DIFFERENT_CONTENT)
        } else if confirms {
            return self.confirm(reported, repetition, workspace, existing);
        } else if let Some(status) = wanted {
            if !trusted {
                conflict(reason::UNTRUSTED_SENDER)
            } else if !existing.after.status.may_become(status) {
                conflict(reason::STATUS_NOT_REACHABLE)
            } else if existing.reason == reason::NO_RATE && status.is_counted() {
                // Whatever the sender says: what the conversion is worth is not known yet.
                conflict(reason::NO_RATE)
            } else {
                let after = Values { status, ..existing.after };
                self.emit(Fact::Revision(Box::new(revised(reported, existing, after))))?;
                (OutcomeStatus::Updated, settled(""))
            }
        } else {
            (OutcomeStatus::Duplicate, settled(""))
        };
        self.settle(reported, status, settled)
    }

    /// A trusted sender reports what an untrusted one had reported first: the conversion gets the values that it would have
    /// had, had the trusted sender been first. What only the trusted one says, the amount above all, is taken over.
    fn confirm(
        &mut self,
        reported: &Reported<'_>,
        repetition: &Conversion,
        workspace: &Workspace,
        existing: &Revision,
    ) -> Result<(), StateError> {
        let settled = |reason| Settled::meeting(existing, reason);
        let attributed = &existing.attributed;
        let offer = attributed.offer.and_then(|offer| self.catalog.offer(existing.workspace, offer));
        let mut confirmed = existing.received.clone();
        confirmed.trust = repetition.trust;
        confirmed.status = repetition.status;
        confirmed.amount = confirmed.amount.or(repetition.amount);
        if !may_begin_as(&confirmed) {
            return self.settle(reported, OutcomeStatus::Conflict, settled(reason::STATUS_NOT_REACHABLE));
        }
        let Ok(valuation) = value(workspace, offer, attributed.partner, &confirmed) else {
            return self.settle(reported, OutcomeStatus::Rejected, settled(reason::AMOUNT_OUT_OF_RANGE));
        };
        self.emit(Fact::Revision(Box::new(Revision {
            reason: valuation.reason.to_owned(),
            payout_rule: valuation.rule.to_owned(),
            received: confirmed,
            ..revised(reported, existing, valuation.values)
        })))?;
        self.settle(reported, OutcomeStatus::Updated, settled(valuation.reason))
    }
}

/// The next revision of a conversion, with other values.
fn revised(reported: &Reported<'_>, existing: &Revision, after: Values) -> Revision {
    let no_rate = existing.reason == reason::NO_RATE;
    Revision {
        version: existing.version + 1,
        event: reported.event.id,
        change: Change::Status,
        // An amount without a rate stays one in every status.
        reason: if no_rate { existing.reason.clone() } else { String::new() },
        before: Some(existing.after),
        after,
        touches: Vec::new(),
        ..existing.clone()
    }
}

/// Whether the life cycle can begin with the status that a trusted sender wants; an untrusted one's wish is not heard.
fn may_begin_as(conversion: &Conversion) -> bool {
    let reachable = |status| status == Status::Pending || Status::Pending.may_become(status);
    !conversion.trust.may_approve() || conversion.status.is_none_or(reachable)
}

/// Whether a repetition says the same. What only one of the two says is no difference, except an amount that the first report
/// did not have: only a sender who `confirms` may add it, and nobody's money is dropped as a mere duplicate.
fn same_content(new: &Conversion, old: &Conversion, confirms: bool) -> bool {
    fn agree<T: PartialEq>(new: Option<T>, old: Option<T>) -> bool {
        new.is_none() || old.is_none() || new == old
    }
    fn text(text: &str) -> Option<&str> {
        (!text.is_empty()).then_some(text)
    }
    let adds_amount = new.amount.is_some() && old.amount.is_none();
    agree(new.amount, old.amount)
        && (confirms || !adds_amount)
        && agree(new.click, old.click)
        && agree(text(&new.customer_id), text(&old.customer_id))
        && agree(text(&new.coupon), text(&old.coupon))
}

/// What the conversion belongs to: the winning touch; else what the report itself names.
fn attributed(conversion: &Conversion, question: &Question<'_>, winner: Option<StoredClick>) -> Attributed {
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
