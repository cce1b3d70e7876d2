//! What the catalog holds. The serde form is the form on the log: a field that a build does not know is refused.

use schemas::id::{KeyId, LinkId, OfferId, PartnerId, SourceId, WorkspaceId, WorkspaceNumber};
use schemas::money::{Currency, Money, Percent};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

mod entity;
mod sha256_hex;

pub use entity::{Entity, Resource, ResourceKind};

/// A SHA-256 of a secret.
pub type SecretHash = [u8; 32];

const MICROS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// How far back a conversion looks for its click where neither offer nor workspace say otherwise.
pub const DEFAULT_CLICK_LOOKBACK_MICROS: i64 = 30 * MICROS_PER_DAY;
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

/// A customer of the installation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workspace {
    /// Its number in ids and rows.
    pub number: WorkspaceNumber,
    /// Its id.
    pub id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// The currency of its reports.
    pub currency: Currency,
    /// The IANA time zone of its reports.
    pub timezone: String,
    /// Where clicks go that have no other destination.
    pub fallback_url: Option<String>,
    /// The partition of `events` that holds all its events.
    pub partition: u32,
    /// How far back a conversion looks for its click, unless the offer says otherwise.
    pub click_lookback_micros: i64,
    /// What every resource carries.
    pub meta: Meta,
}

/// What partners promote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// Whose it is.
    pub workspace: WorkspaceNumber,
    /// Its name.
    pub name: String,
    /// Where clicks go; a template of [`crate::macros`].
    pub destination_url: String,
    /// The currency of its payouts and of reported amounts without one.
    pub currency: Currency,
    /// The parameter by which the destination learns the click id.
    pub click_id_param: String,
    /// Where clicks go when the offer cannot take them.
    pub fallback_url: Option<String>,
    /// How far back a conversion looks for its click; `None`: as the workspace.
    pub click_lookback_micros: Option<i64>,
    /// What counts as a conversion and what it is worth.
    pub goals: Vec<Goal>,
    /// What every resource carries.
    pub meta: Meta,
}

impl Offer {
    /// The goal with this key.
    pub fn goal(&self, key: &str) -> Option<&Goal> {
        self.goals.iter().find(|goal| goal.key == key)
    }
}

/// What counts as a conversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    /// Its key, the `event` of a conversion.
    pub key: String,
    /// What the partner earns.
    pub payout: Payout,
    /// What the workspace earns.
    pub revenue: Revenue,
    /// Whether a trusted conversion is approved by itself.
    pub approval: Approval,
}

/// What the partner earns for a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payout {
    /// Nothing.
    None,
    /// This amount.
    Fixed(Money),
    /// This share of the reported amount.
    Percent(Percent),
}

/// What the workspace earns for a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revenue {
    /// What the sender reported.
    Postback,
    /// This amount.
    Fixed(Money),
    /// This share of the reported amount.
    Percent(Percent),
}

/// How a conversion gets approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// By itself, if its sender may.
    Auto,
    /// By a person.
    Manual,
}

/// Who promotes offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partner {
    /// Its id.
    pub id: PartnerId,
    /// Whose partner.
    pub workspace: WorkspaceNumber,
    /// Its name.
    pub name: String,
    /// A readable reference, unique per workspace.
    pub slug: Option<String>,
    /// How to reach it.
    pub email: Option<String>,
    /// What every resource carries.
    pub meta: Meta,
}

/// A tracking link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its id.
    pub id: LinkId,
    /// Whose link.
    pub workspace: WorkspaceNumber,
    /// What stands in the address, unique per installation.
    pub key: String,
    /// The offer.
    pub offer: OfferId,
    /// The partner whose clicks these are.
    pub partner: Option<PartnerId>,
    /// The creative that the link is used with.
    pub creative: Option<String>,
    /// Where clicks go instead of the offer's destination; a template of [`crate::macros`].
    pub destination_url: Option<String>,
    /// 302, or 307.
    pub redirect_status: u16,
    /// Where clicks go when the link cannot take them.
    pub fallback_url: Option<String>,
    /// From when on clicks go to the fallback.
    pub expires_at: Option<Timestamp>,
    /// What every resource carries.
    pub meta: Meta,
}

/// A system that sends conversions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its id.
    pub id: SourceId,
    /// Whose source.
    pub workspace: WorkspaceNumber,
    /// Its name.
    pub name: String,
    /// How it shows that it is the one.
    pub auth: SourceAuth,
    /// What every resource carries.
    pub meta: Meta,
}

/// How a source shows that it is the one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceAuth {
    /// Not at all; its conversions wait for a decision.
    Open,
    /// By a token.
    Token {
        /// The token's hash.
        #[serde(with = "sha256_hex")]
        sha256: SecretHash,
    },
}

/// An API key. The secret itself is nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// Whose key.
    pub workspace: WorkspaceNumber,
    /// Its name.
    pub name: String,
    /// The secret's hash.
    #[serde(with = "sha256_hex")]
    pub sha256: SecretHash,
    /// The secret before the last rotation.
    pub previous: Option<PreviousSecret>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Whether its events count.
    pub environment: Environment,
    /// Whether it may be seen.
    pub kind: KeyKind,
    /// The pages that may use a publishable key.
    pub allowed_origins: Vec<String>,
    /// Until when it is good.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// What every resource carries.
    pub meta: Meta,
}

/// The secret before the last rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousSecret {
    /// Its hash.
    #[serde(with = "sha256_hex")]
    pub sha256: SecretHash,
    /// Until when it is good.
    pub valid_until: Timestamp,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every GET of the query API.
    Read,
    /// The catalog, transitions, exports.
    Write,
    /// The edge, and receipts.
    Ingest,
    /// Everything in the workspace.
    Admin,
    /// Every workspace of the installation.
    Operator,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Ingest, Self::Admin, Self::Operator];

    /// The word in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Ingest => "ingest",
            Self::Admin => "admin",
            Self::Operator => "operator",
        }
    }
}

/// Whether a key's events count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// They do.
    Live,
    /// They are marked `test` and in no report unless asked for.
    Test,
}

/// Whether a key may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// For servers.
    Secret,
    /// For pages, bound to their origins.
    Publishable,
}
