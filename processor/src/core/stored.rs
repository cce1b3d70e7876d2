//! Values in the state, as small protobuf messages.

use bytes::Bytes;
use prost::Message;
use schemas::event::{Click, Event, Hit, Impression, label};
use schemas::fact::TouchId;
use schemas::id::{CampaignId, Id, Kind, LinkId, OfferId, PartnerId, VisitorId};
use schemas::time::Timestamp;
use schemas::wire;

use super::state::StateError;

#[derive(Clone, PartialEq, Message)]
struct TouchMessage {
    #[prost(bytes = "vec", tag = "1")]
    offer: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    partner: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    campaign: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    link: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    visitor: Vec<u8>,
    #[prost(int64, tag = "6")]
    at: i64,
    #[prost(string, repeated, tag = "7")]
    subs: Vec<String>,
    #[prost(string, tag = "8")]
    source_id: String,
    #[prost(string, tag = "9")]
    creative: String,
    #[prost(bool, tag = "10")]
    excluded: bool,
    #[prost(bool, tag = "11")]
    rate_limited: bool,
    #[prost(bool, tag = "12")]
    test: bool,
}

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

fn id_bytes<K: Kind>(id: Option<Id<K>>) -> Vec<u8> {
    id.map(|id| id.bytes().to_vec()).unwrap_or_default()
}

fn optional<K: Kind>(bytes: &[u8]) -> Result<Option<Id<K>>, StateError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Id::from_slice(bytes).map(Some).ok_or(StateError::Unreadable("touch"))
}

/// Labels whose touches are never attributed: nobody made them who could convert, they led elsewhere than they should, or
/// nobody had ordered them any more.
const EXCLUDING: [&str; 5] =
    [label::HEAD, label::PREFETCH, label::BOT, label::UNSAFE_DESTINATION, label::CAP];

impl StoredTouch {
    pub(super) fn of_click(click: &Click) -> Self {
        Self::of(TouchId::Click(click.id), &click.hit)
    }

    pub(super) fn of_impression(impression: &Impression) -> Self {
        Self::of(TouchId::Impression(impression.id), &impression.hit)
    }

    fn of(id: TouchId, hit: &Hit) -> Self {
        let has = |labels: &[&str]| hit.labels.iter().any(|label| labels.contains(&label.as_str()));
        Self {
            id,
            offer: hit.offer,
            partner: hit.partner,
            campaign: hit.campaign,
            link: hit.link,
            visitor: hit.visitor,
            at: hit.occurred_at,
            subs: hit.subs.clone(),
            source_id: hit.source_id.clone(),
            creative: hit.creative.clone(),
            excluded: has(&EXCLUDING),
            rate_limited: has(&[label::RATE]),
            test: hit.test,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        TouchMessage {
            offer: self.offer.bytes().to_vec(),
            partner: id_bytes(self.partner),
            campaign: id_bytes(self.campaign),
            link: id_bytes(self.link),
            visitor: id_bytes(self.visitor),
            at: self.at.micros(),
            subs: self.subs.clone(),
            source_id: self.source_id.clone(),
            creative: self.creative.clone(),
            excluded: self.excluded,
            rate_limited: self.rate_limited,
            test: self.test,
        }
        .encode_to_vec()
    }

    pub(super) fn decode(id: TouchId, bytes: &[u8]) -> Result<Self, StateError> {
        let touch = TouchMessage::decode(bytes).map_err(|_| StateError::Unreadable("touch"))?;
        Ok(Self {
            id,
            offer: OfferId::from_slice(&touch.offer).ok_or(StateError::Unreadable("touch"))?,
            partner: optional(&touch.partner)?,
            campaign: optional(&touch.campaign)?,
            link: optional(&touch.link)?,
            visitor: optional(&touch.visitor)?,
            at: Timestamp::from_micros(touch.at),
            subs: touch.subs,
            source_id: touch.source_id,
            creative: touch.creative,
            excluded: touch.excluded,
            rate_limited: touch.rate_limited,
            test: touch.test,
        })
    }
}
