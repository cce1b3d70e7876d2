//! Start and stop: one shutdown that everything hears, tasks that cannot end unseen, and the HTTP server.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::future::RouteFuture;
use futures::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

/// The word to stop, heard by everyone who holds a copy.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// A shutdown that has not started.
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that starts with this one at the latest; starting it leaves this one alone. For stopping in stages.
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token() }
    }

    /// Starts the shutdown; a second time changes nothing.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Whether the shutdown has started.
    pub fn is_started(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits for the shutdown to start. May be dropped and called again.
    pub async fn started(&self) {
        self.token.cancelled().await;
    }
}

/// Why the tasks did not end well.
#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    /// A task failed, and the rest was shut down because of it.
    #[error("{task} {reason}")]
    Failed {
        /// The task's name.
        task: String,
        /// What happened to it.
        reason: String,
    },
    /// Some tasks did not end in time and were cut off.
    #[error("not ended {deadline:?} after the shutdown began: {tasks}")]
    Deadline {
        /// The time they had.
        deadline: Duration,
        /// Their names.
        tasks: String,
    },
}

/// All tasks of a process. A task that fails or panics, or ends before the shutdown, starts the shutdown.
#[derive(Debug, Clone)]
pub struct Tasks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shutdown: Shutdown,
    tracker: TaskTracker,
    next: AtomicU64,
    running: Mutex<HashMap<u64, Running>>,
    failure: OnceLock<(String, String)>,
}

#[derive(Debug)]
struct Running {
    name: Cow<'static, str>,
    // A blocking task has none: a thread cannot be cut off.
    abort: Option<AbortHandle>,
}

/// When a task may end.
#[derive(Debug)]
enum Life {
    Until(Shutdown),
    Errand,
}

impl Life {
    fn may_end(&self) -> bool {
        match self {
            Self::Until(shutdown) => shutdown.is_started(),
            Self::Errand => true,
        }
    }
}

impl Tasks {
    /// No tasks yet; the first failure triggers `shutdown`.
    pub fn new(shutdown: Shutdown) -> Self {
        let inner = Inner {
            shutdown,
            tracker: TaskTracker::new(),
            next: AtomicU64::new(0),
            running: Mutex::new(HashMap::new()),
            failure: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The shutdown that a failure of a task triggers.
    pub fn shutdown(&self) -> &Shutdown {
        &self.inner.shutdown
    }

    /// Runs a task that lives until the shutdown: its end before that, a panic or an error start it.
    pub fn spawn<E: fmt::Display>(
        &self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.spawn_async(name.into(), Life::Until(self.inner.shutdown.clone()), task);
    }

    /// Runs a task that lives until `end`, for what is stopped in a stage of its own before the shutdown.
    pub fn spawn_until<E: fmt::Display>(
        &self,
        end: &Shutdown,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.spawn_async(name.into(), Life::Until(end.clone()), task);
    }

    /// Runs a task that may end at any time; only a panic or an error start the shutdown.
    pub fn spawn_errand<E: fmt::Display>(
        &self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.spawn_async(name.into(), Life::Errand, task);
    }

    /// Runs work that blocks, on a thread of its own, until the shutdown; it has to watch the shutdown by itself.
    pub fn spawn_blocking<E: fmt::Display>(
        &self,
        name: impl Into<Cow<'static, str>>,
        work: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) {
        let tasks = self.clone();
        let number = self.enter(name.into());
        let life = Life::Until(self.inner.shutdown.clone());
        self.inner.tracker.spawn_blocking(move || {
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(work));
            tasks.leave(number, &life, &describe(outcome));
        });
    }

    fn spawn_async<E: fmt::Display>(
        &self,
        name: Cow<'static, str>,
        life: Life,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let tasks = self.clone();
        let number = self.enter(name);
        let handle = self.inner.tracker.spawn(async move {
            let outcome = AssertUnwindSafe(task).catch_unwind().await;
            // The error itself may not be Send; its text is.
            let outcome = describe(outcome);
            tasks.leave(number, &life, &outcome);
        });
        let mut running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = running.get_mut(&number) {
            entry.abort = Some(handle.abort_handle());
        }
    }

    fn enter(&self, name: Cow<'static, str>) -> u64 {
        let number = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let mut running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(number, Running { name, abort: None });
        number
    }

    fn leave(&self, number: u64, life: &Life, outcome: &Result<(), String>) {
        let entry = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        let name = entry.map_or(Cow::Borrowed("task"), |entry| entry.name);
        let reason = match outcome {
            Ok(()) if life.may_end() || self.inner.shutdown.is_started() => {
                tracing::debug!(task = %name, "ended");
                return;
            }
            Ok(()) => "ended before the shutdown",
            Err(reason) => reason,
        };
        tracing::error!(task = %name, reason, "task failed");
        // Only the first failure is the cause; the others follow from it.
        let _ = self.inner.failure.set((name.into_owned(), reason.to_owned()));
        self.inner.shutdown.trigger();
    }

    /// Waits for the shutdown to start, and from then at most `deadline` for all tasks to end; cuts off the rest.
    ///
    /// A blocking task cannot be cut off: it is named and left behind.
    pub async fn join_all(&self, deadline: Duration) -> Result<(), TasksError> {
        self.inner.shutdown.started().await;
        self.inner.tracker.close();
        let in_time = tokio::time::timeout(deadline, self.inner.tracker.wait()).await;
        if let Some((task, reason)) = self.inner.failure.get() {
            self.abort_all();
            return Err(TasksError::Failed { task: task.clone(), reason: reason.clone() });
        }
        match in_time {
            Ok(()) => Ok(()),
            Err(_) => Err(TasksError::Deadline { deadline, tasks: self.abort_all() }),
        }
    }

    fn abort_all(&self) -> String {
        let mut running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = Vec::with_capacity(running.len());
        for (_, task) in running.drain() {
            if let Some(abort) = task.abort {
                abort.abort();
            }
            names.push(task.name);
        }
        names.sort();
        names.join(", ")
    }
}

fn describe<E: fmt::Display>(
    outcome: Result<Result<(), E>, Box<dyn std::any::Any + Send>>,
) -> Result<(), String> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("failed: {error}")),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            Err(format!("panicked: {}", text.unwrap_or("without a message")))
        }
    }
}

/// The signals that ask a process to end.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on the signals no longer kill the process. Call it before anything that needs a tidy end.
    pub fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of them and returns its name.
    pub async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Waits for SIGTERM or SIGINT and returns its name.
pub async fn signals() -> io::Result<&'static str> {
    Ok(Signals::install()?.received().await)
}

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
/// client sends ends the server; a panic of a handler ends its connection alone.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: ServeSettings,
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
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            if let Err(error) = converse(connection, &shutdown).await {
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
async fn converse(mut connection: Connection, shutdown: &Shutdown) -> io::Result<()> {
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
        tokio::time::timeout(REFUSAL_DEADLINE, refuse(&mut stream, refusal)).await??;
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

async fn refuse(stream: &mut TcpStream, (status, code): (&str, &str)) -> io::Result<()> {
    let reason = status.split_once(' ').map_or(status, |(_, reason)| reason);
    let body = format!("{{\"error\":\"{code}\",\"message\":\"the request's head was refused: {reason}\"}}");
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
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
    use tokio::sync::oneshot;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn tasks() -> Tasks {
        Tasks::new(Shutdown::new())
    }

    fn never() -> impl Future<Output = Result<(), String>> {
        std::future::pending()
    }

    #[tokio::test]
    async fn tasks_end_with_the_shutdown() {
        let tasks = tasks();
        let heard = tasks.shutdown().clone();
        tasks.spawn("listener", async move {
            heard.started().await;
            Ok::<(), String>(())
        });
        tasks.spawn_errand("errand", async { Ok::<(), String>(()) });
        let heard = tasks.shutdown().clone();
        tasks.spawn_blocking("worker", move || {
            futures::executor::block_on(heard.started());
            Ok::<(), String>(())
        });
        assert!(!tasks.shutdown().is_started());
        tasks.shutdown().trigger();
        tasks.join_all(SOON).await.unwrap();
    }

    #[tokio::test]
    async fn a_failure_a_panic_and_an_early_end_start_the_shutdown() {
        let failed = tasks();
        failed.spawn("reader", async { Err("disk is gone") });
        assert_eq!(failed.join_all(SOON).await.unwrap_err().to_string(), "reader failed: disk is gone");

        let panicked = tasks();
        panicked.spawn_blocking("decider", || -> Result<(), String> { panic!("at event {}", 7) });
        assert_eq!(panicked.join_all(SOON).await.unwrap_err().to_string(), "decider panicked: at event 7");

        let ended = tasks();
        ended.spawn("sink", async { Ok::<(), String>(()) });
        assert_eq!(ended.join_all(SOON).await.unwrap_err().to_string(), "sink ended before the shutdown");
    }

    #[tokio::test]
    async fn a_stage_may_end_before_the_shutdown_but_not_before_its_own_end() {
        let (tasks, stage) = (tasks(), Shutdown::new());
        let (ended, was_ended) = oneshot::channel::<()>();
        let heard = stage.clone();
        tasks.spawn_until(&stage, "appender", async move {
            let _ended = ended;
            heard.started().await;
            Ok::<(), String>(())
        });
        stage.trigger();
        assert!(was_ended.await.is_err());
        assert!(!tasks.shutdown().is_started());
        tasks.spawn_until(&Shutdown::new(), "early", async { Ok::<(), String>(()) });
        assert_eq!(tasks.join_all(SOON).await.unwrap_err().to_string(), "early ended before the shutdown");
    }

    #[tokio::test]
    async fn what_does_not_end_in_time_is_named_and_cut_off() {
        let tasks = tasks();
        let (dropped, was_dropped) = oneshot::channel::<()>();
        tasks.spawn("stuck", async move {
            let _dropped = dropped;
            never().await
        });
        tasks.spawn("also stuck", never());
        tasks.shutdown().trigger();
        let error = tasks.join_all(Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(error.to_string(), "not ended 10ms after the shutdown began: also stuck, stuck");
        assert!(tokio::time::timeout(SOON, was_dropped).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_child_shutdown_leaves_its_parent_alone() {
        let parent = Shutdown::new();
        let (first, second) = (parent.child(), parent.child());
        first.trigger();
        assert!(first.is_started() && !parent.is_started() && !second.is_started());
        parent.trigger();
        assert!(second.is_started());
    }

    #[tokio::test]
    async fn a_signal_is_received_and_does_not_kill() {
        let mut signals = Signals::install().unwrap();
        let itself = std::process::id().to_string();
        let sent = tokio::process::Command::new("kill").args(["-TERM", &itself]).status().await.unwrap();
        assert!(sent.success());
        assert_eq!(tokio::time::timeout(SOON, signals.received()).await.unwrap(), "SIGTERM");
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
            let ended = tokio::spawn(serve(listener, router, settings, shutdown.clone()));
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
        assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
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
            never().await.unwrap_or_default()
        });
        let settings = ServeSettings { drain_deadline_ms: 20, ..ServeSettings::default() };
        let server = Server::start(Router::new().route("/", stuck), settings).await;
        let stream = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        was_entered.recv().await.unwrap();
        server.stop().await;
        assert_eq!(read_all(stream).await, "");
    }
}
