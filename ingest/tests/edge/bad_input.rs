//! Requests that no honest client sends: each gets its answer, and the edge goes on.

use axum::body::Body;
use ingest::IngestSettings;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use service::lifecycle::{ServeSettings, Shutdown, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{PUBLISHABLE, SECRET};
use crate::harness::{SOON, TestEdge, request};

#[tokio::test]
async fn broken_escapes_and_control_characters_are_no_reason_to_lose_a_click() {
    let edge = TestEdge::start().await;
    let queries = [
        "sub1=%zz",
        "sub1=%",
        "sub1=%00",
        "sub1=%0d%0aSet-Cookie:%20x=1",
        "x=%ff%fe",
        "%0d%0a=%0d%0a",
        "&&=&",
    ];
    for query in queries {
        let answer = edge.get(&format!("/c/anna?{query}")).await;
        assert_eq!(answer.status, 302, "{query}");
        assert!(answer.header("x-receipt").is_some(), "{query}");
        let location = answer.header("location").unwrap();
        assert!(location.starts_with("https://shop.example/?cid=click_"), "{location}");
        assert!(answer.header("set-cookie").unwrap().starts_with("tb_vid="), "{query}");
    }
    assert_eq!(edge.events().await.len(), queries.len());
}

#[tokio::test]
async fn too_long_is_said_so() {
    let settings = IngestSettings { max_body_bytes: 1_000, ..IngestSettings::default() };
    let edge = TestEdge::start_with(settings, |log| log).await;
    let long = format!("?x={}", "x".repeat(8_192));
    let json = [("accept", "application/json")];
    edge.get_with(&format!("/c/anna{long}"), &json).await.error(414, "uri_too_long");
    edge.get(&format!("/postback{long}")).await.error(414, "uri_too_long");
    let big = format!("{{\"coupon\": \"{}\"}}", "x".repeat(1_000));
    edge.report(SECRET, big).await.error(413, "payload_too_large");
    let form = request("POST", "/postback").body(Body::from("x".repeat(1_001))).unwrap();
    edge.send(form).await.error(413, "payload_too_large");
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn an_endless_body_ends_at_the_limit() {
    let edge = TestEdge::start().await;
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1_024]));
    edge.report(SECRET, Body::from_stream(endless)).await.error(413, "payload_too_large");
    let broken = futures::stream::iter([Ok(vec![b'{']), Err(std::io::Error::other("gone"))]);
    let answer = edge.report(SECRET, Body::from_stream(broken)).await;
    assert_eq!(answer.error(400, "validation_failed").as_deref(), Some("body"));
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let edge = TestEdge::start().await;
    let deep = format!("{{\"metadata\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for body in ["", "null", "[]", "{", "{\"a\":1}}", "\u{feff}{}", "{\"a\":NaN}", &deep] {
        let answer = edge.report(SECRET, body.to_owned()).await;
        assert_eq!(answer.error(400, "validation_failed").as_deref(), Some("body"), "{body:.20}");
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let request = request("POST", "/api/v1/conversions")
            .header("x-api-key", SECRET)
            .header("content-type", content_type);
        let answer = edge.send(request.body("{}".into()).unwrap()).await;
        answer.error(415, "unsupported_media_type");
    }
    assert!(edge.events().await.is_empty());
    let twice = edge.report(SECRET, r#"{"coupon": "first", "coupon": "second"}"#).await;
    assert_eq!(twice.status, 202);
    let conversion = edge.only_conversion().await;
    assert_eq!((&*conversion.coupon, conversion.labels), ("first", vec!["repeated_parameter".to_owned()]));
}

#[test]
fn whatever_comes_is_answered_and_counted_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let edge = runtime.block_on(TestEdge::start());
    let source = edge.fixture.open_source;
    let mut runner = TestRunner::new(Config { cases: 200, ..Config::default() });
    let inputs = ("[ -~]{0,60}", "\\PC{0,60}", proptest::collection::vec(any::<u8>(), 0..80));
    let run = runner.run(&inputs, |(ascii, text, bytes)| {
        let query: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        runtime.block_on(async {
            for path in [
                "/c/anna?sub1=",
                "/c/plain?",
                "/c/",
                "/postback?",
                &format!("/postback?src={source}&amount="),
                &format!("/p.gif?key={PUBLISHABLE}&metadata="),
            ] {
                let answer = edge
                    .get_with(&format!("{path}{query}"), &[("cookie", &ascii), ("user-agent", &ascii)])
                    .await;
                assert!(answer.status.as_u16() < 500, "{path}{query}: {answer:?}");
            }
            let answer = edge.report(SECRET, bytes.clone()).await;
            assert!(answer.status.as_u16() < 500, "{bytes:?}: {answer:?}");
            let object = serde_json::json!({"amount": text, "occurred_at": ascii, &text: ascii}).to_string();
            assert!(edge.report(SECRET, object.clone()).await.status.as_u16() < 500, "{object}");
        });
        Ok(())
    });
    run.unwrap();
    runtime.block_on(async {
        let events = edge.events().await.len() as f64;
        let (mut acknowledged, mut received, mut ended) = (0.0, 0.0, 0.0);
        let text = String::from_utf8(edge.get("/metrics").await.body).unwrap();
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            match name.split('{').next().unwrap() {
                "ingest_received_total" => received += value,
                "ingest_acknowledged_total" => (acknowledged, ended) = (acknowledged + value, ended + value),
                "ingest_refused_total"
                | "ingest_unrecorded_total"
                | "ingest_fallback_total"
                | "ingest_cancelled_total" => {
                    ended += value;
                }
                _ => {}
            }
        }
        assert_eq!((events, received), (acknowledged, ended));
        assert!(events >= 200.0, "{events}");
    });
}

#[tokio::test]
async fn a_head_of_64_kilobytes_is_refused_by_the_server() {
    let edge = TestEdge::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let make_request_id = std::sync::Arc::new(|| "req_made".to_owned());
    let door = ingest::door(edge.edge.clone());
    let served = serve(listener, door, ServeSettings::default(), make_request_id, shutdown.clone());
    let client = async {
        let mut answers = Vec::new();
        let padding = format!("x-padding: {}\r\n", "x".repeat(1_000)).repeat(64);
        for head in [
            format!("GET /c/anna HTTP/1.1\r\nhost: x\r\n{padding}\r\n"),
            "GET /c/anna HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(),
            // What records nothing says so, and keeps the request's id.
            "GET /i.gif HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\nconnection: close\r\n\r\n".to_owned(),
            "HEAD /i.gif HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(),
            "GET /c/no.key HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\nconnection: close\r\n\r\n".to_owned(),
            "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            answers.push(String::from_utf8_lossy(&answer).into_owned());
        }
        shutdown.trigger();
        answers
    };
    let (_, answers) = tokio::time::timeout(SOON, async { tokio::join!(served, client) }).await.unwrap();
    assert!(answers[0].starts_with("HTTP/1.1 431 "), "{}", answers[0]);
    assert!(
        answers[1].starts_with("HTTP/1.1 302 ") && answers[1].contains("x-receipt: evt_"),
        "{}",
        answers[1]
    );
    assert!(answers[1].contains("x-request-id: req_"), "{}", answers[1]);
    for (answer, status, parts) in [
        (&answers[2], "200", &["x-error: validation_failed", "x-request-id: mine", "image/gif"][..]),
        (&answers[3], "405", &["x-request-id: req_"]),
        (&answers[4], "404", &["x-request-id: mine", "<small>mine</small>"]),
        (&answers[5], "200", &["x-request-id: req_"]),
    ] {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(parts.iter().all(|part| answer.contains(part)), "{answer}");
    }
    // Without a proxy in between the peer's own address counts.
    let (_, click) = edge.only_click().await;
    assert_eq!(click.hit.address, "127.0.0.0");
}
