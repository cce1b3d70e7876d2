//! What a change must satisfy. Only what needs the catalog is judged here; what is wrong in a resource alone is judged in
//! [`crate::validate`] before it reaches the log, because rules that change between builds must not change verdicts.

use std::collections::HashSet;

use schemas::id::{Id, OfferId, WorkspaceNumber};

use super::{Rejected, projections};
use crate::proposal::Expected;
use crate::resource::{
    Domain, Entity, Key, Link, Partner, Pixel, Rate, Resource, ResourceKind, TargetDestination, Workspace,
};
use crate::table::{MAX_RATES, Tables, key_hashes};

/// Judges one change, and answers with the resource that it replaces.
pub(super) fn admit(
    tables: &Tables,
    resource: &Resource,
    expected: Expected,
    revision: u64,
) -> Result<Option<Resource>, Rejected> {
    let previous = tables.present(resource);
    precondition(resource, previous.as_ref(), expected)?;
    match resource {
        Resource::Installation(_) => {}
        Resource::Workspace(workspace) => {
            let before = if let Some(Resource::Workspace(before)) = &previous { Some(before) } else { None };
            workspace_rules(tables, workspace, before)?;
        }
        Resource::Offer(offer) => entity_rules(tables, offer)?,
        Resource::Partner(partner) => {
            entity_rules(tables, partner)?;
            partner_rules(tables, partner)?;
        }
        Resource::Link(link) => {
            entity_rules(tables, link)?;
            link_rules(tables, link)?;
        }
        Resource::Source(source) => entity_rules(tables, source)?,
        Resource::Key(key) => {
            entity_rules(tables, key)?;
            key_rules(tables, key)?;
        }
        Resource::Pixel(pixel) => {
            entity_rules(tables, pixel)?;
            pixel_rules(tables, pixel)?;
        }
        Resource::Domain(domain) => {
            entity_rules(tables, domain)?;
            domain_rules(tables, domain)?;
        }
        Resource::Rate(rate) => rate_rules(tables, rate, previous.is_none())?,
        Resource::Projection(projection) => projections::admit(tables, projection, revision)?,
    }
    Ok(previous)
}

fn precondition(
    resource: &Resource,
    previous: Option<&Resource>,
    expected: Expected,
) -> Result<(), Rejected> {
    let kind = resource.kind();
    match (expected, previous) {
        (Expected::Any, _) | (Expected::New, None) => Ok(()),
        (Expected::New, Some(_)) => Err(Rejected::Exists { kind, field: "id", id: resource.id_text() }),
        (Expected::Version(_), None) => Err(Rejected::NotFound { kind, id: resource.id_text() }),
        (Expected::Version(version), Some(previous)) => {
            let current = previous.version();
            if current == version { Ok(()) } else { Err(Rejected::VersionConflict { current }) }
        }
    }
}

fn workspace_rules(
    tables: &Tables,
    workspace: &Workspace,
    before: Option<&Workspace>,
) -> Result<(), Rejected> {
    let partitions = tables.installation.as_ref().map_or(0, |installation| installation.events_partitions);
    if workspace.partition >= partitions {
        return Err(Rejected::UnknownReference { field: "partition" });
    }
    let kind = ResourceKind::Workspace;
    if let Some(before) = before {
        // A second workspace under a taken number is no new version of the first.
        if before.id != workspace.id {
            return Err(Rejected::Exists { kind, field: "number", id: before.id.to_string() });
        }
        if before.partition != workspace.partition {
            return Err(Rejected::Immutable { field: "partition" });
        }
        // State, rows and reports add amounts up in the workspace's currency.
        if before.currency != workspace.currency {
            return Err(Rejected::Immutable { field: "currency" });
        }
    } else if tables.workspace_by_id(workspace.id).is_some() {
        return Err(Rejected::Exists { kind, field: "id", id: workspace.id.to_string() });
    }
    Ok(())
}

fn rate_rules(tables: &Tables, rate: &Rate, is_new: bool) -> Result<(), Rejected> {
    if !tables.workspaces.contains_key(&rate.workspace) {
        return Err(Rejected::UnknownReference { field: "workspace" });
    }
    let is_full = tables.rates(rate.workspace).is_some_and(|rates| rates.len() >= MAX_RATES);
    if is_new && is_full {
        return Err(Rejected::Limit { what: "rates", limit: MAX_RATES as u64 });
    }
    Ok(())
}

fn entity_rules<T: Entity>(tables: &Tables, row: &T) -> Result<(), Rejected> {
    if !tables.workspaces.contains_key(&row.workspace()) {
        return Err(Rejected::UnknownReference { field: "workspace" });
    }
    let owner = tables.owner(T::KIND, row.id().bytes());
    if owner.is_some_and(|owner| owner != row.workspace()) {
        return Err(Rejected::NotFound { kind: T::KIND, id: row.id().to_string() });
    }
    let taken_by =
        row.meta().external.as_ref().and_then(|external| tables.external(row.workspace(), T::KIND, external));
    unique::<T>("external_id", row, taken_by.map(Id::from_bytes))
}

/// The field's holder must be nobody, or the resource itself.
fn unique<T: Entity>(field: &'static str, row: &T, taken_by: Option<Id<T::IdKind>>) -> Result<(), Rejected> {
    match taken_by {
        Some(id) if id != row.id() => Err(Rejected::Exists { kind: T::KIND, field, id: id.to_string() }),
        Some(_) | None => Ok(()),
    }
}

fn partner_rules(tables: &Tables, partner: &Partner) -> Result<(), Rejected> {
    let taken_by = partner.slug.as_ref().and_then(|slug| tables.partner_by_slug(partner.workspace, slug));
    unique("slug", partner, taken_by.map(|other| other.id))?;
    for coupon in &partner.coupons {
        let taken_by = tables.partner_by_coupon(partner.workspace, coupon);
        unique("coupons", partner, taken_by.map(|other| other.id))?;
    }
    let before = tables.partners.get(partner.workspace, partner.id);
    let old: HashSet<OfferId> = before.iter().flat_map(|it| &it.payouts).map(|own| own.offer).collect();
    for own in partner.payouts.iter().filter(|own| !old.contains(&own.offer)) {
        refers("payouts", tables.offers.get(partner.workspace, own.offer))?;
    }
    Ok(())
}

fn link_rules(tables: &Tables, link: &Link) -> Result<(), Rejected> {
    match tables.link_by_key(link.domain, &link.key) {
        Some(other) if other.workspace != link.workspace => {
            // Keys are unique per installation, but a foreign link's id is nobody's business.
            return Err(Rejected::Exists { kind: ResourceKind::Link, field: "key", id: String::new() });
        }
        other => unique("key", link, other.map(|other| other.id))?,
    }
    let before = tables.links.get(link.workspace, link.id);
    if before.is_none_or(|before| before.offer != link.offer) {
        let offer = tables.offers.get(link.workspace, link.offer);
        refers("offer", offer)?;
    }
    if let Some(partner) = link.partner
        && before.is_none_or(|before| before.partner != Some(partner))
    {
        refers("partner", tables.partners.get(link.workspace, partner))?;
    }
    if let Some(domain) = link.domain
        && before.is_none_or(|before| before.domain != Some(domain))
    {
        refers("domain", tables.domains.get(link.workspace, domain))?;
    }
    let old: Vec<OfferId> = before.map(target_offers).into_iter().flatten().collect();
    for offer in target_offers(link).filter(|offer| !old.contains(offer)) {
        refers("rules", tables.offers.get(link.workspace, offer))?;
    }
    Ok(())
}

/// The offers that a link's rules lead to.
fn target_offers(link: &Link) -> impl Iterator<Item = OfferId> {
    let targets = link.rules.iter().flat_map(|rule| &rule.to);
    targets.filter_map(|target| match target.destination {
        TargetDestination::Offer(offer) => Some(offer),
        TargetDestination::Url(_) => None,
    })
}

fn pixel_rules(tables: &Tables, pixel: &Pixel) -> Result<(), Rejected> {
    let before = tables.pixels.get(pixel.workspace, pixel.id);
    if before.is_none_or(|before| before.offer != pixel.offer) {
        refers("offer", tables.offers.get(pixel.workspace, pixel.offer))?;
    }
    Ok(())
}

fn domain_rules(tables: &Tables, domain: &Domain) -> Result<(), Rejected> {
    match tables.domain_by_host(&domain.hostname) {
        // Host names are unique per installation, but a foreign domain's id is nobody's business.
        Some(other) if other.workspace != domain.workspace => {
            Err(Rejected::Exists { kind: ResourceKind::Domain, field: "hostname", id: String::new() })
        }
        other => unique("hostname", domain, other.map(|other| other.id)),
    }
}

/// A new reference must lead to something that is there and not archived; an old one may outlive its target's archiving.
fn refers<T: Entity>(field: &'static str, target: Option<&T>) -> Result<(), Rejected> {
    let valid = target.is_some_and(|target| !target.meta().archived);
    if valid { Ok(()) } else { Err(Rejected::UnknownReference { field }) }
}

fn key_rules(tables: &Tables, key: &Key) -> Result<(), Rejected> {
    let owned = |workspace: WorkspaceNumber, other: &Key| workspace == other.workspace && key.id == other.id;
    for hash in key_hashes(key) {
        if tables.key_by_hash(&hash).is_some_and(|other| !owned(key.workspace, other)) {
            return Err(Rejected::Exists { kind: ResourceKind::Key, field: "key", id: String::new() });
        }
    }
    Ok(())
}
