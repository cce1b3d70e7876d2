//! What the log counts. Labels come from closed sets: topics and producer names are `&'static str` in the code.

use prometheus::{
    Histogram, HistogramOpts, HistogramTimer, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};

/// Seconds of one `fdatasync`, from a fast NVMe disk to one that is about to fail.
const FSYNC_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Counters of one log. Clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    records: IntCounterVec,
    bytes: IntCounterVec,
    refused: IntCounterVec,
    fsyncs: HistogramVec,
    pending: IntGaugeVec,
}

impl Metrics {
    /// Registers the counters of the log called `log`, such as `main` or `spool`.
    ///
    /// # Errors
    /// If the registry already has counters for a log of this name.
    pub fn register(registry: &Registry, log: &'static str) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("log", log);
        let metrics = Self {
            records: IntCounterVec::new(
                opts("eventlog_appended_records_total", "Records that became durable."),
                &["topic"],
            )?,
            bytes: IntCounterVec::new(
                opts("eventlog_appended_bytes_total", "Bytes of keys and payloads that became durable."),
                &["topic"],
            )?,
            refused: IntCounterVec::new(
                opts("eventlog_refused_records_total", "Records whose append was answered with an error."),
                &["producer", "reason"],
            )?,
            fsyncs: HistogramVec::new(
                HistogramOpts::new(
                    "eventlog_fsync_seconds",
                    "Seconds of one fdatasync of the embedded engine.",
                )
                .const_label("log", log)
                .buckets(FSYNC_BUCKETS.to_vec()),
                &["topic"],
            )?,
            pending: IntGaugeVec::new(
                opts("eventlog_pending_bytes", "Bytes taken from a producer and not answered yet."),
                &["producer"],
            )?,
        };
        registry.register(Box::new(metrics.records.clone()))?;
        registry.register(Box::new(metrics.bytes.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.fsyncs.clone()))?;
        registry.register(Box::new(metrics.pending.clone()))?;
        Ok(metrics)
    }

    /// The counters of one topic, looked up once.
    pub(crate) fn topic(&self, topic: &str) -> TopicMetrics {
        TopicMetrics {
            records: self.records.with_label_values(&[topic]),
            bytes: self.bytes.with_label_values(&[topic]),
            fsyncs: self.fsyncs.with_label_values(&[topic]),
        }
    }

    /// The counters of one producer, looked up once.
    pub(crate) fn producer(&self, producer: &'static str) -> ProducerMetrics {
        ProducerMetrics {
            refused: self.refused.clone(),
            pending: self.pending.with_label_values(&[producer]),
            producer,
        }
    }
}

/// The counters of one topic.
#[derive(Debug, Clone)]
pub(crate) struct TopicMetrics {
    records: IntCounter,
    bytes: IntCounter,
    fsyncs: Histogram,
}

impl TopicMetrics {
    pub(crate) fn appended(&self, records: u64, bytes: u64) {
        self.records.inc_by(records);
        self.bytes.inc_by(bytes);
    }

    /// Measures until it is dropped.
    pub(crate) fn fsync(&self) -> HistogramTimer {
        self.fsyncs.start_timer()
    }
}

/// The counters of one producer.
#[derive(Debug, Clone)]
pub(crate) struct ProducerMetrics {
    refused: IntCounterVec,
    pending: IntGauge,
    producer: &'static str,
}

impl ProducerMetrics {
    pub(crate) fn refused(&self, error: &crate::Error) {
        self.refused.with_label_values(&[self.producer, error.reason()]).inc();
    }

    pub(crate) fn pending(&self, change: i64) {
        self.pending.add(change);
    }
}
