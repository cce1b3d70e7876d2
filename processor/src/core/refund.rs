//! What becomes of a refund: money of a conversion that went back, all of it or a part.
//!
//! What is left is always reckoned from what the conversion earned at first: of an amount of which `refunded` went back, revenue
//! and payout keep the share `(amount - refunded) / amount`, rounded half away from zero to a micro-unit. So neither the
//! number of refunds nor their order changes what is left, and when all went back both are exactly 0 and the conversion
//! is reversed. A fixed payout shrinks by the same share.

use prost::Message;
use schemas::event::{Event, Mark, Refund, Status};
use schemas::fact::{AppliedRefund, Change, Gross, OutcomeStatus, Revision, Subject, Values, reason};
use schemas::id::EventId;
use schemas::money::Money;

use super::decide::{Case, Decider, Settled};
use super::dedupe;
use super::key;
use super::revision::{gross, revised};
use super::state::{Overlay, State, StateError};

/// A reported refund on its way to a decision.
pub(super) struct Returned<'a> {
    pub(super) case: Case<'a>,
    pub(super) refund: &'a Refund,
}

impl<'a> Returned<'a> {
    pub(super) const fn new(event: &'a Event, refund: &'a Refund, mark: Option<Mark>) -> Self {
        let case = Case { event, mark, subject: Subject::Refund, source: refund.source, test: refund.test };
        Self { case, refund }
    }
}

#[derive(Clone, PartialEq, Message)]
struct RefundMessage {
    #[prost(bytes = "vec", tag = "1")]
    event: Vec<u8>,
    #[prost(int64, tag = "2")]
    amount_micros: i64,
}

impl Decider<'_, '_> {
    /// Decides a refund; parks it if it waits for its conversion.
    pub(super) fn refund(&mut self, returned: &Returned<'_>) -> Result<(), StateError> {
        let Returned { case, refund } = returned;
        let event = case.event;
        if self.catalog.workspace(event.workspace).is_none() {
            return self.reject(case, reason::UNKNOWN_WORKSPACE);
        }
        if self.is_replay(case, refund.nonce.as_ref())? {
            return Ok(());
        }
        if let Some(fault) = &refund.fault {
            return self.reject(case, &fault.reason);
        }
        // Whoever may not say that a conversion counts may not say that it counts no more.
        if !refund.trust.may_approve() {
            return self.reject(case, reason::UNTRUSTED_SENDER);
        }
        if refund.source.is_some_and(|source| self.is_foreign(event.workspace, source)) {
            return self.reject(case, reason::UNKNOWN_REFERENCE);
        }
        let existing = match refund.conversion {
            Some(id) if id.workspace() != event.workspace => {
                return self.reject(case, reason::UNKNOWN_CONVERSION);
            }
            Some(id) => self.revision(event.workspace, id)?,
            None if refund.transaction_id.is_empty() => {
                return self.reject(case, reason::UNKNOWN_CONVERSION);
            }
            None => self.existing(event, &dedupe::key_of_refunded(event, refund))?,
        };
        match existing {
            None => self.park(case, reason::UNKNOWN_CONVERSION),
            Some(existing) if existing.received.test != refund.test => {
                self.reject(case, reason::UNKNOWN_CONVERSION)
            }
            Some(existing) => self.give_back(returned, &existing),
        }
    }

    fn give_back(&mut self, returned: &Returned<'_>, existing: &Revision) -> Result<(), StateError> {
        let Returned { case, refund } = returned;
        let (status, settled) = match self.judge(returned, existing)? {
            Verdict::Known(original) => (
                OutcomeStatus::Duplicate,
                Settled { original: Some(original), ..Settled::about(existing, "") },
            ),
            Verdict::Conflict => {
                (OutcomeStatus::Conflict, Settled::about(existing, reason::DIFFERENT_CONTENT))
            }
            Verdict::Rejected(reason) => (OutcomeStatus::Rejected, Settled::about(existing, reason)),
            Verdict::Take(amount_micros) => {
                let after = without(existing, amount_micros);
                let next = Revision {
                    change: Change::Refund,
                    refund: Some(AppliedRefund {
                        refund_id: refund.refund_id.clone(),
                        amount_micros,
                        reason: refund.reason.clone(),
                    }),
                    ..revised(case.event, existing, after)
                };
                self.revise(Some(existing), next)?;
                (OutcomeStatus::Recorded, Settled::about(existing, ""))
            }
        };
        self.settle(case, status, settled)
    }

    fn judge(&self, returned: &Returned<'_>, existing: &Revision) -> Result<Verdict, StateError> {
        let Returned { case, refund } = returned;
        let original = existing.received.amount;
        let amount = match (refund.amount, &refund.stated_amount, original) {
            (Some(amount), _, _) => Some(amount),
            (None, Some(stated), Some(original)) => match stated.in_currency(original.currency) {
                Ok(amount) => Some(amount),
                Err(_) => return Ok(Verdict::Rejected(reason::INVALID_AMOUNT)),
            },
            // There is nothing that it could be a part of.
            (None, Some(_), None) => return Ok(Verdict::Rejected(reason::REFUND_EXCEEDS_AMOUNT)),
            (None, None, _) => None,
        };
        if let (Some(amount), Some(original)) = (amount, original)
            && amount.currency != original.currency
        {
            return Ok(Verdict::Rejected(reason::CURRENCY_MISMATCH));
        }
        if let Some((event, known_micros)) = self.known_refund(case.event, refund, existing)? {
            let is_same = amount.is_none_or(|amount| amount.micros == known_micros);
            return Ok(if is_same { Verdict::Known(event) } else { Verdict::Conflict });
        }
        Ok(within_the_rest(amount, existing))
    }

    /// The event and amount of the refund of this conversion that had this id first.
    fn known_refund(
        &self,
        event: &Event,
        refund: &Refund,
        existing: &Revision,
    ) -> Result<Option<(EventId, i64)>, StateError> {
        let key = key::refund(
            event.workspace,
            existing.conversion,
            &dedupe::key_of_refund(event.id, &refund.refund_id),
        );
        let Some(bytes) = self.state.get(&key)? else { return Ok(None) };
        let unreadable = || StateError::Unreadable("refund");
        let known = RefundMessage::decode(&*bytes).map_err(|_| unreadable())?;
        let event = EventId::from_slice(&known.event).ok_or_else(unreadable)?;
        Ok(Some((event, known.amount_micros)))
    }
}

/// What becomes of a refund whose conversion is there.
enum Verdict {
    /// This much goes back.
    Take(i64),
    /// It was taken in before, with this event.
    Known(EventId),
    /// Another amount was, under the same id.
    Conflict,
    /// It cannot be.
    Rejected(&'static str),
}

/// Never more than is left goes back; without an amount all that is left.
fn within_the_rest(amount: Option<Money>, existing: &Revision) -> Verdict {
    let original_micros = existing.received.amount.map_or(0, |original| original.micros);
    let left_micros = original_micros.saturating_sub(existing.after.refunded_micros);
    // A conversion without an amount has nothing left once it was reversed.
    let is_spent = left_micros == 0 && (original_micros > 0 || existing.after.status == Status::Reversed);
    match amount.map(|amount| amount.micros) {
        Some(micros) if micros <= 0 => Verdict::Rejected(reason::INVALID_AMOUNT),
        Some(micros) if micros > left_micros => Verdict::Rejected(reason::REFUND_EXCEEDS_AMOUNT),
        Some(micros) => Verdict::Take(micros),
        None if is_spent => Verdict::Rejected(reason::REFUND_EXCEEDS_AMOUNT),
        None => Verdict::Take(left_micros),
    }
}

/// The conversion's values once this much more went back. With all of it gone the conversion is reversed, in whatever
/// status it was: also one that was never approved shall not be approved later.
fn without(existing: &Revision, amount_micros: i64) -> Values {
    let original_micros = existing.received.amount.map_or(0, |original| original.micros);
    let refunded_micros = existing.after.refunded_micros.saturating_add(amount_micros);
    let left = left(existing.gross, original_micros, refunded_micros);
    Values {
        status: if refunded_micros >= original_micros { Status::Reversed } else { existing.after.status },
        revenue_micros: left.revenue_micros,
        payout_micros: left.payout_micros,
        refunded_micros,
        ..existing.after
    }
}

/// Values that are worth what `values` say before refunds, of an amount of which so much went back. Without a refund nothing is
/// missing, not even of an amount of nothing.
pub(super) fn less_refunded(values: Values, amount: Option<Money>, refunded_micros: i64) -> Values {
    let gross = gross(&values);
    let amount_micros = amount.map_or(0, |amount| amount.micros);
    let left = if refunded_micros == 0 { gross } else { left(gross, amount_micros, refunded_micros) };
    Values {
        revenue_micros: left.revenue_micros,
        payout_micros: left.payout_micros,
        refunded_micros,
        ..values
    }
}

/// What is left of a conversion's earnings when of its amount so much went back.
fn left(gross: Gross, amount_micros: i64, refunded_micros: i64) -> Gross {
    let share = |earned_micros: i64| {
        if refunded_micros >= amount_micros {
            return 0;
        }
        let whole = i128::from(amount_micros);
        let product = i128::from(earned_micros) * (whole - i128::from(refunded_micros));
        let rounded = (product + product.signum() * whole / 2) / whole;
        // Never more than what was earned, so that it fits.
        i64::try_from(rounded).unwrap_or(earned_micros)
    };
    Gross { revenue_micros: share(gross.revenue_micros), payout_micros: share(gross.payout_micros) }
}

/// Remembers a refund that a revision took in.
pub(super) fn apply_refund(state: &mut Overlay<'_>, revision: &Revision, refund: &AppliedRefund) {
    let digest = dedupe::key_of_refund(revision.event, &refund.refund_id);
    let key = key::refund(revision.workspace, revision.conversion, &digest);
    let value = RefundMessage { event: revision.event.bytes().to_vec(), amount_micros: refund.amount_micros };
    state.put(key, value.encode_to_vec());
}
