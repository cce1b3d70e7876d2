//! Logs to standard error and metrics as text.

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

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;

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

    #[test]
    fn logging_is_set_up_once_and_a_bad_filter_is_named() {
        let bad = LogSettings { filter: "ingest=loud".to_owned(), ..LogSettings::default() };
        let error = init_logging(&bad).unwrap_err().to_string();
        assert!(error.starts_with("log.filter \"ingest=loud\" cannot be read"), "{error}");

        init_logging(&LogSettings { format: LogFormat::Json, ..LogSettings::default() }).unwrap();
        assert!(matches!(init_logging(&LogSettings::default()), Err(TelemetryError::AlreadySetUp)));
    }
}
