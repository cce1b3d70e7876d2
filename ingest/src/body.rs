//! Bodies, within size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::error::Refusal;

/// How long a client may take to send a body.
pub(crate) const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// The whole body.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let whole = Limited::new(body, limit).collect();
    let whole = tokio::time::timeout(BODY_DEADLINE, whole)
        .await
        .map_err(|_| Refusal::RequestTimeout { seconds: BODY_DEADLINE.as_secs() })?;
    match whole {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::PayloadTooLarge { limit }),
        // The client went away or broke the transfer encoding; it hardly reads this.
        Err(_) => Err(Refusal::invalid("body", "the body broke off")),
    }
}

/// Whether the body is said to be of this type, parameters aside.
pub(crate) fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let stated = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let stated = stated.split(';').next().unwrap_or_default().trim();
    stated.eq_ignore_ascii_case(wanted)
}
