//! ClickHouse's own compression (`compress=1`, `decompress=1`), older than the content codings beside it: frames
//! of a checksum, a method, two lengths and a block. The `clickhouse` crate sends its inserts so by default.

use lz4_flex::block;

use super::super::exception::{Exception, code};
use super::encoding::too_large;

const CHECKSUM_BYTES: usize = 16;
/// Method, compressed and plain length; the compressed length counts these bytes, too.
const HEADER_BYTES: usize = 9;
const METHOD_NONE: u8 = 0x02;
const METHOD_LZ4: u8 = 0x82;
const METHOD_ZSTD: u8 = 0x90;

/// The largest frame that is written, as on a server.
const FRAME_BYTES: usize = 1 << 20;

/// The plain bytes of all frames, at most `limit` of them.
pub(crate) fn decode(mut body: &[u8], limit: usize) -> Result<Vec<u8>, Exception> {
    let mut plain = Vec::new();
    while !body.is_empty() {
        let frame = Frame::first_of(body).ok_or_else(|| broken("a frame is cut off"))?;
        body = &body[CHECKSUM_BYTES + HEADER_BYTES + frame.data.len()..];
        if plain.len().saturating_add(frame.plain_length) > limit {
            return Err(too_large(limit));
        }
        plain.extend_from_slice(&frame.plain()?);
    }
    Ok(plain)
}

/// `plain` as frames.
pub(crate) fn encode(plain: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    for piece in plain.chunks(FRAME_BYTES) {
        let data = block::compress(piece);
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
        let mut frame = vec![METHOD_LZ4];
        frame.extend_from_slice(&length(HEADER_BYTES + data.len()));
        frame.extend_from_slice(&length(piece.len()));
        frame.extend_from_slice(&data);
        frames.extend_from_slice(&checksum(&frame));
        frames.extend_from_slice(&frame);
    }
    frames
}

struct Frame<'a> {
    checksum: &'a [u8],
    /// What the checksum covers.
    checked: &'a [u8],
    method: u8,
    plain_length: usize,
    data: &'a [u8],
}

impl<'a> Frame<'a> {
    fn first_of(body: &'a [u8]) -> Option<Self> {
        let (checksum, rest) = body.split_at_checked(CHECKSUM_BYTES)?;
        let length = |at: usize| -> Option<usize> {
            let bytes: [u8; 4] = rest.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(bytes)).ok()
        };
        let checked = rest.get(..length(1)?)?;
        Some(Self {
            checksum,
            checked,
            method: *checked.first()?,
            plain_length: length(5)?,
            data: checked.get(HEADER_BYTES..)?,
        })
    }

    fn plain(&self) -> Result<Vec<u8>, Exception> {
        if checksum(self.checked) != *self.checksum {
            return Err(broken("a checksum does not match"));
        }
        let plain = match self.method {
            METHOD_NONE => self.data.to_vec(),
            METHOD_LZ4 => {
                block::decompress(self.data, self.plain_length).map_err(|error| broken(&error.to_string()))?
            }
            METHOD_ZSTD => zstd::bulk::decompress(self.data, self.plain_length)
                .map_err(|error| broken(&error.to_string()))?,
            other => return Err(broken(&format!("unknown method {other:#x}"))),
        };
        if plain.len() == self.plain_length { Ok(plain) } else { Err(broken("a length does not match")) }
    }
}

/// `CityHash128` of version 1.0.2, its high half first.
fn checksum(checked: &[u8]) -> [u8; CHECKSUM_BYTES] {
    cityhash_rs::cityhash_102_128(checked).rotate_left(64).to_le_bytes()
}

fn broken(message: &str) -> Exception {
    Exception::new(
        code::CANNOT_DECOMPRESS,
        "CANNOT_DECOMPRESS",
        &format!("The body cannot be read: {message}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_and_damage_is_found() {
        let plain: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap_or_default()).collect();
        let frames = encode(&plain);
        assert_eq!(decode(&frames, plain.len()).unwrap(), plain);
        assert_eq!(decode(&frames, plain.len() - 1).unwrap_err().code, code::TOO_LARGE);
        for at in [0, 20, 22, 300, frames.len() - 1] {
            let mut damaged = frames.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged, plain.len()).is_err(), "byte {at}");
        }
        for cut in [1, 16, 24, 100, frames.len() - 1] {
            assert_eq!(
                decode(&frames[..cut], plain.len()).unwrap_err().code,
                code::CANNOT_DECOMPRESS,
                "{cut}"
            );
        }
        assert!(decode(b"", 10).unwrap().is_empty());
    }
}
