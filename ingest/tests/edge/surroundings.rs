//! Health, readiness, unknown routes, request ids, and the end.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use catalog::Follower;
use catalog::follower::FollowerSettings;
use eventlog::EventLog;
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings};
use ingest::{Edge, IngestSettings, Parts, StartError};
use prometheus::Registry;
use service::clock::SystemClock;
use service::lifecycle::{Shutdown, Tasks};
use service::telemetry::{MakeRequestId, request_id};
use tower::ServiceExt;

use crate::fixture::{NOW, SECRET};
use crate::harness::{SOON, TestEdge, answer, request, sealer};

#[tokio::test]
async fn it_is_ready_until_it_stops() {
    let edge = TestEdge::start().await;
    assert_eq!(edge.get("/healthz").await.json()["status"], "ok");
    assert_eq!(edge.get("/readyz").await.json()["status"], "ready");
    assert!(edge.get("/metrics").await.header("content-type").unwrap().starts_with("text/plain"));
    let revision = edge.follower.revision().number as f64;
    assert_eq!(edge.metric("ingest_catalog_revision").await, Some(revision));
    edge.shutdown.trigger();
    edge.get("/readyz").await.error(503, "unavailable");
    // What is open is recorded still: the edge stops taking traffic before it stops taking events.
    assert!(edge.get("/c/anna").await.header("x-receipt").is_some());
    assert!(edge.edge.drain(SOON).await);
    let late = edge.get("/c/anna").await;
    assert_eq!((late.status.as_u16(), late.header("x-receipt")), (302, None));
    edge.report(SECRET, "{}").await.error(503, "unavailable");
    assert_eq!(edge.events().await.len(), 1);
    assert_eq!(edge.unrecorded("stopping").await, Some(1.0));
    edge.tasks.join_all(SOON).await.unwrap();
}

#[tokio::test]
async fn what_was_taken_before_the_drain_is_answered() {
    let edge = TestEdge::start().await;
    let clicks = futures::future::join_all((0..100).map(|_| edge.get("/c/anna")));
    let (answers, is_drained) = tokio::join!(clicks, edge.edge.drain(SOON));
    assert!(is_drained);
    let acknowledged = answers.iter().filter(|answer| answer.header("x-receipt").is_some()).count();
    assert_eq!(edge.events().await.len(), acknowledged);
}

#[tokio::test]
async fn unknown_routes_and_methods_answer_in_the_contracts_shape() {
    let edge = TestEdge::start().await;
    let send = async |method: &str, path: &str| {
        let request = request(method, path).header("accept", "application/json");
        edge.send(request.body(Body::empty()).unwrap()).await
    };
    send("GET", "/nowhere").await.error(404, "not_found");
    for path in ["/api/v1/reports", "/api/v1/conversions", "/api/v1/conversions/conv_x"] {
        let other = send("GET", path).await;
        other.error(404, "not_found");
        assert!(other.json()["message"].as_str().unwrap().contains("query API"), "{path}");
    }
    assert_eq!(send("HEAD", "/api/v1/conversions").await.status, 404);
    for (method, path, allowed) in [
        ("POST", "/c/anna", "GET,HEAD"),
        ("DELETE", "/postback", "GET,HEAD,POST"),
        ("DELETE", "/api/v1/conversions", "POST"),
        ("POST", "/healthz", "GET,HEAD"),
    ] {
        let answer = send(method, path).await;
        answer.error(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    for path in ["/p.gif?key=tb_pub_shop", "/postback"] {
        let head = edge.send(request("HEAD", path).body(Body::empty()).unwrap()).await;
        assert_eq!(head.status, 405, "{path}");
    }
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn a_request_keeps_its_id() {
    let edge = TestEdge::start().await;
    assert_eq!(
        edge.get_with("/healthz", &[("x-request-id", "abc-1")]).await.header("x-request-id"),
        Some("abc-1")
    );
    let made = edge.get("/nowhere").await;
    made.error(404, "not_found");
    assert!(made.header("x-request-id").unwrap().starts_with("req_"));
}

#[tokio::test]
async fn the_api_routes_stand_alone() {
    let edge = TestEdge::start().await;
    let router = ingest::api_router(edge.edge.clone());
    let get = |path: &str| Request::builder().uri(path).body(Body::empty()).unwrap();
    let refused = answer(router.clone().oneshot(get("/api/v1/conversions")).await.unwrap()).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["error"].as_str()),
        (405, Some("method_not_allowed"))
    );
    assert_eq!(answer(router.clone().oneshot(get("/c/anna")).await.unwrap()).await.status, 404);
    // Whoever merges it names the requests.
    let make: MakeRequestId = Arc::new(|| "req_outside".to_owned());
    let router = router.layer(axum::middleware::from_fn_with_state(make, request_id));
    for method in ["GET", "POST"] {
        let request = request(method, "/api/v1/conversions").body(Body::empty()).unwrap();
        let refused = answer(router.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(refused.json()["request_id"], "req_outside", "{method}");
        assert_eq!(refused.header("x-request-id"), Some("req_outside"), "{method}");
    }
}

#[tokio::test]
async fn it_refuses_to_start_on_a_contradiction() {
    let dir = tempfile::TempDir::new().unwrap();
    let settings = EmbeddedSettings::new(Arc::new(|| NOW));
    let log: Arc<dyn EventLog> = Arc::new(EmbeddedLog::open(dir.path(), settings).unwrap());
    let follower = Follower::start(Arc::clone(&log), FollowerSettings::default()).await.unwrap();
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    let start = async |settings: IngestSettings| {
        let (log, follower) = (Arc::clone(&log), follower.clone());
        let clock = SystemClock::shared();
        let parts = Parts {
            settings,
            log,
            follower,
            sealer: sealer(),
            clock,
            registry: Registry::new(),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
            spool_dir: dir.path().join("spool"),
        };
        Edge::start(parts).await.err().unwrap()
    };
    let error = start(IngestSettings { max_body_bytes: 0, ..IngestSettings::default() }).await;
    assert_eq!(error.to_string(), "edge.max_body_bytes must be greater than 0");
    assert!(matches!(start(IngestSettings::default()).await, StartError::NotInstalled));
}
