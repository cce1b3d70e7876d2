//! Partners.

use schemas::id::{OfferId, PartnerId, WorkspaceNumber};
use serde::{Deserialize, Serialize};

use super::{Meta, Payout};

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
    /// Coupons by which its customers are known, unique per workspace whatever the case of their letters.
    pub coupons: Vec<String>,
    /// What it earns where that is not what the offer's goal says.
    pub payouts: Vec<PartnerPayout>,
    /// What every resource carries.
    pub meta: Meta,
}

impl Partner {
    /// What the partner earns for this goal of the offer, or without a goal for the whole offer, if it has a payout of its own.
    pub fn payout(&self, offer: OfferId, goal: Option<&str>) -> Option<Payout> {
        let own = self.payouts.iter().find(|own| own.offer == offer && own.goal.as_deref() == goal);
        own.map(|own| own.payout)
    }
}

/// A payout that one partner has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerPayout {
    /// For which offer.
    pub offer: OfferId,
    /// For which goal of it; `None`: for every one.
    pub goal: Option<String>,
    /// What the partner earns.
    pub payout: Payout,
}
