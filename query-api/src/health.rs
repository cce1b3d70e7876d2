//! `/healthz`, `/readyz`, `/metrics`: for those who run the desk. They need no key and tell nothing of anybody.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use schemas::generation::Generation;
use serde::Serialize;

use crate::error::Error;
use crate::state::Desk;

/// How long the warehouse may take to say that it is there.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the copy of the catalog may not have seen the log's end.
const MAX_CATALOG_STALENESS: Duration = Duration::from_secs(60);

/// The desk can do its work; what it lacks else is an error.
#[derive(Debug, Serialize)]
pub(crate) struct Readiness {
    ready: bool,
}

pub(crate) async fn healthz() -> &'static str {
    "ok"
}

pub(crate) async fn readyz(State(desk): State<Desk>) -> Result<Json<Readiness>, Error> {
    let status = desk.catalog().status();
    let mut lacking = desk.problems();
    if let Some(reason) = status.halted {
        lacking.push(format!("the catalog is halted: {reason}"));
    } else if status.staleness > MAX_CATALOG_STALENESS {
        lacking.push(format!("the catalog has not seen its log's end for {} s", status.staleness.as_secs()));
    }
    if let Err(error) = desk.warehouse(Generation::FIRST).ping(PING_TIMEOUT).await {
        lacking.push(error.to_string());
    }
    if lacking.is_empty() {
        Ok(Json(Readiness { ready: true }))
    } else {
        Err(Error::NotReady(lacking.join("; ")))
    }
}

pub(crate) async fn metrics(State(desk): State<Desk>) -> Result<Response, Error> {
    let text = service::telemetry::metrics_text(desk.registry())
        .map_err(|error| Error::Internal(format!("metrics: {error}")))?;
    Ok(([(header::CONTENT_TYPE, service::telemetry::METRICS_CONTENT_TYPE)], text).into_response())
}
