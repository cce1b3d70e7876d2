//! Links.

use schemas::id::{DomainId, LinkId, OfferId, PartnerId, WorkspaceNumber};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Cap, Meta, Rule};

/// A tracking link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its id.
    pub id: LinkId,
    /// Whose link.
    pub workspace: WorkspaceNumber,
    /// What stands in the address, unique per domain; without a domain, unique per installation.
    pub key: String,
    /// The tracking domain that it is on; `None`: the installation's own address.
    pub domain: Option<DomainId>,
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
    /// Where clicks go that one of them matches: the first, in this order.
    pub rules: Vec<Rule>,
    /// What it takes at most.
    pub caps: Vec<Cap>,
    /// What every resource carries.
    pub meta: Meta,
}
