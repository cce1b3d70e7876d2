use schemas::event::{StatedAmount, Trust, label};
use schemas::money::{Currency, Money};

use crate::fixture::{PUBLISHABLE, TOKEN};
use crate::harness::{Answer, TestEdge, hit_of, request};

const CLICK: &str = "click_01h455vb4pex5vsknk084sn02q";

async fn post(edge: &TestEdge, uri: &str, content_type: &str, body: &str) -> Answer {
    let request =
        request("POST", uri).header("content-type", content_type).body(body.to_owned().into()).unwrap();
    edge.send(request).await
}

#[tokio::test]
async fn a_postback_is_recorded_with_its_sources_trust() {
    let edge = TestEdge::start().await;
    let source = edge.fixture.token_source;
    let answer = edge
        .get(&format!("/postback?src={source}&token={TOKEN}&cid={CLICK}&txid=T-1&sum=80.00&currency=EUR&x=y&source=src_fake"))
        .await;
    let event = edge.only_event().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), serde_json::json!({"receipt": event.id, "status": "accepted"}));
    let conversion = edge.only_conversion().await;
    assert_eq!((conversion.source, conversion.trust), (Some(source), Trust::Token));
    assert_eq!(conversion.click, Some(CLICK.parse().unwrap()));
    assert_eq!(conversion.transaction_id, "T-1");
    assert_eq!(
        conversion.amount,
        Some(Money { micros: 80_000_000, currency: Currency::from_code("EUR").unwrap() })
    );
    assert_eq!((&*conversion.metadata, conversion.fault), (r#"{"x":"y"}"#, None));
}

#[tokio::test]
async fn query_and_form_count_together_and_the_query_first() {
    let edge = TestEdge::start().await;
    let uri = format!("/postback?src={}&tid=query&amount=", edge.fixture.open_source);
    let form = "application/x-www-form-urlencoded; charset=utf-8";
    let answer = post(&edge, &uri, form, "tid=form&amount_minor=150&currency=EUR&customer_id=c%20d").await;
    assert_eq!(answer.status, 200);
    let conversion = edge.only_conversion().await;
    assert_eq!((&*conversion.transaction_id, &*conversion.customer_id), ("query", "c d"));
    assert_eq!(conversion.amount.unwrap().micros, 1_500_000);
    assert_eq!(
        (conversion.trust, conversion.labels),
        (Trust::Open, vec![label::REPEATED_PARAMETER.to_owned()])
    );
}

#[tokio::test]
async fn whoever_is_no_source_gets_the_one_refusal() {
    let edge = TestEdge::start().await;
    let source = edge.fixture.token_source;
    let unknown = "src_01h455vb4pex5vsknk084sn02q";
    let mut bodies = std::collections::BTreeSet::new();
    for query in [
        String::new(),
        "src=".into(),
        "src=nonsense&token=x".into(),
        format!("src={unknown}&token={TOKEN}"),
        format!("src={source}"),
        format!("src={source}&token="),
        format!("src={source}&token=wrong"),
        format!("src={source}&token={TOKEN}x"),
    ] {
        let answer = edge.get_with(&format!("/postback?{query}"), &[("x-request-id", "same")]).await;
        answer.error(401, "unauthorized");
        bodies.insert(answer.body);
    }
    assert_eq!(bodies.len(), 1, "the refusals differ");
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn the_token_may_come_in_a_header_or_in_the_form() {
    let edge = TestEdge::start().await;
    let source = edge.fixture.token_source;
    let by_header = edge.get_with(&format!("/postback?src={source}"), &[("x-postback-token", TOKEN)]).await;
    assert_eq!(by_header.status, 200);
    let form = format!("src={source}&token={TOKEN}");
    assert_eq!(post(&edge, "/postback", "application/x-www-form-urlencoded", &form).await.status, 200);
    assert_eq!(edge.events().await.len(), 2);
}

#[tokio::test]
async fn a_wrong_value_is_kept_as_a_fault() {
    let source_query = |edge: &TestEdge| format!("/postback?src={}", edge.fixture.open_source);
    for (parameters, field) in [
        ("&cid=nonsense&txid=T-1", "cid"),
        ("&amount=12.505&currency=EUR&txid=T-1", "amount"),
        ("&sum=-5&txid=T-1", "sum"),
        ("&amount_minor=1.5&txid=T-1", "amount_minor"),
        ("&occurred_at=1970-01-01T00:00:00Z&txid=T-1", "occurred_at"),
        ("&coupon=%00&txid=T-1", "coupon"),
        ("&metadata=text&txid=T-1", "metadata"),
    ] {
        let edge = TestEdge::start().await;
        let answer = edge.get(&(source_query(&edge) + parameters)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["status"].as_str()),
            (200, Some("accepted")),
            "{parameters}"
        );
        let conversion = edge.only_conversion().await;
        let fault = conversion.fault.unwrap();
        assert_eq!((&*fault.reason, &*fault.field), ("invalid_value", field), "{parameters}");
        assert!(!fault.message.is_empty());
        // What is right is kept beside it.
        assert_eq!(conversion.transaction_id, "T-1");
    }
    let edge = TestEdge::start().await;
    for (content_type, body) in [("application/xml", "<a/>"), ("application/json", "{"), ("", "x=1")] {
        let edge = TestEdge::start().await;
        assert_eq!(post(&edge, &source_query(&edge), content_type, body).await.status, 200);
        assert_eq!(edge.only_conversion().await.fault.unwrap().field, "body", "{content_type}");
    }
    let json = r#"{"amount_minor": 150, "currency": "EUR", "txid": "body"}"#;
    let uri = source_query(&edge) + "&tid=query";
    assert_eq!(post(&edge, &uri, "application/json", json).await.status, 200);
    let conversion = edge.only_conversion().await;
    assert_eq!((conversion.fault, conversion.amount.unwrap().micros), (None, 1_500_000));
}

#[tokio::test]
async fn the_idempotency_key_names_an_event_without_a_name() {
    let long = "k".repeat(256);
    for (key, parameters, event_id, is_fault) in [
        ("k-1", "", "k-1", false),
        ("k-1", "&event_id=e-1", "e-1", false),
        (&*long, "", "", true),
        ("", "&txid=T-1", "", true),
    ] {
        let edge = TestEdge::start().await;
        let uri = format!("/postback?src={}{parameters}", edge.fixture.open_source);
        let answer = edge.get_with(&uri, &[("idempotency-key", key)]).await;
        assert_eq!(answer.status, 200, "{key}");
        let conversion = edge.only_conversion().await;
        assert_eq!(conversion.client_event_id, event_id, "{key}");
        let field = conversion.fault.map(|fault| fault.field);
        assert_eq!(field.as_deref(), is_fault.then_some("Idempotency-Key"), "{key}");
    }
}

#[tokio::test]
async fn a_secret_key_in_the_url_is_refused_and_not_stored() {
    let edge = TestEdge::start().await;
    let source = edge.fixture.open_source;
    for query in ["x=tb_live_unknown", "key=tb_test_x", "tb_live_x=1", "x=a%74b_live_x"] {
        edge.get(&format!("/postback?src={source}&{query}")).await.error(401, "unauthorized");
        let pixel = edge.get(&format!("/p.gif?key={PUBLISHABLE}&{query}")).await;
        assert_eq!((pixel.status.as_u16(), pixel.header("x-error")), (200, Some("unauthorized")), "{query}");
    }
    assert!(edge.events().await.is_empty());
    // A redirect is never refused for what stands in its query, nor is an impression; but it goes no further.
    let answer = edge.get("/c/anna?x=tb_live_unknown&sub1=tb_test_x&y=1").await;
    assert!(answer.header("location").unwrap().ends_with("&s=&y=1"), "{answer:?}");
    assert!(edge.get("/i/anna?x=%74b_live_unknown").await.header("x-receipt").is_some());
    for event in edge.events().await {
        assert!(!format!("{event:?}").contains("tb_live_") && !format!("{event:?}").contains("tb_test_"));
        assert_eq!(hit_of(event).labels, [label::DROPPED_PARAMETER]);
    }
}

#[tokio::test]
async fn an_amount_without_a_currency_waits_for_the_clicks_offer() {
    let edge = TestEdge::start().await;
    let source = edge.fixture.open_source;
    edge.get(&format!("/postback?src={source}&cid={CLICK}&amount_minor=150")).await;
    let conversion = edge.only_conversion().await;
    assert_eq!((conversion.amount, conversion.stated_amount), (None, Some(StatedAmount::Minor(150))));
    assert_eq!((conversion.labels, conversion.fault), (vec![label::DEFAULT_CURRENCY.to_owned()], None));
}
