//! What the workspace earns and what the partner earns from a conversion, and the status it starts with.

use std::borrow::Cow;

use catalog::{Approval, Goal, Offer, Payout, Revenue, Workspace};
use schemas::event::{Conversion, Status, label};
use schemas::fact::{Values, reason};
use schemas::id::PartnerId;
use schemas::money::{Money, MoneyError};

/// Values of a new conversion and how they came about.
pub(super) struct Valuation {
    pub(super) values: Values,
    /// Why the status is not the plain one; empty otherwise.
    pub(super) reason: &'static str,
    /// `offer_goal`, or `none`.
    pub(super) rule: &'static str,
    /// A label that the conversion gets.
    pub(super) label: Option<&'static str>,
}

/// Values a conversion by its offer's goal.
///
/// Amounts in another currency than the workspace's have no rate yet: they count as nothing, and the conversion is
/// pending with `no_rate`.
///
/// # Errors
/// [`MoneyError::TooLarge`] if a share of the amount does not fit.
pub(super) fn value(
    workspace: &Workspace,
    offer: Option<&Offer>,
    partner: Option<PartnerId>,
    conversion: &Conversion,
) -> Result<Valuation, MoneyError> {
    let goal = offer.and_then(|offer| offer.goal(&conversion.goal));
    let mut no_rate = false;
    let mut in_workspace_currency = |money: Option<Money>| {
        let converted = money.filter(|money| money.currency == workspace.currency);
        no_rate |= money.is_some() && converted.is_none();
        converted
    };
    let amount = in_workspace_currency(conversion.amount);
    let share = |percent| amount.map(|amount| amount.share(percent)).transpose();
    let revenue = match goal.map(|goal| &goal.revenue) {
        None | Some(Revenue::Postback) => amount,
        Some(Revenue::Fixed(fixed)) => in_workspace_currency(Some(*fixed)),
        Some(Revenue::Percent(percent)) => share(*percent)?,
    };
    let payout = match (partner, goal.map(|goal| &goal.payout)) {
        (None, _) | (_, None | Some(Payout::None)) => None,
        (Some(_), Some(Payout::Fixed(fixed))) => in_workspace_currency(Some(*fixed)),
        (Some(_), Some(Payout::Percent(percent))) => share(*percent)?,
    };
    let (status, reason) = status(conversion, goal, no_rate);
    Ok(Valuation {
        values: Values {
            status,
            currency: workspace.currency,
            amount_micros: amount.map(|money| money.micros),
            revenue_micros: revenue.map_or(0, |money| money.micros),
            payout_micros: payout.map_or(0, |money| money.micros),
            refunded_micros: 0,
        },
        reason,
        rule: if goal.is_some() && partner.is_some() { "offer_goal" } else { "none" },
        label: (offer.is_some() && goal.is_none()).then_some(label::UNKNOWN_GOAL),
    })
}

/// The conversion with its amount as money: one that was stated without a currency is in the offer's, else in the
/// workspace's.
///
/// # Errors
/// [`MoneyError`] if the text is no amount of that currency.
pub(super) fn priced<'a>(
    conversion: &'a Conversion,
    workspace: &Workspace,
    offer: Option<&Offer>,
) -> Result<Cow<'a, Conversion>, MoneyError> {
    let Some(stated) = &conversion.stated_amount else { return Ok(Cow::Borrowed(conversion)) };
    let amount = stated.in_currency(offer.map_or(workspace.currency, |offer| offer.currency))?;
    Ok(Cow::Owned(Conversion { amount: Some(amount), stated_amount: None, ..conversion.clone() }))
}

/// The status that a conversion starts with: the sender's word where the sender is trusted, else the goal's rule.
fn status(conversion: &Conversion, goal: Option<&Goal>, no_rate: bool) -> (Status, &'static str) {
    if conversion.status == Some(Status::Rejected) && conversion.trust.may_approve() {
        (Status::Rejected, "")
    } else if no_rate {
        (Status::Pending, reason::NO_RATE)
    } else if !conversion.trust.may_approve() {
        (Status::Pending, reason::UNTRUSTED_SENDER)
    } else if let Some(status) = conversion.status {
        (status, "")
    } else if goal.is_some_and(|goal| matches!(goal.approval, Approval::Manual)) {
        (Status::Pending, reason::MANUAL_APPROVAL)
    } else {
        (Status::Approved, "")
    }
}
