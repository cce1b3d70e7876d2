//! Answers that no handler gives: heads that cannot be read, and too much of anything.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::telemetry::REQUEST_ID;

/// How long a client that is refused may take to read its answer, and how much more it may send meanwhile.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);
const DISCARD_BYTES: u64 = 256 * 1024;

/// Why the server refuses by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request line is larger than a whole head may be.
    UriTooLong,
    /// The head is too large.
    HeadTooLarge,
    /// The head has too many headers.
    TooManyHeaders,
    /// The head is no HTTP.
    Malformed,
    /// The head did not come in time.
    TimedOut,
    /// Too many connections are open, or too many requests are in work.
    Busy,
}

impl Refusal {
    pub(super) const ALL: [Self; 6] = [
        Self::UriTooLong,
        Self::HeadTooLarge,
        Self::TooManyHeaders,
        Self::Malformed,
        Self::TimedOut,
        Self::Busy,
    ];

    /// What ails a head, or nothing if no answer makes sense.
    pub(super) fn of_head(error: &hyper::Error, unread: &[u8]) -> Option<Self> {
        // The head itself is left, or what followed it; whatever begins with anything else is not HTTP.
        if unread.first().is_some_and(|byte| !byte.is_ascii_graphic()) {
            return None;
        }
        if error.is_parse_too_large() {
            let is_one_line = !unread.contains(&b'\n');
            return Some(if is_one_line { Self::UriTooLong } else { Self::HeadTooLarge });
        }
        error.is_parse().then_some(Self::Malformed)
    }

    /// A head that did not come in time, if it was one.
    pub(super) fn of_silence(unread: &[u8]) -> Option<Self> {
        unread.first().is_some_and(u8::is_ascii_alphabetic).then_some(Self::TimedOut)
    }

    const fn status(self) -> (StatusCode, &'static str) {
        match self {
            Self::UriTooLong => (StatusCode::URI_TOO_LONG, "URI Too Long"),
            Self::HeadTooLarge | Self::TooManyHeaders => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large")
            }
            Self::Malformed => (StatusCode::BAD_REQUEST, "Bad Request"),
            Self::TimedOut => (StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        }
    }

    /// The contract's name for it.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::UriTooLong => "uri_too_long",
            Self::HeadTooLarge | Self::TooManyHeaders => "headers_too_large",
            Self::Malformed => "validation_failed",
            Self::TimedOut => "request_timeout",
            Self::Busy => "unavailable",
        }
    }

    fn body(self, request_id: &str) -> String {
        let code = self.code();
        let message = match self {
            Self::Busy => "the server has too much to do; try again".to_owned(),
            Self::UriTooLong
            | Self::HeadTooLarge
            | Self::TooManyHeaders
            | Self::Malformed
            | Self::TimedOut => format!("the request's head was refused: {}", self.status().1),
        };
        format!("{{\"error\":\"{code}\",\"message\":\"{message}\",\"request_id\":\"{request_id}\"}}")
    }

    /// The answer, where HTTP goes on.
    pub(super) fn response(self, request_id: &str) -> Response {
        let mut response = Response::new(Body::from(self.body(request_id)));
        *response.status_mut() = self.status().0;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self == Self::Busy {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Ok(value) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID, value);
        }
        response
    }

    /// The answer as it stands on the wire, where HTTP ends with it.
    fn bytes(self, request_id: &str) -> String {
        let (status, reason) = self.status();
        let body = self.body(request_id);
        let retry = if self == Self::Busy { "retry-after: 1\r\n" } else { "" };
        format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n{retry}\
             {REQUEST_ID}: {request_id}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            status.as_u16(),
            body.len()
        )
    }

    /// Answers and closes, within a deadline.
    pub(super) async fn tell(
        self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        request_id: &str,
    ) -> io::Result<()> {
        let told = async {
            stream.write_all(self.bytes(request_id).as_bytes()).await?;
            stream.shutdown().await?;
            // Closing with unread bytes resets the connection, and the reset may overtake the answer.
            let (mut rest, mut nowhere) = (stream.take(DISCARD_BYTES), tokio::io::sink());
            tokio::io::copy(&mut rest, &mut nowhere).await?;
            Ok(())
        };
        tokio::time::timeout(DEADLINE, told).await?
    }
}

/// Whether this is hyper's own answer to a bad head, which has no body: ours takes its place.
pub(super) fn is_bare(answer: &[u8]) -> bool {
    let line_end = answer.iter().position(|byte| *byte == b'\r').unwrap_or_default();
    answer.starts_with(b"HTTP/1.1 4")
        && answer[line_end..].starts_with(b"\r\nconnection: close\r\ncontent-length: 0\r\n")
}
