//! The HTTP server: bounded connections and heads, and an end that lets open requests finish.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::future::RouteFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::Service;

use crate::lifecycle::Shutdown;
use crate::telemetry::{MakeRequestId, REQUEST_ID};

/// Limits of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeSettings {
    /// Open connections at a time; more wait in the kernel's queue.
    pub max_connections: usize,
    /// The time a client has to send a request's head; an idle connection is closed after it as well.
    pub header_read_timeout_ms: u64,
    /// The time that open requests have to end after the shutdown began.
    pub drain_deadline_ms: u64,
    /// The largest head of a request, in bytes; at least 8,192.
    pub max_header_bytes: usize,
    /// The most headers that a request may have.
    pub max_headers: usize,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            max_connections: 4_096,
            header_read_timeout_ms: 30_000,
            drain_deadline_ms: 10_000,
            max_header_bytes: 32 * 1024,
            max_headers: 100,
        }
    }
}

/// hyper panics when asked for a smaller read buffer.
const MIN_HEADER_BYTES: usize = 8 * 1024;

/// How long to wait after the system refused a connection (no file handles left), which would else be a busy loop.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until the shutdown, then lets open requests end within the drain deadline.
///
/// The client's address is a request extension: handlers take it as axum's `ConnectInfo<SocketAddr>`. Nothing that a
/// client sends ends the server; a panic of a handler ends its connection alone. A head that cannot be read gets its answer
/// here, with an id of `make_request_id`: no handler sees such a request.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: ServeSettings,
    make_request_id: MakeRequestId,
    shutdown: Shutdown,
) -> Result<(), Infallible> {
    let protocol = protocol(&settings);
    let capacity = Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();

    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.started() => break,
            Some(ended) = connections.join_next() => {
                note_panic(ended);
                continue;
            }
            accepted = accept(&listener, &capacity) => accepted,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if gave_up(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let connection =
            protocol.serve_connection(TokioIo::new(stream), Handler { router: router.clone(), peer });
        let (shutdown, make_request_id) = (shutdown.clone(), Arc::clone(&make_request_id));
        connections.spawn(async move {
            if let Err(error) = converse(connection, &make_request_id, &shutdown).await {
                tracing::debug!(%peer, %error, "connection ended");
            }
            drop(permit);
        });
    }

    drop(listener);
    let deadline = Duration::from_millis(settings.drain_deadline_ms);
    let drain = async {
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
    };
    if tokio::time::timeout(deadline, drain).await.is_err() {
        tracing::warn!(open = connections.len(), ?deadline, "connections were cut off");
    }
    // What is left is aborted and waited for, so that no handler runs after this returns.
    connections.shutdown().await;
    Ok(())
}

/// Serves one connection to its end; from the shutdown on it takes no further request.
async fn converse(
    mut connection: Connection,
    make_request_id: &MakeRequestId,
    shutdown: &Shutdown,
) -> io::Result<()> {
    let mut draining = false;
    let ended = loop {
        tokio::select! {
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
            () = shutdown.started(), if !draining => {
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    let Err(error) = ended else { return stream.shutdown().await };
    // While unread bytes are left, `pipeline_flush` holds back hyper's own answer to a bad head: say it here.
    if let Some(refusal) = refusal(&error, &parts.read_buf) {
        let request_id = make_request_id();
        tracing::debug!(request_id, status = refusal.0, "a request's head was refused");
        tokio::time::timeout(REFUSAL_DEADLINE, refuse(&mut stream, refusal, &request_id)).await??;
    }
    Err(io::Error::other(error))
}

type Connection = http1::Connection<TokioIo<TcpStream>, Handler>;

/// How long a client that sent nonsense may take to read its answer, and how much more it may send meanwhile.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(2);
const REFUSAL_DISCARD_BYTES: u64 = 256 * 1024;

/// Status line and error code for a head that could not be read, or nothing if no answer makes sense.
fn refusal(error: &hyper::Error, unread: &[u8]) -> Option<(&'static str, &'static str)> {
    // Not the start of a method: whatever this speaks, it is not HTTP.
    if !unread.first()?.is_ascii_alphabetic() {
        return None;
    }
    if error.is_parse_too_large() {
        let is_one_line = !unread.contains(&b'\n');
        return Some(if is_one_line {
            ("414 URI Too Long", "uri_too_long")
        } else {
            ("431 Request Header Fields Too Large", "headers_too_large")
        });
    }
    if error.is_parse() {
        return Some(("400 Bad Request", "validation_failed"));
    }
    error.is_timeout().then_some(("408 Request Timeout", "request_timeout"))
}

async fn refuse(stream: &mut TcpStream, (status, code): (&str, &str), request_id: &str) -> io::Result<()> {
    let reason = status.split_once(' ').map_or(status, |(_, reason)| reason);
    let body = format!(
        "{{\"error\":\"{code}\",\"message\":\"the request's head was refused: {reason}\",\
         \"request_id\":\"{request_id}\"}}"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
         {REQUEST_ID}: {request_id}\r\nconnection: close\r\n"
    );
    let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with unread bytes resets the connection, and the reset may overtake the answer.
    let (mut rest, mut nowhere) = (stream.take(REFUSAL_DISCARD_BYTES), tokio::io::sink());
    tokio::io::copy(&mut rest, &mut nowhere).await?;
    Ok(())
}

fn protocol(settings: &ServeSettings) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.header_read_timeout_ms))
        .max_buf_size(settings.max_header_bytes.max(MIN_HEADER_BYTES))
        .max_headers(settings.max_headers)
        // Answers to pipelined requests leave in one write.
        .pipeline_flush(true);
    protocol
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// Takes a place first, then a connection. Cancelling it loses neither.
async fn accept(listener: &TcpListener, capacity: &Arc<Semaphore>) -> io::Result<Accepted> {
    let permit = Arc::clone(capacity).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // With Nagle's algorithm an answer waits for the client's delayed acknowledgement: 40 ms a request.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY was not set");
    }
    Ok((stream, peer, permit))
}

/// Whether the client went away while it waited in the queue: no fault of this machine, so no reason to pause.
fn gave_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// The router as one connection sees it.
struct Handler {
    router: Router,
    peer: SocketAddr,
}

impl hyper::service::Service<hyper::Request<Incoming>> for Handler {
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(ConnectInfo(self.peer));
        self.router.clone().call(request)
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a request handler panicked");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn made() -> String {
        "req_made".to_owned()
    }

    struct Server {
        address: SocketAddr,
        shutdown: Shutdown,
        ended: tokio::task::JoinHandle<Result<(), Infallible>>,
    }

    impl Server {
        async fn start(router: Router, settings: ServeSettings) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let shutdown = Shutdown::new();
            #[allow(clippy::disallowed_methods, reason = "the test joins the task itself")]
            let ended = tokio::spawn(serve(listener, router, settings, Arc::new(made), shutdown.clone()));
            Self { address, shutdown, ended }
        }

        async fn send(&self, request: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        }

        async fn stop(self) {
            self.shutdown.trigger();
            tokio::time::timeout(SOON, self.ended).await.unwrap().unwrap().unwrap();
        }
    }

    /// Reads what arrives until the server closes the connection.
    async fn read_all(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        let read = tokio::time::timeout(SOON, stream.read_to_end(&mut text)).await.unwrap();
        assert!(read.is_ok() || !text.is_empty(), "{read:?}");
        String::from_utf8(text).unwrap()
    }

    async fn peer(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
        peer.to_string()
    }

    const GET_AND_CLOSE: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn a_handler_sees_its_peer() {
        let server = Server::start(Router::new().route("/", get(peer)), ServeSettings::default()).await;
        let stream = server.send(GET_AND_CLOSE).await;
        let own = stream.local_addr().unwrap().to_string();
        let answer = read_all(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(&own), "{answer}");
        server.stop().await;
    }

    #[tokio::test]
    async fn malformed_requests_and_panics_leave_the_server_alive() {
        async fn broken() -> String {
            panic!("a handler's bug")
        }
        let router = Router::new().route("/", get(peer)).route("/broken", get(broken));
        let server =
            Server::start(router, ServeSettings { max_headers: 4, ..ServeSettings::default() }).await;
        assert_eq!(read_all(server.send("\u{0}\u{1} nonsense\r\n\r\n").await).await, "");
        let garbage = read_all(server.send("GET / HTTP/nonsense\r\n\r\n").await).await;
        let body = "{\"error\":\"validation_failed\",\"message\":\"the request's head was refused: Bad Request\",\
                    \"request_id\":\"req_made\"}";
        assert!(garbage.starts_with("HTTP/1.1 400 ") && garbage.ends_with(body), "{garbage}");
        assert!(garbage.contains("\r\nx-request-id: req_made\r\n"), "{garbage}");
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
        let long = read_all(server.send(&long).await).await;
        assert!(long.starts_with("HTTP/1.1 414 ") && long.contains("\"error\":\"uri_too_long\""), "{long}");
        let headers = "a: b\r\n".repeat(5);
        let many = read_all(server.send(&format!("GET / HTTP/1.1\r\n{headers}\r\n")).await).await;
        assert!(many.starts_with("HTTP/1.1 431 "), "{many}");
        assert_eq!(read_all(server.send("GET /broken HTTP/1.1\r\nhost: x\r\n\r\n").await).await, "");
        assert!(read_all(server.send(GET_AND_CLOSE).await).await.starts_with("HTTP/1.1 200 "));
        server.stop().await;
    }

    #[tokio::test]
    async fn a_client_that_sends_nothing_is_closed() {
        let settings = ServeSettings { header_read_timeout_ms: 50, ..ServeSettings::default() };
        let server = Server::start(Router::new(), settings).await;
        let half = server.send("GET / HTTP/1.1\r\nhost:").await;
        assert!(read_all(half).await.starts_with("HTTP/1.1 408 "));
        server.stop().await;
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_for_a_place() {
        let settings = ServeSettings { max_connections: 1, ..ServeSettings::default() };
        let server = Server::start(Router::new().route("/", get(peer)), settings).await;
        let mut first = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut byte = [0];
        first.read_exact(&mut byte).await.unwrap();
        let mut second = server.send(GET_AND_CLOSE).await;
        let waits = tokio::time::timeout(Duration::from_millis(100), second.read_exact(&mut byte)).await;
        assert!(waits.is_err(), "the second connection was served beside the first");
        drop(first);
        assert!(read_all(second).await.starts_with("HTTP/1.1 200 "));
        server.stop().await;
    }

    #[tokio::test]
    async fn an_open_request_ends_before_the_server_does() {
        let (entered, mut was_entered) = tokio::sync::mpsc::channel::<()>(1);
        let go = Shutdown::new();
        let slow = {
            let go = go.clone();
            get(move || async move {
                entered.send(()).await.unwrap();
                go.started().await;
                "done"
            })
        };
        let server = Server::start(Router::new().route("/", slow), ServeSettings::default()).await;
        let stream = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        was_entered.recv().await.unwrap();
        server.shutdown.trigger();
        go.trigger();
        assert!(read_all(stream).await.ends_with("done"));
        server.stop().await;
    }

    #[tokio::test]
    async fn a_request_that_never_ends_is_cut_off_at_the_deadline() {
        let (entered, mut was_entered) = tokio::sync::mpsc::channel::<()>(1);
        let stuck = get(move || async move {
            entered.send(()).await.unwrap();
            std::future::pending::<String>().await
        });
        let settings = ServeSettings { drain_deadline_ms: 20, ..ServeSettings::default() };
        let server = Server::start(Router::new().route("/", stuck), settings).await;
        let stream = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        was_entered.recv().await.unwrap();
        server.stop().await;
        assert_eq!(read_all(stream).await, "");
    }
}
