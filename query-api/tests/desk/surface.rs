//! What every route has in common: errors, ids of requests, limits, health.

use axum::body::Body;
use axum::http::Request;
use query_api::QueryApiSettings;
use tower::ServiceExt;

use crate::harness::Harness;

#[tokio::test]
async fn every_error_has_the_contracts_shape() {
    let settings = QueryApiSettings { max_uri_bytes: 2_048, ..QueryApiSettings::default() };
    let harness = Harness::start_with(settings).await;
    let refused = |answer: crate::harness::Answer| {
        let (status, code, _) = answer.refused();
        (status, code)
    };
    assert_eq!(refused(harness.get("/api/v1/nothing").await), (404, "not_found".to_owned()));
    assert_eq!(refused(harness.get("/").await), (404, "not_found".to_owned()));
    let delete = Request::delete("/api/v1/reports").body(Body::empty()).unwrap();
    let answer = harness.send(delete).await;
    assert_eq!(answer.headers["allow"], "GET,HEAD");
    assert_eq!(refused(answer), (405, "method_not_allowed".to_owned()));
    let long = format!("/api/v1/reports?sub1={}", "x".repeat(2_048));
    assert_eq!(refused(harness.get(&long).await), (414, "uri_too_long".to_owned()));
    for path in ["/c/anna", "/p.gif?px=1", "/postback?src=1"] {
        let answer = harness.get(path).await;
        assert!(answer.text.contains("http://127.0.0.1:8080"), "{}", answer.text);
        assert_eq!(refused(answer), (404, "not_found".to_owned()));
    }
    let post = Request::post("/api/v1/conversions").body(Body::empty()).unwrap();
    let answer = harness.send(post).await;
    assert!(answer.text.contains("http://127.0.0.1:8080/api/v1/conversions"), "{}", answer.text);
    assert_eq!(refused(answer), (404, "not_found".to_owned()));

    let named = Request::get("/api/v1/clicks").header("x-request-id", "mine-1").body(Body::empty()).unwrap();
    let answer = harness.send(named).await;
    assert_eq!(answer.headers["x-request-id"], "mine-1");
    insta::assert_json_snapshot!("error_without_a_key", answer.json());
    harness.stop().await;
}

#[tokio::test]
async fn the_edges_routes_can_stand_beside_the_desks() {
    async fn taken(axum::Extension(id): axum::Extension<service::telemetry::RequestId>) -> String {
        id.as_str().to_owned()
    }
    let harness = Harness::start().await;
    let edge = axum::Router::new()
        .route("/api/v1/conversions", axum::routing::post(taken))
        .route("/c/{key}", axum::routing::get(async || "sent on"));
    let router = query_api::router(harness.desk.clone(), query_api::Edge::Here(edge));
    let ask = async |request: Request<Body>| {
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), 65_536).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    };
    // What comes to the edge by this address has an id as well, the client's or one of ours.
    for (given, expected) in [(None, "req_"), (Some("mine-1"), "mine-1")] {
        let mut post = Request::post("/api/v1/conversions");
        if let Some(given) = given {
            post = post.header("x-request-id", given);
        }
        let response = router.clone().oneshot(post.body(Body::empty()).unwrap()).await.unwrap();
        let answered = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(answered.starts_with(expected), "{answered}");
        let seen = axum::body::to_bytes(response.into_body(), 65_536).await.unwrap();
        assert_eq!(seen, answered, "the handler saw another id");
    }
    let click = Request::get("/c/anna").body(Body::empty()).unwrap();
    assert_eq!(ask(click).await, (200, "sent on".to_owned()));
    let list = Request::get("/api/v1/conversions").header("x-api-key", &harness.first.admin);
    assert_eq!(ask(list.body(Body::empty()).unwrap()).await.0, 200);
    let (status, text) = ask(Request::get("/t.js").body(Body::empty()).unwrap()).await;
    assert_eq!(status, 404);
    assert!(text.contains("\"error\":\"not_found\""), "{text}");
    harness.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_or_fit_is_refused() {
    let settings =
        QueryApiSettings { body_timeout_ms: 50, max_body_bytes: 1_024, ..QueryApiSettings::default() };
    let harness = Harness::start_with(settings).await;
    let post_to = |path: &str, body: Body, content_type: Option<&str>| {
        let mut request = Request::post(path).header("x-api-key", &harness.first.admin);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        request.body(body).unwrap()
    };
    let post = |body: Body, content_type: Option<&str>| post_to("/api/v1/offers", body, content_type);
    let json = Some("application/json");
    let silent = futures::stream::pending::<Result<String, std::io::Error>>();
    for (body, content_type, status, code) in [
        (Body::from_stream(silent), json, 408, "request_timeout"),
        (Body::from("x".repeat(1_025)), json, 413, "payload_too_large"),
        (Body::from("{}"), None, 415, "unsupported_media_type"),
        (Body::from("{}"), Some("text/plain"), 415, "unsupported_media_type"),
        (Body::from("{\"name\""), json, 400, "validation_failed"),
        (Body::from("[1]"), json, 400, "validation_failed"),
        (Body::from(vec![0xff, 0xfe]), json, 400, "validation_failed"),
        (Body::from("[".repeat(1_000)), json, 400, "validation_failed"),
    ] {
        let refused = harness.send(post(body, content_type)).await.refused();
        assert_eq!((refused.0, refused.1.as_str()), (status, code));
    }
    // Routes that want no body read what comes no less carefully. A rotation alone has a field.
    let (not_found, unknown) = ((404, "not_found"), (400, "validation_failed"));
    for (path, of_grace) in [
        ("/api/v1/keys/key_x/rotate", not_found),
        ("/api/v1/keys/key_x/revoke", unknown),
        ("/api/v1/sources/src_x/rotate", not_found),
    ] {
        let silent = futures::stream::pending::<Result<String, std::io::Error>>();
        for (body, status, code) in [
            (Body::from_stream(silent), 408, "request_timeout"),
            (Body::from("x".repeat(1_025)), 413, "payload_too_large"),
            (Body::from("[]"), 400, "validation_failed"),
            (Body::from("{\"grace\": 1}"), of_grace.0, of_grace.1),
            (Body::from("{}"), 404, "not_found"),
        ] {
            let refused = harness.send(post_to(path, body, None)).await.refused();
            assert_eq!((refused.0, refused.1.as_str()), (status, code), "{path}");
        }
    }
    harness.stop().await;
}

#[tokio::test]
async fn health_says_what_is_there_and_what_is_not() {
    let harness = Harness::start().await;
    assert_eq!(harness.get("/healthz").await.text, "ok");
    assert_eq!(harness.get("/readyz").await.ok(), serde_json::json!({"ready": true}));
    let halted = "partition 3 is halted".to_owned();
    harness.problems.lock().unwrap().push(halted.clone());
    let lacking = harness.get("/readyz").await;
    assert!(lacking.text.contains(&halted), "{}", lacking.text);
    assert_eq!(lacking.refused().0, 503);
    harness.problems.lock().unwrap().clear();
    assert_eq!(harness.get("/readyz").await.ok(), serde_json::json!({"ready": true}));
    harness.get("/api/v1/clicks").await.ok();
    let metrics = harness.get("/metrics").await;
    assert!(metrics.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    let counted = "query_api_requests_total{route=\"/api/v1/clicks\",status=\"200\"} 1";
    assert!(metrics.text.contains(counted), "{}", metrics.text);

    let (router, first) = harness.without_engine().await;
    for (path, message) in [
        ("/api/v1/reports", "the warehouse is unavailable, try again"),
        ("/readyz", "the warehouse is unavailable"),
    ] {
        let request = Request::get(path).header("x-api-key", &first.admin).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 503, "{path}");
        assert_eq!(response.headers()["retry-after"], "1");
        let bytes = axum::body::to_bytes(response.into_body(), 65_536).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(body["error"], "unavailable", "{body}");
        assert!(body["message"].as_str().unwrap().contains(message), "{body}");
    }
}
