//! What a click or an impression is aimed at: a link, or an offer by itself, on the domain by which it came.

use std::borrow::Cow;

use catalog::validate::is_key;
use catalog::{Catalog, Domain, DomainRole, Link, Offer, Workspace};
use http::request::Parts;
use schemas::id::{OfferId, PartnerId, WorkspaceNumber};
use schemas::time::Timestamp;

use crate::edge::Edge;
use crate::error::Refusal;
use crate::host::named_host;
use crate::reference::{resolve, resolve_partner};
use crate::sender::no_workspace;

pub(crate) const NO_LINK: &str = "This link does not exist";
pub(crate) const NO_OFFER: &str = "This offer does not exist";

/// What a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named<'r> {
    /// A link, by its key.
    Link(&'r str),
    /// An offer, by reference.
    Offer(Cow<'r, str>),
}

impl<'r> Named<'r> {
    /// The link whose key stands behind this prefix of the path. What is no key needs no look.
    pub(crate) fn link(path: &'r str, prefix: &str) -> Result<Self, Refusal> {
        let key = path.strip_prefix(prefix).filter(|key| is_key(key));
        key.map(Self::Link).ok_or(Refusal::NotFound(NO_LINK))
    }

    /// The offer in this parameter.
    pub(crate) fn offer(parameter: Option<&Cow<'r, str>>) -> Result<Self, Refusal> {
        let reference = parameter.filter(|text| !text.is_empty()).cloned();
        reference.map(Self::Offer).ok_or_else(|| Refusal::invalid("offer", "offer is missing"))
    }
}

/// What takes a hit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim<'c> {
    pub(crate) workspace: &'c Workspace,
    pub(crate) domain: Option<&'c Domain>,
    pub(crate) link: Option<&'c Link>,
    pub(crate) offer: &'c Offer,
}

/// What a look at the catalog says of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'c> {
    /// This.
    Aim(Aim<'c>),
    /// This catalog has nothing of that name; clicks go here instead.
    Unknown(Option<&'c str>),
}

/// The tracking domain by which the request came; none is the installation's own address, which is no customer's domain
/// whatever the catalog says.
pub(crate) fn tracking_domain<'c>(edge: &Edge, catalog: &'c Catalog, parts: &Parts) -> Option<&'c Domain> {
    let host = named_host(parts)?;
    if edge.is_public_host(&host) {
        return None;
    }
    let domain = catalog.domain_by_host(&host)?;
    let is_tracking = match domain.role {
        DomainRole::Tracking => true,
        DomainRole::Api => false,
    };
    (is_tracking && !domain.meta.archived).then_some(domain)
}

/// Looks up what the request names.
pub(crate) fn find<'c>(
    edge: &Edge,
    catalog: &'c Catalog,
    parts: &Parts,
    named: &Named<'_>,
) -> Result<Found<'c>, Refusal> {
    let domain = tracking_domain(edge, catalog, parts);
    let of_domain = domain.and_then(|domain| catalog.workspace(domain.workspace));
    let found = match named {
        Named::Link(key) => {
            let link = catalog.link_by_key(domain.map(|domain| domain.id), key);
            link.map(|link| (link.workspace, Some(link), link.offer))
        }
        Named::Offer(reference) => {
            offer(catalog, of_domain, reference).map(|offer| (offer.workspace, None, offer.id))
        }
    };
    let Some((workspace, link, offer)) = found else {
        let fallback = domain.and_then(|domain| domain.fallback_url.as_ref());
        let fallback =
            fallback.or_else(|| of_domain.or_else(|| only_workspace(catalog))?.fallback_url.as_ref());
        return Ok(Found::Unknown(fallback.map(String::as_str)));
    };
    // The fold takes no link without its workspace and its offer.
    let workspace = catalog.workspace(workspace).ok_or_else(|| no_workspace(workspace))?;
    let gone = || Refusal::broken(format_args!("{offer} is linked to and not in the catalog"));
    let offer = catalog.offer(workspace.number, offer).ok_or_else(gone)?;
    Ok(Found::Aim(Aim { workspace, domain, link, offer }))
}

/// The offer that is meant. On a domain it is one of the domain's workspace. Elsewhere an id names its workspace, and a
/// name in another system is meant in the only workspace, if there is only one.
fn offer<'c>(catalog: &'c Catalog, of_domain: Option<&Workspace>, reference: &str) -> Option<&'c Offer> {
    let by_id = || reference.parse::<OfferId>().ok().map(|id| id.workspace());
    let workspace: WorkspaceNumber = match of_domain {
        Some(workspace) => workspace.number,
        None => by_id().or_else(|| only_workspace(catalog).map(|workspace| workspace.number))?,
    };
    resolve(catalog, workspace, reference).ok()
}

/// The workspace of an installation that has one.
fn only_workspace(catalog: &Catalog) -> Option<&Workspace> {
    let mut workspaces = catalog.workspaces();
    workspaces.next().filter(|_| workspaces.next().is_none())
}

impl<'c> Aim<'c> {
    /// Whether its link takes hits now, whatever the offer.
    pub(crate) fn is_link_live(&self, now: Timestamp) -> bool {
        self.link.is_none_or(|link| {
            !link.meta.archived && link.expires_at.is_none_or(|expires_at| now < expires_at)
        })
    }

    /// Whether it takes hits now.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.is_link_live(now) && !self.offer.meta.archived && !self.workspace.meta.archived
    }

    /// The partner whose hit this is: the one that the request names, else the link's. Whoever is named and cannot be paid gets
    /// nothing, and no other gets it instead; then the flag is set.
    pub(crate) fn partner(&self, catalog: &Catalog, named: Option<&str>) -> (Option<PartnerId>, bool) {
        let of_link = self.link.and_then(|link| link.partner);
        let partner = match named {
            None => of_link.and_then(|id| catalog.partner(self.workspace.number, id)),
            Some(named) => resolve_partner(catalog, self.workspace.number, named).ok(),
        };
        let partner = partner.filter(|partner| !partner.meta.archived).map(|partner| partner.id);
        (partner, partner.is_none() && (named.is_some() || of_link.is_some()))
    }

    /// Where clicks go that it does not take: the nearest that is named.
    pub(crate) fn fallback(&self) -> Option<&'c str> {
        let of_link = self.link.and_then(|link| link.fallback_url.as_ref());
        of_link
            .or(self.offer.fallback_url.as_ref())
            .or_else(|| self.domain?.fallback_url.as_ref())
            .or(self.workspace.fallback_url.as_ref())
            .map(String::as_str)
    }
}
