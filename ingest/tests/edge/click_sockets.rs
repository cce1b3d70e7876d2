//! Clicks and impressions as bytes on a socket: every label and every error that their routes have, at least once.

use std::net::SocketAddr;
use std::sync::Arc;

use schemas::event::{Hit, label};
use service::lifecycle::{ServeSettings, Shutdown, serve};
use service::telemetry::MakeRequestId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{SOON, TestEdge, hit_of};

const AGENT: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Serves the edge on a port of this machine until the shutdown that it gives.
async fn listen(edge: &TestEdge) -> (SocketAddr, Shutdown) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let make_request_id: MakeRequestId = Arc::new(|| "req_server".to_owned());
    let door = ingest::door(edge.edge.clone());
    let served = serve(listener, door, ServeSettings::default(), make_request_id, shutdown.clone());
    edge.tasks.spawn_until(&shutdown, "test server", served);
    (address, shutdown)
}

/// What comes back for these lines of a head: the status, and the whole answer in small letters up to the body.
async fn send(address: SocketAddr, lines: &[&str]) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"));
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(SOON, exchange).await.expect("no answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
}

async fn last_hit(edge: &TestEdge) -> Hit {
    hit_of(edge.events().await.pop().unwrap())
}

#[tokio::test]
async fn every_label_is_set_by_its_request() {
    let mut edge = TestEdge::start().await;
    edge.change_link("nobody", |link| {
        let cap = catalog::Cap {
            metric: catalog::CapMetric::Clicks,
            window: catalog::CapWindow::Total,
            timezone: None,
            value: 1,
            per: catalog::CapScope::All,
            on_exceed: catalog::OnExceed::Fallback,
        };
        link.caps = vec![cap];
        link.fallback_url = Some("https://shop.example/full".into());
    })
    .await;
    let (address, shutdown) = listen(&edge).await;
    for (request, more, wanted) in [
        ("GET /c/anna", "Accept: */*", ""),
        ("HEAD /c/anna", "Accept: */*", label::HEAD),
        ("GET /c/anna", "Sec-Purpose: prefetch;prerender", label::PREFETCH),
        ("GET /c/anna", "Purpose: prefetch", label::PREFETCH),
        ("GET /c/anna", "X-Moz: prefetch", label::PREFETCH),
        ("GET /c/anna", "Sec-GPC: 1", label::GPC),
        ("GET /c/anna", "DNT: 1", label::DNT),
        ("GET /c/anna?consent=0", "Accept: */*", label::NO_CONSENT),
        ("GET /c/anna?via=nobody", "Accept: */*", label::UNKNOWN_PARTNER),
        ("GET /c/anna?a=1&a=2", "Accept: */*", label::REPEATED_PARAMETER),
        ("GET /c/anna?cost=free", "Accept: */*", label::DROPPED_PARAMETER),
        ("GET /c/anna?a=%7Bx%7D", "Accept: */*", label::UNRESOLVED_MACRO),
        ("GET /c/anna?a={x}", "Accept: */*", label::UNRESOLVED_MACRO),
        ("GET /c/anna?a=1?b=2", "Accept: */*", label::REPAIRED_URL),
        ("GET /c/anna?u=//evil.example", "Accept: */*", label::UNSAFE_DESTINATION),
        ("GET /c/nobody", "Accept: */*", ""),
        ("GET /c/nobody", "Accept: */*", label::CAP),
        ("GET /i/anna?a=[[x]]", "Accept: image/*", label::UNRESOLVED_MACRO),
        ("GET http://other.example/c/anna?via=x", "Accept: */*", label::UNKNOWN_PARTNER),
    ] {
        let first = format!("{request} HTTP/1.1");
        let (status, answer) = send(address, &[&first, "Host: localhost", AGENT, more]).await;
        assert_eq!(
            status,
            if request.contains("/i/") {
                200
            } else if request.contains("/nobody") {
                307
            } else {
                302
            }
        );
        assert!(header(&answer, "x-receipt").is_some(), "{request}: {answer}");
        let hit = last_hit(&edge).await;
        let labels: Vec<&str> = hit.labels.iter().map(String::as_str).collect();
        assert_eq!(labels, Vec::from_iter((!wanted.is_empty()).then_some(wanted)), "{request} {more}");
        assert_eq!(hit.address, if hit.visitor.is_some() { "127.0.0.0" } else { "" }, "{request} {more}");
    }
    shutdown.trigger();
}

#[tokio::test]
async fn every_bot_is_redirected_recorded_and_labelled_with_its_reason() {
    let edge = TestEdge::start().await;
    let (address, shutdown) = listen(&edge).await;
    for (agent, reason) in [
        (
            "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            label::BOT_PATTERN,
        ),
        ("User-Agent: curl/8.5.0", label::BOT_CLIENT),
        ("User-Agent:", label::BOT_EMPTY_AGENT),
        ("Accept: */*", label::BOT_EMPTY_AGENT),
        ("User-Agent: Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", label::BOT_PREVIEW),
    ] {
        for (path, wanted) in [("/c/anna", 302), ("/i/anna", 200)] {
            let first = format!("GET {path} HTTP/1.1");
            let (status, answer) = send(address, &[&first, "Host: localhost", agent]).await;
            assert_eq!(status, wanted, "{path} {agent}");
            assert!(header(&answer, "x-receipt").is_some(), "{path} {agent}");
            assert_eq!(last_hit(&edge).await.labels, [label::BOT, reason], "{path} {agent}");
        }
    }
    shutdown.trigger();
}

#[tokio::test]
async fn every_error_is_a_page_or_json() {
    let edge = TestEdge::start().await;
    let (address, shutdown) = listen(&edge).await;
    let long = format!("GET /c/anna?{}", "x".repeat(9_000));
    let long_offer = long.replace("/c/anna", "/click");
    for (request, status, code) in [
        ("GET /c/unknown", 404, "not_found"),
        ("GET /c/%0d%0a", 404, "not_found"),
        ("GET /click?offer=x", 404, "not_found"),
        ("GET /click", 400, "validation_failed"),
        ("POST /c/anna", 405, "method_not_allowed"),
        ("DELETE /click?offer=x", 405, "method_not_allowed"),
        (&long, 414, "uri_too_long"),
        (&long_offer, 414, "uri_too_long"),
    ] {
        let first = format!("{request} HTTP/1.1");
        let (found, page) = send(address, &[&first, "Host: localhost", AGENT, "Accept: text/html"]).await;
        assert_eq!(found, status, "{request:.40}");
        assert!(header(&page, "content-type").unwrap().starts_with("text/html"), "{request:.40}");
        let json = send(address, &[&first, "Host: localhost", AGENT, "Accept: application/json"]).await.1;
        let body = json.split("\r\n\r\n").nth(1).unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"], code, "{request:.40}");
        assert_eq!(body["request_id"].as_str(), header(&json, "x-request-id"), "{request:.40}");
        for answer in [&page, &json] {
            assert_eq!(header(answer, "x-receipt"), None, "{request:.40}");
            assert_eq!(header(answer, "location"), None, "{request:.40}");
        }
    }
    assert!(edge.events().await.is_empty());
    shutdown.trigger();
}
