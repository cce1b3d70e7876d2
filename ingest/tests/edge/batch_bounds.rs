//! What one event of a batch may cost.

use ingest::IngestSettings;
use serde_json::{Value, json};

use crate::fixture::SECRET;
use crate::harness::{Answer, TestEdge, request};

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
