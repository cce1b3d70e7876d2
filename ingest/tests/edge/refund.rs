use schemas::event::{Body, Refund, StatedAmount, Trust, label};
use schemas::money::{Currency, Money};
use serde_json::json;

use crate::fixture::{NOW, ORIGIN, PUBLISHABLE, SECRET};
use crate::harness::{TestEdge, post_json};

const CONVERSION: &str = "conv_01h455vb4pex5vsknk084sn02q";

async fn only_refund(edge: &TestEdge) -> Refund {
    let Body::Refund(refund) = edge.only_event().await.body else { panic!("no refund") };
    *refund
}

#[tokio::test]
async fn a_refund_names_its_conversion_in_the_path() {
    let edge = TestEdge::start().await;
    let uri = format!("/api/v1/conversions/{CONVERSION}/refund");
    let body =
        json!({"refund_id": "R-1", "amount": "12.50", "currency": "EUR", "reason": "returned", "x": 1});
    let answer = edge.send(post_json(&uri, SECRET, &body.to_string())).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json(), json!({"receipt": edge.only_event().await.id, "status": "accepted"}));
    let expected = Refund {
        refund_id: "R-1".into(),
        conversion: Some(CONVERSION.parse().unwrap()),
        transaction_id: String::new(),
        goal: "sale".into(),
        source: None,
        amount: Some(Money::parse("12.50", Currency::from_code("EUR").unwrap()).unwrap()),
        stated_amount: None,
        reason: "returned".into(),
        trust: Trust::Secret,
        occurred_at: NOW,
        labels: vec![label::DROPPED_PARAMETER.to_owned()],
        nonce: None,
        test: false,
        fault: None,
    };
    assert_eq!(only_refund(&edge).await, expected);
}

#[tokio::test]
async fn or_by_the_transaction_as_it_was_reported() {
    let edge = TestEdge::start().await;
    let source = edge.fixture.token_source;
    let body = json!({
        "txid": "A-1", "event": "lead", "source": source, "amount_minor": 150, "reason": "fraud", "refund_id": 7,
        "occurred_at": "2026-10-31T00:00:00Z",
    });
    assert_eq!(edge.send(post_json("/api/v1/refunds", SECRET, &body.to_string())).await.status, 202);
    let refund = only_refund(&edge).await;
    assert_eq!((refund.conversion, &*refund.transaction_id, &*refund.goal), (None, "A-1", "lead"));
    assert_eq!((refund.source, &*refund.refund_id, &*refund.reason), (Some(source), "7", "fraud"));
    assert_eq!((refund.amount, refund.stated_amount), (None, Some(StatedAmount::Minor(150))));
    assert_eq!(refund.occurred_at, "2026-10-31T00:00:00Z".parse().unwrap());
}

#[tokio::test]
async fn what_is_wrong_with_a_refund_is_named() {
    let edge = TestEdge::start().await;
    let uri = format!("/api/v1/conversions/{CONVERSION}/refund");
    for (uri, body, field) in [
        (&*uri, json!({"reason": "x"}), "refund_id"),
        (&uri, json!({"refund_id": "R-1"}), "reason"),
        (&uri, json!({"refund_id": "R-1", "reason": "x".repeat(1_025)}), "reason"),
        (&uri, json!({"refund_id": "R-1", "reason": "x", "amount": 5}), "amount"),
        (&uri, json!({"refund_id": "R-1", "reason": "x", "amount": "1.005", "currency": "EUR"}), "amount"),
        (
            &uri,
            json!({"refund_id": "R-1", "reason": "x", "occurred_at": "2099-01-01T00:00:00Z"}),
            "occurred_at",
        ),
        ("/api/v1/refunds", json!({"refund_id": "R-1", "reason": "x"}), "transaction_id"),
        ("/api/v1/conversions/%ff/refund", json!({"refund_id": "R-1", "reason": "x"}), "conversion"),
        ("/api/v1/refunds", json!({"refund_id": "{id}", "reason": "x", "txid": "A-1"}), "refund_id"),
        ("/api/v1/conversions/nonsense/refund", json!({"refund_id": "R-1", "reason": "x"}), "conversion"),
    ] {
        let answer = edge.send(post_json(uri, SECRET, &body.to_string())).await;
        assert_eq!(answer.error(400, "validation_failed").as_deref(), Some(field), "{body:.100}");
    }
    let named = post_json("/api/v1/refunds", SECRET, r#"{"transaction_id": "A-1", "reason": "x"}"#);
    let (mut parts, body) = named.into_parts();
    parts.headers.insert("idempotency-key", "R-9".parse().unwrap());
    assert_eq!(edge.send(http::Request::from_parts(parts, body)).await.status, 202);
    assert_eq!(only_refund(&edge).await.refund_id, "R-9");
}

#[tokio::test]
async fn a_key_that_anybody_can_read_gives_nothing_back() {
    let edge = TestEdge::start().await;
    let body = json!({"refund_id": "R-1", "reason": "x", "transaction_id": "A-1"}).to_string();
    let (mut parts, body) = post_json("/api/v1/refunds", PUBLISHABLE, &body).into_parts();
    parts.headers.insert("origin", ORIGIN.parse().unwrap());
    edge.send(http::Request::from_parts(parts, body)).await.error(403, "forbidden");
    assert!(edge.events().await.is_empty());
}
