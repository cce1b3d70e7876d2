//! Values in the state: touches, and events that wait.

use bytes::Bytes;
use schemas::event::{Event, Hit, label};
use schemas::fact::TouchId;
use schemas::id::{CampaignId, Id, Kind, LinkId, OfferId, PartnerId, VisitorId};
use schemas::time::Timestamp;
use schemas::wire;
use smallvec::SmallVec;

use super::state::{StateError, Value};

/// What attribution needs of a click or an impression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredTouch {
    pub(super) id: TouchId,
    pub(super) offer: OfferId,
    pub(super) partner: Option<PartnerId>,
    pub(super) campaign: Option<CampaignId>,
    pub(super) link: Option<LinkId>,
    pub(super) visitor: Option<VisitorId>,
    pub(super) at: Timestamp,
    pub(super) subs: Vec<String>,
    pub(super) source_id: String,
    pub(super) creative: String,
    /// A label keeps it out of attribution.
    pub(super) excluded: bool,
    /// It came beyond a rate limit, which keeps it out unless the conversion itself names it.
    pub(super) rate_limited: bool,
    /// Made with a test key.
    pub(super) test: bool,
}

/// A parked event, whole, and when its wait ends.
pub(super) struct ParkedValue {
    pub(super) event: Event,
    pub(super) due: Timestamp,
}

impl ParkedValue {
    pub(super) fn encode(event: &Event, due: Timestamp) -> Vec<u8> {
        [due.micros().to_be_bytes().as_slice(), &wire::encode_event(event.clone())].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let unreadable = || StateError::Unreadable("parked event");
        let (due, event) = bytes.split_first_chunk::<8>().ok_or_else(unreadable)?;
        let event = wire::decode_event(Bytes::copy_from_slice(event)).map_err(|_| unreadable())?;
        Ok(Self { event, due: Timestamp::from_micros(i64::from_be_bytes(*due)) })
    }
}

/// Labels whose touches are never attributed: nobody made them who could convert, they led elsewhere than they should, or
/// nobody had ordered them any more.
const EXCLUDING: [&str; 5] =
    [label::HEAD, label::PREFETCH, label::BOT, label::UNSAFE_DESTINATION, label::CAP];

/// Whether a label keeps a hit out of attribution.
pub(super) fn is_excluded(hit: &Hit) -> bool {
    hit.labels.iter().any(|label| EXCLUDING.contains(&label.as_str()))
}

/// The bytes of a touch: one is written for every click, so that they are laid out by hand. What it has, its time, the ids that it
/// has, then its texts, each with its length before it.
pub(super) fn encode_touch(hit: &Hit) -> Value {
    let ids = [
        hit.partner.as_ref().map(Id::bytes),
        hit.campaign.as_ref().map(Id::bytes),
        hit.link.as_ref().map(Id::bytes),
        hit.visitor.as_ref().map(Id::bytes),
    ];
    let is_rate_limited = hit.labels.iter().any(|known| known == label::RATE);
    let is = [is_excluded(hit), is_rate_limited, hit.test];
    let has = ids.iter().map(Option::is_some).chain(is);
    let mut bytes = SmallVec::<[u8; USUAL]>::new();
    bytes.push(has.enumerate().map(|(bit, has)| u8::from(has) << bit).sum());
    bytes.extend_from_slice(&hit.occurred_at.micros().to_be_bytes());
    bytes.extend_from_slice(hit.offer.bytes());
    ids.into_iter().flatten().for_each(|id| bytes.extend_from_slice(id));
    for text in [&hit.source_id, &hit.creative].into_iter().chain(&hit.subs) {
        let mut length = [0; MAX_VARINT];
        let mut rest = &mut length[..];
        prost::encoding::encode_varint(text.len() as u64, &mut rest);
        let unused = rest.len();
        bytes.extend_from_slice(&length[..MAX_VARINT - unused]);
        bytes.extend_from_slice(text.as_bytes());
    }
    Value::new(&bytes)
}

impl StoredTouch {
    pub(super) fn decode(id: TouchId, bytes: &[u8]) -> Result<Self, StateError> {
        Self::read(id, &mut &*bytes).ok_or(StateError::Unreadable("touch"))
    }

    fn read(id: TouchId, bytes: &mut &[u8]) -> Option<Self> {
        let has = *take(bytes, 1)?.first()?;
        let has = |bit: u8| has & (1 << bit) != 0;
        let at = i64::from_be_bytes(take(bytes, 8)?.try_into().ok()?);
        Some(Self {
            id,
            at: Timestamp::from_micros(at),
            offer: OfferId::from_slice(take(bytes, 16)?)?,
            partner: optional(has(0), bytes)?,
            campaign: optional(has(1), bytes)?,
            link: optional(has(2), bytes)?,
            visitor: optional(has(3), bytes)?,
            excluded: has(4),
            rate_limited: has(5),
            test: has(6),
            source_id: text(bytes)?,
            creative: text(bytes)?,
            subs: std::iter::from_fn(|| (!bytes.is_empty()).then(|| text(bytes))).collect::<Option<_>>()?,
        })
    }
}

/// Bytes of the length before a text, at most.
const MAX_VARINT: usize = 10;
/// Room for almost every touch.
const USUAL: usize = 256;

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// An id that may not be there; the outer `None` for one that should be and is not.
fn optional<K: Kind>(has: bool, bytes: &mut &[u8]) -> Option<Option<Id<K>>> {
    if has { Id::from_slice(take(bytes, 16)?).map(Some) } else { Some(None) }
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = prost::encoding::decode_varint(bytes).ok()?;
    let text = take(bytes, usize::try_from(length).ok()?)?;
    std::str::from_utf8(text).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::id::ClickId;

    use super::*;

    proptest! {
        #[test]
        fn a_touch_is_read_as_it_was_written(
            at: i64, has: [bool; 7], subs in prop::collection::vec(".{0,200}", 0..11), source_id: String, creative: String,
        ) {
            fn some<K: Kind>(has: bool, byte: u8) -> Option<Id<K>> {
                has.then(|| Id::from_bytes([byte; 16]))
            }
            let labels = [(has[4], label::BOT), (has[5], label::RATE)];
            let hit = Hit {
                link: some(has[2], 4),
                partner: some(has[0], 2),
                campaign: some(has[1], 3),
                visitor: some(has[3], 5),
                creative,
                subs,
                source_id,
                labels: labels.into_iter().filter(|(has, _)| *has).map(|(_, label)| label.to_owned()).collect(),
                test: has[6],
                ..Hit::new(OfferId::from_bytes([1; 16]), Timestamp::from_micros(at))
            };
            let touch = StoredTouch {
                id: TouchId::Click(ClickId::from_bytes([9; 16])),
                offer: hit.offer,
                partner: hit.partner,
                campaign: hit.campaign,
                link: hit.link,
                visitor: hit.visitor,
                at: hit.occurred_at,
                excluded: has[4],
                rate_limited: has[5],
                test: has[6],
                subs: hit.subs.clone(),
                source_id: hit.source_id.clone(),
                creative: hit.creative.clone(),
            };
            let bytes = encode_touch(&hit);
            prop_assert_eq!(&StoredTouch::decode(touch.id, &bytes).unwrap(), &touch);
            prop_assert!(StoredTouch::decode(touch.id, &bytes[..20]).is_err());
        }
    }
}
