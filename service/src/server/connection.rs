//! One connection from its first byte to its last.
//!
//! hyper speaks the protocols. What it does not do stands here: telling HTTP/2 from HTTP/1 by the first bytes, answering
//! heads that cannot be read, and giving back the buffers of connections on which nothing happens.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::Handler;
use super::pulse::{Look, Phase, Wish};
use super::refusal::Refusal;
use super::request::Requests;
use super::settings::ServeSettings;
use super::wire::SharedWire;

/// What a client of HTTP/2 says first.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much is read where no buffer is held; most heads are smaller.
const FIRST_BYTES: usize = 2_048;

/// Requests of one HTTP/2 connection that may be in work.
const HTTP2_STREAMS: u32 = 128;
/// Bytes of one request's body that may be here before anybody reads them; whoever reads gets on at once.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same for all requests of a connection: 16,384 connections at their worst hold 2 GiB of it, and 16 GiB by hyper's default.
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 2 * HTTP2_STREAM_WINDOW_BYTES;
/// Bytes of answers that may wait on one HTTP/2 stream for its client to take them.
const HTTP2_SEND_BYTES: usize = 64 * 1024;
/// Streams that a client may open and take back before we come to them; a client that goes on is cut off.
const HTTP2_RESETS: usize = 32;

/// The protocols with their limits.
#[derive(Clone)]
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
}

impl Protocols {
    pub(super) fn new(settings: &ServeSettings, streams: Streams) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .max_buf_size(settings.max_header_bytes)
            .max_headers(settings.max_headers)
            // The rounds look after it, without a timer for each request.
            .header_read_timeout(None)
            // A head and its body are collected in one buffer anyway.
            .writev(false)
            // hyper looks for a client that leaves by reading, for which it takes another buffer while the head is in use: for
            // each request one. We look with less.
            .half_close(true);
        let mut http2 = http2::Builder::new(streams);
        http2
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_pending_accept_reset_streams(HTTP2_RESETS)
            .max_local_error_reset_streams(HTTP2_RESETS)
            .max_send_buf_size(HTTP2_SEND_BYTES)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
            .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX));
        Self { http1, http2 }
    }
}

/// Where the requests of HTTP/2 connections run.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams {
    tasks: tokio_util::task::TaskTracker,
    end: tokio_util::sync::CancellationToken,
}

impl Streams {
    /// Cuts off what still runs and waits for it.
    pub(super) async fn stop(&self) {
        self.end.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let end = self.end.clone();
        self.tasks.spawn(async move {
            // Nobody asks for what was cut off: its connection is gone.
            let _ = end.run_until_cancelled_owned(stream).await;
        });
    }
}

/// A connection and what it needs.
pub(super) struct Conversation<H> {
    pub(super) requests: Requests<H>,
    pub(super) protocols: Protocols,
}

/// How a spell of HTTP/1 ended.
enum Ended {
    Done(hyper::Result<()>),
    Parked,
    TimedOut,
}

impl<H: Handler> Conversation<H> {
    /// Serves a connection whose protocol is told by its first bytes.
    pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin + Send>(
        self,
        mut stream: S,
    ) -> io::Result<()> {
        // Who connects ahead of time may wait as long as between two requests.
        self.requests.pulse.enter(Phase::Parked);
        let Some(mut first) = self.next_bytes(&mut stream).await? else { return stream.shutdown().await };
        self.requests.pulse.enter(Phase::Opening);
        // A client may send its first line in pieces.
        while first.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&first) {
            let Some(more) = self.next_bytes(&mut stream).await? else { return stream.shutdown().await };
            let mut longer = BytesMut::from(first);
            longer.extend_from_slice(&more);
            first = longer.freeze();
        }
        if first.starts_with(HTTP2_PREFACE) {
            self.http2(stream, first).await
        } else {
            self.http1(stream, first).await
        }
    }

    /// Serves a connection of HTTP/2.
    pub(super) async fn http2<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        stream: S,
        first: Bytes,
    ) -> io::Result<()> {
        let pulse = Arc::clone(&self.requests.pulse);
        pulse.enter(Phase::Http2);
        let stream = TokioIo::new(Resumed { stream, first });
        let mut connection = Box::pin(self.protocols.http2.serve_connection(stream, self.requests.service()));
        let mut is_draining = false;
        poll_fn(|cx| {
            if !is_draining && pulse.is_draining(cx) {
                is_draining = true;
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(cx)
        })
        .await
        .map_err(io::Error::other)
    }

    /// Serves a connection of HTTP/1 that began with these bytes.
    pub(super) async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send>(
        self,
        mut stream: S,
        mut first: Bytes,
    ) -> io::Result<()> {
        loop {
            // Boxed, so that a parked connection does not hold the room for it.
            let (ended, same, unread) = Box::pin(self.spell(stream, first)).await?;
            stream = same;
            let refusal = match ended {
                Ended::Done(Ok(())) => return stream.shutdown().await,
                // hyper's own answer to a bad head was held back: it is not in the contract's form.
                Ended::Done(Err(error)) => match Refusal::of_head(&error, &unread) {
                    Some(refusal) => refusal,
                    None => {
                        if error.is_parse() {
                            self.requests.metrics.refuse(Refusal::Malformed);
                        }
                        return Err(io::Error::other(error));
                    }
                },
                Ended::TimedOut => match Refusal::of_silence(&unread) {
                    Some(refusal) => refusal,
                    None => return Ok(()),
                },
                Ended::Parked if unread.is_empty() => {
                    self.requests.pulse.enter(Phase::Parked);
                    match self.next_bytes(&mut stream).await? {
                        Some(bytes) => first = bytes,
                        None => return stream.shutdown().await,
                    }
                    continue;
                }
                // The next head had begun already.
                Ended::Parked => {
                    first = unread;
                    continue;
                }
            };
            self.requests.metrics.refuse(refusal);
            let request_id = (self.requests.make_request_id)();
            tracing::debug!(request_id, code = refusal.code(), "a request's head was refused");
            return refusal.tell(&mut stream, &request_id).await;
        }
    }

    /// HTTP/1 until the connection ends or pauses; gives back the stream and what was not understood.
    async fn spell<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        first: Bytes,
    ) -> io::Result<(Ended, S, Bytes)> {
        let pulse = &self.requests.pulse;
        pulse.enter(Phase::Http1);
        let wire = SharedWire::new(stream, first, pulse);
        let service = self.requests.clone().service();
        let mut connection = self.protocols.http1.serve_connection(TokioIo::new(wire.clone()), service);
        let mut is_draining = false;
        let ended = poll_fn(|cx| {
            if let Poll::Ready(done) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Ok(Ended::Done(done)));
            }
            if let Poll::Ready(Err(error)) = wire.lock().poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            if pulse.look().is_working
                && let Poll::Ready(ahead) = wire.lock().poll_ahead(cx)
            {
                match ahead {
                    // hyper may wait for what was read.
                    Ok(1..) => cx.waker().wake_by_ref(),
                    // Nobody is left to be answered.
                    Ok(0) => return Poll::Ready(Ok(Ended::Done(Ok(())))),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            if !is_draining && pulse.is_draining(cx) {
                is_draining = true;
                Pin::new(&mut connection).graceful_shutdown();
                return Pin::new(&mut connection).poll(cx).map(|done| Ok(Ended::Done(done)));
            }
            let is_calm = |look: Look| !look.is_working && !look.is_in_head;
            if pulse.hears(Wish::Park, cx) && !is_draining && is_calm(pulse.look()) {
                // An idle connection ends here at once, and its stream is free for the next spell. One that still writes
                // is closed after that.
                Pin::new(&mut connection).graceful_shutdown();
                return Pin::new(&mut connection).poll(cx).map(|done| match done {
                    Ok(()) => Ok(Ended::Parked),
                    Err(error) => Ok(Ended::Done(Err(error))),
                });
            }
            if pulse.hears(Wish::TimeOut, cx) { Poll::Ready(Ok(Ended::TimedOut)) } else { Poll::Pending }
        })
        .await?;
        let unread = connection.into_parts().read_buf;
        poll_fn(|cx| wire.lock().poll_send(cx)).await?;
        let Some(wire) = wire.into_inner() else { return Err(io::ErrorKind::Other.into()) };
        let (stream, first) = wire.into_parts();
        if first.is_empty() {
            return Ok((ended, stream, unread));
        }
        let mut longer = BytesMut::from(unread);
        longer.extend_from_slice(&first);
        Ok((ended, stream, longer.freeze()))
    }

    /// Waits for bytes without holding a buffer; nothing when the client is gone, or is to go.
    async fn next_bytes<S: AsyncRead + Unpin>(&self, stream: &mut S) -> io::Result<Option<Bytes>> {
        let pulse = &self.requests.pulse;
        poll_fn(|cx| {
            if pulse.is_draining(cx) {
                return Poll::Ready(Ok(None));
            }
            let mut buffer = [0; FIRST_BYTES];
            let mut buffer = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            Poll::Ready(Ok((!bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes))))
        })
        .await
    }
}

/// The stream of an HTTP/2 connection, which begins with bytes that were read from it before.
struct Resumed<S> {
    stream: S,
    first: Bytes,
}

impl<S: AsyncRead + Unpin> AsyncRead for Resumed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..count]);
        self.first.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Resumed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
