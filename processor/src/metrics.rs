//! Metrics of the processor and of the sink.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use schemas::fact::OutcomeStatus;
use schemas::generation::Generation;
use schemas::table::Table;
use schemas::time::Timestamp;

use crate::apart_metrics::ApartMetrics;
use crate::core::Head;
use crate::snapshot::Snapshot;
use crate::verify::TableRows;

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
    retrying: IntGaugeVec,
    audited: AuditedMetrics,
    kept: KeptMetrics,
    apart: ApartMetrics,
    /// The generation that these count, unless it is the live one.
    generation: Option<Generation>,
}

pub(crate) fn gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If one is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help, labels: &[&str]| gauge(registry, name, help, labels);
        let counter = |name, help, labels: &[&str]| counter(registry, name, help, labels);
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
            retrying: gauge(
                "tributary_partition_retrying",
                "1 where a processor's or a sink's partition tries again after an error that may pass, else 0.",
                &["part", "partition"],
            )?,
            audited: AuditedMetrics::register(registry)?,
            kept: KeptMetrics::register(registry)?,
            apart: ApartMetrics::register(registry)?,
            generation: None,
        })
    }

    /// The metrics of a generation that is not the live one. What it counts is nowhere among what the live one does; it shows in
    /// metrics of its own how far it is.
    ///
    /// # Errors
    /// Never, unless two of our names are the same.
    pub(crate) fn apart(&self, generation: Generation) -> Result<Self, crate::Error> {
        let unseen = Self::register(&Registry::new());
        let unseen = unseen.map_err(|error| crate::Error::Metrics(error.to_string()))?;
        Ok(Self { apart: self.apart.clone(), generation: Some(generation), ..unseen })
    }

    /// The generation that these count, unless it is the live one.
    pub(crate) const fn generation(&self) -> Option<Generation> {
        self.generation
    }

    /// A part of the process works no more on a generation as it did.
    pub(crate) fn forget(&self, part: &str, generation: Generation, partition: u32) {
        self.apart.forget(part, generation, partition);
    }

    /// The same of the live one: what another process goes on with is no longer this one's to say.
    pub(crate) fn forget_live(&self, part: &str, partition: u32) {
        let partition = partition.to_string();
        let of_part = [&self.halted, &self.retrying];
        let of_partition = if part == "sink" {
            vec![&self.cut, &self.data_through, &self.audited.cut]
        } else {
            vec![&self.source, &self.imbalance, &self.received, &self.redelivered]
        };
        // What was never said cannot be removed, and need not be.
        for gauge in of_part {
            let _unsaid = gauge.remove_label_values(&[part, &partition]);
        }
        for gauge in of_partition {
            let _unsaid = gauge.remove_label_values(&[&partition]);
        }
    }

    /// A value of a generation apart.
    fn set_apart(&self, gauge: impl Fn(&ApartMetrics) -> &IntGaugeVec, partition: &str, value: i64) {
        if let Some(generation) = self.generation {
            gauge(&self.apart).with_label_values(&[&generation.to_string(), partition]).set(value);
        }
    }

    /// Where a partition of `part` shows how it is.
    pub(crate) fn partition(&self, part: &str, partition: u32) -> PartitionMetrics {
        let labels = [part, &partition.to_string()];
        PartitionMetrics {
            halted: self.halted.with_label_values(&labels),
            retrying: self.retrying.with_label_values(&labels),
            halted_apart: self.generation.map(|generation| {
                let labels = [part, &generation.to_string(), &partition.to_string()];
                self.apart.halted.with_label_values(&labels)
            }),
        }
    }

    /// The part of one processor partition. What it counts is there from now on, at 0.
    pub fn owner(&self, partition: u32) -> OwnerMetrics {
        let partition = partition.to_string();
        for kind in ["own", "foreign", "ignored"] {
            self.records.with_label_values(&[partition.as_str(), kind]);
        }
        OwnerMetrics { metrics: self.clone(), partition }
    }

    /// The part of one partition's snapshots.
    pub fn snapshots(&self, partition: u32) -> SnapshotMetrics {
        SnapshotMetrics { kept: self.kept.clone(), partition: partition.to_string() }
    }

    /// What the auditor of one partition found.
    pub fn audit(&self, partition: u32) -> AuditMetrics {
        AuditMetrics { audited: self.audited.clone(), partition: partition.to_string() }
    }

    /// The part of one sink partition. What it counts is there from now on, at 0.
    pub fn sink(&self, partition: u32) -> SinkMetrics {
        for table in Table::ALL {
            self.rows.with_label_values(&[table.name()]);
        }
        SinkMetrics { metrics: self.clone(), partition: partition.to_string() }
    }
}

/// How one partition is.
#[derive(Clone)]
pub(crate) struct PartitionMetrics {
    pub(crate) halted: IntGauge,
    pub(crate) retrying: IntGauge,
    /// Where it shows for a generation that is not the live one.
    pub(crate) halted_apart: Option<IntGauge>,
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
        let kind = if foreign { "foreign" } else { "own" };
        self.metrics.records.with_label_values(&[self.partition.as_str(), kind]).inc();
        self.stands_at(head);
    }

    /// Where the committed state stands, and what it has counted.
    pub(crate) fn stands_at(&self, head: &Head) {
        let partition = self.partition.as_str();
        let set = |gauge: &IntGaugeVec, value: u64| {
            gauge.with_label_values(&[partition]).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.metrics.received, head.received());
        set(&self.metrics.redelivered, head.counters.redelivered);
        set(&self.metrics.source, head.source);
        let source = i64::try_from(head.source).unwrap_or(i64::MAX);
        self.metrics.set_apart(|apart| &apart.source, partition, source);
        self.metrics.set_apart(|apart| &apart.imbalance, partition, head.imbalance());
        self.metrics.imbalance.with_label_values(&[partition]).set(head.imbalance());
        for (status, count) in OutcomeStatus::ALL.into_iter().zip(head.counters.outcomes) {
            let outcome = self.metrics.outcomes.with_label_values(&[partition, status.as_str()]);
            outcome.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

/// What is kept in the object store.
#[derive(Clone)]
struct KeptMetrics {
    snapshot_position: IntGaugeVec,
    snapshot_bytes: IntGaugeVec,
    snapshot_time: IntGaugeVec,
    snapshot_failures: IntCounterVec,
    snapshots_refused: IntCounterVec,
    archived: IntGaugeVec,
    archive_failures: IntCounterVec,
}

impl KeptMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help, labels: &[&str]| gauge(registry, name, help, labels);
        let counter = |name, help, labels: &[&str]| counter(registry, name, help, labels);
        Ok(Self {
            snapshot_position: gauge(
                "tributary_snapshot_position",
                "Position in the topic facts of the newest snapshot of the state.",
                &["partition"],
            )?,
            snapshot_bytes: gauge(
                "tributary_snapshot_bytes",
                "Size of that snapshot as it is kept, in bytes.",
                &["partition"],
            )?,
            snapshot_time: gauge(
                "tributary_snapshot_time_seconds",
                "When that snapshot was written, in seconds since 1970.",
                &["partition"],
            )?,
            snapshot_failures: counter(
                "tributary_snapshot_failures_total",
                "Attempts to take a snapshot or to find one that failed; decisions go on.",
                &["partition"],
            )?,
            snapshots_refused: counter(
                "tributary_snapshots_refused_total",
                "Snapshots passed over when state was restored: damaged, or foreign to the log.",
                &["partition", "reason"],
            )?,
            archived: gauge(
                "tributary_archive_position",
                "Next position of a topic that is not archived, or not yet compared with the log.",
                &["topic", "partition"],
            )?,
            archive_failures: counter(
                "tributary_archive_failures_total",
                "Attempts to move old records from the log to the archive that failed; nothing is deleted then.",
                &["partition"],
            )?,
        })
    }
}

/// What one partition's snapshots and its archive show.
#[derive(Clone)]
pub struct SnapshotMetrics {
    kept: KeptMetrics,
    partition: String,
}

impl SnapshotMetrics {
    pub(crate) fn kept(&self, newest: &Snapshot) {
        let partition = [self.partition.as_str()];
        let set = |gauge: &IntGaugeVec, value: u64| {
            gauge.with_label_values(&partition).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.kept.snapshot_position, newest.position);
        set(&self.kept.snapshot_bytes, newest.bytes);
        let written_at = newest.written_at.unix_seconds();
        self.kept.snapshot_time.with_label_values(&partition).set(written_at);
    }

    pub(crate) fn failed(&self) {
        self.kept.snapshot_failures.with_label_values(&[self.partition.as_str()]).inc();
    }

    pub(crate) fn archived(&self, topic: &str, position: u64) {
        let archived = self.kept.archived.with_label_values(&[topic, self.partition.as_str()]);
        archived.set(i64::try_from(position).unwrap_or(i64::MAX));
    }

    pub(crate) fn archive_failed(&self) {
        self.kept.archive_failures.with_label_values(&[self.partition.as_str()]).inc();
    }

    pub(crate) fn refused(&self, reason: &str) {
        self.kept.snapshots_refused.with_label_values(&[self.partition.as_str(), reason]).inc();
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

    pub(crate) fn cut(&self, number: u64, core_time: Timestamp) {
        let partition = [self.partition.as_str()];
        self.metrics.cut.with_label_values(&partition).set(i64::try_from(number).unwrap_or(i64::MAX));
        self.metrics.data_through.with_label_values(&partition).set(core_time.unix_seconds());
        self.metrics.set_apart(|apart| &apart.data_through, &self.partition, core_time.unix_seconds());
    }

    /// No cut was ever finished. A time of data there is not then, and 1970 would be none.
    pub(crate) fn no_cut(&self) {
        self.metrics.cut.with_label_values(&[self.partition.as_str()]).set(0);
    }
}

/// What auditors count.
#[derive(Clone)]
struct AuditedMetrics {
    missing: IntGaugeVec,
    extra: IntGaugeVec,
    cut: IntGaugeVec,
}

impl AuditedMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            missing: gauge(
                registry,
                "tributary_audit_missing_rows",
                "Rows of finished cuts that a table does not have, by the last audit; anything but 0 is a loss.",
                &["partition", "table"],
            )?,
            extra: gauge(
                registry,
                "tributary_audit_extra_rows",
                "Rows of finished cuts that a table has more often than once, by the last audit; must be 0.",
                &["partition", "table"],
            )?,
            cut: gauge(
                registry,
                "tributary_audit_cut",
                "The last cut whose rows, and those of all before it, the auditor has counted.",
                &["partition"],
            )?,
        })
    }
}

/// What the auditor of one partition found.
pub struct AuditMetrics {
    audited: AuditedMetrics,
    partition: String,
}

impl AuditMetrics {
    pub(crate) fn found(&self, cut: u64, tables: &[TableRows]) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let partition = self.partition.as_str();
        for TableRows { table, missing, extra, .. } in tables {
            self.audited.missing.with_label_values(&[partition, table]).set(number(*missing));
            self.audited.extra.with_label_values(&[partition, table]).set(number(*extra));
        }
        self.audited.cut.with_label_values(&[partition]).set(number(cut));
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
        let owner = metrics.owner(1);
        owner.stands_at(&head);
        let stands = [
            "tributary_processor_events_received{partition=\"1\"} 3",
            "tributary_processor_outcomes{partition=\"1\",status=\"recorded\"} 2",
            "tributary_processor_outcomes{partition=\"1\",status=\"parked\"} 0",
            "tributary_processor_imbalance{partition=\"1\"} 1",
        ];
        assert_lines(&registry, &stands);
        assert_lines(&registry, &["tributary_processor_fact_records_total{kind=\"own\",partition=\"1\"} 0"]);
        owner.committed(&head, false);
        assert_lines(&registry, &stands);
        assert_lines(&registry, &["tributary_processor_fact_records_total{kind=\"own\",partition=\"1\"} 1"]);
    }

    #[test]
    fn a_sink_without_any_cut_has_a_number_of_cuts_and_no_time_of_data() {
        let registry = Registry::new();
        let sink = Metrics::register(&registry).unwrap().sink(2);
        sink.no_cut();
        let none = ["tributary_sink_cut{partition=\"2\"} 0", "tributary_sink_rows_total{table=\"clicks\"} 0"];
        assert_lines(&registry, &none);
        let through = "tributary_sink_data_through_seconds{partition=\"2\"}";
        assert!(!service::telemetry::metrics_text(&registry).unwrap().contains(through));
        sink.cut(7, Timestamp::from_micros(9_000_001));
        assert_lines(&registry, &["tributary_sink_cut{partition=\"2\"} 7", &format!("{through} 9")]);
    }

    #[test]
    fn how_a_partition_is_can_be_read() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let health = crate::Health::default().partition("sink", 3, &metrics);
        let line = |name: &str, value| {
            format!("tributary_partition_{name}{{part=\"sink\",partition=\"3\"}} {value}")
        };
        let assert_is = |halted, retrying| {
            assert_lines(&registry, &[&line("halted", halted), &line("retrying", retrying)]);
        };
        assert_is(0, 0);
        health.retrying(&"away");
        assert_is(0, 1);
        health.halted(&"odd");
        assert_is(1, 0);
        health.running();
        assert_is(0, 0);
    }

    fn assert_lines(registry: &Registry, lines: &[&str]) {
        let text = service::telemetry::metrics_text(registry).unwrap();
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line} in {text}");
        }
    }
}
