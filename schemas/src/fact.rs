//! Facts: what was decided. State, rows and notifications are folds of facts. Wire form in [`crate::wire`].

use jiff::civil::Date;

use crate::cap::CapPlace;
use crate::event::{
    Actor, CatalogRevision, Click, Conversion, Delayed, Event, Impression, Mark, Nonce, Status,
};
use crate::id::{
    CampaignId, ClickId, ConversionId, EdgeId, EventId, ImpressionId, LinkId, OfferId, PartnerId, SourceId,
    VisitorId, WorkspaceNumber,
};
use crate::money::{Currency, ExchangeRate};
use crate::table::RowCounts;
use crate::time::Timestamp;

/// SHA-256 of a record's bytes.
pub type RecordHash = [u8; 32];
/// The predecessor's hash in the first record of a chain.
pub const NO_RECORD: RecordHash = [0; 32];

/// The decisions on one range of events: one link of the partition's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which version of the core decided.
    pub core_version: u32,
    /// The partition of `events` and of `facts`.
    pub partition: u32,
    /// Hash of the predecessor.
    pub previous: RecordHash,
    /// Number of the first fact below, from 1.
    pub first_seq: u64,
    /// First position of the decided range.
    pub source_from: u64,
    /// One past its last position.
    pub source_to: u64,
    /// The catalog that the core had folded after the range.
    pub catalog: CatalogRevision,
    /// SHA-256 of the range's last event: a state that was made from another log shows by it.
    pub last_event: RecordHash,
    /// What came of each event of the range, in order.
    pub decisions: Vec<Decision>,
}

impl Record {
    /// How many facts the record holds.
    pub fn fact_count(&self) -> u64 {
        self.decisions.iter().map(|decision| decision.facts.len() as u64).sum()
    }
}

/// What came of one record of `events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Its position.
    pub source: u64,
    /// Core time: the highest log time up to here.
    pub core_time: Timestamp,
    /// The facts; never empty.
    pub facts: Vec<Fact>,
}

/// One thing that is now true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A click was stored.
    Click(Box<ClickFact>),
    /// An impression was stored.
    Impression(Box<ImpressionFact>),
    /// A conversion has new values.
    Revision(Box<Revision>),
    /// An event ended, or was parked.
    Outcome(Box<Outcome>),
    /// A conversion waits for its click, or a refund for its conversion.
    Parked(Box<Parked>),
    /// A wait is over.
    Unparked(Unparked),
    /// A delivery stood in the log once more.
    Redelivered(Mark),
    /// The nonce of a signed request is used up.
    Nonce(Box<UsedNonce>),
    /// A cap counts one more, or one less.
    CapCounted(Box<CapCounted>),
    /// Several marks of identity are one person's.
    Joined(Box<Joined>),
    /// How far the conversions that waited for a new exchange rate were assessed anew.
    RateSweep(RateSweep),
    /// An edge holds back as many events, or none any more.
    Delayed(Delayed),
    /// A tick was taken in.
    Ticked,
    /// A sink's batch ends here.
    Cut(Cut),
}

/// A stored click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClickFact {
    /// The event's id.
    pub receipt: EventId,
    /// Whose click.
    pub workspace: WorkspaceNumber,
    /// When the edge had it.
    pub received_at: Timestamp,
    /// The click.
    pub click: Click,
}

/// A stored impression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImpressionFact {
    /// The event's id.
    pub receipt: EventId,
    /// Whose impression.
    pub workspace: WorkspaceNumber,
    /// When the edge had it.
    pub received_at: Timestamp,
    /// The impression.
    pub impression: Impression,
}

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
    /// The currencies that have no rate; none once the reason is not `no_rate` any more.
    pub lacks_rates_of: Vec<Currency>,
    /// Core time at which a hold that the goal wanted ends, or was to end.
    pub hold_until: Option<Timestamp>,
    /// Every touch that was considered; empty in a revision that did not consider them anew.
    pub touches: Vec<Touch>,
    /// When the edge had the event that made the conversion.
    pub received_at: Timestamp,
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

/// How one event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The event.
    pub event: EventId,
    /// Whose event.
    pub workspace: WorkspaceNumber,
    /// The delivery that it settles; `None` when a parked event is settled later, or could not be read.
    pub mark: Option<Mark>,
    /// What kind of event it was.
    pub subject: Subject,
    /// How it ended.
    pub status: OutcomeStatus,
    /// Why, a code; empty where the status says it all.
    pub reason: String,
    /// The conversion that came of it, or that it met.
    pub conversion: Option<ConversionId>,
    /// The event that it repeats.
    pub original: Option<EventId>,
    /// The source of a conversion or a refund.
    pub source: Option<SourceId>,
    /// When the edge had it.
    pub received_at: Timestamp,
    /// Made with a test key.
    pub test: bool,
}

/// What kind of event an outcome is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A click.
    Click,
    /// An impression.
    Impression,
    /// A conversion.
    Conversion,
    /// A refund.
    Refund,
    /// A command to change a conversion.
    Command,
    /// A record that could not be read.
    Unreadable,
}

impl Subject {
    /// The word in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::Impression => "impression",
            Self::Conversion => "conversion",
            Self::Refund => "refund",
            Self::Command => "command",
            Self::Unreadable => "unreadable",
        }
    }
}

/// How an event ended; `Parked` is a level, not an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutcomeStatus {
    /// It counts.
    Recorded,
    /// It was there already.
    Duplicate,
    /// It changed the status of what was there.
    Updated,
    /// It does not fit what is there, such as other content under the same key: nothing was changed.
    Conflict,
    /// It cannot count; the reason says why.
    Rejected,
    /// It waits for its click or its conversion.
    Parked,
}

impl OutcomeStatus {
    /// Every status, in the order of the counters in state.
    pub const ALL: [Self; 6] =
        [Self::Recorded, Self::Duplicate, Self::Updated, Self::Conflict, Self::Rejected, Self::Parked];

    /// The word in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Duplicate => "duplicate",
            Self::Updated => "updated",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Parked => "parked",
        }
    }

    /// The status with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// Reasons of outcomes and revisions.
pub mod reason {
    /// The record could not be read: unknown version or field, or broken.
    pub const UNREADABLE: &str = "unreadable_event";
    /// The click id is not one of this workspace, or its click never came.
    pub const UNKNOWN_CLICK: &str = "unknown_click";
    /// The workspace has no such conversion.
    pub const UNKNOWN_CONVERSION: &str = "unknown_conversion";
    /// Too many conversions of the workspace wait for their clicks.
    pub const TOO_MANY_PARKED: &str = "too_many_parked";
    /// The catalog has no such workspace.
    pub const UNKNOWN_WORKSPACE: &str = "unknown_workspace";
    /// The amount's currency has no rate to the workspace's.
    pub const NO_RATE: &str = "no_rate";
    /// The sender may not approve conversions.
    pub const UNTRUSTED_SENDER: &str = "untrusted_sender";
    /// The goal wants a decision by hand.
    pub const MANUAL_APPROVAL: &str = "manual_approval";
    /// The goal wants some days to pass before the approval.
    pub const HOLD_DAYS: &str = "hold_days";
    /// An amount without a currency cannot be one in the offer's.
    pub const INVALID_AMOUNT: &str = "invalid_amount";
    /// The source or the offer that the report names is none of this workspace's.
    pub const UNKNOWN_REFERENCE: &str = "unknown_reference";
    /// An amount times a percentage does not fit into 64 bits.
    pub const AMOUNT_OUT_OF_RANGE: &str = "amount_out_of_range";
    /// The conversion has another version than the command expects.
    pub const VERSION_MISMATCH: &str = "version_mismatch";
    /// A status that the life cycle has no step to.
    pub const STATUS_NOT_REACHABLE: &str = "status_not_reachable";
    /// A cap was reached before.
    pub const CAP: &str = "cap";
    /// The nonce of a signed request came before with another body.
    pub const REPLAYED_NONCE: &str = "replayed_nonce";
    /// More would go back than is left of the conversion.
    pub const REFUND_EXCEEDS_AMOUNT: &str = "refund_exceeds_amount";
    /// The refund is in another currency than the conversion.
    pub const CURRENCY_MISMATCH: &str = "currency_mismatch";
    /// A person has rejected the conversion: no report takes that back.
    pub const DECIDED_BY_HAND: &str = "decided_by_hand";
    /// Same key, other content.
    pub const DIFFERENT_CONTENT: &str = "different_content";
}

/// A conversion that waits for its click, or a refund that waits for its conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The event, whole: it is decided again when what it waits for comes.
    pub event: Event,
    /// Core time at which the wait ends.
    pub due: Timestamp,
}

/// A wait that is over; the outcome stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unparked {
    /// The event that waited.
    pub event: EventId,
    /// Whose event.
    pub workspace: WorkspaceNumber,
    /// When the wait would have ended.
    pub due: Timestamp,
}

/// The nonce of a signed request, used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedNonce {
    /// Whose request.
    pub workspace: WorkspaceNumber,
    /// The source that signed; `None` for the built-in source `default`.
    pub source: Option<SourceId>,
    /// The nonce.
    pub nonce: Nonce,
    /// The event that used it first.
    pub event: EventId,
}

/// A cap counts one more, or one less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapCounted {
    /// Whose cap.
    pub workspace: WorkspaceNumber,
    /// Which count.
    pub place: CapPlace,
    /// The life of the edge that delivered a click; `None` for conversions, which edges do not count.
    pub edge: Option<EdgeId>,
    /// Whether it is one less: a conversion does not count any more.
    pub is_withdrawal: bool,
}

/// How far the conversions were assessed anew that waited for a new exchange rate: there may be more than one event can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateSweep {
    /// Whose rate.
    pub workspace: WorkspaceNumber,
    /// The currency that it converts, into the workspace's.
    pub from: Currency,
    /// Its day.
    pub date: Date,
    /// How far.
    pub reached: SweepReached,
}

/// How far a sweep got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepReached {
    /// It begins.
    Start,
    /// Up to and with this conversion, by when it occurred.
    Conversion(Timestamp, ConversionId),
    /// Nothing is left.
    End,
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

/// Marks of identity that are one person's, and all that is known by any of them with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Whose person.
    pub workspace: WorkspaceNumber,
    /// The marks, two or more.
    pub identities: Vec<Identity>,
}

/// Something by which a person is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// What kind it is.
    pub kind: IdentityKind,
    /// The visitor's id, or the first 16 bytes of a SHA-256 of the customer's id or e-mail address.
    pub id: [u8; 16],
    /// Known from tests: a rehearsal joins nobody.
    pub test: bool,
}

/// By what a person is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityKind {
    /// A browser's visitor id.
    Visitor,
    /// The sender's customer id.
    Customer,
    /// The hash of an e-mail address.
    Email,
}

/// The end of a sink's batch: the same batch whoever makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The cut's number, from 1.
    pub number: u64,
    /// Rows reached in each table.
    pub rows: RowCounts,
}
