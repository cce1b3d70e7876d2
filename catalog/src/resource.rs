//! What the catalog holds. The serde form is the form on the log: a field that a build does not know is refused.

use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

mod cap;
mod domain;
mod entity;
mod key;
mod link;
mod offer;
mod partner;
mod pixel;
mod projection;
mod rate;
mod rule;
mod sha256_hex;
mod source;
mod workspace;

pub use cap::{Cap, CapMetric, CapScope, CapWindow, OnExceed, caps_of};
pub use domain::{Domain, DomainRole};
pub use entity::{Entity, Resource, ResourceKind};
pub use key::{Environment, Key, KeyKind, PreviousSecret, Scope};
pub use link::Link;
pub use offer::{Approval, Duplicates, Goal, Offer, Payout, Revenue};
pub use partner::{Partner, PartnerPayout};
pub use pixel::Pixel;
pub use projection::{Projection, Stage};
pub use rate::{Rate, RateKey, RateStamp};
pub use rule::{Condition, Field, InvalidField, Op, Rule, Target, TargetDestination, Test};
pub use source::{PreviousSealed, Source, SourceAuth};
pub use workspace::{Attribution, Consent, Identifier, IpStorage, Model, Privacy, Workspace};

/// A SHA-256 of a secret.
pub type SecretHash = [u8; 32];

const MICROS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// The parameter that carries the click id where the offer names none.
pub const DEFAULT_CLICK_ID_PARAM: &str = "click_id";
/// The status of a redirect where the link names none.
pub const DEFAULT_REDIRECT_STATUS: u16 = 302;

/// What every resource carries. Version and times are set by the fold, whatever a proposal says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// 1, 2, …
    pub version: u64,
    /// When the proposal that created it was made.
    pub created_at: Timestamp,
    /// When the proposal that changed it last was made.
    pub updated_at: Timestamp,
    /// Archived resources stay readable and keep their keys.
    pub archived: bool,
    /// Its name in another system, unique per workspace and kind.
    pub external: Option<ExternalId>,
    /// The owner's tags.
    pub tags: Vec<String>,
    /// The owner's own fields.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

impl Meta {
    /// The meta of a resource that is about to be proposed.
    pub fn new(at: Timestamp) -> Self {
        Self {
            version: 1,
            created_at: at,
            updated_at: at,
            archived: false,
            external: None,
            tags: Vec::new(),
            metadata: serde_json::Map::new(),
        }
    }
}

/// A name in another system.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalId {
    /// Which system.
    pub source: String,
    /// Its id there.
    pub id: String,
}

/// What is true for the whole installation: the first record of every catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installation {
    /// How many partitions `events` and `facts` have.
    pub events_partitions: u32,
}
