//! Answers in the contract's forms: receipts, redirects, GIFs, errors.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use schemas::error_code::{ErrorBody, ErrorCode};
use schemas::id::{ClickId, EventId, VisitorId};
use serde::Serialize;

use crate::cors;
use crate::error::Refusal;
use crate::limits::{Class, Limits, Party, Standing};
use crate::metrics::Received;

/// The header that carries a receipt where the body cannot.
pub(crate) const X_RECEIPT: HeaderName = HeaderName::from_static("x-receipt");
/// The header that carries an error's code where the body cannot.
pub(crate) const X_ERROR: HeaderName = HeaderName::from_static("x-error");
const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store, private");
/// A transparent pixel: GIF89a, one by one.
const GIF: &[u8; 43] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\
\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// What a client may wait before it tries again, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// An event that is durable.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) receipt: EventId,
    /// The ids that a page keeps of the click that it reported.
    pub(crate) click: Option<(ClickId, Option<VisitorId>)>,
}

/// The body of an accepted event.
#[derive(Debug, Serialize)]
struct Accepted {
    receipt: EventId,
    status: &'static str,
    #[serde(flatten)]
    click: Option<AcceptedClick>,
}

#[derive(Debug, Serialize)]
struct AcceptedClick {
    click_id: ClickId,
    visitor_id: Option<VisitorId>,
}

/// What the headers of an answer say besides its outcome.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    is_for_pages: bool,
    origin: Option<HeaderValue>,
    standing: Option<Standing>,
}

impl Reply {
    /// Of a route to which pages send by themselves, or not.
    pub(crate) fn new(is_for_pages: bool) -> Self {
        Self { is_for_pages, ..Self::default() }
    }

    /// The page at this origin may read the answer.
    pub(crate) fn allow_origin(&mut self, origin: Option<&HeaderValue>) {
        self.origin = origin.filter(|_| self.is_for_pages).cloned();
    }

    /// Whether a page sent it, maybe, that could not read the answer.
    pub(crate) const fn is_unreadable(&self) -> bool {
        self.is_for_pages && self.origin.is_none()
    }

    /// Counts the request, and refuses it if it is one too many.
    pub(crate) fn count(&mut self, limits: &Limits, class: Class, party: Party) -> Result<(), Refusal> {
        self.standing = limits.count(class, party);
        match self.standing.as_ref().and_then(|standing| standing.retry_after_seconds) {
            Some(seconds) => Err(Refusal::RateLimited { seconds }),
            None => Ok(()),
        }
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        if let Some(standing) = &self.standing {
            standing.apply(headers);
        }
        if self.is_for_pages {
            headers.insert(VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = &self.origin {
            cors::allow(headers, origin.clone());
        }
    }
}

/// The answer to a reported event, which counts the request: its receipt, or why it was refused.
pub(crate) fn reported(
    received: Received<'_>,
    status: StatusCode,
    recorded: Result<Recorded, Refusal>,
    reply: &Reply,
    request_id: impl FnOnce() -> String,
) -> Response {
    let mut response = match recorded {
        Ok(recorded) => {
            received.acknowledged();
            accepted(status, recorded)
        }
        Err(refused) => {
            received.refused(refused.code());
            refusal(&refused, Form::Json, &request_id())
        }
    };
    reply.apply(response.headers_mut());
    response
}

/// The event is durable: its receipt.
fn accepted(status: StatusCode, recorded: Recorded) -> Response {
    let click = recorded.click.map(|(click_id, visitor_id)| AcceptedClick { click_id, visitor_id });
    let body = Accepted { receipt: recorded.receipt, status: "accepted", click };
    let mut response = (status, axum::Json(body)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// Headers of a redirect, the request's id among them: the map need not grow.
const REDIRECT_HEADERS: usize = 7;

/// A redirect that nobody may remember.
pub(crate) struct Redirect {
    pub(crate) status: StatusCode,
    /// Plain ASCII: what is not was percent-encoded.
    pub(crate) location: HeaderValue,
    pub(crate) receipt: Option<EventId>,
    pub(crate) cookie: Option<String>,
}

impl IntoResponse for Redirect {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.reserve(REDIRECT_HEADERS);
        headers.insert(LOCATION, self.location);
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin"));
        headers.insert(X_ROBOTS_TAG, HeaderValue::from_static("noindex"));
        if let Some(receipt) = self.receipt {
            insert(headers, X_RECEIPT, receipt.to_string());
        }
        set_cookie(headers, self.cookie);
        response
    }
}

/// Sets the visitor's cookie, if there is one to be set.
pub(crate) fn set_cookie(headers: &mut HeaderMap, cookie: Option<String>) {
    if let Some(cookie) = cookie {
        insert(headers, SET_COOKIE, cookie);
    }
}

/// The pixel, with what became of it in a header.
pub(crate) fn gif(outcome: Result<EventId, ErrorCode>) -> Response {
    let mut response = Response::new(Body::from(GIF.as_slice()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    match outcome {
        Ok(receipt) => insert(headers, X_RECEIPT, receipt.to_string()),
        Err(code) => {
            headers.insert(X_ERROR, HeaderValue::from_static(code.as_str()));
        }
    }
    response
}

/// How an error is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Html,
}

impl Form {
    /// A page for people who follow links, unless the client asks for JSON.
    pub(crate) fn of_click(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let types = accept.split(',').filter_map(|entry| entry.split(';').next()).map(str::trim);
        for media_type in types {
            match media_type {
                "application/json" => return Self::Json,
                "text/html" => return Self::Html,
                _ => {}
            }
        }
        Self::Html
    }
}

/// The error in the contract's shape, or as a plain page.
pub(crate) fn refusal(refusal: &Refusal, form: Form, request_id: &str) -> Response {
    let code = refusal.code();
    let mut response = match form {
        Form::Json => {
            let faults = refusal.faults();
            let body = ErrorBody {
                error: code,
                message: refusal.to_string(),
                field: faults.first().map(|fault| fault.field.clone()),
                details: if faults.len() > 1 { faults.to_vec() } else { Vec::new() },
                current_version: None,
                current_status: None,
                request_id: request_id.to_owned(),
            };
            axum::Json(body).into_response()
        }
        Form::Html => axum::response::Html(page(refusal, request_id)).into_response(),
    };
    *response.status_mut() = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_ROBOTS_TAG, HeaderValue::from_static("noindex"));
    if code == ErrorCode::Unavailable {
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    if let Refusal::RateLimited { seconds } = refusal {
        headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
    }
    // The rest of the body stays unread, so the connection ends here. A client that is not told sends its next request on it.
    if matches!(code, ErrorCode::PayloadTooLarge | ErrorCode::RequestTimeout) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Nothing in it comes from the caller but the request's id, which holds no character that HTML knows.
fn page(refusal: &Refusal, request_id: &str) -> String {
    let status = refusal.code().status();
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{status}</title>\n<p>{refusal}.</p>\n\
         <p><small>{request_id}</small></p></html>\n"
    )
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: String) {
    // Ids and cookies of ours are ASCII; should one ever not be, the answer goes without.
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pixel_is_a_gif_of_43_bytes() {
        assert_eq!(GIF.len(), 43);
        assert!(GIF.starts_with(b"GIF89a") && GIF.ends_with(b";"));
    }

    #[test]
    fn the_first_type_that_is_named_decides_the_form() {
        for (accept, form) in [
            ("", Form::Html),
            ("*/*", Form::Html),
            ("text/html,application/xhtml+xml,application/json;q=0.1", Form::Html),
            ("application/json", Form::Json),
            ("image/png, application/json; charset=utf-8", Form::Json),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Form::of_click(&headers), form, "{accept}");
        }
    }
}
