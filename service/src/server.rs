//! The HTTP server: HTTP/1.1 and HTTP/2 on one port, bounded in everything that a client can make it hold.
//!
//! Modules stand in the order a connection meets them: it is accepted ([`listener`], [`accept`]), maybe deciphered
//! ([`tls`]), served ([`connection`], [`request`]), looked after while it is open ([`rounds`]) and refused where a client
//! asks for too much ([`refusal`]).

mod accept;
mod connection;
mod listener;
mod metrics;
mod pulse;
mod refusal;
mod request;
mod rounds;
mod settings;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use futures::FutureExt;
use hyper::body::Incoming;
use prometheus::Registry;
use tokio::net::TcpListener;
use tower::Service as _;

use crate::lifecycle::{Shutdown, Tasks};
use crate::telemetry::MakeRequestId;

pub use self::listener::listen;
pub use self::metrics::ServerMetrics;
pub use self::settings::{ServeSettings, Threads};
pub use self::tls::TlsError;

/// Why a server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A setting contradicts itself.
    #[error("{setting} {reason}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A certificate or key that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The counters exist already.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Stands in the extensions of a request that came over a connection which this server has deciphered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encrypted;

/// What answers requests. A router does; what is faster than a router may do it as well.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers a request from this address. Each thread of a server has a handler of its own, which its requests share.
    fn handle(
        self: Arc<Self>,
        request: http::Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + Send;
}

impl Handler for Router {
    /// Handlers find the address as axum's `ConnectInfo<SocketAddr>`.
    fn handle(
        self: Arc<Self>,
        mut request: http::Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + Send {
        request.extensions_mut().insert(ConnectInfo(peer));
        Self::clone(&self).call(request).map(|answered| {
            let Ok(response) = answered;
            response
        })
    }
}

/// A server that is ready to serve. Clones share its limits.
#[derive(Clone)]
pub struct Server<H> {
    handler: H,
    settings: ServeSettings,
    make_request_id: MakeRequestId,
    metrics: ServerMetrics,
    places: Arc<accept::Places>,
    tls: Option<tls::Tls>,
}

impl<H: Handler> Server<H> {
    /// A server with these settings. A head that cannot be read, and what is beyond a limit, gets its answer here, with an id
    /// of `make_request_id`: no handler sees such a request.
    ///
    /// # Errors
    /// A setting that contradicts itself, and a certificate or key that cannot be used, by its setting.
    pub fn new(
        handler: H,
        settings: ServeSettings,
        make_request_id: MakeRequestId,
        metrics: ServerMetrics,
    ) -> Result<Self, ServerError> {
        if let Some((setting, reason)) = settings.contradiction() {
            return Err(ServerError::Setting { setting, reason });
        }
        let places = Arc::new(accept::Places::new(settings.max_connections, metrics.clone()));
        let tls = tls::Tls::load(&settings)?;
        Ok(Self { handler, settings, make_request_id, metrics, places, tls })
    }

    /// Serves on `listeners` as tasks of the process, until `tasks` are shut down: on threads of their own, or all on the
    /// runtime that this is called in.
    pub fn spawn(
        self,
        tasks: &Tasks,
        name: &'static str,
        listeners: Vec<std::net::TcpListener>,
    ) -> std::io::Result<()> {
        let shutdown = tasks.shutdown().clone();
        if let Some(tls) = self.tls.clone() {
            tasks.spawn(format!("{name} certificate"), tls.follow_files(shutdown.clone()));
        }
        for (number, listener) in listeners.into_iter().enumerate() {
            let (server, shutdown) = (self.clone(), shutdown.clone());
            if self.settings.threads == Threads::Shared {
                tasks.spawn(name, server.serve(TcpListener::from_std(listener)?, shutdown));
                continue;
            }
            let end = shutdown.clone();
            tasks.spawn_thread(&end, format!("{name} {number}"), move || async move {
                let Ok(()) = server.serve(TcpListener::from_std(listener)?, shutdown).await;
                Ok::<(), std::io::Error>(())
            })?;
        }
        Ok(())
    }

    /// Serves on one listener until the shutdown, then lets open requests end within the drain deadline.
    ///
    /// Nothing that a client sends ends the server; a panic of a handler ends its connection alone.
    pub async fn serve(self, listener: TcpListener, shutdown: Shutdown) -> Result<(), Infallible> {
        accept::Acceptor::new(self).run(listener, &shutdown).await;
        Ok(())
    }
}

/// [`Server::new`] and [`Server::serve`] in one, for a server whose counters nobody reads.
///
/// # Errors
/// As [`Server::new`].
pub async fn serve(
    listener: TcpListener,
    handler: impl Handler,
    settings: ServeSettings,
    make_request_id: MakeRequestId,
    shutdown: Shutdown,
) -> Result<(), ServerError> {
    let metrics = ServerMetrics::register(&Registry::new(), "server")?;
    let Ok(()) = Server::new(handler, settings, make_request_id, metrics)?.serve(listener, shutdown).await;
    Ok(())
}
