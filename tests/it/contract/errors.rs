//! The errors of the contract that an edge can give, each at least once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::world::{Ask, World};

const CONVERSIONS: &str = "/api/v1/conversions";

pub async fn check(world: &mut World) {
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
            Ask::post("/api/v1/events/batch", "application/json", "[]")
                .key(&key)
                .header("content-encoding", "br"),
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
}

/// The shape that every error has.
fn is_error(world: &mut World, case: &str, body: &Value, code: &str) {
    let is_right = body["error"] == code
        && body["message"].as_str().is_some_and(|message| !message.is_empty())
        && body["request_id"].as_str().is_some_and(|id| id.starts_with("req_"));
    world.check(case, is_right, format!("wanted {code}, found {body}"));
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
    let address = world.stack.edge.trim_start_matches("http://").to_owned();
    let many: String = (0..10_000).map(|number| format!("x-{number}: y\r\n")).collect();
    let large = format!("x-large: {}\r\n", "y".repeat(80_000));
    for (case, request, wanted) in [
        ("10,000 headers", format!("GET /c/plain HTTP/1.1\r\nhost: x\r\n{many}\r\n"), &["431"][..]),
        ("64 kB of headers", format!("GET /c/plain HTTP/1.1\r\nhost: x\r\n{large}\r\n"), &["431"]),
        (
            "two lengths",
            "POST /postback HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx"
                .to_owned(),
            &["400"],
        ),
        ("nonsense", "nonsense\r\n\r\n".to_owned(), &["400"]),
        ("HTTP/1.0", "GET /c/plain HTTP/1.0\r\nuser-agent: Mozilla/5.0\r\n\r\n".to_owned(), &["302"]),
        (
            "absolute form",
            "GET http://x/c/plain HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(),
            &["302"],
        ),
    ] {
        let answer = say(&address, request.as_bytes());
        let status = answer.split(' ').nth(1).unwrap_or_default();
        let head: String = answer.chars().take(300).collect();
        world.check(case, wanted.contains(&status), format!("wanted {wanted:?}, found {head:?}"));
    }
    pipelined(world, &address);
}

/// 10,000 requests in one breath are 10,000 answers.
fn pipelined(world: &mut World, address: &str) {
    const REQUESTS: usize = 10_000;
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
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

/// Sends bytes and reads until the server has said all, or the connection is reset because it did not read all.
fn say(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    while let Ok(read) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..read]);
        if read == 0 || answer.windows(4).any(|window| window == b"\r\n\r\n") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}
