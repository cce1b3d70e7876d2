//! Events on the wire.

use bytes::Bytes;
use prost::Message;

use super::command::{command_from_pb, command_to_pb};
use super::conversion::{conversion_from_pb, conversion_to_pb, refund_from_pb, refund_to_pb};
use super::hit::{click_from_pb, click_to_pb, impression_from_pb, impression_to_pb};
use super::pb_events as pb;
use super::{EVENT_VERSION, WireError, decode_versioned, id, id_bytes, present, workspace};
use crate::event::{Body, CatalogRevision, Delayed, Event, Mark};
use crate::time::Timestamp;

/// The bytes of an event. It takes the event, so that no text is copied on the way.
pub fn encode_event(event: Event) -> Bytes {
    event_to_pb(event).encode_to_vec().into()
}

/// The event in these bytes.
///
/// # Errors
/// [`WireError`] if the bytes are not exactly an event of a known version.
pub fn decode_event(bytes: Bytes) -> Result<Event, WireError> {
    event_from_pb(decode_versioned(bytes, EVENT_VERSION, |event: &pb::Event| event.version)?)
}

pub(super) fn event_to_pb(event: Event) -> pb::Event {
    pb::Event {
        version: EVENT_VERSION,
        id: id_bytes(event.id),
        workspace: event.workspace.get(),
        mark: event.mark.map(mark_to_pb),
        received_at: event.received_at.micros(),
        catalog: Some(catalog_to_pb(event.catalog)),
        body: Some(match event.body {
            Body::Click(click) => pb::event::Body::Click(click_to_pb(*click)),
            Body::Impression(impression) => pb::event::Body::Impression(impression_to_pb(*impression)),
            Body::Conversion(conversion) => pb::event::Body::Conversion(conversion_to_pb(*conversion)),
            Body::Refund(refund) => pb::event::Body::Refund(refund_to_pb(*refund)),
            Body::Command(command) => pb::event::Body::Command(command_to_pb(*command)),
            Body::Delayed(delayed) => pb::event::Body::Delayed(delayed_to_pb(delayed)),
            Body::Tick => pb::event::Body::Tick(pb::Tick {}),
        }),
    }
}

pub(super) fn event_from_pb(event: pb::Event) -> Result<Event, WireError> {
    if event.version != EVENT_VERSION {
        return Err(WireError::UnknownVersion(event.version));
    }
    let mark = event.mark.as_ref().map(mark_from_pb).transpose()?;
    let body = match present(event.body, "body")? {
        pb::event::Body::Click(click) => Body::Click(Box::new(click_from_pb(click)?)),
        pb::event::Body::Impression(impression) => {
            Body::Impression(Box::new(impression_from_pb(impression)?))
        }
        pb::event::Body::Conversion(conversion) => {
            Body::Conversion(Box::new(conversion_from_pb(conversion)?))
        }
        pb::event::Body::Refund(refund) => Body::Refund(Box::new(refund_from_pb(refund)?)),
        pb::event::Body::Command(command) => Body::Command(Box::new(command_from_pb(command)?)),
        pb::event::Body::Delayed(delayed) => Body::Delayed(delayed_from_pb(&delayed)?),
        pb::event::Body::Tick(pb::Tick {}) => Body::Tick,
    };
    if mark.is_some() != body.is_delivery() {
        return Err(WireError::Impossible("mark"));
    }
    Ok(Event {
        id: id(&event.id, "id")?,
        workspace: workspace(event.workspace)?,
        mark,
        received_at: Timestamp::from_micros(event.received_at),
        catalog: catalog_from_pb(present(event.catalog, "catalog")?),
        body,
    })
}

pub(super) fn mark_to_pb(mark: Mark) -> pb::Mark {
    pb::Mark { edge: id_bytes(mark.edge), number: mark.number }
}

pub(super) fn mark_from_pb(mark: &pb::Mark) -> Result<Mark, WireError> {
    Ok(Mark { edge: id(&mark.edge, "mark")?, number: mark.number })
}

pub(super) fn catalog_to_pb(catalog: CatalogRevision) -> pb::CatalogRevision {
    pb::CatalogRevision { number: catalog.number, hash: catalog.hash }
}

pub(super) fn catalog_from_pb(catalog: pb::CatalogRevision) -> CatalogRevision {
    CatalogRevision { number: catalog.number, hash: catalog.hash }
}

pub(super) fn delayed_to_pb(delayed: Delayed) -> pb::Delayed {
    pb::Delayed {
        edge: id_bytes(delayed.edge),
        since: delayed.since.map(Timestamp::micros),
        events: delayed.events,
    }
}

pub(super) fn delayed_from_pb(delayed: &pb::Delayed) -> Result<Delayed, WireError> {
    Ok(Delayed {
        edge: id(&delayed.edge, "delayed.edge")?,
        since: delayed.since.map(Timestamp::from_micros),
        events: delayed.events,
    })
}
