//! Metrics of generations that are not the live one.

use prometheus::{IntGaugeVec, Registry};
use schemas::generation::Generation;

use crate::metrics::gauge;

/// How far generations are that are not the live one.
#[derive(Clone)]
pub(crate) struct ApartMetrics {
    pub(crate) source: IntGaugeVec,
    pub(crate) imbalance: IntGaugeVec,
    pub(crate) data_through: IntGaugeVec,
    pub(crate) halted: IntGaugeVec,
}

impl ApartMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let of = &["generation", "partition"];
        let gauge = |name, help, labels: &[&str]| gauge(registry, name, help, labels);
        Ok(Self {
            source: gauge(
                "tributary_replay_source_position",
                "Next position of the topic events to be decided in a generation that is not the live one.",
                of,
            )?,
            imbalance: gauge(
                "tributary_replay_imbalance",
                "Events received less their outcomes in such a generation: anything but 0 is a loss or a double.",
                of,
            )?,
            data_through: gauge(
                "tributary_replay_data_through_seconds",
                "Log time of the last cut that such a generation has in the warehouse, in seconds since 1970.",
                of,
            )?,
            halted: gauge(
                "tributary_replay_halted",
                "1 where a partition of such a generation has stopped and waits for a person, else 0.",
                &["part", "generation", "partition"],
            )?,
        })
    }

    /// Forgets what a part of the process said of a generation. Other parts may still work on it.
    pub(crate) fn forget(&self, part: &str, generation: Generation, partition: u32) {
        let (generation, partition) = (generation.to_string(), partition.to_string());
        let numbers =
            if part == "sink" { vec![&self.data_through] } else { vec![&self.source, &self.imbalance] };
        // What was never said cannot be removed, and need not be.
        let _unsaid = self.halted.remove_label_values(&[part, &generation, &partition]);
        for gauge in &numbers {
            let _unsaid = gauge.remove_label_values(&[&generation, &partition]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Head;
    use crate::{Health, Metrics};

    #[test]
    fn what_is_apart_shows_apart_and_nowhere_else() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        metrics.owner(0).stands_at(&Head { source: 9, ..Head::default() });
        let generation = Generation::FIRST.next();
        let apart = metrics.apart(generation).unwrap();
        let owner = apart.owner(0);
        owner.stands_at(&Head { source: 4, ..Head::default() });
        owner.committed(&Head { source: 5, ..Head::default() }, false);
        let health = Health::default().partition("processor", 0, &apart);
        health.halted(&"odd");
        assert_eq!(health.to_string(), "processor 0 of generation 2");
        let text = || service::telemetry::metrics_text(&registry).unwrap();
        let has = |line: &str| text().lines().any(|found| found == line);
        assert!(has("tributary_processor_source_position{partition=\"0\"} 9"), "{}", text());
        assert!(has("tributary_processor_fact_records_total{kind=\"own\",partition=\"0\"} 0"), "{}", text());
        assert!(has("tributary_replay_source_position{generation=\"2\",partition=\"0\"} 5"), "{}", text());
        let halted = "tributary_replay_halted{generation=\"2\",part=\"processor\",partition=\"0\"} 1";
        assert!(has(halted) && !text().contains("tributary_partition_halted"), "{}", text());
        metrics.forget("sink", generation, 0);
        assert!(has(halted));
        metrics.forget("processor", generation, 0);
        assert!(!text().contains("tributary_replay_"), "{}", text());
    }
}
