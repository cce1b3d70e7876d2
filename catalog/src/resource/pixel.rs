//! Conversion pixels.

use schemas::id::{OfferId, PixelId, WorkspaceNumber};
use serde::{Deserialize, Serialize};

use super::Meta;

/// A pixel on somebody's page: an address that stands for an offer and a goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pixel {
    /// Its id.
    pub id: PixelId,
    /// Whose pixel.
    pub workspace: WorkspaceNumber,
    /// The offer whose conversions it reports.
    pub offer: OfferId,
    /// The goal, where the request names none.
    pub goal: Option<String>,
    /// The pages that may use it; none: any.
    pub allowed_origins: Vec<String>,
    /// What every resource carries.
    pub meta: Meta,
}
