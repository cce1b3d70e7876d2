//! Bodies and forms that no honest client sends, over real sockets: each has its answer and a bounded cost.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ingest::IngestSettings;
use service::lifecycle::{ServeSettings, Shutdown, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::SECRET;
use crate::harness::{SOON, TestEdge, request};

/// Serves the edge while the client runs.
async fn with_server<T>(edge: &TestEdge, client: impl AsyncFnOnce(SocketAddr) -> T) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let make_request_id = std::sync::Arc::new(|| "req_made".to_owned());
    let served =
        serve(listener, edge.door.clone(), ServeSettings::default(), make_request_id, shutdown.clone());
    let client = async {
        let result = client(address).await;
        shutdown.trigger();
        result
    };
    let (_, result) = tokio::time::timeout(SOON, async { tokio::join!(served, client) }).await.unwrap();
    result
}

/// What a raw request is answered: the status line's code, and the body.
async fn raw(address: SocketAddr, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // Whoever refuses early closes while we still write.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    read(&answer)
}

/// What a request is answered whose body comes byte by byte and never ends.
async fn trickled(address: SocketAddr, head: &str) -> (u16, String) {
    let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
    to.write_all(format!("{head}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let trickle = async {
        while to.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Nobody takes any more; the answer is on its way.
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    tokio::select! {
        _ = from.read_to_end(&mut answer) => {}
        () = trickle => {}
    }
    read(&answer)
}

/// The status line's code, and the body.
fn read(answer: &[u8]) -> (u16, String) {
    let answer = String::from_utf8_lossy(answer).into_owned();
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    (code, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

fn post(uri: &str, content_type: &str, length: usize) -> String {
    format!(
        "POST {uri} HTTP/1.1\r\nx-api-key: {SECRET}\r\ncontent-type: {content_type}\r\ncontent-length: {length}"
    )
}

#[tokio::test]
async fn json_that_is_meant_to_hurt_is_refused() {
    let edge = TestEdge::start().await;
    let deep = format!("{{\"metadata\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let cases: [(&[u8], u16, &str); 12] = [
        (b"{\"coupon\": \"a\\u0000b\"}", 400, "coupon"),
        (b"{\"coupon\": \"a\\r\\nSet-Cookie: x\"}", 400, "coupon"),
        (b"{\"coupon\": \"\\ud800\"}", 400, "body"),
        (b"{\"coupon\": \"\xff\"}", 400, "body"),
        (b"{\"coupon\": \"a\x00b\"}", 400, "body"),
        (deep.as_bytes(), 400, "body"),
        (b"{\"amount_minor\": 99999999999999999999999999}", 400, "amount_minor"),
        (b"{\"metadata\": {\"n\": 1e999}}", 400, "body"),
        (b"{\"amount\": \"9223372036854775808\", \"currency\": \"EUR\"}", 400, "amount"),
        (b"{\"amount\": \"0.00000000000000000000000000001\"}", 400, "amount"),
        (b"{\"occurred_at\": \"1970-01-01T00:00:00Z\"}", 400, "occurred_at"),
        (b"{\"occurred_at\": \"2099-12-31T23:59:60Z\"}", 400, "occurred_at"),
    ];
    with_server(&edge, async |address| {
        for (body, code, field) in cases {
            let (found, answer) =
                raw(address, &post("/api/v1/conversions", "application/json", body.len()), body).await;
            assert_eq!(found, code, "{answer}");
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["field"], field, "{answer}");
        }
    })
    .await;
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn a_body_of_100_megabytes_is_refused_at_the_limit() {
    let edge = TestEdge::start().await;
    let body = vec![b' '; 100 * 1024 * 1024];
    with_server(&edge, async |address| {
        for uri in ["/api/v1/conversions", "/api/v1/track/sale", "/api/v1/refunds", "/api/v1/events/batch"] {
            let (code, _) = raw(address, &post(uri, "application/json", body.len()), &body).await;
            // A client that does not listen while it sends may find the connection closed.
            assert!(code == 413 || code == 0, "{uri}: {code}");
        }
    })
    .await;
    assert_eq!(
        edge.metric("ingest_refused_total{error=\"payload_too_large\",route=\"batch\"}").await,
        Some(1.0)
    );
    assert_eq!(
        edge.metric("ingest_refused_total{error=\"payload_too_large\",route=\"refunds\"}").await,
        Some(1.0)
    );
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn a_body_that_trickles_in_is_given_up() {
    let settings = IngestSettings { body_timeout_ms: 100, ..IngestSettings::default() };
    let edge = TestEdge::start_with(settings, |log| log).await;
    let stranger = |uri: &str, content_type: &str| {
        format!("POST {uri} HTTP/1.1\r\ncontent-type: {content_type}\r\ncontent-length: 60000")
    };
    with_server(&edge, async |address| {
        for head in [
            post("/api/v1/conversions", "application/json", 60_000),
            stranger("/api/v1/track/sale", "text/plain"),
            stranger("/postback", "application/x-www-form-urlencoded"),
        ] {
            let (code, answer) = trickled(address, &head).await;
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            assert_eq!((code, &answer["error"]), (408, &"request_timeout".into()), "{head}: {answer}");
        }
    })
    .await;
    for route in ["conversions", "track", "postback"] {
        let line = format!("ingest_refused_total{{error=\"request_timeout\",route=\"{route}\"}}");
        assert_eq!(edge.metric(&line).await, Some(1.0), "{route}");
    }
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn what_strangers_send_slowly_is_bounded_and_keeps_no_small_event_out() {
    let edge = TestEdge::start().await;
    let uri = format!("/postback?src={}", edge.fixture.open_source);
    let post = |body: Body| {
        edge.send(request("POST", &uri).header("content-type", "text/plain").body(body).unwrap())
    };
    // 64 MiB, less what is not counted of each, have room for 1,092 of these.
    let large = Bytes::from(vec![b' '; 64 * 1024]);
    let begun =
        || futures::stream::iter([Ok::<_, io::Error>(large.clone())]).chain(futures::stream::pending());
    let mut open: FuturesUnordered<_> = (0..1_100).map(|_| post(Body::from_stream(begun()))).collect();
    for _ in 1_092..1_100 {
        open.next().await.unwrap().error(503, "unavailable");
    }
    assert_eq!(post("nothing of note".into()).await.status, 200);
    assert_eq!(open.len(), 1_092);
    drop(open);
    assert_eq!(post(large.clone().into()).await.status, 200);
}

#[tokio::test]
async fn forms_and_queries_are_read_whatever_stands_in_them() {
    let edge = TestEdge::start().await;
    let source = edge.fixture.open_source;
    let many = "a=1&".repeat(15_000);
    let cases = ["%zz=%", "coupon=%00", "coupon=%0d%0a", "coupon=%ed%a0%80", "txid=1&txid=2", "=&&=", &many];
    with_server(&edge, async |address| {
        for body in cases {
            let head =
                post(&format!("/postback?src={source}"), "application/x-www-form-urlencoded", body.len());
            assert_eq!(raw(address, &head, body.as_bytes()).await.0, 200, "{body:.20}");
        }
    })
    .await;
    assert_eq!(edge.events().await.len(), cases.len());
}

#[tokio::test]
async fn every_route_and_no_route_answers_in_the_contracts_shape() {
    let edge = TestEdge::start().await;
    edge.get("/nothing").await.error(404, "not_found");
    edge.get("/api/v1/nothing").await.error(404, "not_found");
    for route in ["conversions", "refunds", "track/click", "track/lead", "track/sale", "events/batch"] {
        let uri = format!("/api/v1/{route}");
        edge.send(request("DELETE", &uri).body("".into()).unwrap()).await.error(405, "method_not_allowed");
        let typed = request("POST", &uri).header("x-api-key", SECRET).header("content-type", "text/csv");
        edge.send(typed.body("x".into()).unwrap()).await.error(415, "unsupported_media_type");
        let picky = request("POST", &uri)
            .header("x-api-key", SECRET)
            .header("content-type", "application/json")
            .header("accept", "image/png");
        edge.send(picky.body("{}".into()).unwrap()).await.error(406, "not_acceptable");
        let nobody = request("POST", &uri).header("content-type", "application/json");
        edge.send(nobody.body("{}".into()).unwrap()).await.error(401, "unauthorized");
    }
    edge.send(request("PUT", "/postback").body("".into()).unwrap()).await.error(405, "method_not_allowed");
    edge.send(request("POST", "/p.gif").body("".into()).unwrap()).await.error(405, "method_not_allowed");
    assert!(edge.events().await.is_empty());
}
