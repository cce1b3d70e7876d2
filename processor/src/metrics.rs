//! Metrics of the processor and of the sink.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use schemas::fact::OutcomeStatus;
use schemas::table::Table;

use crate::core::Head;

/// All metrics of the processor and of the sink.
#[derive(Clone)]
pub struct Metrics {
    received: IntGaugeVec,
    outcomes: IntGaugeVec,
    redelivered: IntGaugeVec,
    imbalance: IntGaugeVec,
    source: IntGaugeVec,
    records: IntCounterVec,
    rows: IntCounterVec,
    cut: IntGaugeVec,
    data_through: IntGaugeVec,
    halted: IntGaugeVec,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If one is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            received: gauge(
                "tributary_processor_events_received",
                "Events received since the partition began, each once.",
                &["partition"],
            )?,
            outcomes: gauge(
                "tributary_processor_outcomes",
                "Events by how they ended; parked is the present level.",
                &["partition", "status"],
            )?,
            redelivered: gauge(
                "tributary_processor_redelivered",
                "Deliveries that stood in the log once more and count nowhere.",
                &["partition"],
            )?,
            imbalance: gauge(
                "tributary_processor_imbalance",
                "Events received less their outcomes: anything but 0 is a loss or a double.",
                &["partition"],
            )?,
            source: gauge(
                "tributary_processor_source_position",
                "Next position of the topic events to be decided.",
                &["partition"],
            )?,
            records: counter(
                "tributary_processor_fact_records_total",
                "Records read back from the facts log: own and foreign were accepted, ignored did not fit the chain.",
                &["partition", "kind"],
            )?,
            rows: counter(
                "tributary_sink_rows_total",
                "Rows that the sink has verified in a table.",
                &["table"],
            )?,
            cut: gauge(
                "tributary_sink_cut",
                "The last cut whose rows are all in the warehouse.",
                &["partition"],
            )?,
            data_through: gauge(
                "tributary_sink_data_through_seconds",
                "Log time of that cut, in seconds since 1970: everything logged before it is in reports.",
                &["partition"],
            )?,
            halted: gauge(
                "tributary_partition_halted",
                "1 where a processor's or a sink's partition has stopped and waits for a person, else 0.",
                &["part", "partition"],
            )?,
        })
    }

    /// Where a partition of `part` shows that it has halted.
    pub(crate) fn halted(&self, part: &str, partition: u32) -> prometheus::IntGauge {
        self.halted.with_label_values(&[part, &partition.to_string()])
    }

    /// The part of one processor partition.
    pub fn owner(&self, partition: u32) -> OwnerMetrics {
        OwnerMetrics { metrics: self.clone(), partition: partition.to_string() }
    }

    /// The part of one sink partition.
    pub fn sink(&self, partition: u32) -> SinkMetrics {
        SinkMetrics { metrics: self.clone(), partition: partition.to_string() }
    }
}

/// What one processor partition counts.
pub struct OwnerMetrics {
    metrics: Metrics,
    partition: String,
}

impl OwnerMetrics {
    pub(crate) fn record_ignored(&self) {
        self.metrics.records.with_label_values(&[self.partition.as_str(), "ignored"]).inc();
    }

    pub(crate) fn committed(&self, head: &Head, foreign: bool) {
        let partition = self.partition.as_str();
        let kind = if foreign { "foreign" } else { "own" };
        self.metrics.records.with_label_values(&[partition, kind]).inc();
        let set = |gauge: &IntGaugeVec, value: u64| {
            gauge.with_label_values(&[partition]).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.metrics.received, head.received());
        set(&self.metrics.redelivered, head.counters.redelivered);
        set(&self.metrics.source, head.source);
        self.metrics.imbalance.with_label_values(&[partition]).set(head.imbalance());
        for (status, count) in OutcomeStatus::ALL.into_iter().zip(head.counters.outcomes) {
            let outcome = self.metrics.outcomes.with_label_values(&[partition, status.as_str()]);
            outcome.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

/// What one sink partition counts.
pub struct SinkMetrics {
    metrics: Metrics,
    partition: String,
}

impl SinkMetrics {
    pub(crate) fn rows(&self, table: Table, rows: u64) {
        self.metrics.rows.with_label_values(&[table.name()]).inc_by(rows);
    }

    pub(crate) fn cut(&self, number: u64, data_through_seconds: i64) {
        let partition = [self.partition.as_str()];
        self.metrics.cut.with_label_values(&partition).set(i64::try_from(number).unwrap_or(i64::MAX));
        self.metrics.data_through.with_label_values(&partition).set(data_through_seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balance_can_be_read() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let mut head = Head { source: 5, ..Head::default() };
        (head.counters.ticks, head.counters.redelivered) = (1, 1);
        head.counters.outcomes[OutcomeStatus::Recorded as usize] = 2;
        metrics.owner(1).committed(&head, false);
        let text = service::telemetry::metrics_text(&registry).unwrap();
        for line in [
            "tributary_processor_events_received{partition=\"1\"} 3",
            "tributary_processor_outcomes{partition=\"1\",status=\"recorded\"} 2",
            "tributary_processor_imbalance{partition=\"1\"} 1",
            "tributary_processor_fact_records_total{kind=\"own\",partition=\"1\"} 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
