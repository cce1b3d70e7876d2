//! One request: counted, bounded, and passed to the handler.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::response::Response;
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use super::Handler;
use super::pulse::Pulse;
use super::refusal::Refusal;
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
    pub(super) handler: H,
    pub(super) peer: SocketAddr,
    pub(super) pulse: Arc<Pulse>,
    pub(super) load: Arc<Load>,
    pub(super) max_headers: usize,
    pub(super) make_request_id: MakeRequestId,
}

impl<H: Handler> Clone for Requests<H> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
            peer: self.peer,
            pulse: Arc::clone(&self.pulse),
            load: Arc::clone(&self.load),
            max_headers: self.max_headers,
            make_request_id: Arc::clone(&self.make_request_id),
        }
    }
}

impl<H: Handler> hyper::service::Service<http::Request<Incoming>> for Requests<H> {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<H::Future>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let work = Work::begin(&self.pulse, &self.load);
        let refused = if work.is_too_much {
            Some(Refusal::Busy)
        } else if request.headers().len() > self.max_headers {
            // HTTP/1 has its own limit; HTTP/2 counts bytes alone.
            Some(Refusal::TooManyHeaders)
        } else {
            None
        };
        match refused {
            Some(refusal) => {
                let request_id = (self.make_request_id)();
                tracing::debug!(request_id, code = refusal.code(), "a request was refused");
                Answering::Refused { answer: Some(refusal.response(&request_id)), _work: work }
            }
            None => Answering::Working { answer: self.handler.handle(request, self.peer), _work: work },
        }
    }
}

pin_project! {
    /// The answer to come.
    #[project = AnsweringPinned]
    pub(super) enum Answering<F> {
        Working { #[pin] answer: F, _work: Work },
        Refused { answer: Option<Response>, _work: Work },
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answering<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnsweringPinned::Working { answer, .. } => answer.poll(cx),
            AnsweringPinned::Refused { answer, .. } => match answer.take() {
                Some(answer) => Poll::Ready(Ok(answer)),
                // Polled after its end, which no caller does.
                None => Poll::Pending,
            },
        }
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
