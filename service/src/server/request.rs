//! One request: counted, bounded, and passed to the handler.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::Response;
use futures::FutureExt;
use futures::future::{Either, ready};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};

use super::metrics::ServerMetrics;
use super::pulse::Pulse;
use super::refusal::Refusal;
use super::{Encrypted, Handler};
use crate::telemetry::MakeRequestId;

/// Requests in work on one thread.
#[derive(Debug)]
pub(super) struct Load {
    in_work: AtomicUsize,
    limit: usize,
}

impl Load {
    pub(super) const fn new(limit: usize) -> Self {
        Self { in_work: AtomicUsize::new(0), limit }
    }
}

/// What all requests of one connection share.
pub(super) struct Requests<H> {
    pub(super) handler: Arc<H>,
    pub(super) peer: SocketAddr,
    pub(super) pulse: Arc<Pulse>,
    pub(super) load: Arc<Load>,
    pub(super) metrics: ServerMetrics,
    pub(super) max_headers: usize,
    pub(super) make_request_id: MakeRequestId,
    /// The connection is enciphered.
    pub(super) is_encrypted: bool,
}

impl<H: Handler> Clone for Requests<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            peer: self.peer,
            pulse: Arc::clone(&self.pulse),
            load: Arc::clone(&self.load),
            metrics: self.metrics.clone(),
            max_headers: self.max_headers,
            make_request_id: Arc::clone(&self.make_request_id),
            is_encrypted: self.is_encrypted,
        }
    }
}

impl<H: Handler> Requests<H> {
    /// The connection's service as hyper takes it.
    pub(super) fn service(
        self,
    ) -> impl Service<
        http::Request<Incoming>,
        Response = Response,
        Error = Infallible,
        Future: Future<Output = Result<Response, Infallible>> + Send + 'static,
    > {
        service_fn(move |mut request: http::Request<Incoming>| {
            if self.is_encrypted {
                request.extensions_mut().insert(Encrypted);
            }
            let work = Work::begin(&self.pulse, &self.load);
            // Not an `async` block, which would hold the room for a request twice, and hyper moves it.
            let answered = match self.refused(&work, &request) {
                Some(answer) => Either::Left(ready(answer)),
                None => Either::Right(Arc::clone(&self.handler).handle(request, self.peer)),
            };
            answered.map(move |answer| {
                drop(work);
                Ok(answer)
            })
        })
    }

    /// The answer to a request that no handler is to see.
    fn refused(&self, work: &Work, request: &http::Request<Incoming>) -> Option<Response> {
        let refusal = if work.is_too_much {
            Refusal::Busy
        } else if request.headers().len() > self.max_headers {
            // HTTP/1 has its own limit; HTTP/2 counts bytes alone.
            Refusal::TooManyHeaders
        } else {
            return None;
        };
        self.metrics.refuse(refusal);
        let request_id = (self.make_request_id)();
        tracing::debug!(request_id, code = refusal.code(), "a request was refused");
        Some(refusal.response(&request_id))
    }
}

/// A request in work, until it is dropped.
pub(super) struct Work {
    pulse: Arc<Pulse>,
    load: Arc<Load>,
    is_too_much: bool,
}

impl Work {
    fn begin(pulse: &Arc<Pulse>, load: &Arc<Load>) -> Self {
        pulse.begin_request();
        let before = load.in_work.fetch_add(1, Ordering::Relaxed);
        Self { pulse: Arc::clone(pulse), load: Arc::clone(load), is_too_much: before >= load.limit }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.load.in_work.fetch_sub(1, Ordering::Relaxed);
        self.pulse.end_request();
    }
}
