//! Every route of the desk, and what surrounds them all.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::FutureExt;
use schemas::id::{RequestKind, WorkspaceNumber};
use service::telemetry::MakeRequestId;

use crate::error::{Error, answer_errors};
use crate::state::Desk;
use crate::{conversions, health, hits, receipts, reports, resources};

/// Where the edge's routes are.
pub enum Edge {
    /// On this address too: its router, with its own state and errors, and without a fallback.
    Here(Router),
    /// On another server, which a 404 names.
    Elsewhere,
}

/// The desk's router.
pub fn router(desk: Desk, edge: Edge) -> Router {
    let (routes, edge) = match edge {
        Edge::Here(router) => (routes().fallback(unknown_route), router),
        Edge::Elsewhere => (routes().merge(edge_routes()).fallback(elsewhere), Router::new()),
    };
    let ids = desk.clone();
    let make: MakeRequestId = Arc::new(move || ids.new_id::<RequestKind>(WorkspaceNumber::NONE).to_string());
    routes
        .layer(DefaultBodyLimit::max(desk.settings().max_body_bytes))
        .layer(from_fn_with_state(desk.clone(), within_limits))
        .layer(from_fn_with_state(desk.clone(), answer_errors))
        .with_state(desk)
        .merge(edge)
        // The edge has limits and errors of its own, but ids of requests are made once for both.
        .layer(from_fn_with_state(make, service::telemetry::request_id))
}

fn routes() -> Router<Desk> {
    Router::new()
        .route("/api/v1/reports", get(reports::report))
        .route("/api/v1/conversions", get(conversions::list))
        .route("/api/v1/conversions/{id}", get(conversions::one))
        .route("/api/v1/conversions/{id}/explain", get(conversions::explain))
        .route("/api/v1/conversions/{id}/history", get(conversions::history))
        .route("/api/v1/conversions/{id}/transitions", post(conversions::transition))
        .route("/api/v1/clicks", get(hits::clicks))
        .route("/api/v1/impressions", get(hits::impressions))
        .route("/api/v1/receipts/{id}", get(receipts::one))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .merge(resources::routes())
}

/// The edge's routes whose paths have other methods here.
fn edge_routes() -> Router<Desk> {
    Router::new()
        .route("/api/v1/conversions", post(conversions_elsewhere))
        .route("/api/v1/conversions/{id}/refund", post(conversions_elsewhere))
}

/// Paths of the edge.
const EDGE_PATHS: [&str; 7] =
    ["/click", "/i.gif", "/p.gif", "/postback", "/t.js", "/api/v1/refunds", "/api/v1/events/batch"];
/// What other paths of the edge start with.
const EDGE_TREES: [&str; 3] = ["/c/", "/i/", "/api/v1/track/"];

async fn unknown_route() -> Error {
    Error::not_found("route")
}

/// The answer to what is no route here: if it is one of the edge's, it says where that is.
async fn elsewhere(State(desk): State<Desk>, request: Request) -> Error {
    let path = request.uri().path();
    let is_edge = EDGE_PATHS.contains(&path) || EDGE_TREES.iter().any(|start| path.starts_with(start));
    if is_edge { on_edge(&desk, path) } else { Error::not_found("route") }
}

async fn conversions_elsewhere(State(desk): State<Desk>, request: Request) -> Error {
    on_edge(&desk, request.uri().path())
}

fn on_edge(desk: &Desk, path: &str) -> Error {
    Error::NotFound(format!("this route is the edge's: {}{path}", desk.settings().edge_url))
}

/// Middleware: bounds the address and the time of an answer, and turns a handler's panic into an error.
async fn within_limits(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let settings = desk.settings();
    let length = request.uri().path_and_query().map_or(0, |address| address.as_str().len());
    if length > settings.max_uri_bytes {
        return Error::UriTooLong(settings.max_uri_bytes).into_response();
    }
    let route = request.extensions().get::<MatchedPath>().cloned();
    let _timer = desk.metrics().time_request(route.as_ref().map_or("unknown", MatchedPath::as_str));
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(settings.request_timeout(), answer).await {
        Err(_) => Error::Timeout(settings.request_timeout_ms).into_response(),
        // The hook has printed the panic's text; the answer and our log line name the request.
        Ok(Err(_)) => Error::Internal("the handler panicked".to_owned()).into_response(),
        Ok(Ok(response)) => response,
    }
}
