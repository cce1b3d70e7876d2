//! The folded resources and their indexes. Whatever is put can be taken back: that is how a rejected proposal leaves
//! no trace.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use foldhash::fast::RandomState;
use schemas::generation::Generation;
use schemas::id::{DomainId, Id, KeyId, LinkId, PartnerId, PixelId, SourceId, WorkspaceId, WorkspaceNumber};

use crate::resource::{
    Cap, Domain, Entity, ExternalId, Installation, Key, Link, Offer, Partner, Pixel, Projection, Rate,
    Resource, ResourceKind, SecretHash, Source, Workspace,
};

mod rates;

pub(crate) use rates::Rates;
pub use rates::{MAX_RATE_AGE_DAYS, MAX_RATES};

/// The resources of one kind, by workspace and id, which is the order in which they were created.
#[derive(Debug, Clone, PartialEq)]
pub struct Table<T: Entity> {
    rows: BTreeMap<(WorkspaceNumber, Id<T::IdKind>), Arc<T>>,
}

impl<T: Entity> Default for Table<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new() }
    }
}

impl<T: Entity> Table<T> {
    pub(crate) fn get(&self, workspace: WorkspaceNumber, id: Id<T::IdKind>) -> Option<&T> {
        self.rows.get(&(workspace, id)).map(Arc::as_ref)
    }

    /// The workspace's resources, ascending by id, those with larger ids than `after` only.
    pub(crate) fn ascending(
        &self,
        workspace: WorkspaceNumber,
        after: Option<Id<T::IdKind>>,
    ) -> impl DoubleEndedIterator<Item = &T> {
        let start =
            after.map_or(Bound::Included((workspace, lowest())), |id| Bound::Excluded((workspace, id)));
        self.rows.range((start, Bound::Included((workspace, highest())))).map(|(_, row)| row.as_ref())
    }

    /// The workspace's resources, descending by id, those with smaller ids than `before` only.
    pub(crate) fn descending(
        &self,
        workspace: WorkspaceNumber,
        before: Option<Id<T::IdKind>>,
    ) -> impl Iterator<Item = &T> {
        let end =
            before.map_or(Bound::Included((workspace, highest())), |id| Bound::Excluded((workspace, id)));
        self.rows.range((Bound::Included((workspace, lowest())), end)).rev().map(|(_, row)| row.as_ref())
    }

    fn put(&mut self, row: T) -> Option<T> {
        self.rows.insert((row.workspace(), row.id()), Arc::new(row)).map(Arc::unwrap_or_clone)
    }

    /// Changes what stands there, if anything does; never what indexes are made of.
    pub(crate) fn edit(&mut self, workspace: WorkspaceNumber, id: Id<T::IdKind>, edit: impl FnOnce(&mut T)) {
        if let Some(row) = self.rows.get_mut(&(workspace, id)) {
            edit(Arc::make_mut(row));
        }
    }

    fn remove(&mut self, row: &T) {
        self.rows.remove(&(row.workspace(), row.id()));
    }
}

const fn lowest<K: schemas::id::Kind>() -> Id<K> {
    Id::from_bytes([0; 16])
}

const fn highest<K: schemas::id::Kind>() -> Id<K> {
    Id::from_bytes([0xff; 16])
}

type ExternalKey = (WorkspaceNumber, ResourceKind, ExternalId);

/// Everything that was folded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables {
    pub(crate) installation: Option<Installation>,
    pub(crate) workspaces: BTreeMap<WorkspaceNumber, Arc<Workspace>>,
    pub(crate) offers: Table<Offer>,
    pub(crate) partners: Table<Partner>,
    pub(crate) links: Table<Link>,
    pub(crate) sources: Table<Source>,
    pub(crate) keys: Table<Key>,
    pub(crate) pixels: Table<Pixel>,
    pub(crate) domains: Table<Domain>,
    /// Those of which anything was ever said.
    pub(crate) projections: BTreeMap<Generation, Projection>,
    /// Of the workspaces that have any.
    rates: HashMap<WorkspaceNumber, Rates>,
    workspace_ids: HashMap<WorkspaceId, WorkspaceNumber>,
    /// Every id of an entity, with its kind: ids are unique per installation, not per workspace.
    ids: HashMap<(ResourceKind, [u8; 16]), WorkspaceNumber>,
    /// By domain, then by key, so that a borrowed key is enough to look one up.
    link_keys: HashMap<Option<DomainId>, HashMap<String, (WorkspaceNumber, LinkId)>>,
    hostnames: HashMap<String, (WorkspaceNumber, DomainId)>,
    slugs: HashMap<(WorkspaceNumber, String), PartnerId>,
    /// In small letters.
    coupons: HashMap<(WorkspaceNumber, String), PartnerId>,
    secrets: HashMap<SecretHash, (WorkspaceNumber, KeyId)>,
    /// The publishable keys that somebody may use from a page, by the page's origin.
    origins: HashMap<String, BTreeSet<(WorkspaceNumber, KeyId)>>,
    externals: HashMap<ExternalKey, [u8; 16]>,
    /// The offers and links that have caps: each click asks.
    capped: HashSet<(ResourceKind, [u8; 16]), RandomState>,
}

impl Tables {
    pub(crate) fn workspace_by_id(&self, id: WorkspaceId) -> Option<&Workspace> {
        self.workspace_ids.get(&id).and_then(|number| self.workspaces.get(number)).map(Arc::as_ref)
    }

    pub(crate) fn link_by_key(&self, domain: Option<DomainId>, key: &str) -> Option<&Link> {
        let (workspace, id) = *self.link_keys.get(&domain)?.get(key)?;
        self.links.get(workspace, id)
    }

    pub(crate) fn domain_by_host(&self, hostname: &str) -> Option<&Domain> {
        let (workspace, id) = *self.hostnames.get(hostname)?;
        self.domains.get(workspace, id)
    }

    pub(crate) fn pixel(&self, id: PixelId) -> Option<&Pixel> {
        let workspace = self.owner(ResourceKind::Pixel, id.bytes())?;
        self.pixels.get(workspace, id)
    }

    pub(crate) fn domain(&self, id: DomainId) -> Option<&Domain> {
        let workspace = self.owner(ResourceKind::Domain, id.bytes())?;
        self.domains.get(workspace, id)
    }

    pub(crate) fn partner_by_slug(&self, workspace: WorkspaceNumber, slug: &str) -> Option<&Partner> {
        // A borrowed pair cannot be looked up in a map of owned ones; references by slug are no hot path.
        let id = *self.slugs.get(&(workspace, slug.to_owned()))?;
        self.partners.get(workspace, id)
    }

    pub(crate) fn partner_by_coupon(&self, workspace: WorkspaceNumber, coupon: &str) -> Option<&Partner> {
        let id = *self.coupons.get(&(workspace, coupon.to_lowercase()))?;
        self.partners.get(workspace, id)
    }

    pub(crate) fn key_by_hash(&self, hash: &SecretHash) -> Option<&Key> {
        let (workspace, id) = *self.secrets.get(hash)?;
        self.keys.get(workspace, id)
    }

    pub(crate) fn keys_by_origin(&self, origin: &str) -> impl Iterator<Item = &Key> {
        let keys = self.origins.get(&normal_origin(origin)).into_iter().flatten();
        keys.filter_map(|(workspace, id)| self.keys.get(*workspace, *id))
    }

    pub(crate) fn source(&self, id: SourceId) -> Option<&Source> {
        let workspace = self.owner(ResourceKind::Source, id.bytes())?;
        self.sources.get(workspace, id)
    }

    pub(crate) fn has_caps(&self, kind: ResourceKind, id: &[u8; 16]) -> bool {
        !self.capped.is_empty() && self.capped.contains(&(kind, *id))
    }

    pub(crate) fn rates(&self, workspace: WorkspaceNumber) -> Option<&Rates> {
        self.rates.get(&workspace)
    }

    /// The workspace of the resource with this id.
    pub(crate) fn owner(&self, kind: ResourceKind, id: &[u8; 16]) -> Option<WorkspaceNumber> {
        self.ids.get(&(kind, *id)).copied()
    }

    pub(crate) fn external(
        &self,
        workspace: WorkspaceNumber,
        kind: ResourceKind,
        external: &ExternalId,
    ) -> Option<[u8; 16]> {
        self.externals.get(&(workspace, kind, external.clone())).copied()
    }

    /// Puts a resource in the place of the one with its id, and answers that one.
    pub(crate) fn put(&mut self, resource: Resource) -> Option<Resource> {
        if let Some(present) = self.present(&resource) {
            self.unindex(&present);
        }
        self.index(&resource);
        match resource {
            Resource::Installation(installation) => {
                self.installation.replace(installation).map(Resource::Installation)
            }
            Resource::Workspace(workspace) => self
                .workspaces
                .insert(workspace.number, Arc::new(workspace))
                .map(|previous| Resource::Workspace(Arc::unwrap_or_clone(previous))),
            Resource::Offer(offer) => self.offers.put(offer).map(Resource::Offer),
            Resource::Partner(partner) => self.partners.put(partner).map(Resource::Partner),
            Resource::Link(link) => self.links.put(link).map(Resource::Link),
            Resource::Source(source) => self.sources.put(source).map(Resource::Source),
            Resource::Key(key) => self.keys.put(key).map(Resource::Key),
            Resource::Pixel(pixel) => self.pixels.put(pixel).map(Resource::Pixel),
            Resource::Domain(domain) => self.domains.put(domain).map(Resource::Domain),
            Resource::Rate(rate) => {
                self.rates.entry(rate.workspace).or_default().put(rate).map(Resource::Rate)
            }
            Resource::Projection(projection) => {
                self.projections.insert(projection.generation, projection).map(Resource::Projection)
            }
        }
    }

    /// Takes a resource out again that was new.
    pub(crate) fn remove(&mut self, resource: &Resource) {
        self.unindex(resource);
        match resource {
            Resource::Installation(_) => self.installation = None,
            Resource::Workspace(workspace) => {
                self.workspaces.remove(&workspace.number);
            }
            Resource::Offer(offer) => self.offers.remove(offer),
            Resource::Partner(partner) => self.partners.remove(partner),
            Resource::Link(link) => self.links.remove(link),
            Resource::Source(source) => self.sources.remove(source),
            Resource::Key(key) => self.keys.remove(key),
            Resource::Pixel(pixel) => self.pixels.remove(pixel),
            Resource::Domain(domain) => self.domains.remove(domain),
            Resource::Rate(rate) => self.remove_rate(rate),
            Resource::Projection(projection) => {
                self.projections.remove(&projection.generation);
            }
        }
    }

    fn remove_rate(&mut self, rate: &Rate) {
        if let Some(rates) = self.rates.get_mut(&rate.workspace) {
            rates.remove(rate);
            // What was put and taken back leaves no trace.
            if rates.is_empty() {
                self.rates.remove(&rate.workspace);
            }
        }
    }

    /// The stored resource with the same kind, workspace and id.
    pub(crate) fn present(&self, resource: &Resource) -> Option<Resource> {
        match resource {
            Resource::Installation(_) => self.installation.clone().map(Resource::Installation),
            Resource::Workspace(workspace) => {
                self.workspaces.get(&workspace.number).map(|found| Resource::Workspace((**found).clone()))
            }
            Resource::Offer(row) => self.offers.get(row.workspace, row.id).cloned().map(Resource::Offer),
            Resource::Partner(row) => {
                self.partners.get(row.workspace, row.id).cloned().map(Resource::Partner)
            }
            Resource::Link(row) => self.links.get(row.workspace, row.id).cloned().map(Resource::Link),
            Resource::Source(row) => self.sources.get(row.workspace, row.id).cloned().map(Resource::Source),
            Resource::Key(row) => self.keys.get(row.workspace, row.id).cloned().map(Resource::Key),
            Resource::Pixel(row) => self.pixels.get(row.workspace, row.id).cloned().map(Resource::Pixel),
            Resource::Domain(row) => self.domains.get(row.workspace, row.id).cloned().map(Resource::Domain),
            Resource::Rate(rate) => self
                .rates(rate.workspace)
                .and_then(|rates| rates.get(&rate.key()))
                .cloned()
                .map(Resource::Rate),
            Resource::Projection(projection) => {
                self.projections.get(&projection.generation).cloned().map(Resource::Projection)
            }
        }
    }

    fn index(&mut self, resource: &Resource) {
        match resource {
            Resource::Installation(_) | Resource::Rate(_) | Resource::Projection(_) => {}
            Resource::Workspace(workspace) => {
                self.workspace_ids.insert(workspace.id, workspace.number);
            }
            Resource::Offer(offer) => {
                self.index_entity(offer);
                self.index_caps(offer, &offer.caps);
            }
            Resource::Partner(partner) => {
                self.index_entity(partner);
                if let Some(slug) = &partner.slug {
                    self.slugs.insert((partner.workspace, slug.clone()), partner.id);
                }
                for coupon in &partner.coupons {
                    self.coupons.insert((partner.workspace, coupon.to_lowercase()), partner.id);
                }
            }
            Resource::Link(link) => {
                self.index_entity(link);
                self.index_caps(link, &link.caps);
                let keys = self.link_keys.entry(link.domain).or_default();
                keys.insert(link.key.clone(), (link.workspace, link.id));
            }
            Resource::Source(source) => self.index_entity(source),
            Resource::Key(key) => {
                self.index_entity(key);
                for hash in key_hashes(key) {
                    self.secrets.insert(hash, (key.workspace, key.id));
                }
                for origin in key_origins(key) {
                    self.origins.entry(origin).or_default().insert((key.workspace, key.id));
                }
            }
            Resource::Pixel(pixel) => self.index_entity(pixel),
            Resource::Domain(domain) => {
                self.index_entity(domain);
                self.hostnames.insert(domain.hostname.clone(), (domain.workspace, domain.id));
            }
        }
    }

    fn index_caps<T: Entity>(&mut self, row: &T, caps: &[Cap]) {
        if !caps.is_empty() {
            self.capped.insert((T::KIND, *row.id().bytes()));
        }
    }

    fn unindex(&mut self, resource: &Resource) {
        match resource {
            Resource::Installation(_) | Resource::Rate(_) | Resource::Projection(_) => {}
            Resource::Workspace(workspace) => {
                self.workspace_ids.remove(&workspace.id);
            }
            Resource::Offer(offer) => self.unindex_entity(offer),
            Resource::Partner(partner) => {
                self.unindex_entity(partner);
                if let Some(slug) = &partner.slug {
                    self.slugs.remove(&(partner.workspace, slug.clone()));
                }
                for coupon in &partner.coupons {
                    self.coupons.remove(&(partner.workspace, coupon.to_lowercase()));
                }
            }
            Resource::Link(link) => {
                self.unindex_entity(link);
                if let Some(keys) = self.link_keys.get_mut(&link.domain) {
                    keys.remove(&link.key);
                    // What was put and taken back leaves no trace.
                    if keys.is_empty() {
                        self.link_keys.remove(&link.domain);
                    }
                }
            }
            Resource::Source(source) => self.unindex_entity(source),
            Resource::Key(key) => {
                self.unindex_entity(key);
                for hash in key_hashes(key) {
                    self.secrets.remove(&hash);
                }
                for origin in key_origins(key) {
                    if let Some(keys) = self.origins.get_mut(&origin) {
                        keys.remove(&(key.workspace, key.id));
                        if keys.is_empty() {
                            self.origins.remove(&origin);
                        }
                    }
                }
            }
            Resource::Pixel(pixel) => self.unindex_entity(pixel),
            Resource::Domain(domain) => {
                self.unindex_entity(domain);
                self.hostnames.remove(&domain.hostname);
            }
        }
    }

    fn index_entity<T: Entity>(&mut self, row: &T) {
        self.ids.insert((T::KIND, *row.id().bytes()), row.workspace());
        if let Some(external) = &row.meta().external {
            self.externals.insert((row.workspace(), T::KIND, external.clone()), *row.id().bytes());
        }
    }

    fn unindex_entity<T: Entity>(&mut self, row: &T) {
        self.ids.remove(&(T::KIND, *row.id().bytes()));
        self.capped.remove(&(T::KIND, *row.id().bytes()));
        if let Some(external) = &row.meta().external {
            self.externals.remove(&(row.workspace(), T::KIND, external.clone()));
        }
    }
}

/// The origins by which a key is found; none of a key that is good for nobody any more.
fn key_origins(key: &Key) -> impl Iterator<Item = String> {
    let is_over = key.meta.archived || key.revoked_at.is_some();
    let origins = if is_over { &[][..] } else { key.allowed_origins.as_slice() };
    origins.iter().map(|origin| normal_origin(origin))
}

/// An origin in the one spelling in which it is looked up.
fn normal_origin(origin: &str) -> String {
    origin.trim_end_matches('/').to_ascii_lowercase()
}

/// The hashes by which a key is found: the secret's and, after a rotation, its predecessor's.
pub(crate) fn key_hashes(key: &Key) -> impl Iterator<Item = SecretHash> {
    std::iter::once(key.sha256).chain(key.previous.as_ref().map(|previous| previous.sha256))
}
