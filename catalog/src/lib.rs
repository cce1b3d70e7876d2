//! The catalog: offers, partners, links, sources and keys, decided by the log and folded in memory by every role.
//!
//! A change is a [`proposal::Proposal`], which is one record of the topic `catalog` and one transaction. [`fold::Catalog`]
//! accepts or rejects it in the log's order, the same on every node. [`follower::Follower`] keeps a copy up to date.

pub mod bootstrap;
pub mod error;
pub mod fold;
pub mod follower;
mod idempotency;
pub mod key;
pub mod macros;
pub mod proposal;
pub mod record;
pub mod resource;
mod table;
pub mod validate;

pub use error::{CatalogError, ProposeError};
pub use fold::{Accepted, Catalog, Folded, Rejected};
pub use follower::Follower;
pub use proposal::{Actor, ActorKind, Change, Expected, Idempotency, Proposal};
pub use resource::{
    Approval, Entity, Environment, ExternalId, Goal, Installation, Key, KeyKind, Link, Meta, Offer, Partner,
    Payout, PreviousSecret, Resource, ResourceKind, Revenue, Scope, Source, SourceAuth, Workspace,
};
