//! Keys of the state: one letter for the kind, the workspace, then what makes it unique, time first where there is one.

use schemas::cap::CapPlace;
use schemas::fact::{DedupeKey, Identity, TouchId};
use schemas::id::{
    ClickId, ConversionId, EdgeId, EventId, ImpressionId, SourceId, VisitorId, WorkspaceNumber,
};
use schemas::money::Currency;
use schemas::time::Timestamp;

use super::keys::{INLINE_BYTES, Key};
use super::person::kind_letter;

/// Delivery marks of an edge.
pub(super) const MARKS: u8 = b'm';
const GAP: u8 = b'g';
pub(super) const CLICK: u8 = b'c';
pub(super) const TOUCH: u8 = b't';
pub(super) const VIEW: u8 = b'i';
const DEDUPE: u8 = b'd';
const CONVERSION: u8 = b'v';
const PARKED: u8 = b'p';
const DUE: u8 = b'q';
const PARKED_COUNT: u8 = b'n';
const REFUND: u8 = b'r';
const NONCE: u8 = b's';
const NONCE_AGE: u8 = b'a';
/// Counts of caps.
const CAP: u8 = b'k';
/// Last unique clicks.
pub(super) const UNIQUE: u8 = b'u';
const HOLD: u8 = b'h';
const IDENTITY: u8 = b'j';
const PERSON: u8 = b'o';
const LACKS_RATE: u8 = b'y';
const RATE_SWEEP: u8 = b'x';

/// In what order keys of a kind are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// One at a time.
    Single,
    /// All that one visitor has, in order; they share their first [`VISITOR_BYTES`].
    ByVisitor,
    /// Any range, in order.
    InOrder,
}

/// What a visitor's touches have in common: kind, workspace and visitor.
pub(super) const VISITOR_BYTES: usize = 1 + 3 + 16;
/// What the keys of a visitor's touches of one kind begin with.
pub type VisitorKey = [u8; VISITOR_BYTES];

/// Whose touch a key is, or whose touches alone lie between such bounds: the beginning that they share.
pub fn visitor_of(key: &[u8]) -> Option<VisitorKey> {
    let is_touch = key.first().is_some_and(|kind| asked(*kind) == Asked::ByVisitor);
    if is_touch { key.first_chunk().copied() } else { None }
}

/// The whole key of a touch: its time and its id, too.
pub(super) const TOUCH_BYTES: usize = VISITOR_BYTES + 8 + 16;

/// Kind, workspace and sixteen bytes: clicks, conversions, persons.
pub(super) const NAMED_BYTES: usize = 1 + 3 + 16;
/// The same, and two bytes that say what kind of identity it is.
pub(super) const IDENTITY_BYTES: usize = NAMED_BYTES + 2;
/// A visitor, two bytes that say on what, and its id.
pub(super) const UNIQUE_BYTES: usize = VISITOR_BYTES + 2 + 16;

pub(super) const fn asked(kind: u8) -> Asked {
    match kind {
        CLICK | DEDUPE | CONVERSION | PARKED_COUNT | REFUND | NONCE | UNIQUE | IDENTITY | PERSON => {
            Asked::Single
        }
        TOUCH | VIEW => Asked::ByVisitor,
        _ => Asked::InOrder,
    }
}

/// The first 16 bytes of a SHA-256.
pub(super) type Digest = [u8; 16];

#[inline(always)]
fn key<const N: usize>(kind: u8, workspace: Option<WorkspaceNumber>, parts: &[&[u8]; N]) -> Key {
    // Laid out in place: parts whose length is known here are moved as numbers are.
    let mut bytes = [0; INLINE_BYTES];
    bytes[0] = kind;
    let mut length = 1;
    if let Some(workspace) = workspace {
        bytes[1..4].copy_from_slice(&workspace.get().to_be_bytes()[1..]);
        length = 4;
    }
    for (at, part) in parts.iter().enumerate() {
        let Some(place) = bytes.get_mut(length..length + part.len()) else {
            let mut key = Key::from_slice(&bytes[..length]);
            parts[at..].iter().for_each(|part| key.extend_from_slice(part));
            return key;
        };
        place.copy_from_slice(part);
        length += part.len();
    }
    Key::from_buf_and_len(bytes, length)
}

/// Big-endian with the sign bit turned: times before 1970 sort before those after.
fn time_bytes(time: Timestamp) -> [u8; 8] {
    ((time.micros() as u64) ^ (1 << 63)).to_be_bytes()
}

pub(super) fn marks(edge: EdgeId) -> Key {
    key(MARKS, None, &[edge.bytes()])
}

/// A gap among an edge's deliveries, by its first number; the value is the number after its last.
pub(super) fn gap(edge: EdgeId, from: u64) -> Key {
    key(GAP, None, &[edge.bytes(), &from.to_be_bytes()])
}

/// The half-open range of an edge's gaps that begin at `number` or below.
pub(super) fn gaps_up_to(edge: EdgeId, number: u64) -> (Key, Key) {
    (gap(edge, 0), key(GAP, None, &[edge.bytes(), &number.to_be_bytes(), &[0]]))
}

pub(super) fn click(workspace: WorkspaceNumber, click: ClickId) -> Key {
    key(CLICK, Some(workspace), &[click.bytes()])
}

/// The click of such a key.
pub(super) fn click_of(key: &[u8]) -> Option<ClickId> {
    key.last_chunk().map(|id| ClickId::from_bytes(*id))
}

/// Whose touches, and of which kind: clicks and impressions lie apart, so that many of one never hide the other.
#[derive(Clone, Copy)]
pub(super) struct Visits {
    pub(super) workspace: WorkspaceNumber,
    pub(super) visitor: VisitorId,
    pub(super) are_clicks: bool,
}

impl Visits {
    const fn kind(self) -> u8 {
        if self.are_clicks { TOUCH } else { VIEW }
    }

    /// The half-open range of the touches from `from` up to and with `to`.
    pub(super) fn between(self, from: Timestamp, to: Timestamp) -> (Key, Key) {
        let bound = |time| key(self.kind(), Some(self.workspace), &[self.visitor.bytes(), &time_bytes(time)]);
        (bound(from), bound(to.saturating_add(1)))
    }

    /// The touch at the end of such a key.
    pub(super) fn touch_of(self, key: &[u8]) -> Option<TouchId> {
        let id = key.get(key.len().checked_sub(16)?..)?;
        if self.are_clicks {
            ClickId::from_slice(id).map(TouchId::Click)
        } else {
            ImpressionId::from_slice(id).map(TouchId::Impression)
        }
    }
}

/// A touch of a visitor. A click's value is its offer, for the click has the rest; an impression's holds the impression.
pub(super) fn touch(workspace: WorkspaceNumber, visitor: VisitorId, at: Timestamp, touch: TouchId) -> Key {
    let kind = match touch {
        TouchId::Click(_) => TOUCH,
        TouchId::Impression(_) => VIEW,
    };
    key(kind, Some(workspace), &[visitor.bytes(), &time_bytes(at), touch.bytes()])
}

/// When the touch of such a key happened.
pub(super) fn touched_at(key: &[u8]) -> Option<Timestamp> {
    let time = key.get(VISITOR_BYTES..)?.first_chunk()?;
    Some(Timestamp::from_micros((u64::from_be_bytes(*time) ^ (1 << 63)) as i64))
}

pub(super) fn dedupe(workspace: WorkspaceNumber, dedupe: &DedupeKey) -> Key {
    key(DEDUPE, Some(workspace), &[dedupe])
}

pub(super) fn conversion(workspace: WorkspaceNumber, conversion: ConversionId) -> Key {
    key(CONVERSION, Some(workspace), &[conversion.bytes()])
}

/// What a parked event waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// A click.
    Click(ClickId),
    /// A conversion, by its id.
    Conversion(ConversionId),
    /// A conversion, by the key of its report.
    Key(DedupeKey),
}

impl Awaited {
    const fn parts(&self) -> (&[u8; 1], &[u8; 16]) {
        match self {
            Self::Click(click) => (b"c", click.bytes()),
            Self::Conversion(conversion) => (b"v", conversion.bytes()),
            Self::Key(key) => (b"d", key),
        }
    }
}

/// An event that waits. `fact_seq` is the number of the fact that parked it: who came first is decided by
/// the log's order, never by the clocks that ids are made from.
pub(super) fn parked(workspace: WorkspaceNumber, awaited: Awaited, fact_seq: u64) -> Key {
    let (kind, id) = awaited.parts();
    key(PARKED, Some(workspace), &[kind, id, &fact_seq.to_be_bytes()])
}

/// The half-open range of events that wait for this.
pub(super) fn parked_for(workspace: WorkspaceNumber, awaited: Awaited) -> (Key, Key) {
    let (kind, id) = awaited.parts();
    (key(PARKED, Some(workspace), &[kind, id]), key(PARKED, Some(workspace), &[kind, id, &[0xff; 9]]))
}

/// Ordered by the end of the wait; the value is the key of the parked event.
pub(super) fn due(due: Timestamp, event: EventId) -> Key {
    key(DUE, None, &[&time_bytes(due), event.bytes()])
}

/// The half-open range of waits that end up to and with `now`.
pub(super) fn due_until(now: Timestamp) -> (Key, Key) {
    (key(DUE, None, &[]), key(DUE, None, &[&time_bytes(now.saturating_add(1))]))
}

/// How many events of a source wait, those of senders that are trusted and of others apart; the built-in source has no id.
pub(super) fn parked_count(workspace: WorkspaceNumber, is_trusted: bool, source: Option<SourceId>) -> Key {
    let source = source.map_or([0; 16], |source| *source.bytes());
    key(PARKED_COUNT, Some(workspace), &[&[u8::from(is_trusted)], &source])
}

/// A refund that a conversion took in.
pub(super) fn refund(workspace: WorkspaceNumber, conversion: ConversionId, refund: &Digest) -> Key {
    key(REFUND, Some(workspace), &[conversion.bytes(), refund])
}

/// A nonce that a source has used; the built-in source has no id.
pub(super) fn nonce(workspace: WorkspaceNumber, source: Option<SourceId>, nonce: &Digest) -> Key {
    let source = source.map_or([0; 16], |source| *source.bytes());
    key(NONCE, Some(workspace), &[&source, nonce])
}

/// Ordered by when a nonce was used; the value is its key.
pub(super) fn nonce_age(at: Timestamp, event: EventId) -> Key {
    key(NONCE_AGE, None, &[&time_bytes(at), event.bytes()])
}

/// The half-open range of nonces that were used before `at`.
pub(super) fn nonces_before(at: Timestamp) -> (Key, Key) {
    (key(NONCE_AGE, None, &[]), key(NONCE_AGE, None, &[&time_bytes(at)]))
}

/// A count of a cap, ordered by the end of its window.
pub(super) fn cap(workspace: WorkspaceNumber, place: &CapPlace) -> Key {
    let partner = place.partner.map_or([0; 16], |partner| *partner.bytes());
    let (ends_by, start) = (time_bytes(place.ends_by), time_bytes(place.window_start));
    key(CAP, None, &[&ends_by, &workspace.get().to_be_bytes(), &place.cap, &start, &partner])
}

/// All counts of caps.
pub(super) const fn caps() -> ([u8; 1], [u8; 1]) {
    ([CAP], [CAP + 1])
}

/// The half-open range of counts whose windows end before `at`, and that of all others.
pub(super) fn caps_around(at: Timestamp) -> [(Key, Key); 2] {
    let at = key(CAP, None, &[&time_bytes(at)]);
    [(key(CAP, None, &[]), at.clone()), (at, [CAP + 1][..].into())]
}

/// What a click is unique on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UniqueOn {
    Link,
    Offer,
}

/// The last unique click of a visitor on a link or an offer, tests apart.
pub(super) fn unique(
    workspace: WorkspaceNumber,
    visitor: VisitorId,
    test: bool,
    on: UniqueOn,
    id: &[u8; 16],
) -> Key {
    let on = match on {
        UniqueOn::Link => b"l",
        UniqueOn::Offer => b"o",
    };
    key(UNIQUE, Some(workspace), &[visitor.bytes(), &[u8::from(test)], on, id])
}

/// The end of a conversion's hold, in order of time; ends with whose and which conversion, and has no value.
pub(super) fn hold(until: Timestamp, workspace: WorkspaceNumber, conversion: ConversionId) -> Key {
    key(HOLD, None, &[&time_bytes(until), &workspace.get().to_be_bytes(), conversion.bytes()])
}

/// The half-open range of holds that end up to and with `now`.
pub(super) fn holds_until(now: Timestamp) -> (Key, Key) {
    (key(HOLD, None, &[]), key(HOLD, None, &[&time_bytes(now.saturating_add(1))]))
}

/// The conversion at the end of a hold's key.
pub(super) fn held_conversion(hold: &[u8]) -> Option<(WorkspaceNumber, ConversionId)> {
    let (number, conversion) = hold.get(1 + size_of::<u64>()..)?.split_first_chunk::<4>()?;
    let workspace = WorkspaceNumber::new(u32::from_be_bytes(*number))?;
    Some((workspace, ConversionId::from_slice(conversion)?))
}

/// Whose something is by which a person is known: the person's name.
pub(super) fn identity(workspace: WorkspaceNumber, identity: &Identity) -> Key {
    let kind = [kind_letter(identity.kind), u8::from(identity.test)];
    key(IDENTITY, Some(workspace), &[&kind, &identity.id])
}

/// A person.
pub(super) fn person(workspace: WorkspaceNumber, name: &Digest) -> Key {
    key(PERSON, Some(workspace), &[name])
}

/// A conversion that waits for a rate of this currency, in order of when it occurred.
pub(super) fn lacks_rate(
    workspace: WorkspaceNumber,
    from: Currency,
    occurred_at: Timestamp,
    conversion: ConversionId,
) -> Key {
    let time = time_bytes(occurred_at);
    key(LACKS_RATE, Some(workspace), &[from.code().as_bytes(), &time, conversion.bytes()])
}

/// The half-open range of conversions that wait for a rate of this currency, between two instants.
pub(super) fn lacking_rate(
    workspace: WorkspaceNumber,
    from: Currency,
    times: std::ops::Range<Timestamp>,
) -> (Key, Key) {
    let bound = |time| key(LACKS_RATE, Some(workspace), &[from.code().as_bytes(), &time_bytes(time)]);
    (bound(times.start), bound(times.end))
}

/// The half-open range of all conversions of a workspace that wait for a rate; without one, of all workspaces.
pub(super) fn all_lacking_rates(workspace: Option<WorkspaceNumber>) -> (Key, Key) {
    (key(LACKS_RATE, workspace, &[]), key(LACKS_RATE, workspace, &[&[0xff; 28]]))
}

/// The conversion at the end of such a key, and when it occurred.
pub(super) fn conversion_lacking_rate(key: &[u8]) -> Option<(Timestamp, ConversionId)> {
    let (rest, conversion) = key.split_last_chunk::<16>()?;
    let time = u64::from_be_bytes(*rest.last_chunk()?) ^ (1 << 63);
    Some((Timestamp::from_micros(time as i64), ConversionId::from_bytes(*conversion)))
}

/// A sweep for a new rate that is under way; the value says how far it got.
pub(super) fn rate_sweep(workspace: WorkspaceNumber, from: Currency, day: Timestamp) -> Key {
    key(RATE_SWEEP, Some(workspace), &[from.code().as_bytes(), &time_bytes(day)])
}

/// The half-open range of all sweeps.
pub(super) fn rate_sweeps() -> (Key, Key) {
    (key(RATE_SWEEP, None, &[]), [RATE_SWEEP + 1][..].into())
}
