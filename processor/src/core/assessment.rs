//! What a report comes to by what is known now: whose it is, what it is worth, and the status that it begins with.

use catalog::{Identifier, Workspace};
use schemas::event::{Conversion, label};
use schemas::fact::{AppliedRate, Attributed, Credits, Identity, Lost, Revision, Touch, TouchId, reason};
use schemas::id::{PartnerId, VisitorId, WorkspaceNumber};

use super::attribution::{Answer, Question, Windows, attribute};
use super::decide::Decider;
use super::payout::{Terms, Valuation, priced, value};
use super::person;
use super::state::StateError;
use super::stored::StoredTouch;

/// What a report comes to.
pub(super) struct Assessment {
    /// The report, with its amount as money.
    pub(super) received: Conversion,
    pub(super) attributed: Attributed,
    /// How it was found out whose it is.
    pub(super) identified_by: String,
    pub(super) touches: Vec<Touch>,
    pub(super) valuation: Valuation,
}

/// Whose a report is, by what it says itself.
struct Identified {
    by: &'static str,
    /// The click that it names.
    click: Option<StoredTouch>,
    /// Whose touches are considered.
    visitors: Vec<VisitorId>,
    /// Whose coupon it names.
    coupon: Option<PartnerId>,
    /// The coupon comes before anything else that was found.
    is_coupon_first: bool,
}

impl Decider<'_, '_> {
    /// Assesses a report, with the click that it names; else says for which reason it cannot count. Rates that were applied before
    /// are `kept`.
    pub(super) fn assess(
        &self,
        workspace: &Workspace,
        conversion: &Conversion,
        click: Option<StoredTouch>,
        kept: &[AppliedRate],
    ) -> Result<Result<Assessment, &'static str>, StateError> {
        let identified = self.identify(workspace, conversion, click)?;
        let question = Question {
            workspace: workspace.number,
            offer: identified.click.as_ref().map(|click| click.offer).or(conversion.offer),
            visitors: identified.visitors,
            named: identified.click,
            occurred_at: conversion.occurred_at,
            test: conversion.test,
            windows: Windows { catalog: self.catalog, workspace },
        };
        let Answer { mut touches, winner } = attribute(self.state, &question)?;
        let coupon = identified.coupon.filter(|_| identified.is_coupon_first || winner.is_none());
        let (mut attributed, by) = match (coupon, winner) {
            (Some(partner), winner) => {
                give_way(&mut touches);
                (of_coupon(conversion, &question, partner, winner.as_ref()), Identifier::Coupon.as_str())
            }
            // A touch's partner was looked up when it happened; one that is archived since keeps what it has earned.
            (None, Some(touch)) => (of_touch(conversion, &question, touch), identified.by),
            (None, None) => {
                let mut attributed = of_report(conversion, &question);
                self.drop_unknown_partner(workspace.number, &mut attributed);
                (attributed, identified.by)
            }
        };
        let terms = Terms::of(self.catalog, workspace, &attributed);
        let Ok(received) = priced(conversion, workspace, terms.offer) else {
            return Ok(Err(reason::INVALID_AMOUNT));
        };
        let Ok(valuation) = value(&terms, &received, kept) else {
            return Ok(Err(reason::AMOUNT_OUT_OF_RANGE));
        };
        attributed.labels.extend(valuation.label.map(str::to_owned));
        let received = received.into_owned();
        let identified_by = by.to_owned();
        Ok(Ok(Assessment { received, attributed, identified_by, touches, valuation }))
    }

    /// What a report comes to that belongs to whom the conversion belongs to already.
    ///
    /// # Errors
    /// The reason for which it cannot count.
    pub(super) fn value_anew(
        &self,
        workspace: &Workspace,
        conversion: &Conversion,
        existing: &Revision,
    ) -> Result<Assessment, &'static str> {
        let mut attributed = existing.attributed.clone();
        let terms = Terms::of(self.catalog, workspace, &attributed);
        let received = priced(conversion, workspace, terms.offer).map_err(|_| reason::INVALID_AMOUNT)?;
        let valuation = value(&terms, &received, &existing.rates).map_err(|_| reason::AMOUNT_OUT_OF_RANGE)?;
        let received = received.into_owned();
        let said = received.labels.iter().map(String::as_str).chain(valuation.label);
        for label in said {
            if !attributed.labels.iter().any(|known| known == label) {
                attributed.labels.push(label.to_owned());
            }
        }
        let (identified_by, touches) = (existing.identified_by.clone(), existing.touches.clone());
        Ok(Assessment { received, attributed, identified_by, touches, valuation })
    }

    /// Asks what a report names, in the workspace's order, until something leads to somebody.
    fn identify(
        &self,
        workspace: &Workspace,
        conversion: &Conversion,
        click: Option<StoredTouch>,
    ) -> Result<Identified, StateError> {
        let number = workspace.number;
        let (mut by, mut visitors, mut coupon, mut is_coupon_first) = ("", Vec::new(), None, false);
        for identifier in workspace.attribution.identify_by {
            let found = match identifier {
                _ if !by.is_empty() && identifier != Identifier::Coupon => continue,
                Identifier::ClickId => match &click {
                    Some(click) => Some(self.with_others(number, click.visitor, conversion.test)?),
                    None => None,
                },
                Identifier::VisitorId => match conversion.visitor {
                    Some(_) => Some(self.with_others(number, conversion.visitor, conversion.test)?),
                    None => None,
                },
                Identifier::CustomerId => self.visitors_of(number, person::of_customer(conversion))?,
                Identifier::Email => self.visitors_of(number, person::of_email(conversion))?,
                Identifier::Coupon => {
                    let owner = self.catalog.partner_by_coupon(number, &conversion.coupon);
                    coupon = owner.filter(|owner| !owner.meta.archived).map(|owner| owner.id);
                    is_coupon_first = by.is_empty();
                    None
                }
            };
            if let Some(found) = found {
                (by, visitors) = (identifier.as_str(), found);
            }
        }
        if by.is_empty() && conversion.partner.is_some() {
            by = "partner";
        }
        Ok(Identified { by, click, visitors, coupon, is_coupon_first })
    }

    /// A visitor, and the others that are the same person.
    fn with_others(
        &self,
        workspace: WorkspaceNumber,
        visitor: Option<VisitorId>,
        test: bool,
    ) -> Result<Vec<VisitorId>, StateError> {
        let Some(visitor) = visitor else { return Ok(Vec::new()) };
        let others = self.visitors_of(workspace, Some(person::of_visitor(visitor, test)))?;
        Ok(others.unwrap_or_else(|| vec![visitor]))
    }

    /// The visitors of whoever is known by this; `None` if nobody with a browser is.
    fn visitors_of(
        &self,
        workspace: WorkspaceNumber,
        identity: Option<Identity>,
    ) -> Result<Option<Vec<VisitorId>>, StateError> {
        let Some(identity) = identity else { return Ok(None) };
        let person = person::known_by(self.state, workspace, &identity)?;
        Ok(person.map(|person| person.visitors().collect::<Vec<_>>()).filter(|visitors| !visitors.is_empty()))
    }

    /// Nobody is paid whom the catalog does not have as a partner of this workspace.
    fn drop_unknown_partner(&self, workspace: WorkspaceNumber, attributed: &mut Attributed) {
        let Some(partner) = attributed.partner else { return };
        if self.catalog.partner(workspace, partner).is_none_or(|partner| partner.meta.archived) {
            attributed.partner = None;
            if !attributed.labels.iter().any(|known| known == label::UNKNOWN_PARTNER) {
                attributed.labels.push(label::UNKNOWN_PARTNER.to_owned());
            }
        }
    }
}

/// Touches that a coupon goes before.
fn give_way(touches: &mut [Touch]) {
    for touch in touches {
        touch.credits = Credits::default();
        touch.lost.get_or_insert(Lost::Coupon);
        // Lost against another touch, which has lost as well.
        if matches!(touch.lost, Some(Lost::Earlier | Lost::LessCredit | Lost::LowerType)) {
            touch.lost = Some(Lost::Coupon);
        }
    }
}

/// The visitor of a report: of the click that it names, else the one that it names itself.
fn visitor(conversion: &Conversion, question: &Question<'_>) -> Option<VisitorId> {
    question.named.as_ref().and_then(|click| click.visitor).or(conversion.visitor)
}

/// A conversion that belongs to a touch.
fn of_touch(conversion: &Conversion, question: &Question<'_>, touch: StoredTouch) -> Attributed {
    Attributed {
        offer: Some(touch.offer),
        partner: touch.partner,
        campaign: touch.campaign,
        link: touch.link,
        click: match touch.id {
            TouchId::Click(click) => Some((click, touch.at)),
            TouchId::Impression(_) => None,
        },
        visitor: visitor(conversion, question).or(touch.visitor),
        subs: touch.subs,
        source_id: touch.source_id,
        creative: touch.creative,
        labels: conversion.labels.clone(),
    }
}

/// A conversion that belongs to the owner of its coupon.
fn of_coupon(
    conversion: &Conversion,
    question: &Question<'_>,
    partner: PartnerId,
    winner: Option<&StoredTouch>,
) -> Attributed {
    Attributed {
        offer: question.offer.or(winner.map(|touch| touch.offer)),
        partner: Some(partner),
        visitor: visitor(conversion, question),
        labels: conversion.labels.clone(),
        ..Attributed::default()
    }
}

/// A conversion without a touch: it belongs to whom the report names. A named click that lost for good reason does not hand it
/// over.
fn of_report(conversion: &Conversion, question: &Question<'_>) -> Attributed {
    Attributed {
        offer: question.offer,
        partner: if question.named.is_some() { None } else { conversion.partner },
        visitor: visitor(conversion, question),
        labels: conversion.labels.clone(),
        ..Attributed::default()
    }
}
