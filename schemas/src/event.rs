//! Events: what the edge received. The wire form is in [`crate::wire`].

use serde::{Deserialize, Serialize};

use crate::id::{
    CampaignId, ClickId, EdgeId, EventId, LinkId, OfferId, PartnerId, SourceId, VisitorId, WorkspaceNumber,
};
use crate::money::{Currency, Money, MoneyError};
use crate::time::Timestamp;

/// One delivery to the edge, or a tick of the partition's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The event's id, which is the client's receipt.
    pub id: EventId,
    /// Whose event it is. Ticks carry workspace 0.
    pub workspace: WorkspaceNumber,
    /// Names the delivery; `None` on ticks.
    pub mark: Option<Mark>,
    /// When the edge had the whole request.
    pub received_at: Timestamp,
    /// The catalog by which the edge understood the request.
    pub catalog: CatalogRevision,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A tracking link was followed.
    Click(Box<Click>),
    /// Somebody says that a conversion took place.
    Conversion(Box<Conversion>),
    /// Time has passed.
    Tick,
}

/// Names one delivery: numbers are dense, from 0, within one life of an edge and one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The life of the edge process.
    pub edge: EdgeId,
    /// The delivery's number.
    pub number: u64,
}

/// How far the catalog was folded, and the hash of everything folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CatalogRevision {
    /// How many records of the topic `catalog` were folded.
    pub number: u64,
    /// The first eight bytes of the running SHA-256 over them; 0 before the first.
    pub hash: u64,
}

/// A click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Click {
    /// The click's id, which travels to the destination.
    pub id: ClickId,
    /// The link, if the click came by a stored one.
    pub link: Option<LinkId>,
    /// The offer.
    pub offer: OfferId,
    /// The partner, if there is one.
    pub partner: Option<PartnerId>,
    /// The campaign, if there is one.
    pub campaign: Option<CampaignId>,
    /// The visitor, where the browser keeps our cookie.
    pub visitor: Option<VisitorId>,
    /// The creative; empty for none.
    pub creative: String,
    /// `sub1` to `sub10`, without the empty ones at the end.
    pub subs: Vec<String>,
    /// The partner's own source id; empty for none.
    pub source_id: String,
    /// A click id of another system; empty for none.
    pub ext_click_id: String,
    /// Parameters that are none of ours, passed through.
    pub params: Vec<(String, String)>,
    /// Labels, from [`label`].
    pub labels: Vec<String>,
    /// The `Referer`; empty for none.
    pub referrer: String,
    /// The `User-Agent`; empty for none.
    pub user_agent: String,
    /// The client's address as the workspace lets it be stored; empty for none.
    pub address: String,
    /// Where the click was sent.
    pub destination_url: String,
    /// Made with a test key.
    pub test: bool,
    /// When it happened.
    pub occurred_at: Timestamp,
}

/// The labels that the edge and the core set.
pub mod label {
    /// The request was a `HEAD`.
    pub const HEAD: &str = "head";
    /// The browser fetched ahead of a click that may never come.
    pub const PREFETCH: &str = "prefetch";
    /// The partner in the request is unknown, archived or foreign.
    pub const UNKNOWN_PARTNER: &str = "unknown_partner";
    /// A parameter stood more than once; the first counted.
    pub const REPEATED_PARAMETER: &str = "repeated_parameter";
    /// Parameters beyond the bounds were dropped.
    pub const DROPPED_PARAMETER: &str = "dropped_parameter";
    /// A pixel came without `Origin` and `Referer`.
    pub const NO_ORIGIN: &str = "no_origin";
    /// The sender named no currency and no offer: the amount stands in the workspace's currency until the click's
    /// offer is known.
    pub const DEFAULT_CURRENCY: &str = "default_currency";
    /// The offer has no such goal.
    pub const UNKNOWN_GOAL: &str = "unknown_goal";
    /// Labels that leave a click out of net numbers and out of attribution.
    pub const NOT_COUNTED: [&str; 2] = [HEAD, PREFETCH];
}

/// A conversion as somebody reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// The goal's key.
    pub goal: String,
    /// The click that it refers to.
    pub click: Option<ClickId>,
    /// The visitor that it refers to.
    pub visitor: Option<VisitorId>,
    /// The sender's customer id; empty for none.
    pub customer_id: String,
    /// SHA-256 of the customer's e-mail address in small letters.
    pub email_sha256: Option<[u8; 32]>,
    /// The coupon; empty for none.
    pub coupon: String,
    /// The partner of a conversion without a click.
    pub partner: Option<PartnerId>,
    /// The offer of a conversion without a click.
    pub offer: Option<OfferId>,
    /// The sender's transaction id; empty for none.
    pub transaction_id: String,
    /// The sender's own id of this event; empty for none.
    pub client_event_id: String,
    /// What the sender earned.
    pub amount: Option<Money>,
    /// The same, as it was stated, where nobody named a currency and only the click tells the offer whose currency is meant.
    /// Then `amount` is `None`.
    pub stated_amount: Option<StatedAmount>,
    /// The status that the sender wants.
    pub status: Option<Status>,
    /// The source; `None` for the built-in source `default`.
    pub source: Option<SourceId>,
    /// How far the sender is trusted.
    pub trust: Trust,
    /// JSON object of whatever else came; empty for none.
    pub metadata: String,
    /// When it happened, by the sender; else when it was received.
    pub occurred_at: Timestamp,
    /// Labels, from [`label`].
    pub labels: Vec<String>,
    /// Made with a test key.
    pub test: bool,
    /// A value that cannot be right, in a request that must be kept all the same.
    pub fault: Option<Fault>,
}

/// An amount without its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatedAmount {
    /// A decimal text, such as `12.50`.
    Decimal(String),
    /// A number of the currency's smallest units.
    Minor(u64),
}

impl StatedAmount {
    /// The amount in a currency.
    ///
    /// # Errors
    /// [`MoneyError`] if the text has more decimals than the currency, or the amount is too large.
    pub fn in_currency(&self, currency: Currency) -> Result<Money, MoneyError> {
        match self {
            Self::Decimal(text) => Money::parse(text, currency),
            Self::Minor(minor) => Money::from_minor(*minor, currency),
        }
    }
}

/// Why a kept request cannot become a conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The reason's code.
    pub reason: String,
    /// The parameter that is wrong.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// A conversion's place in its life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for a decision.
    Pending,
    /// Accepted, held back for some days.
    Hold,
    /// Accepted.
    Approved,
    /// Refused.
    Rejected,
    /// Taken back after approval.
    Reversed,
    /// Paid out.
    Paid,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Hold, Self::Approved, Self::Rejected, Self::Reversed, Self::Paid];

    /// The word in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Hold => "hold",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Reversed => "reversed",
            Self::Paid => "paid",
        }
    }

    /// The status with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether reports count the conversion under `conversions`, `revenue` and `payout`.
    pub const fn is_counted(self) -> bool {
        match self {
            Self::Pending | Self::Hold | Self::Approved | Self::Paid => true,
            Self::Rejected | Self::Reversed => false,
        }
    }

    /// Whether the life cycle has a step from this status to that one.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Hold | Self::Approved | Self::Rejected),
            Self::Hold => matches!(next, Self::Approved | Self::Rejected),
            Self::Approved => matches!(next, Self::Hold | Self::Paid | Self::Reversed),
            Self::Rejected => matches!(next, Self::Approved),
            Self::Paid => matches!(next, Self::Reversed),
            Self::Reversed => false,
        }
    }
}

/// How far the sender of a conversion is trusted, most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// A secret key or a signature.
    Secret,
    /// A source's token.
    Token,
    /// A publishable key, which anybody can read in a page.
    Publishable,
    /// Nothing at all.
    Open,
}

impl Trust {
    /// Whether the sender may say that a conversion is approved.
    pub const fn may_approve(self) -> bool {
        match self {
            Self::Secret | Self::Token => true,
            Self::Publishable | Self::Open => false,
        }
    }
}
