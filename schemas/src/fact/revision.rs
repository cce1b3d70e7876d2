//! Revisions of conversions: what they are worth, whose they are, and why.

use jiff::civil::Date;

use crate::cap::CapPlace;
use crate::event::{Actor, Conversion, Status};
use crate::id::{
    CampaignId, ClickId, ConversionId, EventId, ImpressionId, LinkId, OfferId, PartnerId, VisitorId,
    WorkspaceNumber,
};
use crate::money::{Currency, ExchangeRate};
use crate::time::Timestamp;

/// A conversion's new values and those that they replace. Revisions are never edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The conversion.
    pub conversion: ConversionId,
    /// Whose conversion.
    pub workspace: WorkspaceNumber,
    /// 1 for the first.
    pub version: u32,
    /// The event that caused this revision.
    pub event: EventId,
    /// Who is behind that event, and what they said.
    pub cause: Cause,
    /// What kind of change it is.
    pub change: Change,
    /// Who gave it the status that it has now.
    pub decided_by: DecidedBy,
    /// Why the values are as they are, a code such as `no_rate`; empty for the plain case.
    pub reason: String,
    /// The conversion as it was reported first.
    pub received: Conversion,
    /// The key by which a repetition is recognised.
    pub dedupe_key: DedupeKey,
    /// What the conversion was attributed to.
    pub attributed: Attributed,
    /// What it was attributed to before, where this revision changes that.
    pub attributed_before: Option<Box<Attributed>>,
    /// How it was found out whose it is: `click_id`, `visitor_id`, `customer_id`, `email`, `coupon`, `partner`; empty if not at
    /// all.
    pub identified_by: String,
    /// The rule that set the payout: `offer_goal`, or `none`.
    pub payout_rule: String,
    /// The values before; `None` in version 1.
    pub before: Option<Values>,
    /// The values now.
    pub after: Values,
    /// What the conversion earns before refunds: each refund is reckoned from it, so that rounding never adds up.
    pub gross: Gross,
    /// The refund that this revision takes in.
    pub refund: Option<AppliedRefund>,
    /// The counts of caps that count the conversion while its status counts.
    pub counted_in: Vec<CapPlace>,
    /// The rates that the values come from: first the amount's, if it needs one.
    pub rates: Vec<AppliedRate>,
    /// The currencies that have no rate yet.
    pub lacks_rates_of: Vec<Currency>,
    /// Core time at which a hold that the goal wanted ends, or was to end.
    pub hold_until: Option<Timestamp>,
    /// Every touch that was considered; empty in a revision that did not consider them anew.
    pub touches: Vec<Touch>,
    /// When the edge had the event that made the conversion.
    pub received_at: Timestamp,
    /// Core time at which it was recorded.
    pub recorded_at: Timestamp,
}

/// Who is behind a revision, and what they said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Who.
    pub actor: Actor,
    /// The request by which a command came; empty for everything else.
    pub request_id: String,
    /// Why, in the words of a command; empty for everything else.
    pub reason: String,
    /// More about it, in the words of a command; empty for nothing.
    pub note: String,
}

/// First 16 bytes of the SHA-256 over workspace, source, goal and the sender's key.
pub type DedupeKey = [u8; 16];

/// What a conversion belongs to, taken from the winning touch or from the report itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributed {
    /// The offer.
    pub offer: Option<OfferId>,
    /// The partner.
    pub partner: Option<PartnerId>,
    /// The campaign.
    pub campaign: Option<CampaignId>,
    /// The link.
    pub link: Option<LinkId>,
    /// The winning click and when it happened.
    pub click: Option<(ClickId, Timestamp)>,
    /// The visitor.
    pub visitor: Option<VisitorId>,
    /// `sub1` to `sub10` of the winning click.
    pub subs: Vec<String>,
    /// The partner's own source id of the winning click.
    pub source_id: String,
    /// The creative of the winning click.
    pub creative: String,
    /// Labels of the conversion.
    pub labels: Vec<String>,
}

/// What a revision changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The conversion was recorded.
    Recorded,
    /// Its status changed.
    Status,
    /// Money of it went back.
    Refund,
    /// It was reported anew, and the last report stands.
    Report,
    /// What is known of its touches or of its customer changed.
    Attribution,
    /// A rate came that it had waited for.
    Rate,
}

impl Change {
    /// The word in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Status => "status",
            Self::Refund => "refund",
            Self::Report => "report",
            Self::Attribution => "attribution",
            Self::Rate => "rate",
        }
    }
}

/// Who gave a conversion the status that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecidedBy {
    /// The rules, which gave what it begins with.
    Beginning,
    /// The rules, since something happened to it: a hold ended, or its amount went back.
    Course,
    /// A report after the first.
    Report,
    /// A person.
    Person,
}

/// What reports add up, in micro-units of the workspace's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Values {
    /// The place in the life cycle.
    pub status: Status,
    /// The workspace's currency.
    pub currency: Currency,
    /// The reported amount, `None` where its currency could not be converted or none was given.
    pub amount_micros: Option<i64>,
    /// What the workspace earns.
    pub revenue_micros: i64,
    /// What the partner earns.
    pub payout_micros: i64,
    /// How much of the original amount went back, in micro-units of that amount's own currency.
    pub refunded_micros: i64,
}

/// What a conversion earns as long as nothing goes back, in micro-units of the workspace's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gross {
    /// What the workspace earns.
    pub revenue_micros: i64,
    /// What the partner earns.
    pub payout_micros: i64,
}

/// A refund that a revision took in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedRefund {
    /// The sender's id of it.
    pub refund_id: String,
    /// How much went back, in micro-units of the original amount's currency.
    pub amount_micros: i64,
    /// Why, in the sender's words; empty for none.
    pub reason: String,
}

/// A touch that was considered for a conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// Which click or impression it is.
    pub id: TouchId,
    /// When it happened.
    pub at: Timestamp,
    /// Whose it is.
    pub partner: Option<PartnerId>,
    /// The link.
    pub link: Option<LinkId>,
    /// Why it lost; `None` for the winner of the payable model.
    pub lost: Option<Lost>,
    /// Its share under each model.
    pub credits: Credits,
}

/// A click or an impression. Any click is more than any impression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TouchId {
    /// An impression.
    Impression(ImpressionId),
    /// A click.
    Click(ClickId),
}

impl TouchId {
    /// The word in the contract.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Impression(_) => "impression",
            Self::Click(_) => "click",
        }
    }

    /// The id's bytes, whatever its kind.
    pub const fn bytes(&self) -> &[u8; 16] {
        match self {
            Self::Impression(id) => id.bytes(),
            Self::Click(id) => id.bytes(),
        }
    }
}

/// Shares in basis points: over a conversion's touches each model's sum to 10,000, or to 0 without an eligible touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Credits {
    /// Everything to the last eligible touch.
    pub last_touch: u16,
    /// Everything to the first one.
    pub first_touch: u16,
    /// The same to each.
    pub linear: u16,
    /// Half as much for each half-life that a touch lies further back.
    pub time_decay: u16,
    /// A share to the first, one to the last, and one to all between.
    pub position_based: u16,
}

/// Why a touch lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// A later touch was eligible.
    Earlier,
    /// Another touch has more credit under the payable model, which is not that of the last touch.
    LessCredit,
    /// An impression, and a click was eligible.
    LowerType,
    /// Closer to the conversion than the workspace takes for possible.
    TooSoon,
    /// Older than the lookback window of its type.
    OutsideLookback,
    /// Later than the conversion.
    AfterConversion,
    /// Carries a label that excludes it.
    ExcludedLabel,
    /// A coupon says whose the conversion is, and in this workspace that is more.
    Coupon,
}

impl Lost {
    /// The word in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Earlier => "earlier",
            Self::LessCredit => "less_credit",
            Self::LowerType => "lower_type",
            Self::TooSoon => "too_soon",
            Self::OutsideLookback => "outside_lookback",
            Self::AfterConversion => "after_conversion",
            Self::ExcludedLabel => "excluded_label",
            Self::Coupon => "coupon",
        }
    }
}

/// An exchange rate that a conversion was valued by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedRate {
    /// The currency that it converts.
    pub from: Currency,
    /// The currency into which it converts, the workspace's.
    pub to: Currency,
    /// The rate's day.
    pub date: Date,
    /// The rate.
    pub rate: ExchangeRate,
}
