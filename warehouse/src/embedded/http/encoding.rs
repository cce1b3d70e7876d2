//! Bodies in gzip, deflate, zstd and lz4, both ways and with bounds.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use lz4_flex::frame::{FrameDecoder, FrameEncoder};

use super::super::exception::{Exception, code};
use super::frames;

/// zstd's level for answers: fast, as ClickHouse's own default of 3 is.
const ZSTD_LEVEL: i32 = 3;

/// A coding that ClickHouse's clients use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Zstd,
    Lz4,
    /// ClickHouse's own frames. HTTP knows nothing of them, so no header names them.
    Frames,
}

impl Coding {
    /// The coding that `name` names.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "zstd" => Some(Self::Zstd),
            "lz4" => Some(Self::Lz4),
            _ => None,
        }
    }

    /// The name in `Content-Encoding`.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Gzip => Some("gzip"),
            Self::Deflate => Some("deflate"),
            Self::Zstd => Some("zstd"),
            Self::Lz4 => Some("lz4"),
            Self::Frames => None,
        }
    }

    /// The best coding that an `Accept-Encoding` header offers.
    pub(crate) fn accepted(header: &str) -> Option<Self> {
        let offered: Vec<Self> = header
            .split(',')
            .filter_map(|offer| {
                let (name, weight) = offer.split_once(';').unwrap_or((offer, ""));
                let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32));
                Self::named(name).filter(|_| !refused)
            })
            .collect();
        [Self::Zstd, Self::Lz4, Self::Gzip, Self::Deflate].into_iter().find(|coding| offered.contains(coding))
    }

    /// The body in plain, at most `limit` bytes of it.
    pub(crate) fn decode(self, body: &[u8], limit: usize) -> Result<Bytes, Exception> {
        let reader: Box<dyn Read + '_> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(body)),
            Self::Deflate => Box::new(ZlibDecoder::new(body)),
            Self::Zstd => Box::new(zstd::Decoder::with_buffer(body).map_err(|error| broken(self, &error))?),
            Self::Lz4 => Box::new(FrameDecoder::new(body)),
            Self::Frames => return frames::decode(body, limit).map(Bytes::from),
        };
        let mut plain = Vec::new();
        let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        reader.take(bound).read_to_end(&mut plain).map_err(|error| broken(self, &error))?;
        if plain.len() > limit {
            return Err(too_large(limit));
        }
        Ok(plain.into())
    }
}

fn broken(coding: Coding, error: &io::Error) -> Exception {
    let message = format!("The body is not {}: {error}", coding.name().unwrap_or("in frames"));
    Exception::new(code::CANNOT_DECOMPRESS, "CANNOT_DECOMPRESS", &message)
}

/// A body beyond the server's bound.
pub(crate) fn too_large(limit: usize) -> Exception {
    Exception::new(code::TOO_LARGE, "QUERY_IS_TOO_LARGE", &format!("The body is larger than {limit} bytes"))
}

/// Encodes an answer piece by piece.
pub(crate) enum Encoder {
    Plain,
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
    Lz4(FrameEncoder<Vec<u8>>),
    Frames,
}

impl Encoder {
    pub(crate) fn new(coding: Option<Coding>) -> io::Result<Self> {
        Ok(match coding {
            None => Self::Plain,
            Some(Coding::Gzip) => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Some(Coding::Deflate) => Self::Deflate(ZlibEncoder::new(Vec::new(), Compression::fast())),
            Some(Coding::Zstd) => Self::Zstd(zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
            Some(Coding::Lz4) => Self::Lz4(FrameEncoder::new(Vec::new())),
            Some(Coding::Frames) => Self::Frames,
        })
    }

    /// What is ready to be sent after `plain` was added.
    pub(crate) fn encode(&mut self, plain: Vec<u8>) -> io::Result<Bytes> {
        let ready = match self {
            Self::Plain => plain,
            Self::Frames => frames::encode(&plain),
            Self::Gzip(encoder) => written(encoder, &plain, GzEncoder::get_mut)?,
            Self::Deflate(encoder) => written(encoder, &plain, ZlibEncoder::get_mut)?,
            Self::Zstd(encoder) => written(encoder, &plain, zstd::Encoder::get_mut)?,
            Self::Lz4(encoder) => written(encoder, &plain, FrameEncoder::get_mut)?,
        };
        Ok(ready.into())
    }

    /// The end of the encoded body.
    pub(crate) fn finish(self) -> io::Result<Bytes> {
        let rest = match self {
            Self::Plain | Self::Frames => Vec::new(),
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Deflate(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Lz4(encoder) => encoder.finish().map_err(io::Error::other)?,
        };
        Ok(rest.into())
    }
}

fn written<W: Write>(
    encoder: &mut W,
    plain: &[u8],
    ready: fn(&mut W) -> &mut Vec<u8>,
) -> io::Result<Vec<u8>> {
    encoder.write_all(plain)?;
    Ok(std::mem::take(ready(encoder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_coding_round_trips() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd, Coding::Lz4] {
            let mut encoder = Encoder::new(Some(coding)).unwrap();
            let mut encoded = Vec::new();
            for piece in text.chunks(70_000) {
                encoded.extend_from_slice(&encoder.encode(piece.to_vec()).unwrap());
            }
            encoded.extend_from_slice(&encoder.finish().unwrap());
            assert!(encoded.len() < text.len(), "{coding:?}");
            assert_eq!(coding.decode(&encoded, text.len()).unwrap(), text, "{coding:?}");
            assert_eq!(coding.decode(&encoded, text.len() - 1).unwrap_err().code, code::TOO_LARGE);
            assert_eq!(coding.decode(b"not encoded", 10).unwrap_err().code, code::CANNOT_DECOMPRESS);
        }
    }

    #[test]
    fn the_best_offer_is_taken() {
        assert_eq!(Coding::accepted("gzip, deflate, br"), Some(Coding::Gzip));
        assert_eq!(Coding::accepted("gzip;q=0, lz4"), Some(Coding::Lz4));
        assert_eq!(Coding::accepted("lz4,zstd"), Some(Coding::Zstd));
        assert_eq!(Coding::accepted("br, identity"), None);
    }
}
