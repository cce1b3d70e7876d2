//! Facts: what was decided. State, rows and notifications are folds of facts. Wire form in [`crate::wire`].

pub mod reason;
mod revision;

pub use revision::{
    AppliedRate, AppliedRefund, Attributed, Cause, Change, Credits, DecidedBy, DedupeKey, Gross, Lost,
    Revision, Touch, TouchId, Values,
};

use jiff::civil::Date;

use crate::cap::CapPlace;
use crate::event::{CatalogRevision, Click, Delayed, Event, Impression, Mark, Nonce};
use crate::id::{ConversionId, EdgeId, EventId, SourceId, WorkspaceNumber};
use crate::money::Currency;
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
    /// The click, in the place where the event had it.
    pub click: Box<Click>,
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
    /// The impression, in the place where the event had it.
    pub impression: Box<Impression>,
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
