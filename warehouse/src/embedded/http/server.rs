//! The HTTP server in front of the engine.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use uuid::Uuid;

use super::super::engine::{Engine, Execution};
use super::super::exception::{Exception, code};
use super::super::ffi::{Block, Counters};
use super::answer::{self, AnswerBody, BrokenOff, Head, Pieces};
use super::auth::{Credentials, Verdict};
use super::encoding::{Coding, Encoder, too_large};
use super::request::Parameters;

/// The largest body, as sent and as decoded.
const MAX_BODY_BYTES: usize = 256 << 20;

/// All bodies in flight together, in units of [`BODY_UNIT_BYTES`].
const MAX_BODY_UNITS: usize = 512;
const BODY_UNIT_BYTES: usize = 1 << 20;

/// Statements that run at once; more wait.
const MAX_RUNNING_STATEMENTS: usize = 16;

/// How long a request waits for its turn before it is refused.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take for its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take from one piece of its body to the next.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of an answer is held back for a summary with its final numbers and a status that knows the end.
const HELD_BACK_BYTES: usize = 1 << 20;

/// Pieces of an answer that wait for a slow client.
const QUEUED_PIECES: usize = 4;

/// What the server is made from.
pub(crate) struct ServerSettings {
    pub(crate) engine: Arc<Engine>,
    pub(crate) credentials: Credentials,
    /// How long a stop waits for the statements that run.
    pub(crate) stop_timeout: Duration,
}

/// The server.
pub(crate) struct Server {
    engine: Arc<Engine>,
    credentials: Credentials,
    stop_timeout: Duration,
    turns: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

impl Server {
    pub(crate) fn new(settings: ServerSettings) -> Arc<Self> {
        Arc::new(Self {
            engine: settings.engine,
            credentials: settings.credentials,
            stop_timeout: settings.stop_timeout,
            turns: Arc::new(Semaphore::new(MAX_RUNNING_STATEMENTS)),
            bodies: Arc::new(Semaphore::new(MAX_BODY_UNITS)),
        })
    }

    /// Serves until `stop` resolves, then finishes what runs. Says whether everything had ended in time.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener, stop: impl Future<Output = ()>) -> bool {
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stop => break,
            };
            let Ok((stream, _)) = accepted else {
                // Out of file descriptors, most likely: wait for some to come back.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            let server = Arc::clone(&self);
            let service = service_fn(move |request| {
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            #[allow(
                clippy::disallowed_methods,
                reason = "the graceful shutdown below waits for connections"
            )]
            tokio::spawn(async move {
                // A client that went away is no event for the engine.
                let _ = connection.await;
            });
        }
        drop(listener);
        let ended = async {
            graceful.shutdown().await;
            let all = u32::try_from(MAX_RUNNING_STATEMENTS).unwrap_or(u32::MAX);
            self.turns.acquire_many(all).await.is_ok()
        };
        tokio::time::timeout(self.stop_timeout, ended).await.unwrap_or(false)
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<AnswerBody> {
        match request.uri().path() {
            "/" => {}
            "/ping" | "/replicas_status" => return answer::plain(StatusCode::OK, "Ok.\n"),
            _ => return answer::plain(StatusCode::NOT_FOUND, "There is no such handle: use / or /ping\n"),
        }
        let parameters = Parameters::of(request.uri().query().unwrap_or_default());
        let query_id = parameters.query_id.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
        let url = (parameters.user.as_deref(), parameters.password.as_deref());
        match self.credentials.judge(request.headers(), url) {
            Verdict::Allowed => {}
            Verdict::Missing => return answer::unauthorized(&authentication_failed()),
            Verdict::Wrong => return answer::failure(&authentication_failed(), &query_id),
        }
        let answered = self.execute(request, parameters, &query_id).await;
        answered.unwrap_or_else(|exception| answer::failure(&exception, &query_id))
    }

    async fn execute(
        self: &Arc<Self>,
        request: Request<Incoming>,
        mut parameters: Parameters,
        query_id: &str,
    ) -> Result<Response<AnswerBody>, Exception> {
        let (parts, body) = request.into_parts();
        if !matches!(parts.method, Method::GET | Method::POST | Method::HEAD) {
            return Err(Exception::new(code::BAD_ARGUMENTS, "BAD_ARGUMENTS", "Use GET or POST"));
        }
        let (body, reserved) = self.read(body).await?;
        let body = parameters.take_form(&parts.headers, decode(&parts.headers, body)?).await?;
        let body = if parameters.framed_body { Coding::Frames.decode(&body, MAX_BODY_BYTES)? } else { body };
        let coding = parameters.answer_coding(&parts.headers);
        let execution = parameters.execution(&parts.method, &parts.headers, body)?;
        let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.turns).acquire_owned());
        let turn =
            turn.await.ok().and_then(Result::ok).ok_or_else(|| busy("Too many simultaneous queries"))?;
        let head = Head {
            format: execution.format.clone(),
            query_id: query_id.to_owned(),
            coding,
            counters: Counters::default(),
            started: Instant::now(),
            exception_tag: None,
        };
        let (sender, answered) = oneshot::channel();
        let engine = Arc::clone(&self.engine);
        // hyper drops this future when the client goes away.
        let mut abandoned = Abandoned { engine: Arc::clone(&engine), mark: Some(execution.mark.clone()) };
        tokio::task::spawn_blocking(move || {
            let _held = (turn, reserved);
            run(&engine, execution, head, sender);
        });
        let answered = answered.await;
        abandoned.mark = None;
        answered.map_err(|_| Exception::no_answer())?
    }

    /// Reads the body, within the bounds of one and of all.
    async fn read(&self, mut body: Incoming) -> Result<(Bytes, Vec<OwnedSemaphorePermit>), Exception> {
        let mut read = BytesMut::new();
        let mut reserved = Vec::new();
        loop {
            let frame = tokio::time::timeout(BODY_TIMEOUT, body.frame())
                .await
                .map_err(|_| network_error("the body did not come in time"))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| network_error(&error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            if read.len() + data.len() > MAX_BODY_BYTES {
                return Err(too_large(MAX_BODY_BYTES));
            }
            read.extend_from_slice(&data);
            while reserved.len() * BODY_UNIT_BYTES < read.len() {
                let unit = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.bodies).acquire_owned());
                let unit = unit.await.ok().and_then(Result::ok);
                reserved.push(unit.ok_or_else(|| busy("Too many request bodies at once"))?);
            }
        }
        Ok((read.freeze(), reserved))
    }
}

fn decode(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Exception> {
    let Some(name) = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()) else {
        return Ok(body);
    };
    if body.is_empty() || name.eq_ignore_ascii_case("identity") {
        return Ok(body);
    }
    let unknown = || {
        let message = format!("Unknown compression method {name}");
        Exception::new(code::NOT_IMPLEMENTED, "NOT_IMPLEMENTED", &message)
    };
    Coding::named(name).ok_or_else(unknown)?.decode(&body, MAX_BODY_BYTES)
}

fn authentication_failed() -> Exception {
    let message = "Authentication failed: password is incorrect, or there is no user with such name.";
    Exception::new(code::AUTHENTICATION_FAILED, "AUTHENTICATION_FAILED", message)
}

fn busy(message: &str) -> Exception {
    Exception::new(code::TOO_MANY_SIMULTANEOUS_QUERIES, "TOO_MANY_SIMULTANEOUS_QUERIES", message)
}

fn network_error(message: &str) -> Exception {
    Exception::new(code::NETWORK_ERROR, "NETWORK_ERROR", message)
}

/// Cancels a statement that nobody waits for any more.
struct Abandoned {
    engine: Arc<Engine>,
    mark: Option<String>,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let (Some(mark), Ok(runtime)) = (self.mark.take(), Handle::try_current()) {
            let engine = Arc::clone(&self.engine);
            // Not cancelled, it ends by its time limit.
            runtime.spawn_blocking(move || drop(engine.cancel(&mark)));
        }
    }
}

type Answered = oneshot::Sender<Result<Response<AnswerBody>, Exception>>;

/// What has been sent so far.
enum Sending {
    /// Nothing: the answer is held back.
    Held { held: Vec<u8>, answered: Answered },
    /// The head and some pieces.
    Streaming { pieces: mpsc::Sender<Result<Bytes, BrokenOff>>, encoder: Encoder },
    /// The client is gone.
    Gone,
}

/// Runs a statement on the engine's thread and sends its answer.
fn run(engine: &Engine, execution: Execution, mut head: Head, answered: Answered) {
    if answered.is_closed() {
        return;
    }
    let mut sending = Sending::Held { held: Vec::new(), answered };
    let tag = Uuid::new_v4().simple().to_string()[..16].to_owned();
    let result = engine.execute(&execution, &mut |block: Block| {
        head.counters.add(block.counters);
        sending = advance(std::mem::replace(&mut sending, Sending::Gone), block.data, &mut head, &tag);
        if matches!(sending, Sending::Gone) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match (sending, result) {
        (Sending::Held { held, answered }, Ok(())) => {
            let encoded = encode_whole(head.coding, held);
            let _ = answered.send(encoded.map(|body| answer::success(&head, Pieces::Whole(body))));
        }
        (Sending::Held { answered, .. }, Err(exception)) => {
            let _ = answered.send(Err(exception));
        }
        (Sending::Streaming { pieces, encoder }, Ok(())) => {
            if let Ok(rest) = encoder.finish()
                && !rest.is_empty()
            {
                let _ = pieces.blocking_send(Ok(rest));
            }
        }
        (Sending::Streaming { pieces, mut encoder }, Err(exception)) => {
            if let Ok(encoded) = encoder.encode(answer::exception_block(&exception, &tag)) {
                let _ = pieces.blocking_send(Ok(encoded));
            }
            if let Ok(rest) = encoder.finish() {
                let _ = pieces.blocking_send(Ok(rest));
            }
            let _ = pieces.blocking_send(Err(BrokenOff));
        }
        (Sending::Gone, _) => {}
    }
}

fn encode_whole(coding: Option<Coding>, held: Vec<u8>) -> Result<Bytes, Exception> {
    let encoded = Encoder::new(coding).and_then(|mut encoder| {
        let body = encoder.encode(held)?;
        let rest = encoder.finish()?;
        Ok(if rest.is_empty() { body } else { Bytes::from([&body[..], &rest[..]].concat()) })
    });
    encoded.map_err(|error| network_error(&error.to_string()))
}

/// Takes one more piece of the answer.
fn advance(sending: Sending, data: Vec<u8>, head: &mut Head, tag: &str) -> Sending {
    match sending {
        Sending::Held { mut held, answered } => {
            if held.is_empty() {
                held = data;
            } else {
                held.extend_from_slice(&data);
            }
            if held.len() < HELD_BACK_BYTES {
                return Sending::Held { held, answered };
            }
            let Ok(mut encoder) = Encoder::new(head.coding) else { return Sending::Gone };
            let Ok(first) = encoder.encode(held) else { return Sending::Gone };
            head.exception_tag = Some(tag.to_owned());
            let (pieces, rest) = mpsc::channel(QUEUED_PIECES);
            let response = answer::success(head, Pieces::Stream { first, rest });
            match answered.send(Ok(response)) {
                Ok(()) => Sending::Streaming { pieces, encoder },
                Err(_) => Sending::Gone,
            }
        }
        Sending::Streaming { pieces, mut encoder } => match encoder.encode(data) {
            Ok(encoded) => {
                let taken = encoded.is_empty() || pieces.blocking_send(Ok(encoded)).is_ok();
                if taken { Sending::Streaming { pieces, encoder } } else { Sending::Gone }
            }
            Err(_) => Sending::Gone,
        },
        Sending::Gone => Sending::Gone,
    }
}
