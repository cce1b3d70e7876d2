//! What all clients of librdkafka have in common: settings, log lines, errors.

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::KafkaSettings;
use crate::{Error, Partition};

/// Room for Kafka's own headers around the largest record.
const BATCH_OVERHEAD_BYTES: usize = 1024;
/// librdkafka fills batches up to this, however small a record may be.
const BATCH_BYTES: usize = 1_000_000;

/// A broker that is back is found within this time; librdkafka's own 10 s are longer than a producer's deadline.
const RECONNECT_BACKOFF_MAX_MS: &str = "1000";

/// Sends librdkafka's log lines where ours go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logging;

impl ClientContext for Logging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Logging {}

/// A lost connection is an error to librdkafka and an everyday event to us: what it costs is answered to callers.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "librdkafka");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::warn!(facility, message, "librdkafka");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::debug!(facility, message, "librdkafka");
        }
    }
}

/// The largest batch. Kafka's limits for a "message" are limits of batches: producers and topics must agree on this.
pub(super) fn max_batch_bytes(settings: &KafkaSettings) -> usize {
    (settings.max_record_bytes + BATCH_OVERHEAD_BYTES).max(BATCH_BYTES)
}

/// Ours first, then what the operator set.
pub(super) fn config(settings: &KafkaSettings, ours: &[(&str, String)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &settings.brokers);
    config.set("client.id", "tributary");
    config.set("reconnect.backoff.max.ms", RECONNECT_BACKOFF_MAX_MS);
    for (name, value) in ours {
        config.set(*name, value);
    }
    for (name, value) in &settings.extra {
        config.set(name, value);
    }
    config
}

/// An error while a client was made or a request was sent.
pub(super) fn error(error: &KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(code) => from_code(code, None, error.to_string()),
        None if matches!(error, KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_)) => {
            Error::Settings(error.to_string())
        }
        None => Error::Unavailable(error.to_string()),
    }
}

/// An error about one partition.
pub(super) fn partition_error(error: &KafkaError, partition: Partition) -> Error {
    match error.rdkafka_error_code() {
        Some(code) => from_code(code, Some(partition), error.to_string()),
        None => Error::Unavailable(error.to_string()),
    }
}

// librdkafka's error codes are not our enum; it grows with every release.
#[allow(clippy::wildcard_enum_match_arm)]
fn from_code(code: RDKafkaErrorCode, partition: Option<Partition>, text: String) -> Error {
    use RDKafkaErrorCode as Code;
    match (code, partition) {
        (Code::QueueFull, _) => Error::Full,
        (Code::MessageTimedOut | Code::TimedOutQueue, _) => Error::Deadline,
        (Code::PurgeQueue | Code::PurgeInflight, _) => {
            Error::Unavailable("the producer was thrown away after an error".into())
        }
        (Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition, Some(partition)) => {
            Error::UnknownPartition(partition.to_string())
        }
        _ => Error::Unavailable(text),
    }
}
