//! Taking connections in, looking after them, and seeing them out.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use super::connection::{Conversation, Protocols, Streams};
use super::metrics::ServerMetrics;
use super::pulse::{Pulse, Wish};
use super::refusal::Refusal;
use super::request::{Load, Requests};
use super::rounds::{Patience, Watched};
use super::{Handler, Server};
use crate::lifecycle::Shutdown;

/// How long to wait after the system refused a connection (no file handles left), which would else be a busy loop.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Connections beyond the limit that are being told so; more are closed without a word.
pub(super) const MAX_REFUSALS: usize = 64;

/// The connections that a server may have open, on all its threads together.
#[derive(Debug)]
pub(super) struct Places {
    taken: AtomicUsize,
    limit: usize,
    metrics: ServerMetrics,
}

impl Places {
    pub(super) const fn new(limit: usize, metrics: ServerMetrics) -> Self {
        Self { taken: AtomicUsize::new(0), limit, metrics }
    }

    fn take(self: &Arc<Self>) -> Option<Place> {
        if self.taken.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.metrics.open();
        Some(Place(Arc::clone(self)))
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.close();
    }
}

/// The connections of one listener.
pub(super) struct Acceptor<H> {
    server: Server<H>,
    /// Of this listener alone: threads that share one would wait for each other's counts of it.
    handler: Arc<H>,
    protocols: Protocols,
    streams: Streams,
    load: Arc<Load>,
    patience: Patience,
    connections: JoinSet<()>,
    watched: HashMap<Id, Watched>,
    refusals: JoinSet<()>,
}

impl<H: Handler> Acceptor<H> {
    pub(super) fn new(server: Server<H>) -> Self {
        let settings = &server.settings;
        let streams = Streams::default();
        Self {
            protocols: Protocols::new(settings, streams.clone()),
            streams,
            load: Arc::new(Load::new(settings.max_requests.div_ceil(settings.threads.listeners()))),
            patience: Patience::of(settings),
            connections: JoinSet::new(),
            watched: HashMap::new(),
            refusals: JoinSet::new(),
            handler: Arc::new(server.handler.clone()),
            server,
        }
    }

    /// Serves until the shutdown, and drains.
    pub(super) async fn run(mut self, listener: TcpListener, shutdown: &Shutdown) {
        let mut rounds = tokio::time::interval(self.patience.round());
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopped = shutdown.started();
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                biased;
                () = &mut stopped => break,
                Some(ended) = self.connections.join_next_with_id() => self.note_end(ended),
                Some(_) = self.refusals.join_next() => {}
                _ = rounds.tick() => self.round(),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.take_in(stream, peer),
                    Err(error) if gave_up(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "a connection was not accepted");
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                    }
                },
            }
        }
        drop(listener);
        self.drain().await;
    }

    fn take_in(&mut self, stream: TcpStream, peer: SocketAddr) {
        // With Nagle's algorithm an answer waits for the client's delayed acknowledgement: 40 ms a request.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY was not set");
        }
        let Some(place) = self.server.places.take() else { return self.turn_away(stream, peer) };
        let pulse = Arc::new(Pulse::default());
        let requests = Requests {
            handler: Arc::clone(&self.handler),
            peer,
            pulse: Arc::clone(&pulse),
            load: Arc::clone(&self.load),
            metrics: self.server.metrics.clone(),
            max_headers: self.server.settings.max_headers,
            make_request_id: Arc::clone(&self.server.make_request_id),
            is_encrypted: self.server.tls.is_some(),
        };
        let conversation = Conversation { requests, protocols: self.protocols.clone() };
        let end = move |ended: io::Result<()>| {
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "connection ended");
            }
            drop(place);
        };
        // Not one task for both: each connection would hold the room that a cipher needs.
        let task = match self.server.tls.clone() {
            None => self.connections.spawn(conversation.open(stream).map(end)),
            Some(tls) => self.connections.spawn(tls.serve(conversation, stream).map(end)),
        };
        self.watched.insert(task.id(), Watched::new(pulse, task, Instant::now()));
    }

    /// Says at once that there is no place. A client that expects a cipher is not answered in plain text.
    fn turn_away(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        self.server.metrics.refuse(Refusal::Busy);
        let is_told = self.server.tls.is_none() && self.refusals.len() < MAX_REFUSALS;
        tracing::debug!(%peer, is_told, "a connection beyond the limit was turned away");
        if is_told {
            let request_id = (self.server.make_request_id)();
            self.refusals.spawn(async move {
                if let Err(error) = Refusal::Busy.tell(&mut stream, &request_id).await {
                    tracing::debug!(%peer, %error, "a connection that was turned away ended");
                }
            });
        }
    }

    fn round(&mut self) {
        let now = Instant::now();
        for connection in self.watched.values_mut() {
            connection.round(&self.patience, now);
        }
    }

    fn note_end(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        self.watched.remove(&id);
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!(%error, "a request handler panicked");
        }
    }

    async fn drain(&mut self) {
        for connection in self.watched.values() {
            connection.pulse.wish(Wish::Drain);
        }
        let deadline = self.server.settings.drain_deadline();
        let drained = async {
            while let Some(ended) = self.connections.join_next_with_id().await {
                self.note_end(ended);
            }
            while self.refusals.join_next().await.is_some() {}
        };
        if tokio::time::timeout(deadline, drained).await.is_err() {
            tracing::warn!(open = self.connections.len(), ?deadline, "connections were cut off");
        }
        // What is left is aborted and waited for, so that no handler runs after this returns.
        self.refusals.shutdown().await;
        self.connections.shutdown().await;
        self.streams.stop().await;
    }
}

/// Whether the client went away while it waited in the queue: no fault of this machine, so no reason to pause.
fn gave_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
