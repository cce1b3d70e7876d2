//! What a batch and one event of it may cost, and what is answered where the reading stops.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use catalog::bootstrap::FIRST_WORKSPACE;
use eventlog::Partition;
use futures::StreamExt;
use ingest::IngestSettings;
use schemas::topic;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::batch::gzip;
use crate::fault::{Control, Weather, edge_on};
use crate::fixture::SECRET;
use crate::harness::{Answer, SOON, TestEdge, request};

const LEAD: &str = "{\"type\": \"lead\"}\n";

/// Sends lines that are compressed like this.
async fn send_lines(edge: &TestEdge, encoding: &str, body: impl Into<Body>) -> Answer {
    let builder = request("POST", "/api/v1/events/batch").header("x-api-key", SECRET);
    let builder = builder.header("content-type", "application/x-ndjson").header("content-encoding", encoding);
    edge.send(builder.body(body.into()).unwrap()).await
}

/// The outcomes of lines, of which each is in its place.
fn outcomes(answer: &Answer) -> Vec<Value> {
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (202, Some("application/x-ndjson")));
    let lines = std::str::from_utf8(&answer.body).unwrap().lines();
    let items: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(items.iter().enumerate().all(|(index, item)| item["index"] == index), "{items:?}");
    items
}

/// The outcomes of lines that were all accepted, and of the one where the reading stopped. What was accepted is on the log,
/// and nothing else.
async fn stopped(edge: &TestEdge, answer: &Answer) -> (usize, Value) {
    let mut items = outcomes(answer);
    let last = items.pop().unwrap();
    assert_eq!((&last["status"], last.get("receipt")), (&json!("rejected"), None));
    assert!(last["message"].as_str().unwrap().ends_with("; nothing was read from here on"), "{last}");
    let receipts: Vec<Value> = items.iter().map(|item| item["receipt"].clone()).collect();
    let stored: Vec<Value> = edge.events().await.iter().map(|event| json!(event.id)).collect();
    assert_eq!(stored, receipts);
    (items.len(), last)
}

/// Compresses and can be asked for what it has so far.
enum Packer {
    Identity(Vec<u8>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Packer {
    fn new(encoding: &str) -> Self {
        match encoding {
            "gzip" => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast())),
            "zstd" => Self::Zstd(zstd::Encoder::new(Vec::new(), 1).unwrap()),
            _ => Self::Identity(Vec::new()),
        }
    }

    /// What can be sent once this text has come.
    fn pack(&mut self, text: &str) -> Vec<u8> {
        let writer: &mut dyn Write = match self {
            Self::Identity(bytes) => bytes,
            Self::Gzip(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        };
        writer.write_all(text.as_bytes()).unwrap();
        writer.flush().unwrap();
        std::mem::take(match self {
            Self::Identity(bytes) => bytes,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        })
    }

    fn end(self) -> Vec<u8> {
        match self {
            Self::Identity(bytes) => bytes,
            Self::Gzip(encoder) => encoder.finish().unwrap(),
            Self::Zstd(encoder) => encoder.finish().unwrap(),
        }
    }
}

#[tokio::test]
async fn lines_are_durable_before_the_last_piece_is_sent() {
    for encoding in ["identity", "gzip", "zstd"] {
        let edge = TestEdge::start().await;
        let (pieces, body) = mpsc::channel::<Vec<u8>>(1);
        let body = futures::stream::unfold(body, async |mut body| Some((body.recv().await?, body)));
        let answer = send_lines(&edge, encoding, Body::from_stream(body.map(Ok::<_, io::Error>)));
        let client = async {
            let mut packer = Packer::new(encoding);
            // The third line is complete with the last piece only.
            pieces.send(packer.pack(&format!("{LEAD}{LEAD}{{\"type\":"))).await.unwrap();
            let number = edge.follower.read().workspace(FIRST_WORKSPACE).unwrap().partition;
            let partition = Partition { topic: topic::EVENTS, number };
            let mut log = edge.log.subscribe(&[(partition, 0)]).await.unwrap();
            let mut durable = 0;
            while durable < 2 {
                durable += log.next(10, SOON).await.unwrap().expect("nothing became durable").records.len();
            }
            pieces.send(packer.pack(" \"lead\"}")).await.unwrap();
            pieces.send(packer.end()).await.unwrap();
            drop(pieces);
        };
        let (answer, ()) = tokio::time::timeout(SOON, async { tokio::join!(answer, client) }).await.unwrap();
        let receipts: Vec<_> = outcomes(&answer).iter().map(|item| item["receipt"].clone()).collect();
        let stored: Vec<_> = edge.events().await.iter().map(|event| json!(event.id)).collect();
        assert_eq!((receipts.len(), &receipts), (3, &stored), "{encoding}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_in_the_middle_spoils_no_line_before() {
    for (encoding, is_cut) in [("gzip", true), ("gzip", false), ("zstd", true), ("zstd", false)] {
        let edge = TestEdge::start().await;
        let mut packer = Packer::new(encoding);
        let good = packer.pack(&LEAD.repeat(1_000));
        let mut rest = packer.pack(&LEAD.repeat(1_000));
        rest.extend(packer.end());
        if is_cut {
            rest.truncate(rest.len() / 2);
        } else {
            rest = vec![0xff; 1_000];
        }
        let pieces = [good, rest].map(Ok::<_, io::Error>);
        let answer = send_lines(&edge, encoding, Body::from_stream(futures::stream::iter(pieces))).await;
        let (accepted, last) = stopped(&edge, &answer).await;
        assert!((1_000..2_000).contains(&accepted), "{encoding}: {accepted}");
        assert_eq!((&last["error"], &last["field"]), (&json!("validation_failed"), &json!("body")));
        assert_eq!(edge.metric("ingest_batch_events_total{outcome=\"rejected\"}").await, Some(1.0));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_records_no_half_line() {
    let edge = TestEdge::start().await;
    // What is there of the second line would be an event, but nobody knows what was to follow.
    let half = format!("{LEAD}{{\"type\": \"conversion\", \"amount\": \"1\"}}");
    let pieces = [Ok(half.into_bytes()), Err(io::Error::other("gone"))];
    let answer = send_lines(&edge, "identity", Body::from_stream(futures::stream::iter(pieces))).await;
    let (accepted, last) = stopped(&edge, &answer).await;
    assert_eq!((accepted, &last["field"]), (1, &json!("body")), "{last}");
}

#[tokio::test]
async fn the_event_beyond_the_last_is_refused_alone() {
    let edge = TestEdge::start().await;
    let answer = send_lines(&edge, "identity", LEAD.repeat(10_001)).await;
    let (accepted, last) = stopped(&edge, &answer).await;
    assert_eq!((accepted, &last["error"]), (10_000, &json!("payload_too_large")), "{last}");
    let exact = send_lines(&edge, "gzip", gzip(&[LEAD.repeat(10_000).as_bytes(), b" \n\n"].concat())).await;
    assert!(outcomes(&exact).iter().all(|item| item["status"] == "accepted"));
}

#[tokio::test]
async fn a_bomb_behind_good_lines_stops_at_the_limit() {
    let edge = TestEdge::start().await;
    let large = format!("{{\"type\": \"lead\", \"x\": \"{}\"}}\n", "x".repeat(1_000_000));
    let bomb = gzip(&[LEAD.repeat(3).as_bytes(), large.repeat(200).as_bytes()].concat());
    assert!(bomb.len() < 512 * 1024, "{}", bomb.len());
    let items = outcomes(&send_lines(&edge, "gzip", bomb).await);
    let (last, items) = items.split_last().unwrap();
    let (good, large) = items.split_at(3);
    assert!(good.iter().all(|item| item["status"] == "accepted"));
    // Eight of them fit into the limit, and none of them is kept.
    assert_eq!(large.len(), 8);
    assert!(large.iter().all(|item| item["message"] == "the event is larger than 65536 bytes"), "{large:?}");
    assert_eq!(last["error"], "payload_too_large");
    assert_eq!(last["message"], "the body is larger than 8388608 bytes; nothing was read from here on");
    assert_eq!(edge.events().await.len(), 3);
}

#[tokio::test]
async fn of_a_hundred_megabytes_no_more_is_taken_than_the_limit() {
    const PIECE: usize = 64 * 1024;
    let edge = TestEdge::start().await;
    let line = format!("{{\"type\": \"lead\"{}}}\n", " ".repeat(8_000));
    let text = line.repeat(PIECE / line.len());
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let pieces = futures::stream::repeat_with(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<_, io::Error>(text.clone())
    });
    let pieces = pieces.take(100 * 1024 * 1024 / PIECE);
    let answer = send_lines(&edge, "identity", Body::from_stream(pieces)).await;
    let (accepted, last) = stopped(&edge, &answer).await;
    assert_eq!(last["error"], "payload_too_large", "{last}");
    assert!((1_000..=8 * 1024 * 1024 / line.len()).contains(&accepted), "{accepted}");
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken <= 8 * 1024 * 1024 / PIECE + 8, "{taken}");
}

#[tokio::test]
async fn lines_that_neither_log_nor_spool_took_are_refused_as_one() {
    let control = Control::new(0, Weather::Fair);
    let edge = edge_on(&control, IngestSettings::default()).await;
    edge.shutdown.trigger();
    assert!(edge.edge.drain(SOON).await);
    let pieces = [Ok(LEAD.repeat(3)), Err(io::Error::other("gone"))];
    let body = Body::from_stream(futures::stream::iter(pieces));
    send_lines(&edge, "identity", body).await.error(503, "unavailable");
    assert!(edge.events().await.is_empty());
}

async fn send(edge: &TestEdge, content_type: &str, body: String) -> Answer {
    let builder = request("POST", "/api/v1/events/batch").header("x-api-key", SECRET);
    edge.send(builder.header("content-type", content_type).body(body.into()).unwrap()).await
}

#[tokio::test]
async fn an_event_may_not_be_larger_than_one_by_itself() {
    let settings = IngestSettings { max_body_bytes: 1_000, ..IngestSettings::default() };
    let edge = TestEdge::start_with(settings, |log| log).await;
    let good = r#"{"type": "conversion", "transaction_id": "A-1"}"#;
    let large = format!("{{\"type\": \"conversion\", \"x\": [{}]}}", vec!["{}"; 500].join(","));
    let array = send(&edge, "application/json", format!("[{good},{large},{good}]")).await.json();
    let lines = send(&edge, "application/x-ndjson", format!("{good}\n{large}\n{good}\n")).await;
    let lines: Vec<Value> = lines
        .body
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    for items in [array["items"].as_array().unwrap(), &lines] {
        let errors: Vec<_> = items.iter().map(|item| item["error"].as_str()).collect();
        assert_eq!(errors, [None, Some("payload_too_large"), None], "{items:?}");
        assert_eq!(items[1]["message"], "the event is larger than 1000 bytes");
    }
    assert_eq!(edge.events().await.len(), 4);
}

#[tokio::test]
async fn five_faults_of_an_event_are_told() {
    let edge = TestEdge::start().await;
    let wrong = ["event", "click_id", "visitor_id", "customer_id", "coupon", "txid", "email", "occurred_at"];
    let mut event: serde_json::Map<String, Value> =
        wrong.into_iter().map(|name| (name.to_owned(), json!({}))).collect();
    event.insert("type".to_owned(), json!("conversion"));
    let told = send(&edge, "application/json", json!([event]).to_string()).await.json();
    assert_eq!(told["items"][0]["details"].as_array().map(Vec::len), Some(5), "{told}");
}
