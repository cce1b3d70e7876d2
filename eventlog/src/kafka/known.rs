//! Which partitions were seen to exist.
//!
//! A broker that starts, or one with old metadata, denies partitions that are there. Topics of ours never lose
//! partitions, so one that was seen once is away for a while; one that was never seen does not exist.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use rdkafka::error::KafkaError;

use super::client;
use crate::{Error, Partition};

/// The partitions that one log has seen.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By topic, the most partitions that were seen; Kafka numbers them from 0 without gaps.
    counts: RwLock<BTreeMap<&'static str, u32>>,
}

impl Known {
    /// A topic was seen to have this many partitions.
    pub(super) fn saw_topic(&self, topic: &'static str, partitions: u32) {
        // Nearly always nothing is new, and appends on many threads come by here.
        if self.count(topic) < partitions {
            let mut counts = self.counts.write();
            let count = counts.entry(topic).or_default();
            *count = partitions.max(*count);
        }
    }

    /// A partition did something that only one that exists can do.
    pub(super) fn saw(&self, partition: Partition) {
        self.saw_topic(partition.topic, partition.number.saturating_add(1));
    }

    /// Whether any partition of a topic was seen.
    pub(super) fn has_topic(&self, topic: &str) -> bool {
        self.count(topic) > 0
    }

    /// Kafka's error about a partition.
    pub(super) fn error(&self, error: &KafkaError, partition: Partition) -> Error {
        let error = client::partition_error(error, partition);
        if matches!(error, Error::UnknownPartition(_)) { self.missing(partition) } else { error }
    }

    /// Kafka says that it has no such partition.
    pub(super) fn missing(&self, partition: Partition) -> Error {
        if partition.number < self.count(partition.topic) {
            Error::Unavailable(format!("Kafka does not know {partition} now, though it did before"))
        } else {
            Error::UnknownPartition(partition.to_string())
        }
    }

    fn count(&self, topic: &str) -> u32 {
        self.counts.read().get(topic).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode as Code;

    use super::*;

    #[test]
    fn only_what_was_never_seen_is_unknown() {
        let known = Known::default();
        let second = Partition { topic: "clicks", number: 1 };
        let third = Partition { topic: "clicks", number: 2 };
        let codes = [Code::UnknownTopicOrPartition, Code::UnknownTopic, Code::UnknownPartition];
        for code in codes {
            let error = known.error(&KafkaError::MetadataFetch(code), second);
            assert_eq!(error, Error::UnknownPartition("clicks/1".into()));
            assert_eq!((error.reason(), error.is_retriable()), ("unknown_partition", false));
        }
        known.saw(second);
        known.saw(Partition { topic: "clicks", number: 0 });
        for code in codes {
            let error = known.error(&KafkaError::MetadataFetch(code), second);
            assert_eq!((error.reason(), error.is_retriable()), ("unavailable", true), "{error}");
            let error = known.error(&KafkaError::MetadataFetch(code), third);
            assert_eq!((error.reason(), error.is_retriable()), ("unknown_partition", false), "{error}");
        }
        assert!(known.has_topic("clicks") && !known.has_topic("conversions"));
    }

    #[test]
    fn other_errors_stay_what_they_are() {
        let (known, partition) = (Known::default(), Partition { topic: "clicks", number: 0 });
        known.saw(partition);
        let error = known.error(&KafkaError::MessageProduction(Code::QueueFull), partition);
        assert_eq!(error, Error::Full);
    }
}
