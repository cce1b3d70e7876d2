//! Bodies that may be compressed, and may be meant to hurt: what comes out is bounded, for one request and for all.

use std::io::{self, Write};

use axum::body::Body;
use flate2::write::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use zstd::stream::raw::{DParameter, Decoder as Zstd, InBuffer, Operation, OutBuffer};

use crate::body::BODY_DEADLINE;
use crate::error::Refusal;

/// The largest window that a zstd frame may ask for, as a power of two: what it inflates to fits into it.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Bytes that are inflated at a time.
const SCRATCH_BYTES: usize = 64 * 1024;
/// Bytes of memory that are taken at a time from what all requests share.
const STEP_BYTES: usize = 256 * 1024;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// What the request says.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let stated = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
        match stated.as_deref() {
            None | Some(b"" | b"identity") => Ok(Self::Identity),
            Some(b"gzip" | b"x-gzip") => Ok(Self::Gzip),
            Some(b"zstd") => Ok(Self::Zstd),
            Some(_) => {
                Err(Refusal::UnsupportedMediaType { wanted: "plain, or Content-Encoding gzip or zstd" })
            }
        }
    }
}

/// The memory that all large bodies share.
#[derive(Debug)]
pub(crate) struct Memory(Semaphore);

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Semaphore::new(bytes.div_ceil(STEP_BYTES)))
    }
}

/// A body as it was before it was compressed.
#[derive(Debug)]
pub(crate) struct Inflated<'m> {
    pub(crate) bytes: Vec<u8>,
    /// Of the body as it was sent.
    pub(crate) sent_sha256: [u8; 32],
    _memory: Option<SemaphorePermit<'m>>,
}

/// The whole body, at most `limit` bytes of it before and after. It is inflated as it comes, and what was sent is dropped.
pub(crate) async fn read(
    body: Body,
    encoding: Encoding,
    limit: usize,
    memory: &Memory,
) -> Result<Inflated<'_>, Refusal> {
    let bounded = Bounded { bytes: Vec::new(), limit, memory, taken: None, refused: None };
    let reading = read_all(body, Inflater::new(encoding, bounded)?, limit);
    let timed = tokio::time::timeout(BODY_DEADLINE, reading).await;
    timed.map_err(|_| Refusal::RequestTimeout { seconds: BODY_DEADLINE.as_secs() })?
}

async fn read_all(mut body: Body, mut inflater: Inflater<'_>, limit: usize) -> Result<Inflated<'_>, Refusal> {
    let (mut sent, mut hash) = (0, Sha256::new());
    while let Some(frame) = body.frame().await {
        // The client went away or broke the transfer encoding; it hardly reads this.
        let frame = frame.map_err(|_| Refusal::invalid("body", "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        sent += data.len();
        if sent > limit {
            return Err(Refusal::PayloadTooLarge { limit });
        }
        hash.update(&data);
        inflater.push(&data)?;
    }
    let bounded = inflater.finish()?;
    Ok(Inflated { bytes: bounded.bytes, sent_sha256: hash.finalize().into(), _memory: bounded.taken })
}

/// What was inflated, as long as there is room.
struct Bounded<'m> {
    bytes: Vec<u8>,
    limit: usize,
    memory: &'m Memory,
    taken: Option<SemaphorePermit<'m>>,
    /// Why nothing more is taken.
    refused: Option<Refusal>,
}

impl Bounded<'_> {
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let wanted = self.bytes.len() + bytes.len();
        if wanted > self.limit {
            return Err(Refusal::PayloadTooLarge { limit: self.limit });
        }
        let held = self.taken.as_ref().map_or(0, SemaphorePermit::num_permits);
        let missing = wanted.div_ceil(STEP_BYTES).saturating_sub(held);
        if missing > 0 {
            let missing = u32::try_from(missing).unwrap_or(u32::MAX);
            let more = self.memory.0.try_acquire_many(missing).map_err(|_| Refusal::Unavailable)?;
            match &mut self.taken {
                Some(taken) => taken.merge(more),
                None => self.taken = Some(more),
            }
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.extend(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(refused) => {
                self.refused = Some(refused);
                Err(io::Error::other("no room"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Inflater<'m> {
    Identity(Bounded<'m>),
    Gzip(MultiGzDecoder<Bounded<'m>>),
    Zstd { decoder: Zstd<'static>, scratch: Box<[u8]>, is_whole: bool, bounded: Bounded<'m> },
}

impl<'m> Inflater<'m> {
    fn new(encoding: Encoding, bounded: Bounded<'m>) -> Result<Self, Refusal> {
        Ok(match encoding {
            Encoding::Identity => Self::Identity(bounded),
            Encoding::Gzip => Self::Gzip(MultiGzDecoder::new(bounded)),
            Encoding::Zstd => {
                let mut decoder = Zstd::new().map_err(|_| Refusal::ServerError)?;
                let window = DParameter::WindowLogMax(ZSTD_WINDOW_LOG);
                decoder.set_parameter(window).map_err(|_| Refusal::ServerError)?;
                Self::Zstd { decoder, scratch: vec![0; SCRATCH_BYTES].into(), is_whole: false, bounded }
            }
        })
    }

    fn push(&mut self, data: &[u8]) -> Result<(), Refusal> {
        match self {
            Self::Identity(bounded) => bounded.extend(data),
            Self::Gzip(decoder) => decoder.write_all(data).map_err(|_| {
                let refused = decoder.get_mut().refused.take();
                refused.unwrap_or_else(|| Refusal::invalid("body", "not gzip"))
            }),
            Self::Zstd { decoder, scratch, is_whole, bounded } => {
                let mut input = InBuffer::around(data);
                loop {
                    let mut output = OutBuffer::around(&mut scratch[..]);
                    let rest = decoder.run(&mut input, &mut output);
                    let rest = rest.map_err(|_| Refusal::invalid("body", "not zstd"))?;
                    let (is_full, written) = (output.pos() == SCRATCH_BYTES, output.as_slice());
                    bounded.extend(written)?;
                    *is_whole = rest == 0;
                    if input.pos() == data.len() && !is_full {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn finish(self) -> Result<Bounded<'m>, Refusal> {
        match self {
            Self::Identity(bounded) => Ok(bounded),
            Self::Gzip(mut decoder) => {
                let end = decoder.try_finish();
                end.map_err(|_| {
                    let refused = decoder.get_mut().refused.take();
                    refused.unwrap_or_else(|| Refusal::invalid("body", "the gzip stream breaks off"))
                })?;
                decoder.finish().map_err(|_| Refusal::invalid("body", "the gzip stream breaks off"))
            }
            Self::Zstd { is_whole: false, .. } => Err(Refusal::invalid("body", "the zstd stream breaks off")),
            Self::Zstd { bounded, .. } => Ok(bounded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1024 * 1024;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn inflated(encoding: Encoding, body: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let memory = Memory::new(8 * LIMIT);
        let chunks: Vec<_> = body.chunks(1_000).map(|chunk| Ok::<_, io::Error>(chunk.to_vec())).collect();
        let body = Body::from_stream(futures::stream::iter(chunks));
        read(body, encoding, LIMIT, &memory).await.map(|inflated| inflated.bytes)
    }

    #[tokio::test]
    async fn what_was_compressed_comes_out_again() {
        let text: Vec<u8> =
            (0..200_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).take(LIMIT).collect();
        let zstd = zstd::encode_all(&text[..], 3).unwrap();
        for (encoding, body) in
            [(Encoding::Identity, text.clone()), (Encoding::Gzip, gzip(&text)), (Encoding::Zstd, zstd)]
        {
            assert!(inflated(encoding, body).await.unwrap() == text, "{encoding:?}");
        }
        for (encoding, body) in
            [(Encoding::Gzip, gzip(b"a")), (Encoding::Zstd, zstd::encode_all(&b"a"[..], 1).unwrap())]
        {
            assert_eq!(
                inflated(encoding, [body.clone(), body].concat()).await.unwrap(),
                b"aa",
                "{encoding:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_bomb_stops_at_the_limit() {
        let zeros = vec![0; 64 * LIMIT];
        for (encoding, body) in
            [(Encoding::Gzip, gzip(&zeros)), (Encoding::Zstd, zstd::encode_all(&zeros[..], 3).unwrap())]
        {
            assert!(body.len() < LIMIT);
            let refused = inflated(encoding, body).await.unwrap_err();
            assert!(matches!(refused, Refusal::PayloadTooLarge { limit: LIMIT }), "{refused}");
        }
        assert!(matches!(inflated(Encoding::Identity, zeros).await, Err(Refusal::PayloadTooLarge { .. })));
    }

    #[tokio::test]
    async fn what_is_broken_is_said_to_be() {
        let text = vec![7; 10_000];
        let zstd = zstd::encode_all(&text[..], 3).unwrap();
        let (gzip, cut) = (gzip(&text), |body: &[u8]| body[..body.len() - 3].to_vec());
        for (encoding, body) in [
            (Encoding::Gzip, cut(&gzip)),
            (Encoding::Zstd, cut(&zstd)),
            (Encoding::Gzip, b"nonsense nonsense".to_vec()),
            (Encoding::Zstd, b"nonsense nonsense".to_vec()),
            (Encoding::Zstd, gzip.clone()),
            (Encoding::Zstd, Vec::new()),
        ] {
            let refused = inflated(encoding, body).await.unwrap_err();
            assert_eq!(refused.faults()[0].field, "body", "{encoding:?}: {refused}");
        }
    }

    #[tokio::test]
    async fn all_requests_together_have_no_more_than_their_share() {
        let memory = Memory::new(STEP_BYTES * 2);
        let body = || Body::from(vec![b' '; STEP_BYTES + 1]);
        let first = read(body(), Encoding::Identity, LIMIT, &memory).await.unwrap();
        let second = read(body(), Encoding::Identity, LIMIT, &memory).await;
        assert!(matches!(second, Err(Refusal::Unavailable)));
        drop(first);
        assert!(read(body(), Encoding::Identity, LIMIT, &memory).await.is_ok());
    }
}
