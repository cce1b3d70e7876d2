//! The server over real sockets.

mod capacity;
mod hostile;
mod http2;
mod tls;

use std::sync::Mutex;
use std::time::Duration;

use axum::routing::{get, post};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::*;

const SOON: Duration = Duration::from_secs(20);

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_AND_CLOSE: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

fn made() -> String {
    "req_made".to_owned()
}

/// A server, with the look of its connections that the rounds have.
struct TestServer {
    address: SocketAddr,
    tasks: Tasks,
    registry: Registry,
}

impl TestServer {
    fn start(router: Router, settings: ServeSettings) -> Self {
        let listeners = listen("127.0.0.1:0".parse().unwrap(), settings.threads.listeners()).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let (tasks, registry) = (Tasks::new(Shutdown::new()), Registry::new());
        let metrics = ServerMetrics::register(&registry, "test").unwrap();
        let server = Server::new(router, settings, Arc::new(made), metrics).unwrap();
        server.spawn(&tasks, "server", listeners).unwrap();
        Self { address, tasks, registry }
    }

    /// The value of a metric with these labels.
    fn metric(&self, line: &str) -> u64 {
        let text = crate::telemetry::metrics_text(&self.registry).unwrap();
        let value = text.lines().find_map(|other| other.strip_prefix(line)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{line} is not in\n{text}")).parse().unwrap()
    }

    /// How much was refused with this code.
    fn refused(&self, code: &str) -> u64 {
        self.metric(&format!("service_http_refused_total{{code=\"{code}\",server=\"test\"}}"))
    }

    /// How many connections are open.
    fn open(&self) -> u64 {
        self.metric("service_http_open_connections{server=\"test\"}")
    }

    /// Waits until so many connections are open.
    async fn await_open(&self, wanted: u64) {
        let reached = async {
            while self.open() != wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(SOON, reached).await.unwrap_or_else(|_| panic!("{} are open", self.open()));
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn stop(self) {
        self.tasks.shutdown().trigger();
        self.tasks.join_all(SOON).await.unwrap();
    }
}

/// Reads what arrives until the server closes the connection.
async fn read_all(mut stream: impl AsyncRead + Unpin) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut text)).await.unwrap();
    assert!(read.is_ok() || !text.is_empty(), "{read:?}");
    String::from_utf8(text).unwrap()
}

/// Reads one answer whose body ends like this.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let read = tokio::time::timeout(SOON, stream.read_buf(&mut text)).await.unwrap().unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&text));
    }
    String::from_utf8(text).unwrap()
}

async fn peer(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
    peer.to_string()
}

/// A router that says `well`.
fn well() -> Router {
    Router::new().route("/", get(|| async { "well" }))
}

/// A route that says when it was entered and ends when it is told to.
fn slow() -> (Router, mpsc::Receiver<()>, Shutdown) {
    let (entered, was_entered) = mpsc::channel::<()>(16);
    let go = Shutdown::new();
    let heard = go.clone();
    let route = get(move || async move {
        entered.send(()).await.unwrap();
        heard.started().await;
        "done"
    });
    (Router::new().route("/", route), was_entered, go)
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let (held, mut was_held) = mpsc::channel::<mpsc::Sender<()>>(1);
    let route = get(move || async move {
        // The other end is told when this one goes.
        let (guard, mut gone) = mpsc::channel::<()>(1);
        held.send(guard.clone()).await.unwrap();
        gone.recv().await;
    });
    let server = TestServer::start(Router::new().route("/", route), ServeSettings::default());
    let stream = server.send(GET).await;
    let guard = tokio::time::timeout(SOON, was_held.recv()).await.unwrap().unwrap();
    drop(stream);
    tokio::time::timeout(SOON, guard.closed()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn what_a_client_says_while_it_waits_is_not_lost() {
    let (router, mut was_entered, go) = slow();
    let server = TestServer::start(router, ServeSettings::default());
    let mut stream = server.send(GET).await;
    was_entered.recv().await.unwrap();
    // Half of the next head, and after it more than is read ahead.
    let next = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(5_000));
    let (half, rest) = next.split_at(30);
    stream.write_all(half.as_bytes()).await.unwrap();
    tokio::task::yield_now().await;
    stream.write_all(rest.as_bytes()).await.unwrap();
    stream.write_all(GET_AND_CLOSE.as_bytes()).await.unwrap();
    go.trigger();
    let answers = read_all(stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answers}");
    server.stop().await;
}

#[tokio::test]
async fn a_handler_sees_its_peer_on_any_kind_of_thread() {
    for threads in [Threads::Shared, Threads::Cores, Threads::Exactly(3)] {
        let settings = ServeSettings { threads, ..ServeSettings::default() };
        let server = TestServer::start(Router::new().route("/", get(peer)), settings);
        let streams = futures::future::join_all((0..12).map(|_| server.send(GET_AND_CLOSE))).await;
        for stream in streams {
            let own = stream.local_addr().unwrap().to_string();
            let answer = read_all(stream).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(&own), "{answer}");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn malformed_requests_and_panics_leave_the_server_alive() {
    async fn broken() -> String {
        panic!("a handler's bug")
    }
    let router = well().route("/broken", get(broken));
    let server = TestServer::start(router, ServeSettings { max_headers: 4, ..ServeSettings::default() });
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
    // What was no HTTP at all is counted as what only looked like it.
    let refused = ["validation_failed", "uri_too_long", "headers_too_large"].map(|code| server.refused(code));
    assert_eq!(refused, [2, 1, 1]);
    server.stop().await;
}

#[tokio::test]
async fn an_open_request_ends_before_the_server_does() {
    for threads in [Threads::Shared, Threads::Exactly(1)] {
        let (router, mut was_entered, go) = slow();
        let server = TestServer::start(router, ServeSettings { threads, ..ServeSettings::default() });
        let stream = server.send(GET).await;
        was_entered.recv().await.unwrap();
        server.tasks.shutdown().trigger();
        go.trigger();
        let answer = read_all(stream).await;
        assert!(answer.ends_with("done"), "{answer}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off_at_the_deadline() {
    let (router, mut was_entered, _go) = slow();
    let settings = ServeSettings { drain_deadline_ms: 20, ..ServeSettings::default() };
    let server = TestServer::start(router, settings);
    let stream = server.send(GET).await;
    was_entered.recv().await.unwrap();
    server.stop().await;
    assert_eq!(read_all(stream).await, "");
}

/// Sixteen rounds pass in the idle timeout, so the connection is parked between its requests.
#[tokio::test]
async fn a_connection_on_which_nothing_happens_goes_on_where_it_was() {
    let settings = ServeSettings { header_read_timeout_ms: 80, ..ServeSettings::default() };
    let server = TestServer::start(well(), settings);
    let mut stream = server.send(GET).await;
    for pause_ms in [0, 45, 150] {
        let answer = read_until(&mut stream, "well").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("connection: close"), "{answer}");
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        stream.write_all(GET.as_bytes()).await.unwrap();
    }
    read_until(&mut stream, "well").await;
    // Its first half counts, however late the other comes.
    stream.write_all(&GET.as_bytes()[..10]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    stream.write_all(&GET.as_bytes()[10..]).await.unwrap();
    read_until(&mut stream, "well").await;
    server.stop().await;
    assert_eq!(read_all(stream).await, "");
}

#[tokio::test]
async fn a_body_is_read_and_the_connection_parked_after_it() {
    let settings = ServeSettings { header_read_timeout_ms: 40, ..ServeSettings::default() };
    let router = Router::new().route("/", post(|body: String| async move { format!("{body}!") }));
    let server = TestServer::start(router, settings);
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbo").await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        stream.write_all(b"dy").await.unwrap();
        assert!(read_until(&mut stream, "body!").await.starts_with("HTTP/1.1 200 "));
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    server.stop().await;
}
