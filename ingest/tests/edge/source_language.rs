//! What a source calls things.

use std::collections::BTreeMap;

use catalog::{Resource, Source};
use schemas::event::{Conversion, Status, label};
use serde_json::json;

use crate::fixture::SECRET;
use crate::harness::TestEdge;

/// What became of a postback of a source that speaks like this.
async fn reported(change: impl FnOnce(&mut Source), query: &str) -> Conversion {
    let mut edge = TestEdge::start().await;
    let mut source = edge.follower.read().source(edge.fixture.open_source).cloned().unwrap();
    change(&mut source);
    edge.put(vec![Resource::from(source.clone())]).await;
    assert_eq!(edge.get(&format!("/postback?src={}&{query}", source.id)).await.status, 200);
    edge.only_conversion().await
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
}

#[tokio::test]
async fn words_for_a_status_are_understood() {
    for (word, status) in [
        ("approved", Status::Approved),
        ("1", Status::Approved),
        ("Confirmed", Status::Approved),
        ("%20OK", Status::Approved),
        ("paid", Status::Paid),
        ("0", Status::Pending),
        ("on_hold", Status::Hold),
        ("declined", Status::Rejected),
        ("chargeback", Status::Reversed),
    ] {
        let conversion = reported(|_| (), &format!("status={word}")).await;
        assert_eq!((conversion.status, conversion.labels.len()), (Some(status), 0), "{word}");
        assert_eq!((&*conversion.metadata, conversion.fault), ("", None), "{word}");
    }
    let own = |source: &mut Source| {
        source.status_map =
            BTreeMap::from([("2".to_owned(), Status::Rejected), ("paid".to_owned(), Status::Approved)]);
    };
    assert_eq!(reported(own, "status=2").await.status, Some(Status::Rejected));
    assert_eq!(reported(own, "status=PAID").await.status, Some(Status::Approved));
}

#[tokio::test]
async fn a_word_that_nobody_knows_is_kept() {
    let conversion = reported(|_| (), "status=great&txid=T-1").await;
    assert_eq!((conversion.status, conversion.fault), (Some(Status::Pending), None));
    assert_eq!(conversion.labels, [label::UNKNOWN_STATUS]);
    assert_eq!(conversion.metadata, r#"{"status_word":"great"}"#);
}

#[tokio::test]
async fn names_are_mapped_and_the_canonical_name_wins() {
    let speaks = |source: &mut Source| {
        source.params = map(&[("payout_usd", "amount"), ("goal", "event"), ("order", "transaction_id")]);
        source.defaults = map(&[("currency", "USD"), ("event", "deposit"), ("coupon", "NONE")]);
    };
    let conversion = reported(speaks, "payout_usd=12.50&goal=lead&order=A-1&coupon=TEN").await;
    assert_eq!((&*conversion.goal, &*conversion.transaction_id, &*conversion.coupon), ("lead", "A-1", "TEN"));
    assert_eq!(conversion.amount.unwrap().micros, 12_500_000);
    let conversion = reported(speaks, "payout_usd=1&amount=2").await;
    assert_eq!((conversion.amount.unwrap().micros, &*conversion.goal), (2_000_000, "deposit"));
    assert_eq!(&*conversion.coupon, "NONE");
}

#[tokio::test]
async fn any_name_can_be_mapped_but_those_of_the_sender() {
    let speaks = |source: &mut Source| {
        source.params = map(&[("type", "event"), ("test", "coupon")]);
        source.defaults = map(&[("event", "deposit")]);
    };
    let conversion = reported(speaks, "type=lead&test=TEN").await;
    assert_eq!((&*conversion.goal, &*conversion.coupon, &*conversion.metadata), ("lead", "TEN", ""));
    // Without a meaning they are kept like any other name; what says who sends is not.
    let conversion = reported(|_| (), "type=lead&test=1&token=t&ts=1&nonce=n&sig=s&px=p&key=k").await;
    assert_eq!((&*conversion.goal, &*conversion.metadata), ("sale", r#"{"test":"1","type":"lead"}"#));
}

#[tokio::test]
async fn a_default_is_not_for_who_says_it_by_another_name() {
    let speaks = |source: &mut Source| source.defaults = map(&[("amount", "5"), ("currency", "EUR")]);
    assert_eq!(reported(speaks, "").await.amount.unwrap().micros, 5_000_000);
    for query in ["sum=1", "amount_minor=100", "amountCents=100"] {
        let conversion = reported(speaks, query).await;
        assert_eq!((conversion.amount.unwrap().micros, conversion.fault), (1_000_000, None), "{query}");
    }
}

#[tokio::test]
async fn json_that_names_the_source_speaks_its_language() {
    let mut edge = TestEdge::start().await;
    let mut source = edge.follower.read().source(edge.fixture.open_source).cloned().unwrap();
    source.params = map(&[("order", "transaction_id")]);
    source.defaults = map(&[("amount_minor", "150"), ("currency", "EUR")]);
    edge.put(vec![Resource::from(source.clone())]).await;
    let body = json!({"source": source.id, "order": "A-1", "status": "confirmed"});
    assert_eq!(edge.report(SECRET, body.to_string()).await.status, 202);
    let conversion = edge.only_conversion().await;
    assert_eq!((&*conversion.transaction_id, conversion.status), ("A-1", Some(Status::Approved)));
    assert_eq!(conversion.amount.unwrap().micros, 1_500_000);
    let without = json!({"status": "confirmed"});
    assert_eq!(
        edge.report(SECRET, without.to_string()).await.error(400, "validation_failed").as_deref(),
        Some("status")
    );
}

#[tokio::test]
async fn a_macro_that_was_not_resolved_names_nothing() {
    let query = "txid={transaction_id}&event_id=%7B%7Bid%7D%7D&customer_id=[CUSTOMER]&coupon=__COUPON__";
    let conversion = reported(|_| (), query).await;
    let names = [
        &conversion.transaction_id,
        &conversion.client_event_id,
        &conversion.customer_id,
        &conversion.coupon,
    ];
    assert_eq!(names, [""; 4]);
    assert_eq!((conversion.fault, conversion.labels), (None, vec![label::UNRESOLVED_MACRO.to_owned()]));
    let kept: serde_json::Value = serde_json::from_str(&conversion.metadata).unwrap();
    let sent = json!({
        "txid": "{transaction_id}", "event_id": "{{id}}", "customer_id": "[CUSTOMER]", "coupon": "__COUPON__",
    });
    assert_eq!(kept, sent);
    let guid = "{F47AC10B-58CC-4372-A567-0E02B2C3D479}";
    let conversion = reported(|_| (), &format!("txid={guid}")).await;
    assert_eq!((&*conversion.transaction_id, conversion.labels.len()), (guid, 0));
}
