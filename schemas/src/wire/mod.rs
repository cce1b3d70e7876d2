//! The wire form of events, facts, counts of caps and results of commands: protobuf, in a versioned envelope, read strictly.
//!
//! A message with an unknown version, an unknown field or an impossible value is refused: whoever guesses, pays the
//! wrong person.

mod cap;
mod command;
mod conversion;
mod event;
mod fact;
mod hit;
mod mark;
mod result;
mod revision;

pub use cap::{decode_cap_count, decode_cap_counts, encode_cap_count, encode_cap_counts};
pub use event::{decode_event, encode_event};
pub use fact::{
    decode_rate_sweep, decode_record, decode_revision, encode_rate_sweep, encode_record, encode_revision,
    hash_record,
};
pub use mark::{append_mark, encode_unmarked_event};
pub use result::{decode_result, encode_result};

/// Version of [`crate::event::Event`] on the wire.
pub const EVENT_VERSION: u32 = 1;
/// Version of [`crate::fact::Record`] on the wire.
pub const RECORD_VERSION: u32 = 1;

/// Version of [`crate::cap::CapCounts`] on the wire.
pub const CAPS_VERSION: u32 = 1;

/// Version of [`crate::result::CommandResult`] on the wire.
pub const RESULT_VERSION: u32 = 1;

/// Why bytes are no event or record of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not protobuf of this shape at all.
    #[error("broken encoding")]
    Broken,
    /// Written by a version that this build does not know.
    #[error("version {0} is not known here")]
    UnknownVersion(u32),
    /// There is more in it than this build knows.
    #[error("holds a field that is not known here")]
    UnknownField,
    /// A field is missing or holds what it cannot hold.
    #[error("{0} is missing or impossible")]
    Impossible(&'static str),
}

/// The generated messages.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
mod generated {
    pub mod tributary {
        pub mod caps {
            include!(concat!(env!("OUT_DIR"), "/tributary.caps.rs"));
        }
        pub mod events {
            include!(concat!(env!("OUT_DIR"), "/tributary.events.rs"));
        }
        pub mod facts {
            include!(concat!(env!("OUT_DIR"), "/tributary.facts.rs"));
        }
        pub mod results {
            include!(concat!(env!("OUT_DIR"), "/tributary.results.rs"));
        }
    }
}

use generated::tributary::{caps as pb_caps, events as pb_events, facts as pb_facts, results as pb_results};

use crate::id::{Id, Kind, WorkspaceNumber};

/// Decodes a message of one version strictly. The version is judged first: what else is unknown in a message of another
/// version follows from it, and a caller may wait for the build that knows it.
fn decode_versioned<M: prost::Message + Default>(
    bytes: bytes::Bytes,
    known: u32,
    version: impl Fn(&M) -> u32,
) -> Result<M, WireError> {
    let length = bytes.len();
    let message = M::decode(bytes).map_err(|_| WireError::Broken)?;
    let found = version(&message);
    if found == known { strictly(message, length) } else { Err(WireError::UnknownVersion(found)) }
}

/// Decodes a message and refuses what its encoder would not have written: our own writers leave nothing out and add
/// nothing, so another length means a field that this build does not know.
fn decode_strictly<M: prost::Message + Default>(bytes: bytes::Bytes) -> Result<M, WireError> {
    let length = bytes.len();
    strictly(M::decode(bytes).map_err(|_| WireError::Broken)?, length)
}

fn strictly<M: prost::Message>(message: M, length: usize) -> Result<M, WireError> {
    if message.encoded_len() == length { Ok(message) } else { Err(WireError::UnknownField) }
}

fn id_bytes<K: Kind>(id: Id<K>) -> bytes::Bytes {
    // With an owner of its own: a copied one is allocated once more when prost clones it to write it.
    bytes::Bytes::from_owner(*id.bytes())
}

fn optional_id_bytes<K: Kind>(id: Option<Id<K>>) -> bytes::Bytes {
    id.map(id_bytes).unwrap_or_default()
}

fn id<K: Kind>(bytes: &[u8], field: &'static str) -> Result<Id<K>, WireError> {
    Id::from_slice(bytes).ok_or(WireError::Impossible(field))
}

fn optional_id<K: Kind>(bytes: &[u8], field: &'static str) -> Result<Option<Id<K>>, WireError> {
    if bytes.is_empty() { Ok(None) } else { id(bytes, field).map(Some) }
}

fn workspace(number: u32) -> Result<WorkspaceNumber, WireError> {
    WorkspaceNumber::new(number).ok_or(WireError::Impossible("workspace"))
}

fn array<const N: usize>(bytes: &[u8], field: &'static str) -> Result<[u8; N], WireError> {
    bytes.try_into().map_err(|_| WireError::Impossible(field))
}

fn present<T>(value: Option<T>, field: &'static str) -> Result<T, WireError> {
    value.ok_or(WireError::Impossible(field))
}

#[cfg(test)]
mod tests;
