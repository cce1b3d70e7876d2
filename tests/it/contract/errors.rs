//! The errors of the contract that an edge can give, each at least once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::Method;
use schemas::error_code::ErrorCode;
use serde_json::{Value, json};

use super::world::{Ask, World};
use crate::harness::wait_for;

const CONVERSIONS: &str = "/api/v1/conversions";
const BATCH: &str = "/api/v1/events/batch";
/// The longest batch.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// One more of the longest batches than an edge reads at a time.
const BATCHES: usize = 9;
/// Longer than the edge waits for a head or a body, which is 30 s at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an edge answers with. `conflict`, `idempotency_conflict` and `timeout` are the desk's alone; no request leads to
/// `server_error`.
const OF_AN_EDGE: [ErrorCode; 13] = [
    ErrorCode::ValidationFailed,
    ErrorCode::Unauthorized,
    ErrorCode::Forbidden,
    ErrorCode::NotFound,
    ErrorCode::MethodNotAllowed,
    ErrorCode::NotAcceptable,
    ErrorCode::RequestTimeout,
    ErrorCode::PayloadTooLarge,
    ErrorCode::UriTooLong,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::RateLimited,
    ErrorCode::HeadersTooLarge,
    ErrorCode::Unavailable,
];

/// Requests that never end; the edge gives them up in its own time.
pub fn begin(world: &World) -> [(&'static str, TcpStream); 2] {
    let key = &world.stack.key;
    let body = format!(
        "POST {CONVERSIONS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         content-length: 9\r\n\r\n{{"
    );
    [("half a head", "GET /c/plain HTTP/1.1\r\nhost:"), ("half a body", &body)]
        .map(|(case, request)| (case, sent(world, request.as_bytes())))
}

pub async fn check(world: &mut World, unfinished: [(&str, TcpStream); 2]) {
    let key = world.stack.key.clone();
    let report = |body: &str| Ask::post(CONVERSIONS, "application/json", body).key(&key);
    let read_key = world.read_key.clone();
    let deep = format!("{{\"metadata\":{}", "[".repeat(10_000));
    let long = format!("/c/plain?x={}", "y".repeat(20_000));
    let cases = [
        ("a bad amount", report(r#"{"amount": "1.2345", "currency": "USD"}"#), 400, "validation_failed"),
        ("no JSON", report("nonsense"), 400, "validation_failed"),
        ("nested deep", report(&deep), 400, "validation_failed"),
        ("no key", Ask::json(CONVERSIONS, &json!({})), 401, "unauthorized"),
        ("a secret in the URL", Ask::get(format!("/p.gif?key={key}")).method(Method::GET), 200, ""),
        ("a key that only reads", Ask::json(CONVERSIONS, &json!({})).key(&read_key), 403, "forbidden"),
        ("a type that we have not", report("{}").header("accept", "text/csv"), 406, "not_acceptable"),
        ("an unknown route", Ask::get("/api/v1/nothing"), 404, "not_found"),
        ("an unknown link", Ask::get("/c/nothing").header("accept", "application/json"), 404, "not_found"),
        (
            "a method",
            Ask::get("/c/plain").method(Method::DELETE).header("accept", "application/json"),
            405,
            "method_not_allowed",
        ),
        ("a large body", report(&"x".repeat(2_000_000)), 413, "payload_too_large"),
        ("a long URL", Ask::get(long).header("accept", "application/json"), 414, "uri_too_long"),
        (
            "a strange type",
            Ask::post(CONVERSIONS, "application/pdf", "x").key(&key),
            415,
            "unsupported_media_type",
        ),
        (
            "a strange encoding",
            Ask::post(BATCH, "application/json", "[]").key(&key).header("content-encoding", "br"),
            415,
            "unsupported_media_type",
        ),
    ];
    for (case, ask, status, code) in cases {
        let answer = world.ask(ask).await;
        world.check_status(case, &answer, status);
        if code.is_empty() {
            let told = answer.header("x-error").to_owned();
            world.check(case, told == "unauthorized", told);
            continue;
        }
        let body = answer.json();
        is_error(world, case, &body, code);
    }
    too_many(world).await;
    by_hand(world);
    too_much_at_a_time(world).await;
    for (case, mut stream) in unfinished {
        is_refused(world, case, &heard(&mut stream), 408, "request_timeout");
    }
    for code in OF_AN_EDGE {
        let is_seen = world.errors.contains(code.as_str());
        world.check("errors", is_seen, format!("{} was never given", code.as_str()));
    }
}

/// The shape that every error has.
fn is_error(world: &mut World, case: &str, body: &Value, code: &str) {
    let is_right = body["error"] == code
        && body["message"].as_str().is_some_and(|message| !message.is_empty())
        && body["request_id"].as_str().is_some_and(|id| id.starts_with("req_"));
    world.check(case, is_right, format!("wanted {code}, found {body}"));
    world.errors.insert(code.to_owned());
}

/// A refusal that was read by hand.
fn is_refused(world: &mut World, case: &str, heard: &Heard, status: u16, code: &str) {
    world.check(case, heard.status == status, format!("wanted {status}, found {heard:?}"));
    is_error(world, case, &serde_json::from_slice(&heard.body).unwrap_or_default(), code);
}

/// 60 clicks by JSON a minute are one browser's.
async fn too_many(world: &mut World) {
    let key = world.publishable.clone();
    let body = json!({"link": "plain", "sub1": "often"});
    for number in 0..200 {
        let ask = Ask::json("/api/v1/track/click", &body).key(&key);
        let ask = ask.header("origin", super::world::ORIGIN).header("x-forwarded-for", "10.201.0.1");
        let answer = world.ask(ask).await;
        if answer.status == 202 {
            let limit = answer.header("ratelimit-limit").to_owned();
            world.check("a limited answer", number > 0 || !limit.is_empty(), format!("{answer:?}"));
            continue;
        }
        world.check_status("too many", &answer, 429);
        is_error(world, "too many", &answer.json(), "rate_limited");
        let retry = answer.header("retry-after").to_owned();
        return world.check("too many", retry.parse::<u32>().is_ok(), format!("Retry-After {retry:?}"));
    }
    world.check("too many", false, "200 clicks a minute of one browser were accepted");
}

/// What no client library sends.
fn by_hand(world: &mut World) {
    let many: String = (0..10_000).map(|number| format!("x-{number}: y\r\n")).collect();
    let large = format!("x-large: {}\r\n", "y".repeat(80_000));
    let lengths = "POST /postback HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx";
    let with = |headers: &str| format!("GET /c/plain HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    for (case, request, status, code) in [
        ("10,000 headers", with(&many), 431, "headers_too_large"),
        ("64 kB of headers", with(&large), 431, "headers_too_large"),
        ("two lengths", lengths.to_owned(), 400, "validation_failed"),
        ("nonsense", "nonsense\r\n\r\n".to_owned(), 400, "validation_failed"),
    ] {
        let heard = heard(&mut sent(world, request.as_bytes()));
        is_refused(world, case, &heard, status, code);
    }
    for (case, request) in [
        ("HTTP/1.0", "GET /c/plain HTTP/1.0\r\nuser-agent: Mozilla/5.0\r\n\r\n"),
        ("absolute form", "GET http://x/c/plain HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
    ] {
        let heard = heard(&mut sent(world, request.as_bytes()));
        world.check(case, heard.status == 302, format!("wanted 302, found {heard:?}"));
    }
    pipelined(world);
}

/// What all large bodies together may take up is bounded: beyond it a batch is refused at once, not kept waiting.
async fn too_much_at_a_time(world: &mut World) {
    let key = &world.stack.key;
    let mut request = format!(
        "POST {BATCH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         content-length: {BATCH_BYTES}\r\n\r\n["
    );
    // All but its last byte, so that none of them ends.
    request.extend(std::iter::repeat_n(' ', BATCH_BYTES - 2));
    let mut batches: Vec<TcpStream> = (0..BATCHES).map(|_| sent(world, request.as_bytes())).collect();
    batches.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    let answered = wait_for("a batch that is too much", async || {
        let is_answered = |stream: &TcpStream| stream.peek(&mut [0]).is_ok();
        batches.iter().position(is_answered).ok_or_else(|| "all of them are read".to_owned())
    })
    .await;
    batches[answered].set_nonblocking(false).unwrap();
    let heard = heard(&mut batches[answered]);
    is_refused(world, "too much at a time", &heard, 503, "unavailable");
    world.check("too much at a time", heard.head.contains("\r\nretry-after: "), &heard.head);
}

/// 10,000 requests in one breath are 10,000 answers.
fn pipelined(world: &mut World) {
    const REQUESTS: usize = 10_000;
    let stream = sent(world, b"");
    let mut writing = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        let one = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
        let _ = writing.write_all(&one.repeat(REQUESTS - 1));
        let _ = writing.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    });
    let mut text = Vec::new();
    let _ = (&stream).read_to_end(&mut text);
    writer.join().unwrap();
    let answers = String::from_utf8_lossy(&text).matches("HTTP/1.1 200 ").count();
    world.check("pipelining", answers == REQUESTS, format!("{answers} answers"));
}

/// An answer that was read by hand.
#[derive(Debug)]
struct Heard {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// Sends bytes, as far as the server reads them.
fn sent(world: &World, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(world.stack.edge.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // It may refuse before it has read everything, and then reads no further.
    let _ = stream.write_all(request);
    stream
}

/// Reads one answer, or what there is of it before the connection ends.
fn heard(stream: &mut TcpStream) -> Heard {
    let (mut read, mut buffer) = (Vec::new(), [0; 4_096]);
    let mut heard = Heard { status: 0, head: String::new(), body: Vec::new() };
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        read.extend_from_slice(&buffer[..count]);
        let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        heard.head = String::from_utf8_lossy(&read[..end + 2]).to_ascii_lowercase();
        let status = heard.head.split(' ').nth(1);
        heard.status = status.and_then(|status| status.parse().ok()).unwrap_or_default();
        heard.body = read[end + 4..].to_vec();
        let length = heard.head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
        if heard.body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or_default() {
            break;
        }
    }
    heard
}
