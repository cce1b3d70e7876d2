//! Clicks and impressions.

use super::label::NOT_COUNTED;
use crate::id::{CampaignId, ClickId, ImpressionId, LinkId, OfferId, PartnerId, RuleId, VisitorId};
use crate::money::Money;
use crate::time::Timestamp;

/// What clicks and impressions have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The link, if the hit came by a stored one.
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
    /// Parameters that are none of ours, passed through.
    pub params: Vec<(String, String)>,
    /// Labels, from [`super::label`].
    pub labels: Vec<String>,
    /// The `Referer`; empty for none.
    pub referrer: String,
    /// The `User-Agent`; empty for none.
    pub user_agent: String,
    /// The client's address as the workspace lets it be stored; empty for none.
    pub address: String,
    /// The first language of `Accept-Language`, its primary subtag in small letters (`de`); empty for unknown.
    pub language: String,
    /// The browser's family; empty for unknown.
    pub browser: String,
    /// The operating system's family; empty for unknown.
    pub os: String,
    /// `desktop`, `mobile`, `tablet`, `tv`, `bot` or `other`; empty for unknown.
    pub device: String,
    /// The country, ISO 3166-1 alpha-2 (`DE`); empty for unknown.
    pub country: String,
    /// The region, ISO 3166-2 (`DE-BE`); empty for unknown.
    pub region: String,
    /// The city's name; empty for unknown.
    pub city: String,
    /// What the hit cost whoever bought it, as they say.
    pub cost: Option<Money>,
    /// Made with a test key.
    pub test: bool,
    /// When it happened.
    pub occurred_at: Timestamp,
}

impl Hit {
    /// A hit on an offer of which nothing else is known.
    pub const fn new(offer: OfferId, occurred_at: Timestamp) -> Self {
        Self {
            link: None,
            offer,
            partner: None,
            campaign: None,
            visitor: None,
            creative: String::new(),
            subs: Vec::new(),
            source_id: String::new(),
            params: Vec::new(),
            labels: Vec::new(),
            referrer: String::new(),
            user_agent: String::new(),
            address: String::new(),
            language: String::new(),
            browser: String::new(),
            os: String::new(),
            device: String::new(),
            country: String::new(),
            region: String::new(),
            city: String::new(),
            cost: None,
            test: false,
            occurred_at,
        }
    }

    /// Whether it counts in net numbers and in attribution: no label leaves it out.
    pub fn is_counted(&self) -> bool {
        !self.labels.iter().any(|label| NOT_COUNTED.contains(&label.as_str()))
    }

    /// Whether caps count it, at the edge and in the core: a test takes nothing of what there is.
    pub fn is_counted_by_caps(&self) -> bool {
        !self.test && self.is_counted()
    }
}

/// A click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Click {
    /// The click's id, which travels to the destination.
    pub id: ClickId,
    /// Who clicked on what.
    pub hit: Hit,
    /// A click id of another system; empty for none.
    pub ext_click_id: String,
    /// Where the click was sent.
    pub destination_url: String,
    /// What a smart link's rules chose.
    pub choice: Option<Choice>,
}

/// Which rule of a smart link chose, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The rule.
    pub rule: RuleId,
    /// The version of the link that had it.
    pub version: u64,
    /// The place of the chosen target in the rule's list.
    pub variant: u32,
}

/// An advertisement that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impression {
    /// The impression's id.
    pub id: ImpressionId,
    /// Who saw what.
    pub hit: Hit,
}
