//! Partners.

use schemas::id::{PartnerId, WorkspaceNumber};
use serde::{Deserialize, Serialize};

use super::Meta;

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
