//! What becomes of a reported conversion.

use catalog::{OnExceed, Workspace};
use schemas::event::{Conversion, Event, Mark, Status, label};
use schemas::fact::{
    Attributed, Change, DedupeKey, Gross, OutcomeStatus, Revision, Subject, TouchId, Values, reason,
};
use schemas::id::{ConversionId, SourceId, WorkspaceNumber};
use schemas::wire;

use super::attribution::{Answer, Question, Windows, attribute};
use super::cap::Capped;
use super::decide::{Case, Decider, Settled};
use super::dedupe;
use super::key::{self, Awaited};
use super::payout::{Terms, Valuation, priced, value};
use super::refund::left;
use super::state::{State, StateError};
use super::stored::StoredTouch;

/// A reported conversion on its way to a decision.
pub(super) struct Reported<'a> {
    pub(super) case: Case<'a>,
    pub(super) conversion: &'a Conversion,
}

impl<'a> Reported<'a> {
    pub(super) const fn new(event: &'a Event, conversion: &'a Conversion, mark: Option<Mark>) -> Self {
        let (source, test) = (conversion.source, conversion.test);
        Self { case: Case { event, mark, subject: Subject::Conversion, source, test }, conversion }
    }
}

/// How a conversion found its touch.
struct Identified {
    by: &'static str,
    click: Option<StoredTouch>,
}

impl Decider<'_, '_> {
    /// Decides a conversion; parks it if it waits for its click.
    pub(super) fn conversion(&mut self, reported: &Reported<'_>) -> Result<(), StateError> {
        let (event, conversion) = (reported.case.event, reported.conversion);
        let Some(workspace) = self.catalog.workspace(event.workspace) else {
            return self.reject(&reported.case, reason::UNKNOWN_WORKSPACE);
        };
        if self.is_replay(&reported.case, conversion.nonce.as_ref())? {
            return Ok(());
        }
        if let Some(fault) = &conversion.fault {
            return self.reject(&reported.case, &fault.reason);
        }
        if self.names_unknown(event, conversion) {
            return self.reject(&reported.case, reason::UNKNOWN_REFERENCE);
        }
        let key = dedupe::key_of_report(event, conversion);
        if let Some(existing) = self.existing(event, &key)? {
            return self.repeated(reported, workspace, &existing);
        }
        if !may_begin_as(conversion) {
            return self.reject(&reported.case, reason::STATUS_NOT_REACHABLE);
        }
        let click = match conversion.click {
            None => None,
            Some(click) if click.workspace() != event.workspace => {
                return self.reject(&reported.case, reason::UNKNOWN_CLICK);
            }
            Some(click) => match self.state.get(&key::click(event.workspace, click))? {
                Some(bytes) => Some(StoredTouch::decode(TouchId::Click(click), &bytes)?),
                None => return self.park(&reported.case, reason::UNKNOWN_CLICK),
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
        let (event, conversion) = (reported.case.event, reported.conversion);
        let named_offer = identified.click.as_ref().map(|click| click.offer).or(conversion.offer);
        let question = Question {
            workspace: event.workspace,
            visitor: identified.click.as_ref().and_then(|click| click.visitor).or(conversion.visitor),
            named: identified.click,
            offer: named_offer,
            occurred_at: conversion.occurred_at,
            test: conversion.test,
            windows: Windows { catalog: self.catalog, workspace },
        };
        let Answer { touches, winner } = attribute(self.state, &question)?;
        let is_touched = winner.is_some();
        let mut attributed = attributed(conversion, &question, winner);
        // A touch's partner was looked up when it happened; one that is archived since keeps what it has earned.
        if !is_touched {
            self.drop_unknown_partner(event, &mut attributed);
        }
        let terms = Terms::of(self.catalog, workspace, &attributed);
        let Ok(received) = priced(conversion, workspace, terms.offer) else {
            return self.reject(&reported.case, reason::INVALID_AMOUNT);
        };
        let Ok(valuation) = value(&terms, &received) else {
            return self.reject(&reported.case, reason::AMOUNT_OUT_OF_RANGE);
        };
        attributed.labels.extend(valuation.label.map(str::to_owned));
        let id = event.id.rename();
        let mut revision = Revision {
            conversion: id,
            workspace: event.workspace,
            version: 1,
            event: event.id,
            change: Change::Recorded,
            reason: String::new(),
            received: received.into_owned(),
            dedupe_key,
            attributed,
            identified_by: identified.by.to_owned(),
            payout_rule: valuation.rule.to_owned(),
            before: None,
            after: valuation.values,
            gross: gross(&valuation.values),
            refund: None,
            counted_in: Vec::new(),
            touches,
            received_at: event.received_at,
        };
        let Capped { places, beyond } = self.caps_of_conversion(workspace, &revision)?;
        let Valuation { values, reason, .. } = capped(valuation, beyond);
        if beyond.is_some() {
            revision.attributed.labels.push(label::CAP.to_owned());
        }
        (revision.after, revision.reason, revision.counted_in) = (values, reason.to_owned(), places);
        self.revise(revision)?;
        let settled = Settled { reason, conversion: Some(id), original: None };
        self.settle(&reported.case, OutcomeStatus::Recorded, settled)?;
        // A refund may have been here first.
        self.settle_waiting(event.workspace, Awaited::Key(dedupe_key))?;
        self.settle_waiting(event.workspace, Awaited::Conversion(id))
    }

    /// Nobody is paid whom the catalog does not have as a partner of this workspace.
    fn drop_unknown_partner(&self, event: &Event, attributed: &mut Attributed) {
        let Some(partner) = attributed.partner else { return };
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
        conversion.source.is_some_and(|source| self.is_foreign(event.workspace, source))
            || conversion.offer.is_some_and(|offer| self.catalog.offer(event.workspace, offer).is_none())
    }

    pub(super) fn is_foreign(&self, workspace: WorkspaceNumber, source: SourceId) -> bool {
        self.catalog.source(source).is_none_or(|it| it.workspace != workspace)
    }

    /// The conversion that has this key already.
    pub(super) fn existing(&self, event: &Event, key: &DedupeKey) -> Result<Option<Revision>, StateError> {
        let Some(bytes) = self.state.get(&key::dedupe(event.workspace, key))? else { return Ok(None) };
        let conversion =
            ConversionId::from_slice(&bytes).ok_or(StateError::Unreadable("conversion by its key"))?;
        self.revision(event.workspace, conversion)?.map(Some).ok_or(StateError::Unreadable("conversion"))
    }

    /// A conversion as it is now.
    pub(super) fn revision(
        &self,
        workspace: WorkspaceNumber,
        conversion: ConversionId,
    ) -> Result<Option<Revision>, StateError> {
        let Some(bytes) = self.state.get(&key::conversion(workspace, conversion))? else { return Ok(None) };
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
            let invalid = settled(reason::INVALID_AMOUNT);
            return self.settle(&reported.case, OutcomeStatus::Rejected, invalid);
        };
        let repetition = repetition.as_ref();
        let confirms = confirms(repetition, existing);
        let wanted = repetition.status.filter(|status| *status != existing.after.status);
        let (status, settled) = if !same_content(repetition, &existing.received, confirms) {
            conflict(reason::DIFFERENT_CONTENT)
        } else if confirms {
            return self.confirm(reported, repetition, workspace, existing);
        } else if let Some(status) = wanted {
            match refused_step(repetition, existing, status) {
                // The same wish again, which a cap did not grant.
                Some(reason::CAP) if existing.received.status == Some(status) => {
                    (OutcomeStatus::Duplicate, settled(""))
                }
                Some(reason) => conflict(reason),
                None => {
                    let after = Values { status, ..existing.after };
                    self.revise(revised(reported.case.event, existing, after))?;
                    (OutcomeStatus::Updated, settled(""))
                }
            }
        } else {
            (OutcomeStatus::Duplicate, settled(""))
        };
        self.settle(&reported.case, status, settled)
    }

    /// A more trusted sender reports what a less trusted one had reported first: the conversion gets the values that it would
    /// have had, had the more trusted sender been first. What only that one says, the amount above all, is taken over.
    fn confirm(
        &mut self,
        reported: &Reported<'_>,
        repetition: &Conversion,
        workspace: &Workspace,
        existing: &Revision,
    ) -> Result<(), StateError> {
        let settled = |reason| Settled::meeting(existing, reason);
        let terms = Terms::of(self.catalog, workspace, &existing.attributed);
        let mut confirmed = existing.received.clone();
        confirmed.trust = repetition.trust;
        confirmed.status = repetition.status;
        confirmed.amount = confirmed.amount.or(repetition.amount);
        let Ok(valuation) = value(&terms, &confirmed) else {
            let out_of_range = settled(reason::AMOUNT_OUT_OF_RANGE);
            return self.settle(&reported.case, OutcomeStatus::Rejected, out_of_range);
        };
        let gross = gross(&valuation.values);
        let Valuation { values, reason, rule, .. } = capped(valuation, demand_of_caps(existing));
        let amount_micros = confirmed.amount.map_or(0, |amount| amount.micros);
        let refunded_micros = existing.after.refunded_micros;
        let left = if refunded_micros == 0 { gross } else { left(gross, amount_micros, refunded_micros) };
        let after = Values {
            revenue_micros: left.revenue_micros,
            payout_micros: left.payout_micros,
            refunded_micros,
            ..values
        };
        self.revise(Revision {
            reason: reason.to_owned(),
            payout_rule: rule.to_owned(),
            received: confirmed,
            gross,
            ..revised(reported.case.event, existing, after)
        })?;
        self.settle(&reported.case, OutcomeStatus::Updated, settled(reason))
    }
}

/// Whether a repetition comes from a more trusted sender whose word now counts. What was decided after the report itself,
/// and what is paid or reversed, stands; a conversion that still waits for a decision gets one.
fn confirms(repetition: &Conversion, existing: &Revision) -> bool {
    let is_open = match existing.after.status {
        Status::Pending => true,
        Status::Hold | Status::Approved | Status::Rejected => existing.version == 1,
        Status::Paid | Status::Reversed => false,
    };
    is_open
        && repetition.trust.may_approve()
        && repetition.trust.outranks(existing.received.trust)
        && may_begin_as(repetition)
}

/// Why a repetition cannot give a conversion another status, if it cannot.
fn refused_step(repetition: &Conversion, existing: &Revision, status: Status) -> Option<&'static str> {
    let is_outranked = existing.received.trust.outranks(repetition.trust);
    if !repetition.trust.may_approve() || is_outranked {
        Some(reason::UNTRUSTED_SENDER)
    } else if existing.reason == reason::CAP && status.is_counted() {
        // A cap that wants a decision wants that of a person.
        Some(reason::CAP)
    } else if !existing.after.status.may_become(status) {
        Some(reason::STATUS_NOT_REACHABLE)
    } else if existing.reason == reason::NO_RATE && status.is_counted() {
        // Whatever the sender says: what the conversion is worth is not known yet.
        Some(reason::NO_RATE)
    } else {
        None
    }
}

const fn gross(values: &Values) -> Gross {
    Gross { revenue_micros: values.revenue_micros, payout_micros: values.payout_micros }
}

/// What a conversion beyond its caps begins with.
fn capped(valuation: Valuation, beyond: Option<OnExceed>) -> Valuation {
    let with = |valuation: Valuation, status| Valuation {
        values: Values { status, ..valuation.values },
        reason: reason::CAP,
        ..valuation
    };
    let is_refused = valuation.values.status == Status::Rejected;
    match beyond {
        None | Some(OnExceed::Flag | OnExceed::Fallback) => valuation,
        // Its sender has refused it, which is more; and what has no rate waits for one first.
        Some(OnExceed::Pending) if is_refused || valuation.reason == reason::NO_RATE => valuation,
        Some(OnExceed::Reject) if is_refused => valuation,
        Some(OnExceed::Pending) => with(valuation, Status::Pending),
        Some(OnExceed::Reject) => with(valuation, Status::Rejected),
    }
}

/// What caps wanted of a conversion when it was recorded, and still want.
fn demand_of_caps(existing: &Revision) -> Option<OnExceed> {
    match existing.after.status {
        _ if existing.reason != reason::CAP => None,
        Status::Rejected => Some(OnExceed::Reject),
        Status::Pending | Status::Hold | Status::Approved | Status::Reversed | Status::Paid => {
            Some(OnExceed::Pending)
        }
    }
}

/// The next revision of a conversion, with other values.
pub(super) fn revised(event: &Event, existing: &Revision, after: Values) -> Revision {
    let stays = match existing.reason.as_str() {
        // An amount without a rate stays one in every status.
        reason::NO_RATE => true,
        // As long as the status is the one that has this reason.
        reason::CAP | reason::UNTRUSTED_SENDER | reason::MANUAL_APPROVAL => {
            after.status == existing.after.status
        }
        _ => false,
    };
    Revision {
        version: existing.version + 1,
        event: event.id,
        change: Change::Status,
        reason: if stays { existing.reason.clone() } else { String::new() },
        before: Some(existing.after),
        after,
        refund: None,
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
fn attributed(conversion: &Conversion, question: &Question<'_>, winner: Option<StoredTouch>) -> Attributed {
    let labels = conversion.labels.clone();
    match winner {
        Some(touch) => Attributed {
            offer: Some(touch.offer),
            partner: touch.partner,
            campaign: touch.campaign,
            link: touch.link,
            click: match touch.id {
                TouchId::Click(click) => Some((click, touch.at)),
                TouchId::Impression(_) => None,
            },
            visitor: question.visitor,
            subs: touch.subs,
            source_id: touch.source_id,
            creative: touch.creative,
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
