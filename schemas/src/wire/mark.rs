//! The mark of an event that was encoded without one: whoever appends knows it later than whoever encodes.

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::event::event_to_pb;
use crate::event::{Event, Mark};

/// `Event.mark`, `Mark.edge` and `Mark.number` in `events.proto`.
const MARK: u32 = 4;
const EDGE: u32 = 1;
const NUMBER: u32 = 2;
/// A key below 16 is one byte long.
const KEY_BYTES: usize = 1;

/// Appends an event that has no mark yet to `out`; [`append_mark`] adds it behind.
pub fn encode_unmarked_event(event: Event, out: &mut Vec<u8>) {
    // A vector has room for everything, so this cannot fail.
    let _ = event_to_pb(event).encode(out);
}

/// Completes an event that ends `out` and has no mark yet: protobuf takes fields in any order.
pub fn append_mark(mark: Mark, out: &mut Vec<u8>) {
    let edge = mark.edge.bytes();
    // The number 0 is left out, as everywhere in protobuf.
    let number_bytes = if mark.number == 0 { 0 } else { KEY_BYTES + encoded_len_varint(mark.number) };
    encode_key(MARK, WireType::LengthDelimited, out);
    encode_varint((KEY_BYTES + 1 + edge.len() + number_bytes) as u64, out);
    encode_key(EDGE, WireType::LengthDelimited, out);
    encode_varint(edge.len() as u64, out);
    out.extend_from_slice(edge);
    if mark.number != 0 {
        encode_key(NUMBER, WireType::Varint, out);
        encode_varint(mark.number, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode_event, encode_event};
    use super::*;
    use crate::event::{Body, CatalogRevision};
    use crate::id::{EdgeId, EventId, WorkspaceNumber};
    use crate::time::Timestamp;

    #[test]
    fn a_mark_behind_the_event_is_its_mark() {
        let mut event = Event {
            id: EventId::from_bytes([1; 16]),
            workspace: WorkspaceNumber::NONE,
            mark: None,
            received_at: Timestamp::from_micros(5),
            catalog: CatalogRevision { number: 3, hash: 7 },
            body: Body::Tick,
        };
        // What the body is makes no difference here; a tick with a mark cannot be decoded as a whole.
        for number in [0, 1, 127, 128, u64::MAX] {
            let mark = Mark { edge: EdgeId::from_bytes([2; 16]), number };
            let mut bytes = b"before".to_vec();
            encode_unmarked_event(event.clone(), &mut bytes);
            append_mark(mark, &mut bytes);
            let added = super::super::pb_events::Event::decode(&bytes[b"before".len()..]).unwrap();
            event.mark = Some(mark);
            let whole = super::super::pb_events::Event::decode(encode_event(event.clone())).unwrap();
            assert_eq!((added.encoded_len(), &added), (bytes.len() - b"before".len(), &whole));
            assert!(decode_event(encode_event(event.clone())).is_err());
            event.mark = None;
        }
    }
}
