//! Domains that customers bring.

use schemas::id::{DomainId, WorkspaceNumber};
use serde::{Deserialize, Serialize};

use super::Meta;

/// A customer's own host name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Its id.
    pub id: DomainId,
    /// Whose domain.
    pub workspace: WorkspaceNumber,
    /// The name in ASCII and lower case, unique per installation.
    pub hostname: String,
    /// What it serves.
    pub role: DomainRole,
    /// Where clicks go that no link takes.
    pub fallback_url: Option<String>,
    /// What every resource carries.
    pub meta: Meta,
}

/// What a domain serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainRole {
    /// Links, pixels and postbacks.
    #[default]
    Tracking,
    /// The API.
    Api,
}
