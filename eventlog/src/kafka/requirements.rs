//! What a topic must be set to, whoever created it: the log is the truth, and nothing else may remove, restamp or lose
//! what it has acknowledged.

use std::collections::BTreeMap;

use super::SAFE_REPLICATION_FACTOR;
use crate::Error;

/// Settings with the one value that they may have.
pub(super) const REQUIRED: [(&str, &str); 5] = [
    ("message.timestamp.type", "LogAppendTime"),
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    // A replica that lags behind would lead, and what it lacks would be gone.
    ("unclean.leader.election.enable", "false"),
];

/// The topic's limit for a batch; the producers' must fit into it.
pub(super) const MAX_MESSAGE: &str = "max.message.bytes";

/// How many replicas must have a record before it is acknowledged.
pub(super) const MIN_IN_SYNC: &str = "min.insync.replicas";

/// The least that [`MIN_IN_SYNC`] may be. With fewer than three replicas, two would stop the log with one broker.
pub(super) const fn min_in_sync(replicas: usize) -> usize {
    if replicas >= SAFE_REPLICATION_FACTOR as usize { 2 } else { 1 }
}

/// Checks the settings that a topic has.
pub(super) fn check(
    topic: &str,
    found: &BTreeMap<&str, &str>,
    replicas: usize,
    max_batch_bytes: usize,
) -> Result<(), Error> {
    let find = |name: &str| found.get(name).copied().unwrap_or("unset");
    for (name, wanted) in REQUIRED {
        let found = find(name);
        if found != wanted {
            return Err(Error::Settings(format!(
                "topic {topic} has {name}={found} in Kafka, must have {wanted}"
            )));
        }
    }
    for (name, wanted) in [(MAX_MESSAGE, max_batch_bytes), (MIN_IN_SYNC, min_in_sync(replicas))] {
        let found = find(name);
        if !found.parse::<usize>().is_ok_and(|number| number >= wanted) {
            return Err(Error::Settings(format!(
                "topic {topic} has {name}={found} in Kafka, must have {wanted} or more"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BATCH_BYTES: usize = 1_000_000;

    fn settings() -> BTreeMap<&'static str, &'static str> {
        REQUIRED.into_iter().chain([(MAX_MESSAGE, "1000000"), (MIN_IN_SYNC, "2")]).collect()
    }

    fn refused(name: &'static str, value: &'static str, replicas: usize) -> bool {
        let mut settings = settings();
        settings.insert(name, value);
        match check("clicks", &settings, replicas, MAX_BATCH_BYTES) {
            Ok(()) => false,
            Err(error) => {
                assert!(error.to_string().contains(&format!("{name}={value}")), "{error}");
                true
            }
        }
    }

    #[test]
    fn what_may_lose_records_is_refused() {
        assert_eq!(check("clicks", &settings(), 3, MAX_BATCH_BYTES), Ok(()));
        assert!(refused("unclean.leader.election.enable", "true", 3));
        assert!(refused("unclean.leader.election.enable", "true", 1));
        assert!(refused("retention.ms", "604800000", 3));
        assert!(refused(MAX_MESSAGE, "999999", 3));
    }

    #[test]
    fn three_replicas_need_two_in_sync() {
        assert!(refused(MIN_IN_SYNC, "1", 3));
        assert!(refused(MIN_IN_SYNC, "1", 5));
        assert!(!refused(MIN_IN_SYNC, "2", 3));
        assert!(!refused(MIN_IN_SYNC, "1", 2));
        assert!(!refused(MIN_IN_SYNC, "1", 1));
    }

    #[test]
    fn a_setting_that_kafka_does_not_tell_is_refused() {
        for name in settings().into_keys() {
            let mut settings = settings();
            settings.remove(name);
            assert!(check("clicks", &settings, 3, MAX_BATCH_BYTES).is_err(), "{name}");
        }
    }
}
