//! The bytes of a connection, in and out.
//!
//! Answers are collected while hyper has something to do, and leave in one write when it has not: a client that sends many
//! requests at once gets many answers at once. hyper's own `pipeline_flush` would do the same, but it loses an answer when
//! the connection ends while bytes of a next request are left.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pulse::Pulse;
use super::refusal::is_bare;

/// Bytes of answers that may wait; more wait with the handler.
const MAX_WAITING: usize = 64 * 1024;
/// Bytes that are read ahead, to see whether the client is still there.
const AHEAD_BYTES: usize = 2_048;

/// A stream that begins with bytes which were read from it before, and that collects what is written.
pub(super) struct Wire<S> {
    stream: S,
    first: Bytes,
    out: BytesMut,
    /// The requests there had been at the last write: what is written without a new one, no handler has said.
    answered: u32,
    pulse: Arc<Pulse>,
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Sends what was collected.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pulse.note_write();
            self.out.advance(sent);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Reads a little of what hyper has not asked for yet; nothing is the client's end. Pending also while hyper has not taken
    /// what was read before.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        S: AsyncRead,
    {
        if !self.first.is_empty() {
            return Poll::Pending;
        }
        let mut buffer = [MaybeUninit::uninit(); AHEAD_BYTES];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        self.first = Bytes::copy_from_slice(buffer.filled());
        Poll::Ready(Ok(self.first.len()))
    }

    /// The stream, and what was read before and not understood.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.first)
    }
}

/// A wire that hyper and the connection's own task share; both are the same task, so nobody waits for the other.
pub(super) struct SharedWire<S>(Arc<Mutex<Wire<S>>>);

impl<S> Clone for SharedWire<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> SharedWire<S> {
    pub(super) fn new(stream: S, first: Bytes, pulse: &Arc<Pulse>) -> Self {
        let (pulse, answered) = (Arc::clone(pulse), pulse.look().requests);
        Self(Arc::new(Mutex::new(Wire { stream, first, out: BytesMut::new(), answered, pulse })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Wire<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wire, if this is its last owner.
    pub(super) fn into_inner(self) -> Option<Wire<S>> {
        let wire = Arc::into_inner(self.0)?;
        Some(wire.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SharedWire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &mut *self.lock();
        let before = buffer.filled().len();
        if wire.first.is_empty() {
            ready!(Pin::new(&mut wire.stream).poll_read(cx, buffer))?;
        } else {
            let count = wire.first.len().min(buffer.remaining());
            buffer.put_slice(&wire.first[..count]);
            wire.first.advance(count);
        }
        if buffer.filled().len() > before {
            wire.pulse.note_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SharedWire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = &mut *self.lock();
        let requests = wire.pulse.look().requests;
        // An answer of hyper's own to a head that it could not read is left to us.
        let is_held_back = requests == wire.answered && is_bare(bytes);
        wire.answered = requests;
        if is_held_back {
            return Poll::Ready(Ok(bytes.len()));
        }
        if wire.out.len() >= MAX_WAITING {
            ready!(wire.poll_send(cx))?;
        }
        let count = bytes.len().min(MAX_WAITING);
        wire.out.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    /// Nothing: what was collected is sent when hyper has nothing more to do.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Nothing: there may be more to say, or another request to come.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
