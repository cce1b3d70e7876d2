//! Bodies of single events, within size, time and memory.

use std::ops::Deref;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::Refusal;
use crate::settings::IngestSettings;

/// Bytes that the bodies of all single events may take up at a time. Beyond them nobody is told to wait.
pub(crate) const MEMORY_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of each body that are not counted, as most bodies have no more. The server's limit of requests bounds them, and
/// whoever sends large bodies slowly, which anybody can, does not keep out those who send small ones.
const UNCOUNTED_BYTES: usize = 4 * 1024;

/// What reads bodies, and the memory that they share.
#[derive(Debug)]
pub(crate) struct Bodies {
    limit: usize,
    timeout: Duration,
    /// A permit for each byte.
    memory: Semaphore,
}

/// A whole body, with its share of the memory.
#[derive(Debug, Default)]
pub(crate) struct Whole<'m> {
    bytes: Bytes,
    share: Option<SemaphorePermit<'m>>,
}

impl Deref for Whole<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Bodies {
    pub(crate) fn new(settings: &IngestSettings) -> Self {
        let memory = Semaphore::new(MEMORY_BYTES);
        Self { limit: settings.max_body_bytes, timeout: settings.body_timeout(), memory }
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] at once if the others have the memory.
    pub(crate) async fn read(&self, body: Body) -> Result<Whole<'_>, Refusal> {
        if body.size_hint().lower() > self.limit as u64 {
            return Err(Refusal::PayloadTooLarge { limit: self.limit });
        }
        let seconds = self.timeout.as_millis().div_ceil(1_000) as u64;
        let collected = tokio::time::timeout(self.timeout, self.collect(body)).await;
        collected.map_err(|_| Refusal::RequestTimeout { seconds })?
    }

    async fn collect(&self, mut body: Body) -> Result<Whole<'_>, Refusal> {
        let (mut whole, mut pieces) = (Whole::default(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            // The client went away or broke the transfer encoding; it hardly reads this.
            let frame = frame.map_err(|_| Refusal::invalid("body", "the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = whole.bytes.len() + pieces.len() + data.len();
            if length > self.limit {
                return Err(Refusal::PayloadTooLarge { limit: self.limit });
            }
            self.cover(&mut whole.share, length)?;
            if whole.bytes.is_empty() && pieces.is_empty() {
                // Most come in one piece, which is not copied.
                whole.bytes = data;
            } else {
                // Many small ones would take up more than what stands in them.
                pieces.extend_from_slice(&std::mem::take(&mut whole.bytes));
                pieces.extend_from_slice(&data);
            }
        }
        if !pieces.is_empty() {
            whole.bytes = pieces.freeze();
        }
        Ok(whole)
    }

    /// Takes what is missing to this many bytes.
    fn cover<'m>(&'m self, share: &mut Option<SemaphorePermit<'m>>, bytes: usize) -> Result<(), Refusal> {
        let held = share.as_ref().map_or(0, SemaphorePermit::num_permits);
        let missing = bytes.saturating_sub(UNCOUNTED_BYTES).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let more = self.memory.try_acquire_many(missing).map_err(|_| Refusal::Unavailable)?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }
}

/// Whether the body is said to be of this type, parameters aside.
pub(crate) fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let stated = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let stated = stated.split(';').next().unwrap_or_default().trim();
    stated.eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::StreamExt as _;

    use super::*;

    const LIMIT: usize = 64 * 1024;

    fn bodies(memory: usize, timeout: Duration) -> Bodies {
        Bodies { limit: LIMIT, timeout, memory: Semaphore::new(memory) }
    }

    /// A body of these pieces.
    fn in_pieces(pieces: Vec<Vec<u8>>) -> Body {
        Body::from_stream(futures::stream::iter(pieces.into_iter().map(Ok::<_, io::Error>)))
    }

    #[tokio::test]
    async fn a_body_is_what_was_sent_however_it_was_cut() {
        let text: Vec<u8> = (0..10_000_u32).map(|number| (number % 251) as u8).collect();
        for piece in [1, 7, 4_096, 10_000] {
            let bodies = bodies(LIMIT, Duration::MAX);
            let whole =
                bodies.read(in_pieces(text.chunks(piece).map(<[u8]>::to_vec).collect())).await.unwrap();
            assert!(*whole == text[..], "{piece}");
        }
        assert!(bodies(0, Duration::MAX).read(Body::empty()).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused_as_soon_as_it_is_known() {
        let bodies = bodies(2 * LIMIT, Duration::MAX);
        let endless =
            Body::from_stream(futures::stream::repeat_with(|| Ok::<_, io::Error>(vec![b' '; 1_000])));
        for body in [Body::from(vec![b' '; LIMIT + 1]), endless] {
            let refused = bodies.read(body).await.unwrap_err();
            assert!(matches!(refused, Refusal::PayloadTooLarge { limit: LIMIT }), "{refused}");
        }
        assert_eq!(bodies.read(vec![b' '; LIMIT].into()).await.unwrap().len(), LIMIT);
    }

    #[tokio::test]
    async fn all_together_have_no_more_than_the_memory_by_what_was_really_read() {
        let bodies = bodies(10_000, Duration::MAX);
        let large = || Body::from(vec![b' '; UNCOUNTED_BYTES + 6_000]);
        let first = bodies.read(large()).await.unwrap();
        assert!(matches!(bodies.read(large()).await, Err(Refusal::Unavailable)));
        // What that one had taken is there again, and what is small needs nothing.
        let other = bodies.read(vec![b' '; UNCOUNTED_BYTES + 4_000].into()).await.unwrap();
        assert_eq!(bodies.memory.available_permits(), 0);
        let small = bodies.read(vec![b' '; UNCOUNTED_BYTES].into()).await.unwrap();
        let pieces = vec![vec![b' '; 3_000], vec![b' '; UNCOUNTED_BYTES - 2_999]];
        assert!(matches!(bodies.read(in_pieces(pieces)).await, Err(Refusal::Unavailable)));
        drop((first, other, small));
        assert_eq!(bodies.memory.available_permits(), 10_000);
        bodies.read(large()).await.unwrap();
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up_with_its_share() {
        let bodies = bodies(LIMIT, Duration::from_millis(20));
        let begun = futures::stream::iter([Ok::<_, io::Error>(vec![b' '; UNCOUNTED_BYTES + 1])]);
        let refused =
            bodies.read(Body::from_stream(begun.chain(futures::stream::pending()))).await.unwrap_err();
        assert!(matches!(refused, Refusal::RequestTimeout { seconds: 1 }), "{refused}");
        assert_eq!(bodies.memory.available_permits(), LIMIT);
    }
}
