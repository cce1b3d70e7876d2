//! The routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::json;
use service::telemetry::{METRICS_CONTENT_TYPE, MakeRequestId, request_id};
use tokio::time::Instant;

use crate::answer::{Form, refusal};
use crate::edge::Edge;
use crate::error::Refusal;
use crate::visit::Visit;
use crate::{batch, click, conversions, cors, postback, refund, script, track};

/// Addresses that people follow: their errors are pages.
const CLICKS: [&str; 2] = ["/c/", "/click"];
const API: &str = "/api/v1/";

/// Everything that the edge answers, but the ways of the door.
pub(crate) fn router(edge: Edge) -> Router {
    let make: MakeRequestId = {
        let edge = edge.clone();
        Arc::new(move || edge.new_request_id())
    };
    Router::new()
        // What is meant to be read of these, the door has answered; whoever tries something else is told what is allowed. A HEAD
        // records neither an impression nor a conversion.
        .route("/c/{link_key}", get(method_not_allowed))
        .route("/click", get(method_not_allowed))
        .route("/i/{link_key}", get(method_not_allowed))
        .route("/i.gif", get(method_not_allowed))
        .route("/p.gif", get(method_not_allowed))
        .route("/postback", get(postback::report).post(postback::report).head(method_not_allowed))
        .route("/t.js", get(script::script))
        .merge(api_routes())
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(unrouted)
        .method_not_allowed_fallback(other_method)
        .with_state(edge)
        .layer(from_fn_with_state(make, request_id))
}

/// The edge's routes under `/api/v1`, for a server that answers the query API as well.
///
/// Unknown routes and the ids of requests are the business of the router that this is merged into.
pub fn api_router(edge: Edge) -> Router {
    api_routes().method_not_allowed_fallback(method_not_allowed).with_state(edge)
}

fn api_routes() -> Router<Edge> {
    Router::new()
        .route("/api/v1/conversions", post(conversions::report))
        .route("/api/v1/conversions/{id}/refund", post(refund::of_conversion))
        .route("/api/v1/refunds", post(refund::of_transaction))
        .route("/api/v1/events/batch", post(batch::accept))
        .route("/api/v1/track/click", post(track::click).options(cors::preflight))
        .route("/api/v1/track/lead", post(track::lead).options(cors::preflight))
        .route("/api/v1/track/sale", post(track::sale).options(cors::preflight))
}

async fn not_found(State(edge): State<Edge>, request: Request) -> Response {
    let is_api = request.uri().path().starts_with(API);
    let refused = Refusal::NotFound(if is_api {
        "the edge has no such route; the query API, which may have it, listens on its own address"
    } else {
        "there is no such route"
    });
    refuse(&edge, &request, &refused)
}

/// A path that is no route may be a link's key, on a customer's domain.
async fn unrouted(State(edge): State<Edge>, request: Request) -> Response {
    let arrived = Instant::now();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (parts, body) = request.into_parts();
    let is_short_link = is_read && click::is_short_link(&edge, &parts).await;
    if is_short_link {
        click::follow(&edge, &Visit::routed(&edge, parts, arrived), click::Way::ShortLink).await
    } else {
        not_found(State(edge), Request::from_parts(parts, body)).await
    }
}

/// What is read from a path that the edge only writes to, the query API has.
async fn other_method(edge: State<Edge>, request: Request) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_read && request.uri().path().starts_with(API) {
        not_found(edge, request).await
    } else {
        method_not_allowed(edge, request).await
    }
}

async fn method_not_allowed(State(edge): State<Edge>, request: Request) -> Response {
    refuse(&edge, &request, &Refusal::MethodNotAllowed)
}

fn refuse(edge: &Edge, request: &Request, refused: &Refusal) -> Response {
    let is_click = CLICKS.iter().any(|prefix| request.uri().path().starts_with(prefix));
    let form = if is_click { Form::of_click(request.headers()) } else { Form::Json };
    refusal(refused, form, &edge.request_id(request.extensions()))
}

/// The process lives.
async fn healthy() -> Response {
    axum::Json(json!({"status": "ok"})).into_response()
}

/// New requests may come.
async fn ready(State(edge): State<Edge>, request: Request) -> Response {
    if edge.is_ready() {
        axum::Json(json!({"status": "ready"})).into_response()
    } else {
        refuse(&edge, &request, &Refusal::Unavailable)
    }
}

async fn metrics(State(edge): State<Edge>, request: Request) -> Response {
    match edge.metrics_text() {
        Ok(text) => ([(CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics were not rendered");
            refuse(&edge, &request, &Refusal::ServerError)
        }
    }
}
