//! TypeIDs: a prefix that names the kind, and a UUIDv7 in Crockford base32 (`click_01h…`).
//!
//! The random part of an event's or a click's id carries the 24-bit number of its workspace, so that a
//! postback that holds nothing but a click id finds its way (see [`Id::workspace`]).

mod generator;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use type_safe_id::{StaticType, TypeSafeId};
use uuid::Uuid;

pub use self::generator::IdGenerator;

/// Bits of an id below the workspace number: 38 of the 62 bits of UUIDv7's last field.
const RANDOM_LOW_BITS: u32 = 38;
const RANDOM_LOW_MASK: u64 = (1 << RANDOM_LOW_BITS) - 1;

/// The number of a workspace, 24 bits, given out by the catalog. It stands in ids, rows and sorting keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkspaceNumber(u32);

impl WorkspaceNumber {
    /// The largest number that fits into an id.
    pub const MAX: u32 = (1 << 24) - 1;
    /// The number that no workspace has: of ticks, requests, visitors, and of records whose workspace cannot be told.
    pub const NONE: Self = Self(0);

    /// `None` if the number does not fit into 24 bits.
    pub const fn new(number: u32) -> Option<Self> {
        if number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A kind of thing that has ids.
pub trait Kind: Copy + Default + 'static {
    /// What stands before the underscore.
    const PREFIX: &'static str;
}

/// An id of one kind. Sixteen bytes; its text form is the TypeID.
pub struct Id<K> {
    bytes: [u8; 16],
    kind: PhantomData<fn() -> K>,
}

/// A text that is no id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {expected}_ id")]
pub struct InvalidId {
    /// The prefix that was wanted.
    pub expected: &'static str,
}

impl<K: Kind> Id<K> {
    /// The id with these sixteen bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self { bytes, kind: PhantomData }
    }

    /// The id with these bytes; `None` unless there are sixteen.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_bytes)
    }

    /// The sixteen bytes, whose order is the order of creation.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.bytes
    }

    /// The workspace number in the random part. Meaningful for ids of events, clicks and impressions only.
    pub fn workspace(&self) -> WorkspaceNumber {
        let low = u128::from_be_bytes(self.bytes) as u64;
        WorkspaceNumber((low >> RANDOM_LOW_BITS) as u32 & WorkspaceNumber::MAX)
    }

    /// The same sixteen bytes as an id of another kind: a conversion is named after the event that made it.
    pub const fn rename<L: Kind>(self) -> Id<L> {
        Id::from_bytes(self.bytes)
    }

    /// When the id was made, in milliseconds since 1970.
    pub fn unix_ms(&self) -> u64 {
        (u128::from_be_bytes(self.bytes) >> 80) as u64
    }
}

/// The prefix as a type of `type-safe-id`, whose codec we use.
#[derive(Clone, Copy, Default)]
struct Prefix<K>(PhantomData<K>);

impl<K: Kind> StaticType for Prefix<K> {
    const TYPE: &'static str = K::PREFIX;
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TypeSafeId::<Prefix<K>>::from_uuid(Uuid::from_bytes(self.bytes)).fmt(f)
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parsed: TypeSafeId<Prefix<K>> = text.parse().map_err(|_| InvalidId { expected: K::PREFIX })?;
        let id = Self::from_bytes(*parsed.uuid().as_bytes());
        // One id has one text: base32 would also take capitals and look-alikes.
        if id.to_string() == text { Ok(id) } else { Err(InvalidId { expected: K::PREFIX }) }
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes.cmp(&other.bytes)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}
impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $alias:ident = $kind:ident($prefix:literal);)*) => {$(
        #[doc = concat!("The kind behind `", $prefix, "_` ids.")]
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $kind;
        impl Kind for $kind {
            const PREFIX: &'static str = $prefix;
        }
        $(#[$doc])*
        pub type $alias = Id<$kind>;
    )*};
}

kinds! {
    /// A received event; the client's receipt.
    EventId = EventKind("evt");
    /// A click.
    ClickId = ClickKind("click");
    /// An impression.
    ImpressionId = ImpressionKind("imp");
    /// A visitor, from the edge's first-party cookie.
    VisitorId = VisitorKind("vis");
    /// A conversion; its bytes are those of the event that made it.
    ConversionId = ConversionKind("conv");
    /// A workspace.
    WorkspaceId = WorkspaceKind("ws");
    /// An offer.
    OfferId = OfferKind("offer");
    /// A partner.
    PartnerId = PartnerKind("part");
    /// A campaign.
    CampaignId = CampaignKind("camp");
    /// A tracking link.
    LinkId = LinkKind("link");
    /// A rule of a smart link.
    RuleId = RuleKind("rule");
    /// A conversion pixel.
    PixelId = PixelKind("px");
    /// A customer's own domain.
    DomainId = DomainKind("dom");
    /// A source of postbacks.
    SourceId = SourceKind("src");
    /// An API key (the record, never the secret).
    KeyId = KeyKind("key");
    /// An HTTP request.
    RequestId = RequestKind("req");
    /// A life of an edge process: the first part of every delivery mark.
    EdgeId = EdgeKind("edge");
    /// A proposal to change the catalog.
    ProposalId = ProposalKind("prop");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_the_typeid_of_the_specification() {
        // The first valid vector of the TypeID specification 0.3 with a UUIDv7.
        let uuid = Uuid::parse_str("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
        let id = ClickId::from_bytes(*uuid.as_bytes());
        assert_eq!(id.to_string(), "click_01h455vb4pex5vsknk084sn02q");
        assert_eq!("click_01h455vb4pex5vsknk084sn02q".parse(), Ok(id));
    }

    #[test]
    fn a_foreign_prefix_capitals_and_rubbish_are_refused() {
        for text in
            ["conv_01h455vb4pex5vsknk084sn02q", "click_01H455VB4PEX5VSKNK084SN02Q", "click_", "", "click_é"]
        {
            assert_eq!(text.parse::<ClickId>(), Err(InvalidId { expected: "click" }), "{text}");
        }
    }
}
