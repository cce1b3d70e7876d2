use catalog::{PreviousSealed, PreviousSecret, Resource, Source, SourceAuth};
use hmac::{Hmac, KeyInit, Mac};
use schemas::event::{Body, Conversion, Trust};
use schemas::hex;
use schemas::id::SourceId;
use schemas::time::Timestamp;
use sha2::{Digest, Sha256};

use crate::fixture::{NOW, SECRET};
use crate::harness::{Answer, TestEdge, request, sealer};

const OLD: &str = "tb_sig_old";
const NEW: &str = "tb_sig_new";

/// An edge whose source `token` signs, with two live secrets.
async fn edge() -> (TestEdge, SourceId) {
    let mut edge = TestEdge::start().await;
    let id = edge.fixture.token_source;
    let source = edge.follower.read().source(id).cloned().unwrap();
    let seal = |secret: &str| sealer().seal(id, secret).unwrap();
    let previous =
        PreviousSealed { secret: seal(OLD), valid_until: Timestamp::from_micros(NOW.micros() + 1) };
    let auth = SourceAuth::Signed { secret: seal(NEW), previous: Some(previous) };
    edge.put(vec![Resource::from(Source { auth, ..source })]).await;
    (edge, id)
}

/// The signature as the documentation describes it.
fn signature(secret: &str, method: &str, target: &str, nonce: &str, seconds: i64, body: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    let body = hex::encode(&Sha256::digest(body.as_bytes()));
    let text = format!("v1\n{method}\n{path}\n{}\n{seconds}\n{nonce}\n{body}", pairs.join("&"));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    hex::encode(&mac.finalize().into_bytes())
}

fn header(secret: &str, method: &str, target: &str, nonce: &str, body: &str) -> String {
    let seconds = NOW.unix_seconds();
    format!("t={seconds},n={nonce},v1={}", signature(secret, method, target, nonce, seconds, body))
}

async fn send(edge: &TestEdge, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let builder =
        headers.iter().fold(request(method, target), |builder, (name, value)| builder.header(*name, *value));
    edge.send(builder.body(body.to_owned().into()).unwrap()).await
}

fn conversions(events: Vec<schemas::event::Event>) -> Vec<Conversion> {
    let conversion = |body| match body {
        Body::Conversion(conversion) => Some(*conversion),
        Body::Click(_)
        | Body::Impression(_)
        | Body::Refund(_)
        | Body::Command(_)
        | Body::Delayed(_)
        | Body::Tick => None,
    };
    events.into_iter().filter_map(|event| conversion(event.body)).collect()
}

#[tokio::test]
async fn a_signed_postback_is_trusted_by_header_by_query_and_with_either_secret() {
    let (edge, source) = edge().await;
    let target = format!("/postback?txid=A-1&src={source}&status=1");
    for (secret, nonce) in [(NEW, "nonce-01"), (OLD, "nonce-02")] {
        let signed = header(secret, "GET", &target, nonce, "");
        let answer = send(&edge, "GET", &target, &[("x-tributary-signature", &signed)], "").await;
        assert_eq!(answer.status, 200, "{secret}");
    }
    let seconds = NOW.unix_seconds();
    let target = format!("{target}&ts={seconds}&nonce=nonce-03");
    let mac = signature(NEW, "GET", &target, "nonce-03", seconds, "");
    assert_eq!(send(&edge, "GET", &format!("{target}&sig={mac}"), &[], "").await.status, 200);
    let form = "txid=A-4&amount=1.00&currency=EUR";
    let target = format!("/postback?src={source}");
    let signed = header(NEW, "POST", &target, "nonce-04", form);
    let headers =
        [("x-tributary-signature", &*signed), ("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(send(&edge, "POST", &target, &headers, form).await.status, 200);
    let conversions = conversions(edge.events().await);
    assert!(
        conversions
            .iter()
            .all(|conversion| conversion.trust == Trust::Secret && conversion.source == Some(source))
    );
    let mut nonces: Vec<_> =
        conversions.into_iter().map(|conversion| conversion.nonce.unwrap().text).collect();
    nonces.sort();
    assert_eq!(nonces, ["nonce-01", "nonce-02", "nonce-03", "nonce-04"]);
}

#[tokio::test]
async fn a_retry_that_is_signed_anew_says_the_same_and_another_request_does_not() {
    let (edge, source) = edge().await;
    let seconds = NOW.unix_seconds();
    for (txid, at) in [("A-1", seconds), ("A-1", seconds + 10), ("A-2", seconds)] {
        let target = format!("/postback?src={source}&txid={txid}&ts={at}&nonce=nonce-01");
        let mac = signature(NEW, "GET", &target, "nonce-01", at, "");
        assert_eq!(send(&edge, "GET", &format!("{target}&sig={mac}"), &[], "").await.status, 200);
    }
    let hashes: Vec<_> = conversions(edge.events().await)
        .into_iter()
        .map(|conversion| conversion.nonce.unwrap().body_sha256)
        .collect();
    assert!(hashes[0] == hashes[1] && hashes[0] != hashes[2]);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_signature_gets_the_one_refusal() {
    let (edge, source) = edge().await;
    let target = format!("/postback?src={source}&txid=A-1");
    let good = header(NEW, "GET", &target, "nonce-01", "");
    let other = format!("{target}&amount=1");
    let seconds = NOW.unix_seconds() - 301;
    let old =
        format!("t={seconds},n=nonce-01,v1={}", signature(NEW, "GET", &target, "nonce-01", seconds, ""));
    let mut bodies = std::collections::BTreeSet::new();
    for (target, signed) in [
        (&target, ""),
        (&other, &*good),
        (&target, &*old),
        (&target, &*good.replace("nonce-01", "nonce-02")),
        (&target, &*header("tb_sig_wrong", "GET", &target, "nonce-01", "")),
        (&target, &*header(NEW, "POST", &target, "nonce-01", "")),
        (&target, &*header(NEW, "GET", &target, "nonce-01", "body")),
        (&"/postback?src=src_01h455vb4pex5vsknk084sn02q".to_owned(), &*good),
    ] {
        let headers = [("x-tributary-signature", signed), ("x-request-id", "same")];
        let answer = send(&edge, "GET", target, &headers, "").await;
        answer.error(401, "unauthorized");
        bodies.insert(answer.body);
    }
    assert_eq!(bodies.len(), 1, "the refusals differ");
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn json_that_names_a_signed_source_needs_the_signature_beside_the_key() {
    let (edge, source) = edge().await;
    let body = format!(r#"{{"source": "{source}", "transaction_id": "A-1"}}"#);
    let target = "/api/v1/conversions";
    let key = [("x-api-key", SECRET), ("content-type", "application/json")];
    send(&edge, "POST", target, &key, &body).await.error(401, "unauthorized");
    let signed = header(NEW, "POST", target, "nonce-01", &body);
    let headers = [key[0], key[1], ("x-tributary-signature", &*signed)];
    send(&edge, "POST", target, &headers, &(body.clone() + " ")).await.error(401, "unauthorized");
    send(&edge, "POST", target, &headers[1..], &body).await.error(401, "unauthorized");
    assert_eq!(send(&edge, "POST", target, &headers, &body).await.status, 202);
    let conversion = edge.only_conversion().await;
    assert_eq!((conversion.source, conversion.nonce.unwrap().text), (Some(source), "nonce-01".to_owned()));
}

#[tokio::test]
async fn in_a_batch_the_request_is_signed_and_each_event_has_its_own_nonce() {
    let (edge, source) = edge().await;
    let body = format!(
        "[{{\"type\": \"conversion\", \"source\": \"{source}\"}}, {{\"type\": \"conversion\"}}, {{\"type\": \"lead\", \"source\": \"{source}\"}}]"
    );
    let target = "/api/v1/events/batch";
    let key = [("x-api-key", SECRET), ("content-type", "application/json")];
    let unsigned = send(&edge, "POST", target, &key, &body).await.json();
    assert_eq!((&unsigned["accepted"], &unsigned["items"][0]["error"]), (&1.into(), &"unauthorized".into()));
    let signed = header(NEW, "POST", target, "nonce-01", &body);
    let headers = [key[0], key[1], ("x-tributary-signature", &*signed)];
    assert_eq!(send(&edge, "POST", target, &headers, &body).await.json()["accepted"], 3);
    let nonces = conversions(edge.events().await).into_iter().filter_map(|conversion| conversion.nonce);
    assert_eq!(nonces.map(|nonce| nonce.text).collect::<Vec<_>>(), ["nonce-01/0", "nonce-01/2"]);
}

#[tokio::test]
async fn a_source_may_be_bound_to_networks() {
    let mut edge = TestEdge::start().await;
    let id = edge.fixture.open_source;
    let source = edge.follower.read().source(id).cloned().unwrap();
    for (network, is_good) in [("203.0.113.64/26", true), ("203.0.113.0/26", false), ("2001:db8::/32", false)]
    {
        let allowed_cidrs = vec![network.parse().unwrap()];
        edge.put(vec![Resource::from(Source { allowed_cidrs, ..source.clone() })]).await;
        let by_postback = edge.get(&format!("/postback?src={id}")).await.status;
        let by_key = edge.report(SECRET, format!(r#"{{"source": "{id}"}}"#)).await.status;
        let expected = if is_good { (200, 202) } else { (401, 401) };
        assert_eq!((by_postback.as_u16(), by_key.as_u16()), expected, "{network}");
    }
}

#[tokio::test]
async fn the_token_before_a_rotation_is_good_for_its_grace() {
    let mut edge = TestEdge::start().await;
    let id = edge.fixture.token_source;
    let source = edge.follower.read().source(id).cloned().unwrap();
    let hash = catalog::key::hash_secret;
    let valid_until = Timestamp::from_micros(NOW.micros() + 1);
    let previous = Some(PreviousSecret { sha256: hash("before"), valid_until });
    let auth = SourceAuth::Token { sha256: hash("after"), previous };
    edge.put(vec![Resource::from(Source { auth, ..source })]).await;
    for token in ["before", "after"] {
        assert_eq!(edge.get(&format!("/postback?src={id}&token={token}")).await.status, 200, "{token}");
    }
    edge.clock.advance(std::time::Duration::from_secs(1));
    edge.get(&format!("/postback?src={id}&token=before")).await.error(401, "unauthorized");
}

#[tokio::test]
async fn a_header_that_is_not_signed_names_no_event() {
    let (edge, source) = edge().await;
    let target = format!("/postback?src={source}");
    let signed = header(NEW, "GET", &target, "nonce-01", "");
    let headers = [("x-tributary-signature", &*signed), ("idempotency-key", "K-1")];
    assert_eq!(send(&edge, "GET", &target, &headers, "").await.status, 200);
    let target = "/api/v1/conversions";
    let body = format!("{{\"source\": \"{source}\"}}");
    let signed = header(NEW, "POST", target, "nonce-02", &body);
    let headers = [
        ("x-tributary-signature", &*signed),
        ("idempotency-key", "K-2"),
        ("x-api-key", SECRET),
        ("content-type", "application/json"),
    ];
    assert_eq!(send(&edge, "POST", target, &headers, &body).await.status, 202);
    let target = "/api/v1/refunds";
    let body = format!("{{\"source\": \"{source}\", \"transaction_id\": \"A-1\", \"reason\": \"x\"}}");
    let signed = header(NEW, "POST", target, "nonce-03", &body);
    let headers = [("x-tributary-signature", &*signed), headers[1], headers[2], headers[3]];
    let answer = send(&edge, "POST", target, &headers, &body).await;
    assert_eq!(answer.error(400, "validation_failed").as_deref(), Some("refund_id"));
    let conversions = conversions(edge.events().await);
    assert_eq!(conversions.len(), 2);
    assert!(conversions.iter().all(|conversion| conversion.client_event_id.is_empty()));
}

#[tokio::test]
async fn what_the_signature_leaves_open_is_not_read() {
    let (edge, source) = edge().await;
    let target = format!("/postback?src={source}&txid=A-1&amount=1.00&currency=EUR&amount=900.00");
    let signed = header(NEW, "GET", &target, "nonce-01", "");
    assert_eq!(send(&edge, "GET", &target, &[("x-tributary-signature", &signed)], "").await.status, 200);
    let fault = edge.only_conversion().await.fault.unwrap();
    assert_eq!((&*fault.reason, &*fault.field), ("invalid_value", "query"));
    let seconds = NOW.unix_seconds();
    let target = format!("/api/v1/conversions?nonce=nonce-02&ts={seconds}&nonce=nonce-03");
    let body = format!("{{\"source\": \"{source}\"}}");
    let mac = signature(NEW, "POST", &target, "nonce-02", seconds, &body);
    let headers = [("x-api-key", SECRET), ("content-type", "application/json")];
    let answer = send(&edge, "POST", &format!("{target}&sig={mac}"), &headers, &body).await;
    assert_eq!(answer.error(400, "validation_failed").as_deref(), Some("query"));
}
