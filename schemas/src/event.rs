//! Events: what the edge received, and what the desk was told to do. The wire form is in [`crate::wire`].

mod command;
mod conversion;
mod hit;
pub mod label;
mod refund;
mod status;

pub use command::{Actor, Command};
pub use conversion::{Conversion, Fault, Nonce, StatedAmount};
pub use hit::{Choice, Click, Hit, Impression};
pub use refund::Refund;
pub use status::{Status, Trust};

use crate::id::{EdgeId, EventId, WorkspaceNumber};
use crate::time::Timestamp;

/// One delivery to the edge or to the desk, or what an edge or the partition's owner says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The event's id, which is the client's receipt.
    pub id: EventId,
    /// Whose event it is; [`WorkspaceNumber::NONE`] where [`Body::is_delivery`] is false.
    pub workspace: WorkspaceNumber,
    /// Names the delivery; `None` where [`Body::is_delivery`] is false.
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
    /// An advertisement was shown.
    Impression(Box<Impression>),
    /// Somebody says that a conversion took place.
    Conversion(Box<Conversion>),
    /// Somebody says that a conversion's money went back, all of it or a part.
    Refund(Box<Refund>),
    /// Somebody at the desk wants a conversion to have another status.
    Command(Box<Command>),
    /// An edge says how many events of this partition it still holds back.
    Delayed(Delayed),
    /// Time has passed.
    Tick,
}

impl Body {
    /// Whether somebody sent it to the edge or to the desk, so that it has a workspace, a mark and an outcome.
    pub const fn is_delivery(&self) -> bool {
        match self {
            Self::Click(_)
            | Self::Impression(_)
            | Self::Conversion(_)
            | Self::Refund(_)
            | Self::Command(_) => true,
            Self::Delayed(_) | Self::Tick => false,
        }
    }
}

/// An edge that holds events of this partition in its spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delayed {
    /// The spool's edge: the same in every life of the process that works on that directory.
    pub edge: EdgeId,
    /// When the oldest of them was received; `None` if none is held any more.
    pub since: Option<Timestamp>,
    /// How many they are.
    pub events: u64,
}

/// Names one delivery: numbers are dense, from 0, within one life of an edge and one partition. A desk is an edge here: its
/// process has a life of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The life of the process.
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
