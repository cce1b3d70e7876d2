//! Counts of caps on the wire.

use bytes::Bytes;
use prost::Message;

use super::pb_caps as pb;
use super::{
    CAPS_VERSION, WireError, array, decode_strictly, decode_versioned, id, id_bytes, optional_id,
    optional_id_bytes, present, workspace,
};
use crate::cap::{CapCount, CapCounts, CapPlace};
use crate::time::Timestamp;

/// The bytes of a partition's counts.
pub fn encode_cap_counts(counts: &CapCounts) -> Bytes {
    let message = pb::Counts {
        version: CAPS_VERSION,
        partition: counts.partition,
        source: counts.source,
        counts: counts.counts.iter().map(count_to_pb).collect(),
    };
    message.encode_to_vec().into()
}

/// The counts in these bytes.
///
/// # Errors
/// [`WireError`] if the bytes are not exactly counts of a known version.
pub fn decode_cap_counts(bytes: Bytes) -> Result<CapCounts, WireError> {
    let message = decode_versioned(bytes, CAPS_VERSION, |counts: &pb::Counts| counts.version)?;
    Ok(CapCounts {
        partition: message.partition,
        source: message.source,
        counts: message.counts.iter().map(count_from_pb).collect::<Result<_, _>>()?,
    })
}

/// The bytes of one count, for a state that keeps it.
pub fn encode_cap_count(count: &CapCount) -> Vec<u8> {
    count_to_pb(count).encode_to_vec()
}

/// The count in these bytes.
///
/// # Errors
/// [`WireError`] if the bytes are not exactly a count.
pub fn decode_cap_count(bytes: Bytes) -> Result<CapCount, WireError> {
    count_from_pb(&decode_strictly(bytes)?)
}

fn count_to_pb(count: &CapCount) -> pb::Count {
    let of_edge = |(edge, clicks): &(_, u64)| pb::OfEdge { edge: id_bytes(*edge), clicks: *clicks };
    pb::Count {
        workspace: count.workspace.get(),
        place: Some(place_to_pb(count.place)),
        total: count.total,
        of_edges: count.of_edges.iter().map(of_edge).collect(),
    }
}

fn count_from_pb(count: &pb::Count) -> Result<CapCount, WireError> {
    let of_edge = |of: &pb::OfEdge| Ok((id(&of.edge, "of_edge.edge")?, of.clicks));
    Ok(CapCount {
        workspace: workspace(count.workspace)?,
        place: place_from_pb(present(count.place.as_ref(), "count.place")?)?,
        total: count.total,
        of_edges: count.of_edges.iter().map(of_edge).collect::<Result<_, _>>()?,
    })
}

pub(super) fn place_to_pb(place: CapPlace) -> pb::Place {
    pb::Place {
        cap: Bytes::from_owner(place.cap),
        window_start: place.window_start.micros(),
        ends_by: place.ends_by.micros(),
        partner: optional_id_bytes(place.partner),
    }
}

pub(super) fn place_from_pb(place: &pb::Place) -> Result<CapPlace, WireError> {
    Ok(CapPlace {
        cap: array(&place.cap, "place.cap")?,
        window_start: Timestamp::from_micros(place.window_start),
        ends_by: Timestamp::from_micros(place.ends_by),
        partner: optional_id(&place.partner, "place.partner")?,
    })
}
