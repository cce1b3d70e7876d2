//! The revisions of conversions: the first, and those after it.

use bytes::Bytes;
use catalog::{OnExceed, Workspace};
use schemas::event::{Body, Event, Status, label};
use schemas::fact::{Change, DecidedBy, DedupeKey, Gross, Revision, Values, reason};
use schemas::id::{ConversionId, WorkspaceNumber};
use schemas::time::Timestamp;
use schemas::wire;

use super::assessment::Assessment;
use super::cap::Capped;
use super::cause::{cause, of_system};
use super::decide::Decider;
use super::key;
use super::payout::Valuation;
use super::refund::less_refunded;
use super::reopening::is_undecided;
use super::state::{State, StateError};

const MICROS_PER_DAY: i64 = 24 * 3_600 * 1_000_000;

impl Decider<'_, '_> {
    /// A conversion as it is now.
    pub(super) fn revision(
        &self,
        workspace: WorkspaceNumber,
        conversion: ConversionId,
    ) -> Result<Option<Revision>, StateError> {
        stored(self.state, workspace, conversion)
    }

    /// The first revision of a conversion.
    pub(super) fn first_revision(
        &self,
        event: &Event,
        workspace: &Workspace,
        dedupe_key: DedupeKey,
        assessment: Assessment,
    ) -> Result<Revision, StateError> {
        let Assessment { received, attributed, identified_by, touches, valuation } = assessment;
        let mut revision = Revision {
            conversion: event.id.rename(),
            workspace: event.workspace,
            version: 1,
            event: event.id,
            cause: cause(event),
            change: Change::Recorded,
            decided_by: DecidedBy::Beginning,
            reason: String::new(),
            received,
            dedupe_key,
            attributed,
            attributed_before: None,
            identified_by,
            payout_rule: valuation.rule.to_owned(),
            before: None,
            after: valuation.values,
            gross: gross(&valuation.values),
            refund: None,
            counted_in: Vec::new(),
            rates: valuation.rates.clone(),
            lacks_rates_of: valuation.lacks_rates_of.clone(),
            hold_until: None,
            touches,
            received_at: event.received_at,
            recorded_at: self.state.head().core_time,
        };
        let Capped { places, beyond } = self.caps_of_conversion(workspace, &revision, &[])?;
        let valuation = capped(valuation, beyond);
        if beyond.is_some() {
            revision.attributed.labels.push(label::CAP.to_owned());
        }
        revision.counted_in = places;
        revision.hold_until = self.hold_until(&valuation);
        (revision.after, revision.reason) = (valuation.values, valuation.reason.to_owned());
        Ok(revision)
    }

    /// When a hold ends that begins now, if the conversion begins with one.
    pub(super) fn hold_until(&self, valuation: &Valuation) -> Option<Timestamp> {
        let hold = i64::from(valuation.hold_days) * MICROS_PER_DAY;
        is_held(valuation.values.status, valuation.reason)
            .then(|| self.state.head().core_time.saturating_add(hold))
    }

    /// The next revision of a conversion, as it comes out when it is assessed anew. It keeps its status, unless it waited for
    /// what is known now, or `wish` is another.
    ///
    /// # Errors
    /// The reason for which it cannot be.
    pub(super) fn restated(
        &self,
        event: &Event,
        workspace: &Workspace,
        existing: &Revision,
        assessment: Assessment,
        (change, wish): (Change, Option<Status>),
    ) -> Result<Result<Revision, &'static str>, StateError> {
        let Assessment { received, mut attributed, identified_by, touches, valuation } = assessment;
        // Labels say what was seen; what was seen once stays seen.
        let seen = existing.attributed.labels.iter().filter(|label| !attributed.labels.contains(label));
        let seen: Vec<String> = seen.cloned().collect();
        attributed.labels.extend(seen);
        let is_reported = matches!(change, Change::Report);
        let mut next = Revision {
            change,
            cause: if is_reported { cause(event) } else { of_system() },
            received,
            identified_by,
            payout_rule: valuation.rule.to_owned(),
            gross: gross(&valuation.values),
            rates: valuation.rates.clone(),
            lacks_rates_of: valuation.lacks_rates_of.clone(),
            touches,
            ..revised(event, existing, existing.after)
        };
        if attributed != existing.attributed {
            next.attributed_before = Some(Box::new(std::mem::replace(&mut next.attributed, attributed)));
        }
        let Capped { places, beyond } = self.caps_of_conversion(workspace, &next, &existing.counted_in)?;
        next.counted_in = places;
        if beyond.is_some() && !next.attributed.labels.iter().any(|known| known == label::CAP) {
            next.attributed.labels.push(label::CAP.to_owned());
        }
        let (status, reason) = match status_after(existing, &valuation, wish, beyond) {
            Ok(decided) => decided,
            Err(reason) => return Ok(Err(reason)),
        };
        let amount_micros = next.received.amount.map_or(0, |amount| amount.micros);
        let refunded_micros = existing.after.refunded_micros;
        if refunded_micros > amount_micros {
            return Ok(Err(reason::REFUND_EXCEEDS_AMOUNT));
        }
        if is_held(status, &reason) && next.hold_until.is_none() {
            next.hold_until = self.hold_until(&valuation);
        }
        next.reason = reason;
        if status != existing.after.status {
            next.decided_by = if wish.is_some() { DecidedBy::Report } else { DecidedBy::Beginning };
        }
        let values = Values { status, ..valuation.values };
        next.after = less_refunded(values, next.received.amount, refunded_micros);
        Ok(Ok(next))
    }
}

/// A conversion as a state has it; `None` if it has no such.
pub(super) fn stored(
    state: &dyn State,
    workspace: WorkspaceNumber,
    conversion: ConversionId,
) -> Result<Option<Revision>, StateError> {
    let Some(bytes) = state.get(&key::conversion(workspace, conversion))? else { return Ok(None) };
    wire::decode_revision(Bytes::copy_from_slice(&bytes))
        .map(Some)
        .map_err(|_| StateError::Unreadable("conversion"))
}

/// Whether a part of what a conversion is worth is not known for want of a rate, whatever status it has by now.
pub(super) const fn lacks_rate(revision: &Revision) -> bool {
    !revision.lacks_rates_of.is_empty()
}

/// Whether the conversion is held back because its goal says so, and for how long.
pub(super) fn is_held(status: Status, reason: &str) -> bool {
    status == Status::Hold && reason == reason::HOLD_DAYS
}

/// The status and its reason of a conversion that was assessed anew. `beyond` is what the caps want that did not count it before.
///
/// # Errors
/// The reason for which it cannot be.
fn status_after(
    existing: &Revision,
    valuation: &Valuation,
    wish: Option<Status>,
    beyond: Option<OnExceed>,
) -> Result<(Status, String), &'static str> {
    let before = existing.after.status;
    let wish = wish.filter(|wish| *wish != before);
    if valuation.reason == reason::NO_RATE {
        return match (wish.unwrap_or(before), before) {
            (status @ (Status::Rejected | Status::Reversed), _) => {
                Ok((status, if wish.is_none() { existing.reason.clone() } else { String::new() }))
            }
            _ if wish.is_none() && is_undecided(existing) => {
                Ok((Status::Pending, reason::NO_RATE.to_owned()))
            }
            _ => Err(reason::NO_RATE),
        };
    }
    if let Some(wish) = wish {
        return Ok((wish, String::new()));
    }
    match (before, beyond) {
        _ if has_what_it_waited_for(existing, valuation) => {
            // It gets what it would have begun with.
            let valuation = capped(valuation.clone(), beyond.or_else(|| demand_of_caps(existing)));
            Ok((valuation.values.status, valuation.reason.to_owned()))
        }
        (Status::Pending | Status::Hold, Some(OnExceed::Pending)) => {
            Ok((Status::Pending, reason::CAP.to_owned()))
        }
        (Status::Pending | Status::Hold, Some(OnExceed::Reject)) => {
            Ok((Status::Rejected, reason::CAP.to_owned()))
        }
        _ if existing.reason == reason::NO_RATE => Ok((before, String::new())),
        _ => Ok((before, existing.reason.clone())),
    }
}

/// Whether a conversion waited for a rate, for a trusted sender, or for a touch that says by whose terms it is approved, and waits
/// no more.
fn has_what_it_waited_for(existing: &Revision, valuation: &Valuation) -> bool {
    let waited = [reason::NO_RATE, reason::UNTRUSTED_SENDER];
    match existing.after.status {
        Status::Pending => waited.contains(&existing.reason.as_str()) && existing.reason != valuation.reason,
        // Nobody has decided about it but the core, which knew no better.
        Status::Approved => {
            existing.attributed.partner.is_none()
                && matches!(existing.change, Change::Recorded | Change::Attribution)
        }
        Status::Hold | Status::Rejected | Status::Reversed | Status::Paid => false,
    }
}

pub(super) const fn gross(values: &Values) -> Gross {
    Gross { revenue_micros: values.revenue_micros, payout_micros: values.payout_micros }
}

/// What a conversion beyond its caps begins with.
pub(super) fn capped(valuation: Valuation, beyond: Option<OnExceed>) -> Valuation {
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
pub(super) fn demand_of_caps(existing: &Revision) -> Option<OnExceed> {
    match existing.after.status {
        _ if existing.reason != reason::CAP => None,
        Status::Rejected => Some(OnExceed::Reject),
        Status::Pending | Status::Hold | Status::Approved | Status::Reversed | Status::Paid => {
            Some(OnExceed::Pending)
        }
    }
}

/// Who decides about a conversion by this event.
const fn decided_by(event: &Event) -> DecidedBy {
    match event.body {
        Body::Command(_) => DecidedBy::Person,
        Body::Conversion(_) => DecidedBy::Report,
        Body::Click(_) | Body::Impression(_) | Body::Refund(_) | Body::Delayed(_) | Body::Tick => {
            DecidedBy::Course
        }
    }
}

/// The next revision of a conversion, with other values.
pub(super) fn revised(event: &Event, existing: &Revision, after: Values) -> Revision {
    let stays = match existing.reason.as_str() {
        // An amount without a rate stays one in every status.
        reason::NO_RATE => true,
        // As long as the status is the one that has this reason.
        reason::CAP | reason::UNTRUSTED_SENDER | reason::MANUAL_APPROVAL | reason::HOLD_DAYS => {
            after.status == existing.after.status
        }
        _ => false,
    };
    Revision {
        version: existing.version + 1,
        event: event.id,
        cause: cause(event),
        change: Change::Status,
        decided_by: if after.status == existing.after.status {
            existing.decided_by
        } else {
            decided_by(event)
        },
        reason: if stays { existing.reason.clone() } else { String::new() },
        before: Some(existing.after),
        after,
        refund: None,
        attributed_before: None,
        touches: Vec::new(),
        ..existing.clone()
    }
}
