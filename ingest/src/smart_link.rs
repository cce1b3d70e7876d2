//! Smart links: which of a link's rules takes a click, and where it sends it.
//!
//! A target may name another offer. Then the click is one on that offer: its destination, its click-id parameter, its caps
//! and its payouts hold, and whether it takes clicks decides. Partner, creative and fallback stay the link's.

use catalog::rule::{self, Subject};
use catalog::{Field, TargetDestination};
use schemas::event::{Choice, label};
use schemas::id::{ClickId, Id};

use crate::aim::Aim;
use crate::arrival::{Arrival, Arrived};
use crate::error::Refusal;

/// What a click leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lead<'c> {
    /// The aim, with the offer that the click counts for.
    pub(crate) aim: Aim<'c>,
    /// The stored address; a template.
    pub(crate) address: &'c str,
    /// The rule that chose it.
    pub(crate) choice: Option<Choice>,
}

impl<'c> Lead<'c> {
    /// Where the record leads without a look at its rules.
    pub(crate) fn plain(aim: Aim<'c>) -> Self {
        let of_link = aim.link.and_then(|link| link.destination_url.as_ref());
        Self { aim, address: of_link.unwrap_or(&aim.offer.destination_url), choice: None }
    }

    /// Where the link's rules lead this hit.
    pub(crate) fn chosen(arrival: &Arrival<'c>, arrived: &Arrived, id: ClickId) -> Result<Self, Refusal> {
        let aim = arrival.aim;
        let Some(link) = aim.link.filter(|link| !link.rules.is_empty()) else { return Ok(Self::plain(aim)) };
        let asked = Asked { arrival, arrived };
        // Whoever may not be recognised may not be recognised by address and agent either: only the click has a name.
        let sticky = arrived.hit.visitor.as_ref().map_or(id.bytes(), Id::bytes);
        let Some(chosen) = rule::choose(link, &asked, sticky) else { return Ok(Self::plain(aim)) };
        let choice = Choice { rule: chosen.rule, version: link.meta.version, variant: chosen.variant };
        let (offer, address) = match &chosen.target.destination {
            TargetDestination::Url(address) => (aim.offer, address),
            TargetDestination::Offer(id) => {
                // The fold takes no target without its offer.
                let offer = arrival.catalog.offer(aim.workspace.number, *id).ok_or_else(|| {
                    Refusal::broken(format_args!("{}: its target {id} is not in the catalog", chosen.rule))
                })?;
                (offer, &offer.destination_url)
            }
        };
        Ok(Self { aim: Aim { offer, ..aim }, address, choice: Some(choice) })
    }
}

/// What rules ask about this click.
struct Asked<'a> {
    arrival: &'a Arrival<'a>,
    arrived: &'a Arrived,
}

impl Subject for Asked<'_> {
    fn value(&self, field: Field) -> &str {
        let hit = &self.arrived.hit;
        let arriving = self.arrival.arriving;
        let timezone = &self.arrival.aim.workspace.timezone;
        match field {
            Field::Country => &hit.country,
            Field::Region => &hit.region,
            Field::City => &hit.city,
            Field::Device => &hit.device,
            Field::Os => &hit.os,
            Field::Browser => &hit.browser,
            Field::Language => &hit.language,
            Field::Referrer => rule::referrer_domain(&hit.referrer),
            Field::UtmSource => arriving.parameters.passed_value("utm_source"),
            Field::UtmMedium => arriving.parameters.passed_value("utm_medium"),
            Field::UtmCampaign => arriving.parameters.passed_value("utm_campaign"),
            Field::UtmTerm => arriving.parameters.passed_value("utm_term"),
            Field::UtmContent => arriving.parameters.passed_value("utm_content"),
            Field::Sub(number) => {
                let sub = hit.subs.get(usize::from(number).wrapping_sub(1));
                sub.map(String::as_str).unwrap_or_default()
            }
            Field::Hour => rule::hour(arriving.now, timezone),
            Field::Weekday => rule::weekday(arriving.now, timezone),
            Field::Visitor if self.arrived.is_returning() => "returning",
            Field::Visitor => "new",
            Field::Bot if hit.labels.iter().any(|known| known == label::BOT) => "true",
            Field::Bot => "false",
        }
    }
}
