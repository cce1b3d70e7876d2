//! The fold: the same records give the same catalog, and the same verdicts, on every node.

use std::sync::Arc;

use schemas::event::CatalogRevision;
use schemas::id::{
    DomainId, Id, KeyId, LinkId, OfferId, PartnerId, PixelId, ProposalId, SourceId, WorkspaceId,
    WorkspaceNumber,
};
use schemas::time::Timestamp;

use crate::error::CatalogError;
use crate::idempotency::{Answers, Known};
use crate::key::hash_secret;
use crate::proposal::{ActorKind, Change, Expected, Idempotency, MAX_CHANGES, Proposal};
use crate::record;
use crate::resource::{
    Domain, Entity, ExternalId, Installation, Key, Link, Offer, Partner, Pixel, Resource, ResourceKind,
    Source, Workspace,
};
use crate::revisions::Revisions;
use crate::table::Tables;

mod projections;
mod rates;
mod rules;

/// The catalog at one revision. Pure: no clock, no randomness, no I/O.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    revisions: Revisions,
    tables: Tables,
    answers: Answers,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// The proposal.
    pub proposal: ProposalId,
    /// What the log's order decided.
    pub verdict: Result<Accepted, Rejected>,
}

/// A proposal that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The revision that it made; of a replay, the first answer's.
    pub revision: CatalogRevision,
    /// Whether this is the first answer to the same idempotency key, given again.
    pub replayed: bool,
    /// The resources as they were stored, in the order of the changes.
    pub resources: Vec<Resource>,
}

/// Why a proposal changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The resource to be changed is not there, or not in this workspace.
    #[error("there is no {} {id}", kind.as_str())]
    NotFound {
        /// The kind of resource.
        kind: ResourceKind,
        /// Its id.
        id: String,
    },
    /// Something that must be unique is taken.
    #[error("the {field} is taken by {} {id}", kind.as_str())]
    Exists {
        /// The kind of resource.
        kind: ResourceKind,
        /// What is taken.
        field: &'static str,
        /// By whom; empty if that is nothing that the proposer may know.
        id: String,
    },
    /// The resource has another version.
    #[error("the version is {current}")]
    VersionConflict {
        /// The version that it has.
        current: u64,
    },
    /// The idempotency key was used with another payload.
    #[error("the idempotency key was used with another payload")]
    IdempotencyConflict,
    /// A reference to what does not exist, is archived, or belongs to another workspace.
    #[error("{field} refers to nothing that is there")]
    UnknownReference {
        /// Which reference.
        field: &'static str,
    },
    /// A field that never changes after the first version.
    #[error("{field} cannot be changed")]
    Immutable {
        /// Which field.
        field: &'static str,
    },
    /// More than the catalog takes.
    #[error("more than {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many it takes.
        limit: u64,
    },
}

impl Catalog {
    /// The catalog before its first record.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records were folded, and the hash of them all.
    pub const fn revision(&self) -> CatalogRevision {
        self.revisions.revision()
    }

    /// The revisions up to here, for who goes on counting them without folding.
    pub const fn revisions(&self) -> Revisions {
        self.revisions
    }

    /// Folds the next record.
    ///
    /// # Errors
    /// [`CatalogError`] if it is not the next one, or none that this build knows. The catalog is as it was before.
    pub fn fold(&mut self, record: &eventlog::Record) -> Result<Folded, CatalogError> {
        let position = record.position;
        let expected = self.revision().number;
        if position != expected {
            return Err(CatalogError::Position { expected, found: position });
        }
        let proposal =
            record::decode(&record.payload).map_err(|reason| CatalogError::Broken { position, reason })?;
        self.revisions.advance(&record.payload);
        Ok(Folded { proposal: proposal.id, verdict: self.decide(&proposal) })
    }

    fn decide(&mut self, proposal: &Proposal) -> Result<Accepted, Rejected> {
        let idempotency = proposal.idempotency.as_ref();
        if let Some(verdict) = idempotency.and_then(|it| self.answered(proposal.workspace, it, proposal.at)) {
            return verdict;
        }
        if proposal.changes.len() > MAX_CHANGES {
            return Err(Rejected::Limit { what: "changes", limit: MAX_CHANGES as u64 });
        }
        let resources = self.apply(proposal)?;
        let accepted = Accepted { revision: self.revision(), replayed: false, resources };
        self.answers.remember(proposal, &accepted);
        Ok(accepted)
    }

    /// Applies every change, or none.
    fn apply(&mut self, proposal: &Proposal) -> Result<Vec<Resource>, Rejected> {
        let mut stored = Vec::with_capacity(proposal.changes.len());
        let mut undo: Vec<(Resource, Option<Resource>)> = Vec::with_capacity(proposal.changes.len());
        for Change::Put { resource, expected } in &proposal.changes {
            match self.admit(proposal, resource, *expected) {
                Ok(previous) => {
                    let resource = stamped(resource.clone(), previous.as_ref(), proposal.at, self.revision());
                    self.tables.put(resource.clone());
                    stored.push(resource.clone());
                    undo.push((resource, previous));
                }
                Err(rejected) => {
                    self.take_back(undo);
                    return Err(rejected);
                }
            }
        }
        Ok(stored)
    }

    /// Judges one change, and answers with the resource that it replaces.
    fn admit(
        &self,
        proposal: &Proposal,
        resource: &Resource,
        expected: Expected,
    ) -> Result<Option<Resource>, Rejected> {
        match (resource, proposal.actor.kind) {
            // All workspaces are in each generation: no key of one may decide about it.
            (Resource::Projection(_), ActorKind::Key) => Err(Rejected::UnknownReference { field: "actor" }),
            (_, ActorKind::System | ActorKind::Key) => {
                rules::admit(&self.tables, resource, expected, self.revision().number)
            }
        }
    }

    fn take_back(&mut self, undo: Vec<(Resource, Option<Resource>)>) {
        for (resource, previous) in undo.into_iter().rev() {
            match previous {
                Some(previous) => {
                    self.tables.put(previous);
                }
                None => self.tables.remove(&resource),
            }
        }
    }

    /// The verdict that a proposal made at `at` would get because of its idempotency key; `None` if the key is new.
    pub fn answered(
        &self,
        workspace: WorkspaceNumber,
        idempotency: &Idempotency,
        at: Timestamp,
    ) -> Option<Result<Accepted, Rejected>> {
        match self.answers.look_up(workspace, idempotency, at) {
            Known::No => None,
            Known::Replay(accepted) => Some(Ok(accepted)),
            Known::Conflict => Some(Err(Rejected::IdempotencyConflict)),
        }
    }

    /// What is true for the whole installation; `None` before the first record.
    pub const fn installation(&self) -> Option<&Installation> {
        self.tables.installation.as_ref()
    }

    /// The workspace with this number.
    pub fn workspace(&self, number: WorkspaceNumber) -> Option<&Workspace> {
        self.tables.workspaces.get(&number).map(Arc::as_ref)
    }

    /// The workspace with this id.
    pub fn workspace_by_id(&self, id: WorkspaceId) -> Option<&Workspace> {
        self.tables.workspace_by_id(id)
    }

    /// Every workspace, by number.
    pub fn workspaces(&self) -> impl Iterator<Item = &Workspace> {
        self.tables.workspaces.values().map(Arc::as_ref)
    }

    /// The resource with this id, archived ones too.
    pub fn get<T: Entity>(&self, workspace: WorkspaceNumber, id: Id<T::IdKind>) -> Option<&T> {
        T::table(&self.tables).get(workspace, id)
    }

    /// The workspace's resources in ascending order of ids, from after `after` on, archived ones too.
    pub fn ascending<T: Entity>(
        &self,
        workspace: WorkspaceNumber,
        after: Option<Id<T::IdKind>>,
    ) -> impl Iterator<Item = &T> {
        T::table(&self.tables).ascending(workspace, after)
    }

    /// The workspace's resources in descending order of ids, from before `before` on, archived ones too.
    pub fn descending<T: Entity>(
        &self,
        workspace: WorkspaceNumber,
        before: Option<Id<T::IdKind>>,
    ) -> impl Iterator<Item = &T> {
        T::table(&self.tables).descending(workspace, before)
    }

    /// The resource with this name in another system, archived ones too.
    pub fn by_external<T: Entity>(&self, workspace: WorkspaceNumber, external: &ExternalId) -> Option<&T> {
        let id = self.tables.external(workspace, T::KIND, external)?;
        self.get(workspace, Id::from_bytes(id))
    }

    /// The offer with this id, archived ones too.
    pub fn offer(&self, workspace: WorkspaceNumber, id: OfferId) -> Option<&Offer> {
        self.get(workspace, id)
    }

    /// The offer with this id if it has caps: the dear look-up is spared where there are none, as for most.
    pub fn capped_offer(&self, workspace: WorkspaceNumber, id: OfferId) -> Option<&Offer> {
        if self.tables.has_caps(ResourceKind::Offer, id.bytes()) { self.get(workspace, id) } else { None }
    }

    /// The link with this id if it has caps.
    pub fn capped_link(&self, workspace: WorkspaceNumber, id: LinkId) -> Option<&Link> {
        if self.tables.has_caps(ResourceKind::Link, id.bytes()) { self.get(workspace, id) } else { None }
    }

    /// The partner with this id, archived ones too.
    pub fn partner(&self, workspace: WorkspaceNumber, id: PartnerId) -> Option<&Partner> {
        self.get(workspace, id)
    }

    /// The partner with this slug, archived ones too.
    pub fn partner_by_slug(&self, workspace: WorkspaceNumber, slug: &str) -> Option<&Partner> {
        self.tables.partner_by_slug(workspace, slug)
    }

    /// The partner whose coupon this is, whatever the case of its letters; archived ones too.
    pub fn partner_by_coupon(&self, workspace: WorkspaceNumber, coupon: &str) -> Option<&Partner> {
        self.tables.partner_by_coupon(workspace, coupon)
    }

    /// The link with this id, archived ones too.
    pub fn link(&self, workspace: WorkspaceNumber, id: LinkId) -> Option<&Link> {
        self.get(workspace, id)
    }

    /// The link with this key, which is unique per domain, and without a domain per installation; archived ones too.
    pub fn link_by_key(&self, domain: Option<DomainId>, key: &str) -> Option<&Link> {
        self.tables.link_by_key(domain, key)
    }

    /// The domain with this host name in ASCII and lower case, without a port; archived ones too.
    pub fn domain_by_host(&self, hostname: &str) -> Option<&Domain> {
        self.tables.domain_by_host(hostname)
    }

    /// The domain with this id in whatever workspace, archived ones too.
    pub fn domain(&self, id: DomainId) -> Option<&Domain> {
        self.tables.domain(id)
    }

    /// The pixel with this id in whatever workspace, archived ones too.
    pub fn pixel(&self, id: PixelId) -> Option<&Pixel> {
        self.tables.pixel(id)
    }

    /// The source with this id in whatever workspace, archived ones too.
    pub fn source(&self, id: SourceId) -> Option<&Source> {
        self.tables.source(id)
    }

    /// The key with this id, revoked and archived ones too.
    pub fn key(&self, workspace: WorkspaceNumber, id: KeyId) -> Option<&Key> {
        self.get(workspace, id)
    }

    /// The key with this secret, if it is good at `now`. The look-up goes by hash, so its time says nothing about secrets.
    pub fn key_by_secret(&self, secret: &str, now: Timestamp) -> Option<&Key> {
        let hash = hash_secret(secret);
        let key = self.tables.key_by_hash(&hash)?;
        let grace_over =
            hash != key.sha256 && key.previous.as_ref().is_none_or(|previous| previous.valid_until <= now);
        let expired = key.expires_at.is_some_and(|at| at <= now);
        if key.meta.archived || key.revoked_at.is_some() || expired || grace_over { None } else { Some(key) }
    }

    /// The publishable keys, of whatever workspace, that pages of this origin may use, unless they have expired.
    pub fn keys_by_origin(&self, origin: &str) -> impl Iterator<Item = &Key> {
        self.tables.keys_by_origin(origin)
    }

    /// The workspace's offers by id, archived ones too.
    pub fn offers(&self, workspace: WorkspaceNumber) -> impl Iterator<Item = &Offer> {
        self.ascending(workspace, None)
    }

    /// The workspace's partners by id, archived ones too.
    pub fn partners(&self, workspace: WorkspaceNumber) -> impl Iterator<Item = &Partner> {
        self.ascending(workspace, None)
    }

    /// The workspace's links by id, archived ones too.
    pub fn links(&self, workspace: WorkspaceNumber) -> impl Iterator<Item = &Link> {
        self.ascending(workspace, None)
    }

    /// The workspace's sources by id, archived ones too.
    pub fn sources(&self, workspace: WorkspaceNumber) -> impl Iterator<Item = &Source> {
        self.ascending(workspace, None)
    }

    /// The workspace's keys by id, revoked and archived ones too.
    pub fn keys(&self, workspace: WorkspaceNumber) -> impl Iterator<Item = &Key> {
        self.ascending(workspace, None)
    }
}

/// The resource with the version and the times that it gets.
fn stamped(
    mut resource: Resource,
    previous: Option<&Resource>,
    at: Timestamp,
    revision: CatalogRevision,
) -> Resource {
    if let Resource::Rate(rate) = &mut resource {
        let previous = if let Some(Resource::Rate(previous)) = previous { Some(previous) } else { None };
        rate.stamp(previous, at, revision);
        return resource;
    }
    let before = previous.and_then(Resource::meta).map(|meta| (meta.version, meta.created_at));
    if let Some(meta) = resource.meta_mut() {
        meta.version = before.map_or(1, |(version, _)| version.saturating_add(1));
        meta.created_at = before.map_or(at, |(_, created_at)| created_at);
        meta.updated_at = at;
    }
    resource
}

#[cfg(test)]
mod tests;
