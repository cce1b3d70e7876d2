use ingest::{IngestSettings, LimitSettings};
use schemas::event::{Body, label};
use serde_json::json;

use crate::fixture::{ORIGIN, PUBLISHABLE, SECRET};
use crate::harness::{Answer, TestEdge, hit_of, post_json, request};

async fn edge(limits: LimitSettings) -> TestEdge {
    TestEdge::start_with(IngestSettings { limits, ..IngestSettings::default() }, |log| log).await
}

fn remaining(answer: &Answer) -> Option<&str> {
    assert_eq!(answer.header("ratelimit-remaining"), answer.header("x-ratelimit-remaining"));
    assert_eq!(answer.header("ratelimit-limit").is_some(), answer.header("ratelimit-reset").is_some());
    answer.header("ratelimit-remaining")
}

fn check_refused(answer: &Answer) {
    answer.error(429, "rate_limited");
    assert_eq!(remaining(answer), Some("0"));
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
}

#[tokio::test]
async fn servers_are_counted_by_key_and_by_source() {
    let edge = edge(LimitSettings { s2s_per_minute: 2, ..LimitSettings::default() }).await;
    assert_eq!(remaining(&edge.report(SECRET, "{}").await), Some("1"));
    let refund = post_json("/api/v1/refunds", SECRET, "{}");
    let wrong = edge.send(refund).await;
    wrong.error(400, "validation_failed");
    assert_eq!(remaining(&wrong), Some("0"));
    check_refused(&edge.report(SECRET, "{}").await);
    let source = edge.fixture.open_source;
    for left in ["1", "0"] {
        assert_eq!(remaining(&edge.get(&format!("/postback?src={source}")).await), Some(left));
    }
    check_refused(&edge.get(&format!("/postback?src={source}")).await);
    assert_eq!(edge.events().await.len(), 3);
}

#[tokio::test]
async fn pages_are_counted_by_the_visitors_address() {
    let edge = edge(LimitSettings { browser_per_minute: 1, ..LimitSettings::default() }).await;
    let send = async |address: &str| {
        let mut request = request("POST", "/api/v1/track/lead")
            .header("content-type", "text/plain")
            .header("origin", ORIGIN)
            .body(json!({"key": PUBLISHABLE}).to_string().into())
            .unwrap();
        request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
        edge.send(request).await
    };
    assert_eq!(send("198.51.100.7").await.status, 202);
    let refused = send("198.51.100.7").await;
    check_refused(&refused);
    assert_eq!(refused.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(send("198.51.100.8").await.status, 202);
}

#[tokio::test]
async fn whoever_tries_keys_is_stopped() {
    let edge = edge(LimitSettings { s2s_per_minute: 3, ..LimitSettings::default() }).await;
    for _ in 0..3 {
        edge.report("tb_live_guess", "{}").await.error(401, "unauthorized");
    }
    check_refused(&edge.report("tb_live_guess", "{}").await);
    check_refused(&edge.get("/postback?src=src_guess").await);
    check_refused(&edge.send(post_json("/api/v1/events/batch", "", "[]")).await);
    assert_eq!(edge.report(SECRET, "{}").await.status, 202);
}

#[tokio::test]
async fn batches_have_a_limit_of_their_own() {
    let limits = LimitSettings { events_per_minute: 1, s2s_per_minute: 1, ..LimitSettings::default() };
    let edge = edge(limits).await;
    assert_eq!(remaining(&edge.send(post_json("/api/v1/events/batch", SECRET, "[]")).await), Some("0"));
    check_refused(&edge.send(post_json("/api/v1/events/batch", SECRET, "[]")).await);
    assert_eq!(edge.report(SECRET, "{}").await.status, 202);
}

#[tokio::test]
async fn a_pixel_is_never_refused_and_the_excess_is_labelled() {
    let edge = edge(LimitSettings { hits_per_minute: 2, ..LimitSettings::default() }).await;
    for _ in 0..3 {
        let answer = edge.get_with(&format!("/p.gif?key={PUBLISHABLE}"), &[("origin", ORIGIN)]).await;
        assert!(answer.header("x-receipt").is_some() && remaining(&answer).is_none());
    }
    let labels = edge.events().await.into_iter().map(|event| {
        let Body::Conversion(conversion) = event.body else { panic!("no conversion") };
        conversion.labels
    });
    assert_eq!(labels.collect::<Vec<_>>(), [vec![], vec![], vec![label::RATE.to_owned()]]);
}

#[tokio::test]
async fn a_redirect_is_never_refused_and_the_excess_is_labelled() {
    let edge = edge(LimitSettings { hits_per_minute: 1, ..LimitSettings::default() }).await;
    for _ in 0..2 {
        let answer = edge.get("/c/anna").await;
        assert!(answer.status == 302 && answer.header("x-receipt").is_some() && remaining(&answer).is_none());
    }
    // Behind a proxy that names nobody there may be many.
    let unnamed = [("x-forwarded-for", "unknown")];
    for _ in 0..2 {
        assert_eq!(edge.get_with("/c/anna", &unnamed).await.status, 302);
    }
    let hits = edge.events().await.into_iter().map(|event| hit_of(event).labels);
    let excess = hits.map(|labels| labels.iter().any(|known| known == label::RATE));
    assert_eq!(excess.collect::<Vec<_>>(), [false, true, false, false]);
}
