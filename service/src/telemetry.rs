//! Logs to standard error, metrics as text, and the id that a request has in both and in its answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use prometheus::{Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// Plain text, for people.
    #[default]
    Text,
}

/// Settings of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged: a level, or `target=level` pairs with commas (`info,ingest=debug`).
    pub filter: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// What can be wrong with the log's settings.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("log.filter {filter:?} cannot be read: {reason}")]
    BadFilter {
        /// The filter as it was set.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The process logs already.
    #[error("logging is set up already")]
    AlreadySetUp,
    /// The metrics cannot be written as text.
    #[error("the metrics cannot be rendered: {0}")]
    Render(#[from] prometheus::Error),
}

/// Sends the process's log to standard error. May be called once in a process.
pub fn init_logging(settings: &LogSettings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&settings.filter).map_err(|error| TelemetryError::BadFilter {
        filter: settings.filter.clone(),
        reason: error.to_string(),
    })?;
    let lines = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    let done = match settings.format {
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
        LogFormat::Text => lines.with_ansi(false).finish().try_init(),
    };
    done.map_err(|_| TelemetryError::AlreadySetUp)
}

/// The media type of [`metrics_text`].
pub const METRICS_CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Everything in the registry, in Prometheus' text exposition format.
pub fn metrics_text(registry: &Registry) -> Result<String, TelemetryError> {
    Ok(TextEncoder::new().encode_to_string(&registry.gather())?)
}

/// The header that carries a request's id, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A longer id in a request is replaced by one of ours.
pub const MAX_REQUEST_ID_BYTES: usize = 128;

/// The id of a request. [`request_id`] puts it into the request's extensions and on its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id with this text; `None` if the text is empty, too long, or has a character that a log should not hold.
    pub fn new(text: &str) -> Option<Self> {
        is_plain(text.as_bytes()).then(|| HeaderValue::from_str(text).ok().map(Self))?
    }

    /// The id with a text of our own making.
    pub fn made(text: String) -> Self {
        // An id of ours is plain; one that were not would go without.
        Self(HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("")))
    }

    /// The id that a request brings.
    pub fn brought(headers: &HeaderMap) -> Option<Self> {
        headers.get(&REQUEST_ID).filter(|value| is_plain(value.as_bytes())).cloned().map(Self)
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id as [`REQUEST_ID`] carries it.
    pub fn into_header(self) -> HeaderValue {
        self.0
    }
}

fn is_plain(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    !text.is_empty() && text.len() <= MAX_REQUEST_ID_BYTES && text.iter().all(is_plain)
}

/// Makes the ids of requests that bring none; its answers must be such as [`RequestId::new`] takes.
pub type MakeRequestId = Arc<dyn Fn() -> String + Send + Sync>;

/// Middleware (`axum::middleware::from_fn_with_state`): keeps the id that a request brings or makes one, answers it, and
/// logs one line for the request.
pub async fn request_id(State(make): State<MakeRequestId>, mut request: Request, next: Next) -> Response {
    let id = RequestId::brought(request.headers()).unwrap_or_else(|| RequestId::made(make()));
    request.extensions_mut().insert(id.clone());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut response = next.run(request).await;
    log_request(id.as_str(), method.as_str(), uri.path(), response.status());
    response.headers_mut().insert(REQUEST_ID, id.into_header());
    response
}

/// One line for a request. The query is left out: it may hold what a log should not.
pub fn log_request(request_id: &str, method: &str, path: &str, status: StatusCode) {
    let is_ours = status.is_server_error();
    let status = status.as_u16();
    if is_ours {
        tracing::warn!(request_id, method, path, status, "request");
    } else {
        tracing::debug!(request_id, method, path, status, "request");
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use axum::{Extension, Router, middleware};
    use prometheus::IntCounter;
    use tower::ServiceExt;

    use super::*;

    #[test]
    fn metrics_are_rendered_with_help_and_value() {
        let registry = Registry::new();
        let clicks = IntCounter::new("clicks_total", "Clicks seen.").unwrap();
        registry.register(Box::new(clicks.clone())).unwrap();
        clicks.inc_by(3);
        let text = metrics_text(&registry).unwrap();
        assert_eq!(text, "# HELP clicks_total Clicks seen.\n# TYPE clicks_total counter\nclicks_total 3\n");
    }

    #[tokio::test]
    async fn a_request_keeps_its_id_and_gets_one_where_it_has_none_or_a_bad_one() {
        let make: MakeRequestId = Arc::new(|| "req_made".to_owned());
        let router = Router::new()
            .route("/", get(|Extension(id): Extension<RequestId>| async move { id.as_str().to_owned() }))
            .layer(middleware::from_fn_with_state(make, request_id));
        let too_long = "x".repeat(MAX_REQUEST_ID_BYTES + 1);
        for (brought, answered) in [
            (Some("abc-1"), "abc-1"),
            (None, "req_made"),
            (Some(""), "req_made"),
            (Some("a b"), "req_made"),
            (Some("<script>"), "req_made"),
            (Some(too_long.as_str()), "req_made"),
        ] {
            let mut request = Request::builder().uri("/");
            if let Some(brought) = brought {
                request = request.header(REQUEST_ID, brought);
            }
            let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.headers()[REQUEST_ID], answered, "{brought:?}");
            let seen = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
            assert_eq!(seen, answered, "{brought:?}");
        }
    }

    /// What a subscriber wrote.
    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn every_request_is_logged_with_its_id_and_without_its_query() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        let _until_the_end = tracing::subscriber::set_default(subscriber);
        let make: MakeRequestId = Arc::new(|| "req_made".to_owned());
        let router = Router::new()
            .route("/well", get(|| async { "well" }))
            .route("/ill", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
            .layer(middleware::from_fn_with_state(make, request_id));
        for address in ["/well?token=secret", "/ill?token=secret"] {
            let request = Request::builder().uri(address).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap();
        }
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let found: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            found,
            [
                "DEBUG request request_id=\"req_made\" method=\"GET\" path=\"/well\" status=200",
                "WARN request request_id=\"req_made\" method=\"GET\" path=\"/ill\" status=503",
            ]
        );
    }

    #[test]
    fn logging_is_set_up_once_and_a_bad_filter_is_named() {
        let bad = LogSettings { filter: "ingest=loud".to_owned(), ..LogSettings::default() };
        let error = init_logging(&bad).unwrap_err().to_string();
        assert!(error.starts_with("log.filter \"ingest=loud\" cannot be read"), "{error}");

        init_logging(&LogSettings { format: LogFormat::Json, ..LogSettings::default() }).unwrap();
        assert!(matches!(init_logging(&LogSettings::default()), Err(TelemetryError::AlreadySetUp)));
    }
}
