//! Commands: what somebody at the desk wants done with a conversion.

use super::status::Status;
use crate::id::{ConversionId, KeyId, SourceId};

/// A conversion shall have another status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The conversion.
    pub conversion: ConversionId,
    /// The status that it shall have.
    pub to: Status,
    /// The version that it must have; `None` where any will do.
    pub expected_version: Option<u32>,
    /// Why, in the caller's words.
    pub reason: String,
    /// More about it; empty for nothing.
    pub note: String,
    /// Who wants it.
    pub actor: Actor,
    /// The request by which it came.
    pub request_id: String,
    /// Made with a test key, which moves no conversion but those of tests.
    pub test: bool,
}

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The program itself, at a time that was set.
    System,
    /// The holder of an API key, at the desk.
    Key(KeyId),
    /// Whoever reports conversions: a source; `None` for the built-in source `default`.
    Source(Option<SourceId>),
}

impl Actor {
    /// The word for the holder of a key.
    pub const KEY: &'static str = "key";
    /// The word for a source.
    pub const SOURCE: &'static str = "source";

    /// The word in the contract.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Key(_) => Self::KEY,
            Self::Source(_) => Self::SOURCE,
        }
    }

    /// The bytes of the key's or the source's id; zeros for those that have none.
    pub fn bytes(&self) -> [u8; 16] {
        match self {
            Self::System | Self::Source(None) => [0; 16],
            Self::Key(key) => *key.bytes(),
            Self::Source(Some(source)) => *source.bytes(),
        }
    }
}
