//! Bodies that may be compressed, and may be meant to hurt: what comes out is bounded, for one request and for all.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::error::Refusal;

/// The largest window that a zstd frame may ask for, as a power of two: what it inflates to fits into it.
const ZSTD_WINDOW_LOG: u32 = 23;
/// What gzip needs to inflate: its window and its tables.
const GZIP_BYTES: usize = 64 * 1024;
/// Bytes that are inflated at a time.
const PIECE_BYTES: usize = 64 * 1024;
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

    /// Nothing of it yet.
    pub(crate) const fn share(&self) -> Share<'_> {
        Share { memory: self, taken: None }
    }
}

/// One request's share of that memory, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share<'m> {
    memory: &'m Memory,
    taken: Option<SemaphorePermit<'m>>,
}

impl Share<'_> {
    /// Takes what is missing to this many bytes.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if the others have it.
    pub(crate) fn cover(&mut self, bytes: usize) -> Result<(), Refusal> {
        let held = self.taken.as_ref().map_or(0, SemaphorePermit::num_permits);
        let missing = bytes.div_ceil(STEP_BYTES).saturating_sub(held);
        if missing > 0 {
            let missing = u32::try_from(missing).unwrap_or(u32::MAX);
            let more = self.memory.0.try_acquire_many(missing).map_err(|_| Refusal::Unavailable)?;
            match &mut self.taken {
                Some(taken) => taken.merge(more),
                None => self.taken = Some(more),
            }
        }
        Ok(())
    }
}

/// A body as it was before it was compressed.
#[derive(Debug)]
pub(crate) struct Inflated<'m> {
    pub(crate) bytes: Vec<u8>,
    /// Of the body as it was sent, if it was asked for.
    pub(crate) sent_sha256: Option<[u8; 32]>,
    _share: Share<'m>,
}

/// The whole body. It is inflated as it comes, and what was sent is dropped.
pub(crate) async fn read(
    mut body: Arriving,
    is_hashed: bool,
    memory: &Memory,
) -> Result<Inflated<'_>, Refusal> {
    let (mut bytes, mut share) = (Vec::new(), memory.share());
    body.hash = is_hashed.then(Sha256::new);
    while body.pull(&mut bytes).await? {
        share.cover(bytes.len())?;
    }
    let sent_sha256 = body.hash.map(|hash| hash.finalize().into());
    Ok(Inflated { bytes, sent_sha256, _share: share })
}

/// A body on its way: what has come of it can be read before the rest is there.
pub(crate) struct Arriving {
    body: Body,
    decoder: Decoder,
    /// Bytes, as it is sent and as it is inflated.
    limit: usize,
    sent: usize,
    inflated: usize,
    /// How long the client may keep us waiting in all, and still.
    timeout: Duration,
    patience: Duration,
    hash: Option<Sha256>,
}

impl Arriving {
    /// At most `limit` bytes of the body, before and after it is inflated. The client may keep us waiting this long in all.
    ///
    /// # Errors
    /// [`Refusal::PayloadTooLarge`] if it is said to be larger.
    pub(crate) fn new(
        body: Body,
        encoding: Encoding,
        limit: usize,
        timeout: Duration,
    ) -> Result<Self, Refusal> {
        if body.size_hint().lower() > limit as u64 {
            return Err(Refusal::PayloadTooLarge { limit });
        }
        let decoder = Decoder::new(encoding).map_err(Refusal::broken)?;
        Ok(Self { body, decoder, limit, sent: 0, inflated: 0, timeout, patience: timeout, hash: None })
    }

    /// Appends what can be read now, [`PIECE_BYTES`] of it at most; waits for the client only if there is nothing.
    /// `false` at the end.
    ///
    /// # Errors
    /// What is wrong with the body from here on. What was appended all the same is good.
    pub(crate) async fn pull(&mut self, bytes: &mut Vec<u8>) -> Result<bool, Refusal> {
        loop {
            let before = bytes.len();
            let piece = PIECE_BYTES.min(self.limit - self.inflated + 1);
            bytes.reserve(piece);
            let read = (&mut self.decoder).take(piece as u64).read_to_end(bytes);
            self.inflated += bytes.len() - before;
            if self.inflated > self.limit {
                bytes.pop();
                self.inflated -= 1;
                return Err(Refusal::PayloadTooLarge { limit: self.limit });
            }
            match read {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(self.decoder.refusal(&error)),
            }
            if bytes.len() > before {
                return Ok(true);
            }
            let data = self.next().await?;
            let input = self.decoder.input();
            match data {
                Some(data) => input.bytes = data,
                None => input.is_over = true,
            }
        }
    }

    /// Reads what the client still sends, within the limits, and forgets it: a client that listens only when it has sent
    /// everything is to get its answer.
    pub(crate) async fn discard(&mut self) {
        while let Ok(Some(_)) = self.next().await {}
    }

    /// Bytes of memory that this takes.
    pub(crate) fn held(&self) -> usize {
        let state = match &self.decoder {
            Decoder::Identity(_) => 0,
            Decoder::Gzip(_) => GZIP_BYTES,
            // Its window has as much of the body as was inflated.
            Decoder::Zstd(_) => self.inflated,
        };
        state + self.decoder.input_ref().bytes.len()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let began = Instant::now();
            let frame = timeout(self.patience, self.body.frame()).await;
            self.patience = self.patience.saturating_sub(began.elapsed());
            let late = |_| Refusal::RequestTimeout { seconds: self.timeout.as_secs() };
            let Some(frame) = frame.map_err(late)? else { return Ok(None) };
            // The client went away or broke the transfer encoding; it hardly reads this.
            let frame = frame.map_err(|_| Refusal::invalid("body", "the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            self.sent += data.len();
            if self.sent > self.limit {
                return Err(Refusal::PayloadTooLarge { limit: self.limit });
            }
            if let Some(hash) = &mut self.hash {
                hash.update(&data);
            }
            // No bytes are not the end.
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }
}

/// What has come and is not inflated.
#[derive(Default)]
struct Input {
    bytes: Bytes,
    /// Nothing more comes.
    is_over: bool,
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.bytes.is_empty() && !self.is_over {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.bytes)
    }

    fn consume(&mut self, amount: usize) {
        self.bytes.advance(amount);
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let amount = bytes.len().min(into.len());
        into[..amount].copy_from_slice(&bytes[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}

/// Inflates. Where its input has no more for now it says so, by [`io::ErrorKind::WouldBlock`], and can be asked again: both
/// libraries ask for input before they change anything.
enum Decoder {
    Identity(Input),
    Gzip(Box<MultiGzDecoder<Input>>),
    Zstd(ZstdDecoder<'static, Input>),
}

impl Decoder {
    fn new(encoding: Encoding) -> io::Result<Self> {
        let input = Input::default();
        Ok(match encoding {
            Encoding::Identity => Self::Identity(input),
            Encoding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(input))),
            Encoding::Zstd => {
                let mut decoder = ZstdDecoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Self::Zstd(decoder)
            }
        })
    }

    fn input(&mut self) -> &mut Input {
        match self {
            Self::Identity(input) => input,
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }

    fn input_ref(&self) -> &Input {
        match self {
            Self::Identity(input) => input,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
        }
    }

    fn refusal(&self, error: &io::Error) -> Refusal {
        let is_cut = error.kind() == io::ErrorKind::UnexpectedEof;
        let message = match self {
            Self::Identity(_) => "the body broke off",
            Self::Gzip(_) if is_cut => "the gzip stream breaks off",
            Self::Gzip(_) => "not gzip, or damaged",
            Self::Zstd(_) if is_cut => "the zstd stream breaks off",
            Self::Zstd(_) => "not zstd, or damaged",
        };
        Refusal::invalid("body", message)
    }
}

impl Read for Decoder {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Identity(input) => input.read(into),
            Self::Gzip(decoder) => decoder.read(into),
            Self::Zstd(decoder) => decoder.read(into),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures::StreamExt as _;

    use super::*;

    const LIMIT: usize = 1024 * 1024;
    const SOON: Duration = Duration::from_secs(20);

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn arriving(encoding: Encoding, body: &[u8], chunk: usize) -> Arriving {
        let chunks: Vec<_> = body.chunks(chunk).map(|chunk| Ok::<_, io::Error>(chunk.to_vec())).collect();
        Arriving::new(Body::from_stream(futures::stream::iter(chunks)), encoding, LIMIT, SOON).unwrap()
    }

    async fn inflated(encoding: Encoding, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let memory = Memory::new(8 * LIMIT);
        read(arriving(encoding, body, 1_000), false, &memory).await.map(|inflated| inflated.bytes)
    }

    #[tokio::test]
    async fn what_was_compressed_comes_out_again() {
        let text: Vec<u8> =
            (0..300_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).take(LIMIT).collect();
        assert_eq!(text.len(), LIMIT);
        let zstd = zstd::encode_all(&text[..], 3).unwrap();
        for (encoding, body) in
            [(Encoding::Identity, text.clone()), (Encoding::Gzip, gzip(&text)), (Encoding::Zstd, zstd)]
        {
            assert!(inflated(encoding, &body[..]).await.unwrap() == text, "{encoding:?}");
        }
    }

    #[tokio::test]
    async fn members_and_frames_follow_each_other_wherever_the_pieces_end() {
        for (encoding, body) in
            [(Encoding::Gzip, gzip(b"a")), (Encoding::Zstd, zstd::encode_all(&b"a"[..], 1).unwrap())]
        {
            let two = [body.clone(), body].concat();
            for chunk in 1..=two.len() {
                let memory = Memory::new(LIMIT);
                let read = read(arriving(encoding, &two, chunk), true, &memory).await.unwrap();
                assert_eq!(read.bytes, b"aa", "{encoding:?} {chunk}");
                assert_eq!(read.sent_sha256, Some(Sha256::digest(&two).into()), "{encoding:?} {chunk}");
            }
        }
    }

    #[tokio::test]
    async fn a_bomb_stops_at_the_limit() {
        let zeros = vec![0; 64 * LIMIT];
        for (encoding, body) in
            [(Encoding::Gzip, gzip(&zeros)), (Encoding::Zstd, zstd::encode_all(&zeros[..], 3).unwrap())]
        {
            assert!(body.len() < LIMIT);
            let refused = inflated(encoding, &body).await.unwrap_err();
            assert!(matches!(refused, Refusal::PayloadTooLarge { limit: LIMIT }), "{refused}");
            // Whoever reads it piece by piece never has more than one.
            let (mut body, mut bytes, mut all) = (arriving(encoding, &body, LIMIT), Vec::new(), 0);
            let end = loop {
                bytes.clear();
                let pulled = body.pull(&mut bytes).await;
                all += bytes.len();
                assert!(bytes.capacity() <= 2 * PIECE_BYTES, "{}", bytes.capacity());
                if !matches!(pulled, Ok(true)) {
                    break pulled;
                }
            };
            assert!(matches!(end, Err(Refusal::PayloadTooLarge { limit: LIMIT })));
            assert_eq!(all, LIMIT);
        }
        assert!(matches!(inflated(Encoding::Identity, &zeros).await, Err(Refusal::PayloadTooLarge { .. })));
        let stated = Arriving::new(Body::from(zeros), Encoding::Gzip, LIMIT, SOON).err();
        assert!(matches!(stated, Some(Refusal::PayloadTooLarge { limit: LIMIT })));
    }

    #[tokio::test]
    async fn what_is_broken_is_said_to_be() {
        let text = vec![7; 10_000];
        let zstd = zstd::encode_all(&text[..], 3).unwrap();
        let (gzip, cut) = (gzip(&text), |body: &[u8]| body[..body.len() - 3].to_vec());
        let mut wrong_sum = gzip.clone();
        let sum = wrong_sum.len() - 8;
        wrong_sum[sum] ^= 1;
        for (encoding, body, message) in [
            (Encoding::Gzip, cut(&gzip), "the gzip stream breaks off"),
            (Encoding::Zstd, cut(&zstd), "the zstd stream breaks off"),
            (Encoding::Gzip, Vec::new(), "the gzip stream breaks off"),
            (Encoding::Zstd, Vec::new(), "the zstd stream breaks off"),
            (Encoding::Gzip, wrong_sum, "not gzip, or damaged"),
            (Encoding::Gzip, b"nonsense nonsense".to_vec(), "not gzip, or damaged"),
            (Encoding::Zstd, b"nonsense nonsense".to_vec(), "not zstd, or damaged"),
            (Encoding::Zstd, gzip.clone(), "not zstd, or damaged"),
        ] {
            let refused = inflated(encoding, &body).await.unwrap_err();
            let fault = &refused.faults()[0];
            assert_eq!((fault.field.as_str(), fault.message.as_str()), ("body", message), "{encoding:?}");
        }
    }

    #[tokio::test]
    async fn a_client_has_its_time_for_all_pieces_together() {
        let pieces = futures::stream::iter([Ok::<_, io::Error>(b"x".to_vec())]);
        let body = Body::from_stream(pieces.chain(futures::stream::pending()));
        let (mut body, mut bytes) =
            (Arriving::new(body, Encoding::Identity, LIMIT, SOON).unwrap(), Vec::new());
        body.patience = Duration::from_millis(20);
        assert!(body.pull(&mut bytes).await.unwrap());
        for _ in 0..2 {
            let late = body.pull(&mut bytes).await;
            assert!(matches!(late, Err(Refusal::RequestTimeout { .. })));
            assert_eq!(body.patience, Duration::ZERO);
        }
        assert_eq!(bytes, b"x");
    }

    #[tokio::test]
    async fn all_requests_together_have_no_more_than_their_share() {
        let memory = Memory::new(STEP_BYTES * 2);
        let body =
            || Arriving::new(vec![b' '; STEP_BYTES + 1].into(), Encoding::Identity, LIMIT, SOON).unwrap();
        let first = read(body(), false, &memory).await.unwrap();
        let second = read(body(), false, &memory).await;
        assert!(matches!(second, Err(Refusal::Unavailable)));
        drop(first);
        assert!(read(body(), false, &memory).await.is_ok());
    }
}
