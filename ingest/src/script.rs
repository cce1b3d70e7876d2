//! `GET /t.js`: the script that pages load. Its source is `ingest/script/t.ts`; what is served is built from it and kept
//! in the repository, so that building the edge takes no Node.js.

use std::sync::LazyLock;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use schemas::hex;
use sha2::{Digest, Sha256};

const SCRIPT: &[u8] = include_bytes!("../script/t.js");
/// An hour: a mended script reaches every page within it.
const SCRIPT_CACHE: HeaderValue = HeaderValue::from_static("public, max-age=3600");
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Names these bytes.
static SCRIPT_TAG: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let digest = hex::encode(&Sha256::digest(SCRIPT));
    HeaderValue::from_str(&format!("\"{}\"", &digest[..16])).ok()
});

/// Answers with the script; 304 to who has it.
pub(crate) async fn script(request: Request) -> Response {
    let mut response = if has_it(request.headers()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        SCRIPT.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JAVASCRIPT);
    headers.insert(CACHE_CONTROL, SCRIPT_CACHE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // It holds nothing of anybody: pages may load it with an integrity hash, and isolated ones as well.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    if let Some(tag) = &*SCRIPT_TAG {
        headers.insert(ETAG, tag.clone());
    }
    response
}

fn has_it(headers: &HeaderMap) -> bool {
    let Some(tag) = &*SCRIPT_TAG else { return false };
    let wanted = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    wanted
        .flat_map(|line| line.split(','))
        .map(|entry| entry.trim().trim_start_matches("W/"))
        .any(|entry| entry == "*" || entry.as_bytes() == tag.as_bytes())
}
