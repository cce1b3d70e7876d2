//! What the workspace earns and what the partner earns from a conversion, and the status it starts with.

use std::borrow::Cow;

use catalog::{Approval, Catalog, Goal, Offer, Partner, Payout, PayoutRule, Revenue, Workspace};
use jiff::civil::Date;
use schemas::event::{Conversion, Status, label};
use schemas::fact::{AppliedRate, Attributed, Values, reason};
use schemas::money::{Currency, Money, MoneyError};

/// Values of a new conversion and how they came about.
#[derive(Clone)]
pub(super) struct Valuation {
    pub(super) values: Values,
    /// Why the status is not the plain one; empty otherwise.
    pub(super) reason: &'static str,
    /// The word of the [`PayoutRule`] that won, or `none`.
    pub(super) rule: &'static str,
    /// For how many days the conversion is held, where it begins with a hold that its goal wants.
    pub(super) hold_days: u16,
    /// The rates that the values come from, the amount's first.
    pub(super) rates: Vec<AppliedRate>,
    /// The currencies that have none.
    pub(super) lacks_rates_of: Vec<Currency>,
    /// A label that the conversion gets.
    pub(super) label: Option<&'static str>,
}

/// What a conversion is valued by.
pub(super) struct Terms<'a> {
    catalog: &'a Catalog,
    workspace: &'a Workspace,
    pub(super) offer: Option<&'a Offer>,
    partner: Option<&'a Partner>,
}

impl<'a> Terms<'a> {
    /// The terms of what a conversion belongs to, as the catalog has them now.
    pub(super) fn of(catalog: &'a Catalog, workspace: &'a Workspace, attributed: &Attributed) -> Self {
        let offer = attributed.offer.and_then(|offer| catalog.offer(workspace.number, offer));
        let partner = attributed.partner.and_then(|partner| catalog.partner(workspace.number, partner));
        Self { catalog, workspace, offer, partner }
    }
}

/// Values a conversion: its revenue by its offer's goal, its payout by the most specific rule.
///
/// Amounts in another currency than the workspace's are converted by the rate of the day on which the conversion occurred; one
/// that is among the `kept` stays, whatever the catalog says since. An amount without a rate counts as nothing, and the
/// conversion is pending with `no_rate`.
///
/// # Errors
/// [`MoneyError::TooLarge`] if a share of the amount does not fit.
pub(super) fn value(
    terms: &Terms<'_>,
    conversion: &Conversion,
    kept: &[AppliedRate],
) -> Result<Valuation, MoneyError> {
    let Terms { catalog, workspace, offer, partner } = *terms;
    let goal = offer.and_then(|offer| offer.goal(&conversion.goal));
    let on = conversion.occurred_at.utc_date();
    let mut exchange = Exchange { catalog, workspace, on, kept, rates: Vec::new(), lacks: Vec::new() };
    let amount = exchange.convert(conversion.amount)?;
    let share = |percent| amount.map(|amount| amount.share(percent)).transpose();
    let revenue = match goal.map(|goal| &goal.revenue) {
        None | Some(Revenue::Postback) => amount,
        Some(Revenue::Fixed(fixed)) => exchange.convert(Some(*fixed))?,
        Some(Revenue::Percent(percent)) => share(*percent)?,
    };
    let rule = offer
        .zip(partner)
        .and_then(|(offer, partner)| PayoutRule::most_specific(offer, partner, &conversion.goal));
    let payout = match rule.map(|(_, payout)| payout) {
        None | Some(Payout::None) => None,
        Some(Payout::Fixed(fixed)) => exchange.convert(Some(fixed))?,
        Some(Payout::Percent(percent)) => share(percent)?,
    };
    let Exchange { rates, lacks: lacks_rates_of, .. } = exchange;
    let (status, reason) = status(conversion, goal, !lacks_rates_of.is_empty());
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
        rule: rule.map_or("none", |(rule, _)| rule.as_str()),
        rates,
        lacks_rates_of,
        hold_days: goal.map_or(0, |goal| goal.hold_days),
        label: (offer.is_some() && goal.is_none()).then_some(label::UNKNOWN_GOAL),
    })
}

/// Converts amounts into a workspace's currency and notes by which rates.
struct Exchange<'a> {
    catalog: &'a Catalog,
    workspace: &'a Workspace,
    on: Date,
    kept: &'a [AppliedRate],
    rates: Vec<AppliedRate>,
    lacks: Vec<Currency>,
}

impl Exchange<'_> {
    /// The amount in the workspace's currency; `None` if there is none, or no rate.
    fn convert(&mut self, money: Option<Money>) -> Result<Option<Money>, MoneyError> {
        let Some(money) = money else { return Ok(None) };
        let (from, to) = (money.currency, self.workspace.currency);
        if from == to {
            return Ok(Some(money));
        }
        let kept = self.kept.iter().find(|rate| rate.from == from && rate.to == to).copied();
        let Some(applied) = kept.or_else(|| self.look_up(from, to)) else {
            if !self.lacks.contains(&from) {
                self.lacks.push(from);
            }
            return Ok(None);
        };
        if !self.rates.contains(&applied) {
            self.rates.push(applied);
        }
        applied.rate.convert(money, to).map(Some)
    }

    fn look_up(&self, from: Currency, to: Currency) -> Option<AppliedRate> {
        let found = self.catalog.rate(self.workspace.number, from, to, self.on)?;
        Some(AppliedRate { from, to, date: found.date, rate: found.rate })
    }
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
    Ok(Cow::Owned(Conversion { amount: Some(amount), ..conversion.clone() }))
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
    } else if goal.is_some_and(|goal| goal.hold_days > 0) {
        (Status::Hold, reason::HOLD_DAYS)
    } else {
        (Status::Approved, "")
    }
}
