//! What is counted of the spool, by partition.

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// The counters of all partitions.
#[derive(Debug)]
pub(crate) struct SpoolMetrics {
    events: IntGaugeVec,
    bytes: IntGaugeVec,
    oldest_seconds: GaugeVec,
    spooled: IntCounterVec,
    drained: IntCounterVec,
    quarantined: IntCounterVec,
    state: IntGaugeVec,
}

/// The counters of one partition, looked up once.
#[derive(Debug)]
pub(crate) struct LaneMetrics {
    pub(crate) events: IntGauge,
    pub(crate) bytes: IntGauge,
    pub(crate) oldest_seconds: Gauge,
    pub(crate) spooled: IntCounter,
    pub(crate) drained: IntCounter,
    pub(crate) quarantined: IntCounter,
    pub(crate) state: IntGauge,
}

impl SpoolMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["partition"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name: &str, help: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), &["partition"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let oldest_seconds = GaugeVec::new(
            Opts::new("ingest_spool_oldest_seconds", "Age of the oldest event in the spool; 0 for none."),
            &["partition"],
        )?;
        registry.register(Box::new(oldest_seconds.clone()))?;
        Ok(Self {
            oldest_seconds,
            events: gauge("ingest_spool_events", "Events in the spool.")?,
            bytes: gauge("ingest_spool_bytes", "What the events in the spool take on the disk.")?,
            spooled: counter("ingest_spooled_total", "Events that were put into the spool.")?,
            drained: counter("ingest_drained_total", "Events that the log has taken from the spool.")?,
            quarantined: counter(
                "ingest_quarantined_total",
                "Events of the spool that were put aside for an operator instead of the log.",
            )?,
            state: gauge(
                "ingest_spool_state",
                "Where new events go: 0 the log, 1 the spool, 2 nowhere, for the log is away and the spool full or broken.",
            )?,
        })
    }

    pub(crate) fn lane(&self, partition: u32) -> LaneMetrics {
        let partition = partition.to_string();
        let labels = &[partition.as_str()];
        LaneMetrics {
            events: self.events.with_label_values(labels),
            bytes: self.bytes.with_label_values(labels),
            oldest_seconds: self.oldest_seconds.with_label_values(labels),
            spooled: self.spooled.with_label_values(labels),
            drained: self.drained.with_label_values(labels),
            quarantined: self.quarantined.with_label_values(labels),
            state: self.state.with_label_values(labels),
        }
    }
}
