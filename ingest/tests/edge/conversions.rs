use std::time::Duration;

use catalog::bootstrap::FIRST_WORKSPACE;
use http::Request;
use schemas::event::{Conversion, StatedAmount, Status, Trust, label};
use schemas::money::{Currency, Money};
use serde_json::json;

use crate::fixture::{
    NOW, OPERATOR, OPERATOR_ONLY, ORIGIN, PUBLISHABLE, PUBLISHABLE_NOWHERE, READ_SECRET, SECRET, TEST_SECRET,
};
use crate::harness::{TestEdge, request};

const CLICK: &str = "click_01h455vb4pex5vsknk084sn02q";

fn money(text: &str, code: &str) -> Option<Money> {
    Some(Money::parse(text, Currency::from_code(code).unwrap()).unwrap())
}

/// Reports this and gives the conversion as it stands in the log.
async fn reported(body: serde_json::Value) -> Conversion {
    let edge = TestEdge::start().await;
    let answer = edge.report(SECRET, body.to_string()).await;
    assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.body));
    edge.only_conversion().await
}

#[tokio::test]
async fn a_conversion_is_accepted_and_stands_in_the_log() {
    let edge = TestEdge::start().await;
    let body = json!({
        "event": "lead", "click_id": CLICK, "visitor_id": "vis_01h455vb4pex5vsknk084sn02q", "customer_id": 4711,
        "email": "  Anna@Example.ORG ", "coupon": "TEN", "partner": "anna", "offer": edge.fixture.offer,
        "transaction_id": "A-1", "event_id": "e-1", "amount": "80.00", "currency": "USD", "status": "pending",
        "source": edge.fixture.token_source, "occurred_at": "2026-10-31T23:00:00+00:00",
        "metadata": {"basket": [1, 2]}, "color": "red", "token": "never stored",
    });
    let answer = edge.report(SECRET, body.to_string()).await;
    assert_eq!(answer.status, 202);
    let event = edge.only_event().await;
    assert_eq!(answer.json(), json!({"receipt": event.id, "status": "accepted"}));
    let expected = Conversion {
        goal: "lead".into(),
        click: Some(CLICK.parse().unwrap()),
        visitor: Some("vis_01h455vb4pex5vsknk084sn02q".parse().unwrap()),
        customer_id: "4711".into(),
        // sha256sum of anna@example.org
        email_sha256: Some(sha256("anna@example.org")),
        coupon: "TEN".into(),
        partner: Some(edge.fixture.partner),
        offer: Some(edge.fixture.offer),
        transaction_id: "A-1".into(),
        client_event_id: "e-1".into(),
        amount: money("80", "USD"),
        stated_amount: None,
        status: Some(Status::Pending),
        source: Some(edge.fixture.token_source),
        trust: Trust::Secret,
        metadata: r#"{"basket":[1,2],"color":"red"}"#.into(),
        occurred_at: "2026-10-31T23:00:00Z".parse().unwrap(),
        labels: Vec::new(),
        test: false,
        fault: None,
        nonce: None,
        pixel: None,
    };
    assert_eq!(edge.only_conversion().await, expected);
}

fn sha256(text: &str) -> [u8; 32] {
    catalog::key::hash_secret(text)
}

#[tokio::test]
async fn an_empty_conversion_is_a_sale_now() {
    let conversion = reported(json!({})).await;
    assert_eq!((&*conversion.goal, conversion.occurred_at, conversion.amount), ("sale", NOW, None));
    assert_eq!((&*conversion.metadata, conversion.email_sha256), ("", None));
    assert!(conversion.labels.is_empty());
}

#[tokio::test]
async fn aliases_stand_for_canonical_names_which_win() {
    for name in ["click_id", "clickid", "cid", "subid", "cnv_id", "dub_id"] {
        assert_eq!(reported(json!({name: CLICK})).await.click, Some(CLICK.parse().unwrap()), "{name}");
    }
    for name in ["transaction_id", "txid", "tid", "externalEventId"] {
        assert_eq!(reported(json!({name: "A-1"})).await.transaction_id, "A-1", "{name}");
    }
    for name in ["amount", "payout", "revenue", "sum"] {
        assert_eq!(
            reported(json!({name: "1.50", "currency": "EUR"})).await.amount,
            money("1.5", "EUR"),
            "{name}"
        );
    }
    let conversion = reported(json!({
        "sum": "2", "amount": "1", "currency": "USD", "customerId": "no", "customer_id": "c", "affiliateSlug": "anna", "txid": null,
        "tid": "t",
    }));
    let conversion = conversion.await;
    assert_eq!((conversion.amount, &*conversion.customer_id), (money("1", "USD"), "c"));
    assert_eq!((conversion.partner.is_some(), &*conversion.transaction_id), (true, "t"));
    // An alias that lost is no unknown field.
    assert_eq!(conversion.metadata, "");
}

#[tokio::test]
async fn money_has_three_forms_and_the_currency_of_the_offer() {
    let edge = TestEdge::start().await;
    let offer = edge.fixture.offer;
    for (body, amount) in [
        (json!({"amount": {"amount": "12.50", "currency": "EUR"}}), money("12.5", "EUR")),
        (json!({"amount_minor": 1250, "currency": "JPY"}), money("1250", "JPY")),
        (json!({"amountCents": 1250, "currency": "EUR"}), money("12.5", "EUR")),
        (json!({"amount": "3", "offer": offer}), money("3", "EUR")),
        (json!({"amount": "3", "currency": "JPY", "offer": offer}), money("3", "JPY")),
        (json!({"amount_minor": 3, "offer": offer}), money("0.03", "EUR")),
        (json!({"currency": "EUR"}), None),
    ] {
        let conversion = reported(body.clone()).await;
        assert_eq!((conversion.amount, conversion.stated_amount), (amount, None), "{body}");
        assert!(conversion.labels.is_empty(), "{body}");
    }
}

#[tokio::test]
async fn an_amount_whose_currency_nobody_named_is_kept_as_it_was_stated() {
    let decimal = |text: &str| StatedAmount::Decimal(text.to_owned());
    for (body, stated) in [
        (json!({"amount": "3"}), decimal("3")),
        (json!({"sum": "12.505", "click_id": CLICK}), decimal("12.505")),
        (json!({"amount": {"amount": "007.10"}, "partner": "anna"}), decimal("007.10")),
        (json!({"amount_minor": 1250, "click_id": CLICK}), StatedAmount::Minor(1250)),
        // Whether there is such an offer, the core decides; until then nobody knows its currency.
        (json!({"amount": "3", "offer": "offer_01h455vb4pex5vsknk084sn02q"}), decimal("3")),
    ] {
        let conversion = reported(body.clone()).await;
        assert_eq!((conversion.amount, conversion.stated_amount), (None, Some(stated)), "{body}");
        assert_eq!(conversion.labels, [label::DEFAULT_CURRENCY], "{body}");
    }
}

#[tokio::test]
async fn wrong_values_are_named_and_nothing_is_written() {
    let edge = TestEdge::start().await;
    let long = "x".repeat(256);
    let big: Vec<_> = (0..2_000).map(|n| format!("item {n}")).collect();
    for (body, field) in [
        (json!({"click_id": "nonsense"}), "click_id"),
        (json!({"cid": "conv_01h455vb4pex5vsknk084sn02q"}), "cid"),
        (json!({"click_id": ["x"]}), "click_id"),
        (json!({"visitor_id": "x"}), "visitor_id"),
        (json!({"amount": 12.5}), "amount"),
        (json!({"amount": ""}), "amount"),
        (json!({"amount": "1", "currency": ""}), "currency"),
        (json!({"amount": "-1"}), "amount"),
        (json!({"amount": "1e3"}), "amount"),
        (json!({"amount": "1,50"}), "amount"),
        (json!({"amount": "12.505", "currency": "EUR"}), "amount"),
        (json!({"amount": "12.500", "currency": "EUR"}), "amount"),
        (json!({"amount": "12.500", "offer": edge.fixture.offer}), "amount"),
        (json!({"amount": "1.0000000"}), "amount"),
        (json!({"amount": "000000000000000000001"}), "amount"),
        (json!({"amount": "9300000000000"}), "amount"),
        (json!({"amount": ".5", "click_id": CLICK}), "amount"),
        (json!({"sum": "1.5", "currency": "JPY"}), "sum"),
        (json!({"amount": {"amount": 1, "currency": "EUR"}}), "amount"),
        (json!({"amount": "1", "currency": "eur"}), "currency"),
        (json!({"amount": "1", "currency": 5}), "currency"),
        (json!({"amount": "1", "amount_minor": 100}), "amount_minor"),
        (json!({"amount_minor": -1}), "amount_minor"),
        (json!({"amount_minor": "100"}), "amount_minor"),
        (json!({"amount_minor": 9_300_000_000_000_000_000_u64}), "amount_minor"),
        (json!({"occurred_at": "1970-01-01T00:00:00Z"}), "occurred_at"),
        (json!({"occurred_at": "2099-01-01T00:00:00Z"}), "occurred_at"),
        (json!({"occurred_at": "2026-11-01"}), "occurred_at"),
        (json!({"occurred_at": 1_793_491_200}), "occurred_at"),
        (json!({"status": "great"}), "status"),
        (json!({"email": "nobody"}), "email"),
        (json!({"event": "x".repeat(65)}), "event"),
        (json!({"transaction_id": long}), "transaction_id"),
        (json!({"transaction_id": "a\u{0}b"}), "transaction_id"),
        (json!({"coupon": "a\r\nb"}), "coupon"),
        (json!({"metadata": "text"}), "metadata"),
        (json!({"metadata": {"big": big}}), "metadata"),
        (json!({"offer": "shoes"}), "offer"),
        (json!({"source": "ext:nocolon"}), "source"),
    ] {
        let answer = edge.report(SECRET, body.to_string()).await;
        let found = answer.error(400, "validation_failed");
        assert_eq!(found.as_deref(), Some(field), "{body:.200}");
    }
    let both = edge.report(SECRET, json!({"status": "great", "cid": "x"}).to_string()).await;
    both.error(400, "validation_failed");
    assert_eq!(both.json()["details"].as_array().unwrap().len(), 2);
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn times_within_the_bounds_are_taken() {
    let edge = TestEdge::start().await;
    for (occurred_at, is_taken) in [
        ("2026-11-01T00:05:00Z", true),
        ("2026-11-01T00:05:01Z", false),
        ("2025-10-31T00:00:00Z", true),
        ("2025-10-30T23:59:59Z", false),
    ] {
        let answer = edge.report(SECRET, json!({ "occurred_at": occurred_at }).to_string()).await;
        assert_eq!(answer.status == 202, is_taken, "{occurred_at}");
    }
    edge.clock.advance(Duration::from_secs(1));
    let answer = edge.report(SECRET, json!({"occurred_at": "2026-11-01T00:05:01Z"}).to_string()).await;
    assert_eq!(answer.status, 202);
}

#[tokio::test]
async fn what_needs_the_catalog_is_accepted_and_decided_later() {
    let conversion = reported(json!({"partner": "stranger"})).await;
    let fault = conversion.fault.unwrap();
    assert_eq!((&*fault.reason, &*fault.field, conversion.partner), ("unknown_reference", "partner", None));
    let conversion =
        reported(json!({"offer": "offer_01h455vb4pex5vsknk084sn02q", "event": "unheard_of"})).await;
    assert_eq!(conversion.offer.unwrap().to_string(), "offer_01h455vb4pex5vsknk084sn02q");
    assert_eq!((conversion.fault, &*conversion.goal), (None, "unheard_of"));
    let conversion = reported(json!({"partner": "ext:crm:77", "source": "default"})).await;
    assert_eq!((conversion.partner.is_some(), conversion.source, conversion.fault), (true, None, None));
}

#[tokio::test]
async fn unknown_fields_are_kept_within_bounds() {
    let mut body = serde_json::Map::new();
    for n in 0..40 {
        body.insert(format!("extra{n:02}"), json!(n));
    }
    let conversion = reported(body.into()).await;
    let metadata: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&conversion.metadata).unwrap();
    assert_eq!(metadata.len(), 32);
    assert_eq!(conversion.labels, [label::DROPPED_PARAMETER]);
    // What the sender calls metadata comes first; unknown fields get what is left of the 10 kB.
    let stated = "x".repeat(9_900);
    let both = json!({"metadata": {"stated": stated}, "first": "y".repeat(200), "second": "z".repeat(200)});
    let conversion = reported(both).await;
    let metadata: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&conversion.metadata).unwrap();
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["first", "stated"]);
    assert!(conversion.metadata.len() <= 10 * 1024);
    let conversion = reported(json!({"metadata": {"a": 1}, "a": 2, "long": "x".repeat(257)})).await;
    assert_eq!(conversion.metadata, r#"{"a":1}"#);
}

#[tokio::test]
async fn keys_decide_who_may_send_and_how_far_they_are_trusted() {
    let edge = TestEdge::start().await;
    edge.report(READ_SECRET, "{}").await.error(403, "forbidden");
    edge.report("tb_live_unknown", "{}").await.error(401, "unauthorized");
    edge.report(PUBLISHABLE, "{}").await.error(403, "forbidden");
    let send = async |headers: &[(&str, &str)]| {
        let mut builder = request("POST", "/api/v1/conversions").header("content-type", "application/json");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        edge.send(builder.body("{}".into()).unwrap()).await
    };
    send(&[]).await.error(401, "unauthorized");
    send(&[("authorization", "Basic abc")]).await.error(401, "unauthorized");
    send(&[("x-api-key", PUBLISHABLE), ("origin", "https://evil.example")]).await.error(403, "forbidden");
    send(&[("x-api-key", PUBLISHABLE_NOWHERE), ("origin", ORIGIN)]).await.error(403, "forbidden");
    assert!(edge.events().await.is_empty());
    for (headers, trust, test) in [
        (&[("x-api-key", SECRET)][..], Trust::Secret, false),
        (&[("authorization", "bearer tb_test_ingest")], Trust::Secret, true),
        (&[("x-api-key", PUBLISHABLE), ("origin", ORIGIN)], Trust::Publishable, false),
        (&[("x-api-key", PUBLISHABLE), ("referer", "https://shop.example/cart")], Trust::Publishable, false),
    ] {
        assert_eq!(send(headers).await.status, 202, "{headers:?}");
        let schemas::event::Body::Conversion(conversion) = edge.events().await.pop().unwrap().body else {
            panic!("no conversion")
        };
        assert_eq!((conversion.trust, conversion.test), (trust, test), "{headers:?}");
    }
    assert_eq!(TEST_SECRET, "tb_test_ingest");
}

#[tokio::test]
async fn an_operator_may_name_another_workspace() {
    let mut edge = TestEdge::start().await;
    let first = edge.follower.read().workspace(FIRST_WORKSPACE).cloned().unwrap();
    let second = edge.second_workspace().await;
    let [unknown, own, other] =
        ["ws_01h455vb4pex5vsknk084sn02q".to_owned(), first.id.to_string(), second.id.to_string()];
    let send = async |key: &str, workspaces: &[&str]| {
        let mut builder = request("POST", "/api/v1/conversions")
            .header("content-type", "application/json")
            .header("x-api-key", key)
            .header("origin", ORIGIN);
        for workspace in workspaces {
            builder = builder.header("x-workspace", *workspace);
        }
        edge.send(builder.body("{}".into()).unwrap()).await
    };
    for (key, named, status, code) in [
        (SECRET, &[&*other][..], 403, "forbidden"),
        (SECRET, &[&unknown], 403, "forbidden"),
        (PUBLISHABLE, &[&other], 403, "forbidden"),
        (OPERATOR_ONLY, &[&other], 403, "forbidden"),
        (OPERATOR, &[&unknown], 404, "not_found"),
        ("tb_live_unknown", &[&other], 401, "unauthorized"),
    ] {
        send(key, named).await.error(status, code);
    }
    for malformed in [&["main"][..], &[""], &["link_01h455vb4pex5vsknk084sn02q"], &[&other, &other]] {
        let field = send(OPERATOR, malformed).await.error(400, "validation_failed");
        assert_eq!(field.as_deref(), Some("X-Workspace"), "{malformed:?}");
    }
    assert!(edge.events().await.is_empty());
    for (key, named, workspace) in [
        (SECRET, &[&*own][..], &first),
        (PUBLISHABLE, &[&own], &first),
        (OPERATOR, &[], &first),
        (OPERATOR, &[&other], &second),
    ] {
        let answer = send(key, named).await;
        assert_eq!(answer.status, 202, "{named:?}");
        let receipt = answer.json()["receipt"].as_str().unwrap().to_owned();
        let events = edge.events().await;
        let event = events.iter().find(|event| event.id.to_string() == receipt).unwrap();
        assert_eq!(
            (event.workspace, event.id.workspace()),
            (workspace.number, workspace.number),
            "{named:?}"
        );
    }
}

#[tokio::test]
async fn a_secret_key_in_the_url_is_refused_and_not_stored() {
    let edge = TestEdge::start().await;
    for query in ["key=tb_live_unknown", &format!("x=a{SECRET}"), "tb_test_x=1", "x=tb%5Flive%5Fx"] {
        let builder = request("POST", &format!("/api/v1/conversions?{query}"))
            .header("x-api-key", SECRET)
            .header("content-type", "application/json");
        edge.send(builder.body("{}".into()).unwrap()).await.error(401, "unauthorized");
    }
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn the_idempotency_key_names_an_event_without_a_name() {
    for (key, body, expected) in [
        ("k-1", "{}", Some("k-1")),
        ("k-1", r#"{"event_id": "e-1"}"#, Some("e-1")),
        (&*"k".repeat(256), "{}", None),
        ("a\tb", "{}", None),
    ] {
        let edge = TestEdge::start().await;
        let request: Request<axum::body::Body> = request("POST", "/api/v1/conversions")
            .header("x-api-key", SECRET)
            .header("content-type", "application/json; charset=utf-8")
            .header("idempotency-key", key)
            .body(body.into())
            .unwrap();
        let answer = edge.send(request).await;
        match expected {
            Some(expected) => assert_eq!(edge.only_conversion().await.client_event_id, expected),
            None => {
                assert_eq!(answer.error(400, "validation_failed").as_deref(), Some("Idempotency-Key"));
            }
        }
    }
}
