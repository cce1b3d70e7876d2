//! What can go wrong, and the one place where it becomes an answer of the contract.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemas::error_code::{ErrorBody, ErrorCode, FieldError};
use schemas::result::ConversionNow;
use service::telemetry::RequestId;

use crate::state::Desk;

/// Seconds after which a client may try again what was unavailable.
const RETRY_AFTER_SECONDS: &str = "1";

/// A request that ends in an error. Which code, status and text it gets is decided here alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// One parameter, header or field is wrong.
    #[error("{field}: {message}")]
    Invalid {
        /// The parameter, header or field.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// Several fields are wrong.
    #[error("{} fields are wrong", .0.len())]
    InvalidFields(Vec<FieldError>),
    /// The request as a whole is wrong: not JSON, not UTF-8.
    #[error("{0}")]
    Malformed(String),
    /// No key, or not a valid one.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The key may not do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// There is no such thing in the caller's workspace.
    #[error("{0}")]
    NotFound(String),
    /// The route has no such method.
    #[error("this route does not take {0}")]
    MethodNotAllowed(String),
    /// The body did not arrive in time.
    #[error("the body did not arrive within {0} ms")]
    RequestTimeout(u64),
    /// It exists already, or has another version.
    #[error("{message}")]
    Conflict {
        /// What conflicts.
        message: String,
        /// The field whose value is taken.
        field: Option<String>,
        /// The version that the resource has.
        current_version: Option<u64>,
    },
    /// The conversion does not stand as the transition needs it.
    #[error("{message}")]
    Transition {
        /// What conflicts.
        message: String,
        /// The field that asks for what cannot be.
        field: &'static str,
        /// How the conversion stands.
        now: Option<ConversionNow>,
    },
    /// The idempotency key was used with another payload.
    #[error("this Idempotency-Key was used with another payload")]
    IdempotencyConflict,
    /// The body is too large.
    #[error("the body may have at most {0} bytes")]
    PayloadTooLarge(usize),
    /// The address is too long.
    #[error("the address may have at most {0} bytes")]
    UriTooLong(usize),
    /// The body has no content type, or one that the route does not take.
    #[error("the content type must be application/json")]
    UnsupportedMediaType,
    /// A part that is needed is away.
    #[error("{part} is unavailable: {reason}")]
    Unavailable {
        /// The part, for the client.
        part: &'static str,
        /// Why, for the log.
        reason: String,
    },
    /// The desk cannot do its work yet; the text says which part lacks what.
    #[error("not ready: {0}")]
    NotReady(String),
    /// The answer took too long.
    #[error("the answer took longer than {0} ms")]
    Timeout(u64),
    /// Our fault; the text is for the log alone.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// A parameter, header or field that is wrong.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }

    /// There is no such thing, or it belongs to another workspace: the client cannot tell which.
    pub fn not_found(what: &str) -> Self {
        Self::NotFound(format!("there is no such {what}"))
    }

    /// The code of the contract.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } | Self::InvalidFields(_) | Self::Malformed(_) => ErrorCode::ValidationFailed,
            Self::Unauthorized(_) => ErrorCode::Unauthorized,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::MethodNotAllowed(_) => ErrorCode::MethodNotAllowed,
            Self::RequestTimeout(_) => ErrorCode::RequestTimeout,
            Self::Conflict { .. } | Self::Transition { .. } => ErrorCode::Conflict,
            Self::IdempotencyConflict => ErrorCode::IdempotencyConflict,
            Self::PayloadTooLarge(_) => ErrorCode::PayloadTooLarge,
            Self::UriTooLong(_) => ErrorCode::UriTooLong,
            Self::UnsupportedMediaType => ErrorCode::UnsupportedMediaType,
            Self::Unavailable { .. } | Self::NotReady(_) => ErrorCode::Unavailable,
            Self::Timeout(_) => ErrorCode::Timeout,
            Self::Internal(_) => ErrorCode::ServerError,
        }
    }

    /// The body of the answer.
    pub fn body(&self, request_id: &str) -> ErrorBody {
        let mut body = ErrorBody {
            error: self.code(),
            message: self.to_string(),
            field: None,
            details: Vec::new(),
            current_version: None,
            current_status: None,
            request_id: request_id.to_owned(),
        };
        match self {
            Self::Invalid { field, message } => {
                body.field = Some(field.clone());
                body.message.clone_from(message);
            }
            Self::InvalidFields(faults) => {
                body.field = faults.first().map(|fault| fault.field.clone());
                if let [fault] = faults.as_slice() {
                    body.message.clone_from(&fault.message);
                } else {
                    body.details.clone_from(faults);
                }
            }
            Self::Conflict { field, current_version, .. } => {
                body.field.clone_from(field);
                body.current_version = *current_version;
            }
            Self::Transition { field, now, .. } => {
                body.field = Some((*field).to_owned());
                body.current_version = now.map(|now| now.version.into());
                body.current_status = now.map(|now| now.status.as_str());
            }
            Self::Unavailable { part, .. } => body.message = format!("{part} is unavailable, try again"),
            Self::Internal(_) => "something went wrong on our side".clone_into(&mut body.message),
            Self::Malformed(_)
            | Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::MethodNotAllowed(_)
            | Self::RequestTimeout(_)
            | Self::IdempotencyConflict
            | Self::PayloadTooLarge(_)
            | Self::UriTooLong(_)
            | Self::UnsupportedMediaType
            | Self::NotReady(_)
            | Self::Timeout(_) => {}
        }
        body
    }
}

/// The error travels as an extension; `answer_errors`, which knows the request's id, writes the body.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Middleware: gives every error its body and logs those that are ours, once.
///
/// An error status that came from a library and not from [`Error`] is given the contract's shape as well.
pub(crate) async fn answer_errors(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let request_id = request.extensions().get::<RequestId>().cloned();
    let route = request.extensions().get::<axum::extract::MatchedPath>().cloned();
    let request_id = request_id.as_ref().map_or("", RequestId::as_str);
    let route = route.as_ref().map_or("unknown", axum::extract::MatchedPath::as_str);
    let method = request.method().clone();

    let mut response = next.run(request).await;
    let status = response.status();
    desk.metrics().answered(route, status.as_u16());
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let error = response.extensions_mut().remove::<Error>();
    let max_body_bytes = desk.settings().max_body_bytes;
    let error = error.unwrap_or_else(|| foreign(status, method.as_str(), max_body_bytes));
    if status.is_server_error() {
        tracing::error!(request_id, route, code = error.code().as_str(), %error, "request failed");
    }
    let mut answer = (response.status(), Json(error.body(request_id))).into_response();
    if let Some(allow) = response.headers_mut().remove(header::ALLOW) {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    answer
}

/// The error that stands for a status which none of our handlers gave.
fn foreign(status: StatusCode, method: &str, max_body_bytes: usize) -> Error {
    match status.as_u16() {
        401 => Error::Unauthorized("a key is needed"),
        403 => Error::Forbidden("this is not allowed"),
        404 => Error::not_found("route"),
        405 => Error::MethodNotAllowed(method.to_owned()),
        413 => Error::PayloadTooLarge(max_body_bytes),
        415 => Error::UnsupportedMediaType,
        400..=499 => Error::Malformed("the request cannot be understood".to_owned()),
        _ => Error::Internal(format!("a library answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_librarys_status_gets_the_code_that_stands_for_it() {
        for code in [
            ErrorCode::Unauthorized,
            ErrorCode::Forbidden,
            ErrorCode::NotFound,
            ErrorCode::MethodNotAllowed,
            ErrorCode::PayloadTooLarge,
            ErrorCode::UnsupportedMediaType,
            ErrorCode::ServerError,
        ] {
            let status = StatusCode::from_u16(code.status()).unwrap();
            assert_eq!(foreign(status, "GET", 7).code(), code, "{status}");
        }
        assert_eq!(foreign(StatusCode::UNPROCESSABLE_ENTITY, "GET", 7).code(), ErrorCode::ValidationFailed);
    }
}
