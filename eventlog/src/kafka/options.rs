//! The options of librdkafka that the log's promises rest on, and the check that an operator leaves them alone.

use std::time::Duration;

use super::{KafkaSettings, client};
use crate::{Error, Membership};

/// How long librdkafka gathers records for one request: the edge waits for the answer.
const LINGER_MS: u32 = 1;
/// librdkafka counts its own structures into the queue's size; ours is the limit that callers see.
const QUEUE_SLACK_KIB: usize = 64 << 10;
/// What librdkafka fetches ahead of one partition.
const FETCH_AHEAD_KIB: &str = "2048";

/// How often a member says that it is there before its session is over.
const HEARTBEATS_A_SESSION: u128 = 4;
/// The least time between two polls after which a member counts as gone.
const MIN_POLL_INTERVAL_MS: u128 = 60_000;

/// Options that no client of ours sets to a value worth listing and that would break a promise all the same.
const KEPT: [&str; 4] = [
    // Set from the brokers' addresses.
    "bootstrap.servers",
    // Appends that succeed would never be answered.
    "delivery.report.only.error",
    // Brokers in memory instead of the real ones.
    "test.mock.num.brokers",
    // A transactional producer refuses to send outside of transactions.
    "transactional.id",
];

/// Other names that librdkafka has for options of ours. It is given options in no order, so either could win.
const ALIASES: [(&str, &str); 5] = [
    ("auto.commit.enable", "enable.auto.commit"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("metadata.broker.list", "bootstrap.servers"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("request.required.acks", "acks"),
];

/// librdkafka takes a topic's option with or without this in front.
const TOPIC_PREFIX: &str = "topic.";

/// The options of a producer.
pub(super) fn producer(
    settings: &KafkaSettings,
    deadline: Duration,
    max_pending_bytes: usize,
) -> [(&'static str, String); 7] {
    [
        ("acks", "all".to_owned()),
        ("enable.idempotence", "true".to_owned()),
        ("linger.ms", LINGER_MS.to_string()),
        ("message.timeout.ms", deadline.as_millis().max(u128::from(LINGER_MS) + 1).to_string()),
        ("message.max.bytes", client::max_batch_bytes(settings).to_string()),
        ("queue.buffering.max.kbytes", (max_pending_bytes / 1024 + QUEUE_SLACK_KIB).to_string()),
        // The limit is one of bytes; 0 is none.
        ("queue.buffering.max.messages", "0".to_owned()),
    ]
}

/// The options of a consumer.
pub(super) fn consumer() -> [(&'static str, String); 8] {
    [
        // librdkafka assigns nothing without a group, but nothing is committed to it and no reader joins it.
        ("group.id", "tributary".to_owned()),
        ("enable.auto.commit", "false".to_owned()),
        ("enable.auto.offset.store", "false".to_owned()),
        ("auto.offset.reset", "error".to_owned()),
        ("allow.auto.create.topics", "false".to_owned()),
        ("check.crcs", "true".to_owned()),
        ("queued.max.messages.kbytes", FETCH_AHEAD_KIB.to_owned()),
        // With a small queue the default of a second starves a fast reader.
        ("fetch.queue.backoff.ms", "5".to_owned()),
    ]
}

/// The options of a member of a group.
pub(super) fn member(settings: &KafkaSettings, membership: &Membership) -> Vec<(&'static str, String)> {
    let session = membership.session;
    let named = [
        ("group.id", format!("{}tributary-{}", settings.topic_prefix, membership.group)),
        ("group.instance.id", membership.instance.clone()),
        ("session.timeout.ms", session.as_millis().to_string()),
        ("heartbeat.interval.ms", (session.as_millis() / HEARTBEATS_A_SESSION).max(1).to_string()),
        // The one that counts is how long the session may last without a heartbeat.
        ("max.poll.interval.ms", session.as_millis().max(MIN_POLL_INTERVAL_MS).to_string()),
        ("partition.assignment.strategy", "range".to_owned()),
        ("group.protocol", "classic".to_owned()),
    ];
    let of_a_reader = consumer().into_iter().filter(|(name, _)| *name != "group.id");
    of_a_reader.chain(named).collect()
}

/// Refuses options of the operator that would override ours, by whatever name.
pub(super) fn refuse_overrides(settings: &KafkaSettings) -> Result<(), Error> {
    let producer = producer(settings, Duration::ZERO, 0);
    let consumer = consumer();
    let nobody = Membership { group: "", instance: String::new(), topic: "", session: Duration::ZERO };
    let member = member(settings, &nobody);
    let ours = producer.iter().chain(&consumer).chain(&member).map(|&(name, _)| name);
    let kept: Vec<&str> = ours.chain(KEPT).collect();
    for given in settings.extra.keys() {
        let plain = given.strip_prefix(TOPIC_PREFIX).unwrap_or(given);
        let name = ALIASES.iter().find(|(alias, _)| *alias == plain).map_or(plain, |&(_, name)| name);
        if kept.contains(&name) {
            return Err(Error::Settings(format!(
                "the option {given} of librdkafka is the log's own: what it promises rests on it"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;

    use super::*;

    fn with(name: &str, value: &str) -> KafkaSettings {
        let mut settings = KafkaSettings::new("127.0.0.1:9092");
        settings.extra.insert(name.to_owned(), value.to_owned());
        settings
    }

    #[test]
    fn what_the_promise_rests_on_is_refused_by_name_and_without_its_value() {
        for name in [
            "acks",
            "request.required.acks",
            "topic.acks",
            "topic.request.required.acks",
            "enable.idempotence",
            "message.timeout.ms",
            "delivery.timeout.ms",
            "auto.offset.reset",
            "topic.auto.offset.reset",
            "enable.auto.commit",
            "auto.commit.enable",
            "check.crcs",
            "linger.ms",
            "queue.buffering.max.ms",
            "message.max.bytes",
            "bootstrap.servers",
            "metadata.broker.list",
            "transactional.id",
            "group.id",
            "group.instance.id",
            "session.timeout.ms",
        ] {
            let error = refuse_overrides(&with(name, "the-value")).unwrap_err();
            let Error::Settings(text) = &error else { panic!("{error}") };
            assert!(text.contains(&format!("option {name} ")), "{text}");
            assert!(!text.contains("the-value"), "{text}");
        }
    }

    #[test]
    fn every_option_of_ours_is_refused() {
        let settings = KafkaSettings::new("127.0.0.1:9092");
        let producer = producer(&settings, Duration::from_secs(1), 1 << 20);
        for (name, value) in producer.iter().chain(&consumer()) {
            assert!(refuse_overrides(&with(name, value)).is_err(), "{name}");
        }
    }

    #[test]
    fn the_rest_is_the_operators() {
        for name in [
            "security.protocol",
            "sasl.password",
            "compression.type",
            "topic.metadata.refresh.interval.ms",
            "client.id",
            "reconnect.backoff.max.ms",
        ] {
            assert_eq!(refuse_overrides(&with(name, "1")), Ok(()), "{name}");
        }
    }

    #[test]
    fn librdkafka_knows_the_aliases_as_we_do() {
        for (alias, name) in ALIASES.into_iter().filter(|(_, name)| *name != "enable.auto.commit") {
            let value = if name == "bootstrap.servers" { "127.0.0.1:1" } else { "7" };
            let native = ClientConfig::new().set(alias, value).create_native_config().unwrap();
            assert_eq!(native.get(name).unwrap(), value, "{alias}");
        }
    }
}
