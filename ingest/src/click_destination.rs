//! Where one click goes: the stored address or the caller's, with the click's own values in its macros.

use std::borrow::Cow;

use catalog::macros::{Macro, Template};
use schemas::event::Hit;
use schemas::id::ClickId;

use crate::arrival::{Arrival, Arriving};
use crate::destination::Destination;
use crate::error::Refusal;
use crate::safe_destination::PlainAddress;
use crate::signed_destination::SignedDestination;
use crate::smart_link::Lead;
use crate::unresolved;

/// What the caller says of the destination.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nothing, or nothing that was resolved.
    None,
    /// This address, which is allowed.
    Allowed(String),
    /// One that is not.
    Unsafe,
}

impl Wish {
    /// Reads what the caller wants.
    pub(crate) fn of(arrival: &Arrival<'_>) -> Self {
        let Some(wanted) = arrival.arriving.parameters.u.as_deref().filter(|u| !u.is_empty()) else {
            return Self::None;
        };
        if unresolved::has_macro(wanted) {
            return Self::None;
        }
        let Some(address) = PlainAddress::parse(wanted) else { return Self::Unsafe };
        let listed = &arrival.aim.offer.allowed_hosts;
        if address.is_on(listed) || (address.may_be_signed(listed) && is_signed(arrival, wanted)) {
            Self::Allowed(address.into_text())
        } else {
            Self::Unsafe
        }
    }
}

/// Whether somebody who may vouches for this address.
fn is_signed(arrival: &Arrival<'_>, address: &str) -> bool {
    let Arrival { edge, catalog, aim, arriving } = *arrival;
    let (Some(sig), Some(expires)) = (&arriving.parameters.sig, &arriving.parameters.exp) else {
        return false;
    };
    let Some(signed) = SignedDestination::read(address, sig, expires) else { return false };
    let subject = aim.link.map_or_else(|| aim.offer.id.to_string(), |link| link.id.to_string());
    signed.is_good(edge, catalog, aim.workspace.number, &subject, arriving.now)
}

/// The address that a click is sent to.
pub(crate) fn destination(
    lead: &Lead<'_>,
    arriving: &Arriving<'_>,
    id: ClickId,
    hit: &Hit,
) -> Result<String, Refusal> {
    let parameters = &arriving.parameters;
    // The catalog takes no address that it cannot parse, and an address of the caller has no brace.
    let template = Template::parse(lead.address).map_err(|error| {
        Refusal::broken(format_args!("the address {} of {}: {error}", lead.address, lead.aim.offer.id))
    })?;
    let click_id = id.to_string();
    let destination = Destination {
        template: &template,
        click_id: &click_id,
        click_id_param: &lead.aim.offer.click_id_param,
        passed: &parameters.passed_on(),
    };
    Ok(destination.render(|name| -> Cow<'_, str> {
        match name {
            Macro::ClickId => click_id.as_str().into(),
            Macro::Link => hit.link.map(|id| id.to_string()).unwrap_or_default().into(),
            Macro::Offer => hit.offer.to_string().into(),
            Macro::Partner => hit.partner.map(|id| id.to_string()).unwrap_or_default().into(),
            Macro::Campaign => hit.campaign.map(|id| id.to_string()).unwrap_or_default().into(),
            Macro::Sub(number) => {
                let sub = parameters.subs.get(usize::from(number).wrapping_sub(1));
                sub.map_or("", |sub| parameters.sent(sub)).into()
            }
            Macro::SourceId => parameters.sent(&parameters.source_id).into(),
            Macro::Country => hit.country.as_str().into(),
            Macro::Device => hit.device.as_str().into(),
            Macro::Os => hit.os.as_str().into(),
            Macro::Browser => hit.browser.as_str().into(),
            Macro::Timestamp => hit.occurred_at.unix_seconds().to_string().into(),
            Macro::Rand => random_part(id).to_string().into(),
        }
    }))
}

/// The random bits below the workspace number: enough against caches, and no more work than to read them.
fn random_part(id: ClickId) -> u64 {
    u128::from_be_bytes(*id.bytes()) as u64 & ((1 << 38) - 1)
}
