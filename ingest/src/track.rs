//! `POST /api/v1/track/click · /lead · /sale`: JSON from a page or from a server.
//!
//! A page has a publishable key, in a header or, as `sendBeacon` knows no headers, in the body. No cookie is set here:
//! the click's id and the visitor's stand in the answer, and the page keeps them as its own.

use axum::extract::{Request, State};
use axum::response::Response;

use crate::conversion_fields::DEFAULT_GOAL;
use crate::edge::Edge;
use crate::metrics::Route;
use crate::{conversions, hit_fields, post};

/// The goal of a lead that names none.
pub(crate) const LEAD_GOAL: &str = "lead";

/// Answers a click that came without a redirect.
pub(crate) async fn click(State(edge): State<Edge>, request: Request) -> Response {
    post::answer(&edge, Route::Track, request, |fields, sender| hit_fields::read_click(&edge, fields, sender))
        .await
}

/// Answers a lead.
pub(crate) async fn lead(State(edge): State<Edge>, request: Request) -> Response {
    post::answer(&edge, Route::Track, request, |fields, sender| conversions::read(fields, LEAD_GOAL, sender))
        .await
}

/// Answers a sale.
pub(crate) async fn sale(State(edge): State<Edge>, request: Request) -> Response {
    post::answer(&edge, Route::Track, request, |fields, sender| {
        conversions::read(fields, DEFAULT_GOAL, sender)
    })
    .await
}
