//! Health and metrics of the roles that serve nothing else.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use processor::Health;
use prometheus::Registry;

#[derive(Clone)]
struct Ops {
    health: Health,
    registry: Registry,
}

/// `/healthz`, `/readyz` and `/metrics`.
pub(crate) fn router(health: Health, registry: Registry) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Ops { health, registry })
}

async fn readyz(State(ops): State<Ops>) -> Response {
    let problems = ops.health.problems();
    if problems.is_empty() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n").into_response()
    }
}

async fn metrics(State(ops): State<Ops>) -> Response {
    match service::telemetry::metrics_text(&ops.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
