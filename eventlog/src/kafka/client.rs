//! What all clients of librdkafka have in common: settings, log lines, errors.

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaConfRes;

use super::KafkaSettings;
use crate::{Error, Partition};

/// Room for Kafka's own headers around the largest record.
const BATCH_OVERHEAD_BYTES: usize = 1024;
/// librdkafka fills batches up to this, however small a record may be.
const BATCH_BYTES: usize = 1_000_000;

/// A broker that is back is found within this time; librdkafka's own 10 s are longer than a producer's deadline.
const RECONNECT_BACKOFF_MAX_MS: &str = "1000";

/// How librdkafka says that a partition does not exist, or that its broker has not heard of it.
pub(super) const UNKNOWN_PARTITION: [RDKafkaErrorCode; 3] = [
    RDKafkaErrorCode::UnknownTopicOrPartition,
    RDKafkaErrorCode::UnknownTopic,
    RDKafkaErrorCode::UnknownPartition,
];

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

/// What the operator set, which is none of `ours`, and ours.
pub(super) fn config(settings: &KafkaSettings, ours: &[(&str, String)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &settings.brokers);
    config.set("client.id", "tributary");
    config.set("reconnect.backoff.max.ms", RECONNECT_BACKOFF_MAX_MS);
    for (name, value) in &settings.extra {
        config.set(name, value);
    }
    for (name, value) in ours {
        config.set(*name, value);
    }
    config
}

/// An error while a client was made or a request was sent.
pub(super) fn error(error: &KafkaError) -> Error {
    if let KafkaError::ClientConfig(result, description, name, _) = error {
        return Error::Settings(refused_option(*result, description, name));
    }
    match error.rdkafka_error_code() {
        Some(code) => from_code(code, None, error.to_string()),
        None if matches!(error, KafkaError::ClientCreation(_) | KafkaError::Nul(_)) => {
            Error::Settings(error.to_string())
        }
        None => Error::Unavailable(error.to_string()),
    }
}

/// Says which option was refused without its value, which may be a secret. The description often quotes the value, whole
/// or in part, so of it only what this build lacks is told.
fn refused_option(result: RDKafkaConfRes, description: &str, name: &str) -> String {
    if let Some((_, lacking)) = description.split_once("not supported in this build: ") {
        return format!("librdkafka was built without what the option {name} needs: {lacking}");
    }
    match result {
        RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => format!("librdkafka has no option {name}"),
        RDKafkaConfRes::RD_KAFKA_CONF_INVALID | RDKafkaConfRes::RD_KAFKA_CONF_OK => {
            format!("librdkafka refuses the value of the option {name}")
        }
    }
}

/// An error about one partition, by itself; [`super::known::Known`] knows better.
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
        (code, Some(partition)) if UNKNOWN_PARTITION.contains(&code) => {
            Error::UnknownPartition(partition.to_string())
        }
        _ => Error::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c0rrect-h0rse";

    fn refused(name: &str, value: &str) -> String {
        let mut settings = KafkaSettings::new("127.0.0.1:9092");
        settings.extra.insert(name.to_owned(), value.to_owned());
        let refused = config(&settings, &[]).create_native_config().err().unwrap();
        let error = error(&refused);
        assert_eq!(error.reason(), "settings", "{error}");
        error.to_string()
    }

    #[test]
    fn a_refused_option_is_named_and_its_value_is_not() {
        // One per way in which librdkafka describes what it refuses; it quotes the value of a list itself.
        for name in [
            "sasl.pasword",
            "sasl.oauthbearer.method",
            "security.protocol",
            "debug",
            "enable.ssl.certificate.verification",
            "socket.timeout.ms",
            "topic.compression.codec",
        ] {
            let text = refused(name, SECRET);
            assert!(text.contains(name), "{text}");
            assert!(!text.contains(SECRET), "{text}");
        }
        let text = refused("sasl.password", "c0rrect\0h0rse");
        assert!(!text.contains("c0rrect"), "{text}");
    }

    #[test]
    fn what_the_build_lacks_is_told() {
        let description =
            r#"Configuration property "x" not supported in this build: OpenSSL not available at build time"#;
        let text = refused_option(RDKafkaConfRes::RD_KAFKA_CONF_INVALID, description, "ssl.key.pem");
        assert_eq!(
            text,
            "librdkafka was built without what the option ssl.key.pem needs: OpenSSL not available at build time"
        );
    }
}
