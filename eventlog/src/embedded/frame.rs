//! How one record lies in a segment file.
//!
//! ```text
//! offset  bytes  field, little-endian
//!      0      4  length of everything after the checksum
//!      4      4  crc32c of the length and of everything after the checksum
//!      8      8  position in the partition
//!     16      8  log time, microseconds since 1970
//!     24      8  durable end of the partition when this was written
//!     32      4  length of the key
//!     36      …  key, then payload
//! ```
//!
//! The durable end is what tells a torn tail from damage: whoever reads "everything below 17 was durable" in an
//! intact record and finds record 16 broken knows that the disk lost something it had promised to keep.

use bytes::Bytes;
use schemas::time::Timestamp;

use crate::{Position, Record};

/// Bytes before the part that the length counts.
const PREFIX_BYTES: usize = 8;
/// Position, log time, durable end and key length.
const STAMP_BYTES: usize = 28;
/// What a record takes on disk beside its key and payload.
pub(super) const OVERHEAD_BYTES: usize = PREFIX_BYTES + STAMP_BYTES;

/// What the log adds to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) position: Position,
    pub(super) log_time: Timestamp,
    pub(super) durable_end: Position,
}

/// An intact frame at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) stamp: Stamp,
    /// All of it, overhead included.
    pub(super) bytes: usize,
    key_bytes: usize,
}

/// What stands at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoded {
    Intact(Frame),
    /// Undecided before there are this many bytes.
    Needs(usize),
    /// No frame that this program ever wrote whole.
    Broken,
}

/// Appends a frame to `out`. Key and payload together are below [`u32::MAX`]: the settings see to it.
pub(super) fn encode(out: &mut Vec<u8>, stamp: Stamp, key: &[u8], payload: &[u8]) {
    let body_bytes = STAMP_BYTES + key.len() + payload.len();
    let start = out.len();
    out.reserve(PREFIX_BYTES + body_bytes);
    out.extend_from_slice(&(body_bytes as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&stamp.position.to_le_bytes());
    out.extend_from_slice(&stamp.log_time.micros().to_le_bytes());
    out.extend_from_slice(&stamp.durable_end.to_le_bytes());
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(payload);
    let crc = checksum(&out[start..start + 4], &out[start + PREFIX_BYTES..]);
    out[start + 4..start + PREFIX_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the frame at the start of `bytes`, which is at most `max_bytes` long.
pub(super) fn decode(bytes: &[u8], max_bytes: usize) -> Decoded {
    if bytes.len() < OVERHEAD_BYTES {
        return Decoded::Needs(OVERHEAD_BYTES);
    }
    let Some((total, stamp, key_bytes)) = peek(bytes) else { return Decoded::Broken };
    if total > max_bytes {
        return Decoded::Broken;
    }
    if bytes.len() < total {
        return Decoded::Needs(total);
    }
    if u32_at(bytes, 4) != checksum(&bytes[..4], &bytes[PREFIX_BYTES..total]) {
        return Decoded::Broken;
    }
    Decoded::Intact(Frame { stamp, bytes: total, key_bytes })
}

/// What a frame's first [`OVERHEAD_BYTES`] say, unchecked: its whole length, its stamp and its key's length.
pub(super) fn peek(bytes: &[u8]) -> Option<(usize, Stamp, usize)> {
    let body_bytes = u32_at(bytes, 0) as usize;
    let key_bytes = u32_at(bytes, 32) as usize;
    if body_bytes < STAMP_BYTES || key_bytes > body_bytes - STAMP_BYTES {
        return None;
    }
    let stamp = Stamp {
        position: u64_at(bytes, 8),
        log_time: Timestamp::from_micros(u64_at(bytes, 16) as i64),
        durable_end: u64_at(bytes, 24),
    };
    Some((PREFIX_BYTES + body_bytes, stamp, key_bytes))
}

impl Frame {
    /// The record of this frame, cut out of the bytes it was decoded from without copying.
    pub(super) fn record(&self, bytes: &Bytes) -> Record {
        let payload_at = OVERHEAD_BYTES + self.key_bytes;
        Record {
            position: self.stamp.position,
            log_time: self.stamp.log_time,
            key: bytes.slice(OVERHEAD_BYTES..payload_at),
            payload: bytes.slice(payload_at..self.bytes),
        }
    }
}

fn checksum(length: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(length), body)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 20;

    fn stamp() -> impl Strategy<Value = Stamp> {
        (any::<u64>(), any::<i64>(), any::<u64>()).prop_map(|(position, micros, durable_end)| Stamp {
            position,
            log_time: Timestamp::from_micros(micros),
            durable_end,
        })
    }

    fn blob() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..200)
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(stamp in stamp(), key in blob(), payload in blob(), rest in blob()) {
            let mut out = Vec::new();
            encode(&mut out, stamp, &key, &payload);
            let written = out.len();
            prop_assert_eq!(written, OVERHEAD_BYTES + key.len() + payload.len());
            out.extend_from_slice(&rest);
            let Decoded::Intact(frame) = decode(&out, MAX) else { panic!("not intact") };
            prop_assert_eq!(frame.bytes, written);
            prop_assert_eq!(frame.stamp, stamp);
            let record = frame.record(&Bytes::from(out));
            prop_assert_eq!(record.position, stamp.position);
            prop_assert_eq!(record.log_time, stamp.log_time);
            prop_assert_eq!(&record.key[..], &key[..]);
            prop_assert_eq!(&record.payload[..], &payload[..]);
        }

        #[test]
        fn any_flipped_bit_is_noticed(stamp in stamp(), key in blob(), payload in blob(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut out = Vec::new();
            encode(&mut out, stamp, &key, &payload);
            let at = at.index(out.len());
            out[at] ^= 1 << bit;
            prop_assert!(!matches!(decode(&out, MAX), Decoded::Intact(_)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(!matches!(decode(&bytes, MAX), Decoded::Intact(_)));
        }
    }

    #[test]
    fn a_frame_cut_short_needs_its_rest() {
        let stamp = Stamp { position: 7, log_time: Timestamp::from_micros(1), durable_end: 5 };
        let mut out = Vec::new();
        encode(&mut out, stamp, b"key", b"payload");
        for len in 0..out.len() {
            let needs = if len < OVERHEAD_BYTES { OVERHEAD_BYTES } else { out.len() };
            assert_eq!(decode(&out[..len], MAX), Decoded::Needs(needs));
        }
        assert_eq!(decode(&[0; 64], MAX), Decoded::Broken);
        assert_eq!(decode(&out, out.len() - 1), Decoded::Broken);
    }
}
