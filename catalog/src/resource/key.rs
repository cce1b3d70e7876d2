//! API keys.

use schemas::id::{KeyId, WorkspaceNumber};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Meta, SecretHash, sha256_hex};

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
