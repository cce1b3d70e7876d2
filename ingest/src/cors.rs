//! What browsers ask before a page may talk to another site: the JSON routes of pages alone, and only from the origins
//! of publishable keys. No cookie goes along, so no answer allows credentials.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use catalog::Catalog;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use schemas::time::Timestamp;

use crate::client::is_allowed_origin;
use crate::edge::{Edge, Understood};

const METHODS: HeaderValue = HeaderValue::from_static("POST");
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, x-api-key, x-request-id");
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "ratelimit-limit, ratelimit-remaining, ratelimit-reset, retry-after, x-request-id",
);
/// A day; browsers cut it down to what they think right.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// Answers the question of a browser. It brings no key: a page may send if some publishable key is for its origin; the
/// request that follows is judged by its own key.
pub(crate) async fn preflight(State(edge): State<Edge>, request: Request) -> Response {
    let headers = request.headers();
    let is_question = headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let origin = if is_question { known_origin(&edge, headers).await } else { None };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    response
}

/// The request's origin, if some publishable key is for it.
pub(crate) async fn known_origin(edge: &Edge, headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(ORIGIN)?;
    let (origin, now) = (value.to_str().ok()?, edge.now());
    let look = |catalog: &Catalog| {
        let is_known = is_origin_of_a_key(catalog, origin, now);
        Understood { value: is_known, is_incomplete: !is_known }
    };
    edge.understand(look).await.then(|| value.clone())
}

fn is_origin_of_a_key(catalog: &Catalog, origin: &str, now: Timestamp) -> bool {
    let mut keys = catalog.keys_by_origin(origin);
    keys.any(|key| {
        key.expires_at.is_none_or(|at| now < at) && is_allowed_origin(origin, &key.allowed_origins)
    })
}

/// Lets the page read the answer to its request.
pub(crate) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
}
