use std::io::Write as _;

use axum::body::Body;
use catalog::{Key, Resource};
use ingest::IngestSettings;
use schemas::event::Body as EventBody;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::fault::{Control, Weather, edge_on};
use crate::fixture::{NOW, ORIGIN, PUBLISHABLE, READ_SECRET, SECRET};
use crate::harness::{Answer, SOON, TestEdge, post_json, request};

const BATCH: &str = "/api/v1/events/batch";
const CLICK: &str = "click_01h455vb4pex5vsknk084sn02q";

async fn send(edge: &TestEdge, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let builder = request("POST", BATCH).header("x-api-key", SECRET);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    edge.send(builder.body(body.into()).unwrap()).await
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn an_array_of_all_kinds_has_an_outcome_for_each() {
    let edge = TestEdge::start().await;
    let body = json!([
        {"type": "click", "link": "anna", "sub1": "x"},
        {"type": "impression", "offer": edge.fixture.offer},
        {"type": "lead", "click_id": CLICK},
        {"type": "conversion", "click_id": CLICK, "transaction_id": "A-1", "amount": "80.00", "currency": "USD"},
        {"type": "conversion", "amount": 5},
        {"type": "conversion", "amount": 5, "cid": "x"},
        {"type": "refund", "transaction_id": "A-1", "refund_id": "R-1", "reason": "returned"},
        {"type": "refund"},
        {"type": "party"},
        {},
        5,
        {"type": "click", "link": "nothing"},
    ]);
    let answer = send(&edge, &[("content-type", "application/json")], body.to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (202, Some("application/json")));
    let told = answer.json();
    assert_eq!((&told["accepted"], &told["rejected"]), (&json!(5), &json!(7)), "{told}");
    let items = told["items"].as_array().unwrap();
    let events = edge.events().await;
    let receipts: Vec<Value> = items.iter().filter_map(|item| item.get("receipt").cloned()).collect();
    assert_eq!(receipts, events.iter().map(|event| json!(event.id)).collect::<Vec<_>>());
    for (index, item) in items.iter().enumerate() {
        let status = if item.get("receipt").is_some() { "accepted" } else { "rejected" };
        assert_eq!((&item["index"], &item["status"]), (&json!(index), &json!(status)));
    }
    let refused = |index: usize| (items[index]["error"].as_str().unwrap(), items[index]["field"].as_str());
    assert_eq!(refused(4), ("validation_failed", Some("amount")));
    assert_eq!((refused(5).0, items[5]["details"].as_array().unwrap().len()), ("validation_failed", 2));
    assert_eq!(refused(7).0, "validation_failed");
    assert_eq!([8, 9].map(refused), [("validation_failed", Some("type")); 2]);
    assert_eq!(refused(10), ("validation_failed", Some("body")));
    assert_eq!(refused(11), ("not_found", None));
    let kinds = events.iter().map(|event| match &event.body {
        EventBody::Click(_) => "click",
        EventBody::Impression(_) => "impression",
        EventBody::Conversion(conversion) => &conversion.goal,
        EventBody::Refund(_) => "refund",
        EventBody::Command(_) | EventBody::Delayed(_) | EventBody::Tick => "none",
    });
    assert_eq!(kinds.collect::<Vec<_>>(), ["click", "impression", "lead", "sale", "refund"]);
    assert_eq!(edge.metric("ingest_batch_events_total{outcome=\"accepted\"}").await, Some(5.0));
    assert_eq!(edge.metric("ingest_batch_events_total{outcome=\"rejected\"}").await, Some(7.0));
}

#[tokio::test]
async fn a_broken_line_does_not_spoil_its_neighbours() {
    let edge = TestEdge::start().await;
    let good = r#"{"type": "lead"}"#;
    let deep = format!("{{\"type\": \"lead\", \"x\": {}", "[".repeat(10_000));
    let body = [
        good.as_bytes(),
        b"{\"type\": \"lead\"",
        b"\xff\xfe{}",
        &[0],
        b"",
        b"{\"type\": \"lead\", \"event\": \"\\ud800\"}",
        deep.as_bytes(),
        b"{\"type\": \"lead\", \"amount\": 1e999}",
        good.as_bytes(),
    ]
    .join(&b"\r\n"[..]);
    let answer = send(&edge, &[("content-type", "application/x-ndjson")], body).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (202, Some("application/x-ndjson")));
    let text = String::from_utf8(answer.body).unwrap();
    let items: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<_> = items.iter().map(|item| item["status"] == "accepted").collect();
    assert_eq!(states, [true, false, false, false, false, false, false, true], "{text}");
    assert!(items.iter().enumerate().all(|(index, item)| item["index"] == index));
    assert_eq!(edge.events().await.len(), 2);
}

#[tokio::test]
async fn compressed_batches_are_the_same_batches() {
    let edge = TestEdge::start().await;
    let lines = "{\"type\": \"lead\"}\n".repeat(3_000);
    let zstd = zstd::encode_all(lines.as_bytes(), 3).unwrap();
    for (encoding, body) in
        [("gzip", gzip(lines.as_bytes())), ("zstd", zstd), ("identity", lines.clone().into_bytes())]
    {
        let headers = [("content-type", "application/x-ndjson"), ("content-encoding", encoding)];
        let answer = send(&edge, &headers, body).await;
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(text.lines().filter(|line| line.contains("\"accepted\"")).count(), 3_000, "{encoding}");
    }
    let mut ids: Vec<_> = edge.events().await.into_iter().map(|event| event.id).collect();
    ids.sort_by_key(|id| *id.bytes());
    ids.dedup();
    assert_eq!(ids.len(), 9_000);
}

#[tokio::test]
async fn what_is_wrong_with_the_whole_is_said_before_anything_is_recorded() {
    let edge = TestEdge::start().await;
    let json = ("content-type", "application/json");
    let lines = ("content-type", "application/x-ndjson");
    let many = format!("[{}]", vec![r#"{"type":"lead"}"#; 10_001].join(","));
    send(&edge, &[json], many).await.error(413, "payload_too_large");
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    assert!(bomb.len() < 512 * 1024);
    send(&edge, &[lines, ("content-encoding", "gzip")], bomb).await.error(413, "payload_too_large");
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'\n'; 65_536]));
    send(&edge, &[lines], Body::from_stream(endless)).await.error(413, "payload_too_large");
    for body in ["", "{}", "[{\"type\": \"lead\"}", "[{\"type\": \"lead\"},]"] {
        assert_eq!(send(&edge, &[json], body).await.error(400, "validation_failed").as_deref(), Some("body"));
    }
    send(&edge, &[json, ("content-encoding", "gzip")], "nonsense").await.error(400, "validation_failed");
    let lead = "{\"type\": \"lead\"}\n".as_bytes();
    send(&edge, &[lines, ("content-encoding", "gzip")], lead).await.error(400, "validation_failed");
    send(&edge, &[lines, ("content-encoding", "zstd")], lead).await.error(400, "validation_failed");
    let stated = lead.repeat(8 * 1024 * 1024 / lead.len() + 1);
    send(&edge, &[lines], stated).await.error(413, "payload_too_large");
    send(&edge, &[json, ("content-encoding", "br")], "[]").await.error(415, "unsupported_media_type");
    send(&edge, &[("content-type", "text/csv")], "[]").await.error(415, "unsupported_media_type");
    send(&edge, &[json, ("accept", "text/html")], "[]").await.error(406, "not_acceptable");
    send(&edge, &[json, ("accept", "application/x-ndjson")], "[]").await.error(406, "not_acceptable");
    send(&edge, &[lines, ("accept", "application/json")], "").await.error(406, "not_acceptable");
    for accept in ["application/x-ndjson", "application/ndjson", "application/json, */*;q=0.1"] {
        assert_eq!(send(&edge, &[lines, ("accept", accept)], "").await.status, 202, "{accept}");
    }
    edge.send(post_json(BATCH, READ_SECRET, "[]")).await.error(403, "forbidden");
    edge.send(post_json(BATCH, "tb_live_unknown", "[]")).await.error(401, "unauthorized");
    let page = request("POST", BATCH).header("x-api-key", PUBLISHABLE).header("origin", ORIGIN);
    let page = page.header("content-type", "application/json").body(r#"[{"type": "lead"}]"#.into());
    edge.send(page.unwrap()).await.error(403, "forbidden");
    edge.get(BATCH).await.error(404, "not_found");
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn nothing_is_accepted_that_the_log_does_not_have() {
    let edge = TestEdge::start().await;
    edge.shutdown.trigger();
    assert!(edge.edge.drain(crate::harness::SOON).await);
    edge.send(post_json(BATCH, SECRET, r#"[{"type": "lead"}]"#)).await.error(503, "unavailable");
    let mixed = edge.send(post_json(BATCH, SECRET, r#"[{"type": "lead"}, {}]"#)).await.json();
    assert_eq!((&mixed["accepted"], &mixed["items"][0]["error"]), (&json!(0), &json!("unavailable")));
}

#[tokio::test]
async fn a_key_that_is_revoked_meanwhile_spoils_nothing_that_was_recorded() {
    const EVENTS: usize = 4_000;
    let control = Control::new(0, Weather::Fair);
    let mut edge = edge_on(&control, IngestSettings::default()).await;
    let key = edge.follower.read().key_by_secret(SECRET, NOW).cloned().unwrap();
    let revoked = edge.proposal(vec![Resource::Key(Key { revoked_at: Some(NOW), ..key })]);
    let body = r#"{"type": "lead"}"#.to_owned() + "\n";
    let batch = send(&edge, &[("content-type", "application/x-ndjson")], body.repeat(EVENTS));
    let revocation = async {
        // The first part is on its way, and the last is not read before it has arrived.
        let mut waiting = control.waiting.subscribe();
        waiting.wait_for(|waiting| *waiting > 0).await.unwrap();
        edge.follower.propose(revoked).await.unwrap();
        control.gate.add_permits(Semaphore::MAX_PERMITS);
    };
    let (answer, ()) = tokio::time::timeout(SOON, async { tokio::join!(batch, revocation) }).await.unwrap();
    assert_eq!(answer.status, 202);
    let text = String::from_utf8(answer.body).unwrap();
    let items: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let receipts: Vec<Value> = items.iter().filter_map(|item| item.get("receipt").cloned()).collect();
    assert_eq!(items.len(), EVENTS);
    assert!((256..EVENTS).contains(&receipts.len()), "{}", receipts.len());
    assert!(items[receipts.len()..].iter().all(|item| item["error"] == json!("unauthorized")));
    let stored: Vec<Value> = edge.events().await.iter().map(|event| json!(event.id)).collect();
    assert_eq!(stored, receipts);
    // Who may not send from the start is told so at once.
    let again = send(&edge, &[("content-type", "application/x-ndjson")], body).await;
    again.error(401, "unauthorized");
}
