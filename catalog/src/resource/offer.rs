//! Offers and their goals.

use schemas::id::{OfferId, WorkspaceNumber};
use schemas::money::{Currency, Money, Percent};
use serde::{Deserialize, Serialize};

use super::{Cap, Meta};

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
    /// The hosts that a caller may name as destination: `shop.example`, `*.shop.example`, or the scheme of an app (`myapp:`).
    pub allowed_hosts: Vec<String>,
    /// What it takes at most.
    pub caps: Vec<Cap>,
    /// How far back a conversion looks for its click; `None`: as the workspace.
    pub click_lookback_micros: Option<i64>,
    /// How far back it looks for an impression; `None`: as the workspace.
    pub view_lookback_micros: Option<i64>,
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
    /// For how many days one that would be approved by itself is held back first; at most [`Goal::MAX_HOLD_DAYS`].
    pub hold_days: u16,
    /// What a repetition under the same key is.
    pub duplicates: Duplicates,
}

impl Goal {
    /// The longest hold.
    pub const MAX_HOLD_DAYS: u16 = 365;

    /// A goal that pays nothing and leaves everything at its default.
    pub const fn new(key: String) -> Self {
        Self {
            key,
            payout: Payout::None,
            revenue: Revenue::Postback,
            approval: Approval::Auto,
            hold_days: 0,
            duplicates: Duplicates::Ignore,
        }
    }
}

/// What a conversion is that comes again under the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// The first report stands: the same again is a duplicate, other content a conflict.
    #[default]
    Ignore,
    /// The last report stands: other content revises the conversion.
    Revise,
    /// Each is a conversion of its own.
    Count,
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
