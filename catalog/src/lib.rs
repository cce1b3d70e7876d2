//! The catalog: offers, partners, links, sources, keys and exchange rates, decided by the log and folded in memory by every
//! role.
//!
//! A change is a [`proposal::Proposal`], which is one record of the topic `catalog` and one transaction. [`fold::Catalog`]
//! accepts or rejects it in the log's order, the same on every node. [`follower::Follower`] keeps a copy up to date.

pub mod bootstrap;
pub mod error;
pub mod fold;
pub mod follower;
pub mod host;
mod idempotency;
pub mod key;
pub mod macros;
pub mod payout;
pub mod proposal;
pub mod record;
pub mod resource;
mod revisions;
pub mod rule;
pub mod seal;
mod table;
pub mod validate;

pub use error::{CatalogError, ProposeError};
pub use fold::{Accepted, Catalog, Folded, Rejected};
pub use follower::Follower;
pub use payout::PayoutRule;
pub use proposal::{Actor, ActorKind, Change, Expected, Idempotency, Proposal};
pub use resource::{
    Approval, Attribution, Cap, CapMetric, CapScope, CapWindow, Condition, Consent, Domain, DomainRole,
    Duplicates, Entity, Environment, ExternalId, Field, Goal, Identifier, Installation, IpStorage, Key,
    KeyKind, Link, Meta, Model, Offer, OnExceed, Op, Partner, PartnerPayout, Payout, Pixel, PreviousSealed,
    PreviousSecret, Privacy, Projection, Rate, RateKey, RateStamp, Resource, ResourceKind, Revenue, Rule,
    Scope, Source, SourceAuth, Stage, Target, TargetDestination, Test, Workspace,
};
pub use revisions::Revisions;
pub use table::{MAX_RATE_AGE_DAYS, MAX_RATES};
