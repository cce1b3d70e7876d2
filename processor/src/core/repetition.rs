//! What becomes of a conversion that is reported again under the same key.

use catalog::{Duplicates, Workspace};
use schemas::event::{Conversion, Status};
use schemas::fact::{Change, DecidedBy, OutcomeStatus, Revision, Values, reason};

use super::conversion::{NamedClick, Reported, may_begin_as};
use super::decide::{Decider, Settled};
use super::payout::{Terms, Valuation, priced, value};
use super::refund::less_refunded;
use super::revision::{capped, demand_of_caps, gross, lacks_rate, revised};
use super::state::StateError;

impl Decider<'_, '_> {
    /// The same key once more: a duplicate, a new status, or something else under the same key.
    pub(super) fn repeated(
        &mut self,
        reported: &Reported<'_>,
        workspace: &Workspace,
        existing: &Revision,
    ) -> Result<(), StateError> {
        let settled = |reason| Settled::meeting(existing, reason);
        let conflict = |reason| (OutcomeStatus::Conflict, settled(reason));
        let offer = existing.attributed.offer.and_then(|id| self.catalog.offer(existing.workspace, id));
        let revises = self.duplicates(existing) == Duplicates::Revise;
        let Ok(repetition) = priced(reported.conversion, workspace, offer) else {
            let invalid = settled(reason::INVALID_AMOUNT);
            return self.settle(&reported.case, OutcomeStatus::Rejected, invalid);
        };
        let repetition = repetition.as_ref();
        let confirms = confirms(repetition, existing);
        let wanted = repetition.status.filter(|status| *status != existing.after.status);
        let is_same = same_content(repetition, &existing.received, confirms);
        let (status, settled) = if revises && !(is_same && says_no_more(repetition, &existing.received)) {
            return self.restate(reported, workspace, existing);
        } else if !is_same {
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
                    self.revise(Some(existing), revised(reported.case.event, existing, after))?;
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
        let Ok(valuation) = value(&terms, &confirmed, &existing.rates) else {
            let out_of_range = settled(reason::AMOUNT_OUT_OF_RANGE);
            return self.settle(&reported.case, OutcomeStatus::Rejected, out_of_range);
        };
        let gross = gross(&valuation.values);
        let valuation = capped(valuation, demand_of_caps(existing));
        let hold_until = existing.hold_until.or_else(|| self.hold_until(&valuation));
        let Valuation { values, reason, rule, rates, lacks_rates_of, .. } = valuation;
        let after = less_refunded(values, confirmed.amount, existing.after.refunded_micros);
        let next = Revision {
            reason: reason.to_owned(),
            payout_rule: rule.to_owned(),
            received: confirmed,
            gross,
            rates,
            lacks_rates_of,
            hold_until,
            decided_by: DecidedBy::Beginning,
            ..revised(reported.case.event, existing, after)
        };
        let joined = self.join_reported(workspace, &next.received, None)?;
        self.revise(Some(existing), next)?;
        self.settle(&reported.case, OutcomeStatus::Updated, settled(reason))?;
        self.reopen_joined(reported.case.event, joined)
    }

    /// Other content under the key of a goal whose last report stands.
    fn restate(
        &mut self,
        reported: &Reported<'_>,
        workspace: &Workspace,
        existing: &Revision,
    ) -> Result<(), StateError> {
        let (case, new) = (&reported.case, reported.conversion);
        let settled = |reason| Settled::meeting(existing, reason);
        if let Some(reason) = refused_report(new, existing) {
            return self.settle(case, OutcomeStatus::Conflict, settled(reason));
        }
        let received = overlaid(&existing.received, new);
        let named = self.named_click(workspace.number, received.click)?;
        let stands = match named {
            // It may have been the one that the conversion belongs to.
            NamedClick::Over => true,
            NamedClick::None | NamedClick::Here(_) | NamedClick::Missing | NamedClick::Foreign => {
                !self.is_open(existing) && is_about_the_same(&received, &existing.received)
            }
        };
        let click = match named {
            NamedClick::Here(click) => Some(click),
            NamedClick::None | NamedClick::Over => None,
            // The click of the first report was here once.
            NamedClick::Missing if received.click == existing.received.click => None,
            NamedClick::Missing => return self.park(case, reason::UNKNOWN_CLICK),
            NamedClick::Foreign => {
                return self.settle(case, OutcomeStatus::Rejected, settled(reason::UNKNOWN_CLICK));
            }
        };
        let joined = self.join_reported(workspace, &received, click.as_ref())?;
        let assessed = if stands {
            self.value_anew(workspace, &received, existing)
        } else {
            self.assess(workspace, &received, click, &existing.rates)?
        };
        let assessment = match assessed {
            Ok(assessment) => assessment,
            Err(reason) => return self.settle(case, OutcomeStatus::Rejected, settled(reason)),
        };
        let change = (Change::Report, new.status);
        match self.restated(case.event, workspace, existing, assessment, change)? {
            Ok(next) => {
                let reason = next.reason.clone();
                self.revise(Some(existing), next)?;
                self.settle(case, OutcomeStatus::Updated, settled(&reason))?;
            }
            Err(reason) => self.settle(case, OutcomeStatus::Conflict, settled(reason))?,
        }
        self.reopen_joined(case.event, joined)
    }
}

/// Whether a repetition comes from a more trusted sender whose word now counts. What was decided after the report itself,
/// and what is paid or reversed, stands; a conversion that still waits for a decision gets one.
fn confirms(repetition: &Conversion, existing: &Revision) -> bool {
    let is_open = match existing.after.status {
        Status::Pending => true,
        Status::Hold | Status::Approved | Status::Rejected => existing.decided_by == DecidedBy::Beginning,
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
    } else if is_rejected_by_hand(existing) {
        Some(reason::DECIDED_BY_HAND)
    } else if existing.reason == reason::CAP && status.is_counted() {
        // A cap that wants a decision wants that of a person.
        Some(reason::CAP)
    } else if !existing.after.status.may_become(status) {
        Some(reason::STATUS_NOT_REACHABLE)
    } else if lacks_rate(existing) && status.is_counted() {
        // Whatever the sender says: what the conversion is worth is not known yet.
        Some(reason::NO_RATE)
    } else {
        None
    }
}

/// Whether a person has rejected the conversion, and nobody has decided since.
fn is_rejected_by_hand(existing: &Revision) -> bool {
    existing.after.status == Status::Rejected && existing.decided_by == DecidedBy::Person
}

/// Why the last report cannot stand, if it cannot: an untrusted sender's, or one about what is paid or was taken back.
fn refused_report(new: &Conversion, existing: &Revision) -> Option<&'static str> {
    let is_outranked = existing.received.trust.outranks(new.trust);
    match existing.after.status {
        _ if !new.trust.may_approve() || is_outranked => Some(reason::UNTRUSTED_SENDER),
        Status::Paid | Status::Reversed => Some(reason::STATUS_NOT_REACHABLE),
        Status::Pending | Status::Hold | Status::Approved | Status::Rejected => {
            let wanted = new.status.filter(|status| *status != existing.after.status)?;
            // A rate may come with the report that has another currency.
            refused_step(new, existing, wanted).filter(|reason| *reason != reason::NO_RATE)
        }
    }
}

/// The first report with all that the last one says. Which conversion it is, and when it happened, stays.
fn overlaid(old: &Conversion, new: &Conversion) -> Conversion {
    fn last(old: &str, new: &str) -> String {
        if new.is_empty() { old } else { new }.to_owned()
    }
    let has_amount = new.amount.is_some() || new.stated_amount.is_some();
    let amounts = if has_amount { new } else { old };
    Conversion {
        click: new.click.or(old.click),
        visitor: new.visitor.or(old.visitor),
        customer_id: last(&old.customer_id, &new.customer_id),
        email_sha256: new.email_sha256.or(old.email_sha256),
        coupon: last(&old.coupon, &new.coupon),
        partner: new.partner.or(old.partner),
        offer: new.offer.or(old.offer),
        amount: amounts.amount,
        stated_amount: amounts.stated_amount.clone(),
        status: new.status.or(old.status),
        trust: new.trust,
        metadata: last(&old.metadata, &new.metadata),
        labels: new.labels.clone(),
        ..old.clone()
    }
}

/// Whether two reports name the same in everything by which it is found out whose a conversion is.
fn is_about_the_same(one: &Conversion, other: &Conversion) -> bool {
    let names = |it: &Conversion| (it.click, it.visitor, it.email_sha256, it.partner, it.offer);
    names(one) == names(other) && one.customer_id == other.customer_id && one.coupon == other.coupon
}

/// Whether a repetition adds nothing to what the first report said.
fn says_no_more(new: &Conversion, old: &Conversion) -> bool {
    let with_new = Conversion {
        status: old.status,
        trust: old.trust,
        labels: old.labels.clone(),
        amount: old.amount,
        stated_amount: old.stated_amount.clone(),
        ..overlaid(old, new)
    };
    with_new == *old && (new.amount.is_none() || new.amount == old.amount)
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
