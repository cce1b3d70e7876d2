//! What the edge counts. Labels come from closed sets.
//!
//! Of every request to a recording route: received = acknowledged + refused + unrecorded + redirected to a fallback +
//! cancelled. [`Received`] makes that so: it counts one of them, whatever becomes of the request.

use catalog::follower::FollowerStatus;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramTimer, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};
use schemas::error_code::ErrorCode;

use crate::spool::metrics::{LaneMetrics, SpoolMetrics};

/// From a warm NVMe disk to the deadline.
const APPEND_BUCKETS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Powers of four up to the largest group.
const GROUP_BUCKETS: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0];

/// A route that records events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Click,
    Impression,
    Pixel,
    Postback,
    Conversions,
    Track,
    Refunds,
    Batch,
}

impl Route {
    const ALL: [Self; 8] = [
        Self::Click,
        Self::Impression,
        Self::Pixel,
        Self::Postback,
        Self::Conversions,
        Self::Track,
        Self::Refunds,
        Self::Batch,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::Impression => "impression",
            Self::Pixel => "pixel",
            Self::Postback => "postback",
            Self::Conversions => "conversions",
            Self::Track => "track",
            Self::Refunds => "refunds",
            Self::Batch => "batch",
        }
    }
}

/// Why an event is not known to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Too many events waited.
    Full,
    /// The edge took no more.
    Stopping,
    /// The log takes nothing so large.
    TooLarge,
    /// The log has no place for it.
    Log,
    SpoolFull,
    NoSpool,
    SpoolUnreadable,
    /// The spool failed.
    Spool,
    /// Neither the log nor the spool answered in time.
    Deadline,
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::Full,
        Self::Stopping,
        Self::TooLarge,
        Self::Log,
        Self::SpoolFull,
        Self::NoSpool,
        Self::SpoolUnreadable,
        Self::Spool,
        Self::Deadline,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Stopping => "stopping",
            Self::TooLarge => "too_large",
            Self::Log => "log",
            Self::SpoolFull => "spool_full",
            Self::NoSpool => "no_spool",
            Self::SpoolUnreadable => "spool_unreadable",
            Self::Spool => "spool",
            Self::Deadline => "deadline",
        }
    }
}

/// The counters of one route, looked up once.
#[derive(Debug)]
struct RouteCounters {
    received: IntCounter,
    acknowledged: IntCounter,
    fallback: IntCounter,
    cancelled: IntCounter,
}

/// The edge's counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    routes: [RouteCounters; Route::ALL.len()],
    refused: IntCounterVec,
    unrecorded: IntCounterVec,
    batch_events: [IntCounter; 2],
    append_seconds: Histogram,
    group_events: Histogram,
    queue_events: IntGaugeVec,
    spool: SpoolMetrics,
    catalog: CatalogGauges,
}

/// How far the edge's copy of the catalog is.
#[derive(Debug)]
struct CatalogGauges {
    revision: IntGauge,
    staleness_seconds: Gauge,
}

impl CatalogGauges {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let revision =
            IntGauge::new("ingest_catalog_revision", "Records of the catalog that are folded here.")?;
        let staleness_seconds = Gauge::new(
            "ingest_catalog_staleness_seconds",
            "Seconds since the catalog was last known to be at the log's end.",
        )?;
        registry.register(Box::new(revision.clone()))?;
        registry.register(Box::new(staleness_seconds.clone()))?;
        Ok(Self { revision, staleness_seconds })
    }
}

fn unrecorded_by_reason(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let help = "Redirects that were answered although their click is not known to be durable.";
    let counters = IntCounterVec::new(Opts::new("ingest_unrecorded_total", help), &["route", "reason"])?;
    registry.register(Box::new(counters.clone()))?;
    for reason in Reason::ALL {
        // There from the start, so that the first can be seen as a change.
        counters.with_label_values(&[Route::Click.as_str(), reason.as_str()]);
    }
    Ok(counters)
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by = |labels: &[&str], name: &str, help: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let by_route = |name: &str, help: &str| by(&["route"], name, help);
        let received = by_route("ingest_received_total", "Requests to recording routes.")?;
        let acknowledged = by_route(
            "ingest_acknowledged_total",
            "Requests answered with a receipt: their event is durable.",
        )?;
        let unrecorded = unrecorded_by_reason(registry)?;
        let fallback =
            by_route("ingest_fallback_total", "Clicks without a live link, sent to a fallback URL.")?;
        let cancelled = by_route(
            "ingest_cancelled_total",
            "Requests whose client left before the answer; the event may stand.",
        )?;
        let refused = by(
            &["route", "error"],
            "ingest_refused_total",
            "Requests answered with an error of the contract.",
        )?;
        let batch_events = by(
            &["outcome"],
            "ingest_batch_events_total",
            "Events of batches, by what their line was answered.",
        )?;
        let append_seconds = Histogram::with_opts(
            HistogramOpts::new(
                "ingest_append_seconds",
                "Seconds from the first event of a group to the answer that all of them share.",
            )
            .buckets(APPEND_BUCKETS.to_vec()),
        )?;
        let group_events = Histogram::with_opts(
            HistogramOpts::new("ingest_group_events", "Events that were appended together.")
                .buckets(GROUP_BUCKETS.to_vec()),
        )?;
        let queue_events = IntGaugeVec::new(
            Opts::new("ingest_queue_events", "Events that wait for durability, in the queue or in flight."),
            &["partition"],
        )?;
        registry.register(Box::new(append_seconds.clone()))?;
        registry.register(Box::new(group_events.clone()))?;
        registry.register(Box::new(queue_events.clone()))?;
        let routes = Route::ALL.map(|route| RouteCounters {
            received: received.with_label_values(&[route.as_str()]),
            acknowledged: acknowledged.with_label_values(&[route.as_str()]),
            fallback: fallback.with_label_values(&[route.as_str()]),
            cancelled: cancelled.with_label_values(&[route.as_str()]),
        });
        Ok(Self {
            routes,
            refused,
            unrecorded,
            batch_events: ["accepted", "rejected"].map(|outcome| batch_events.with_label_values(&[outcome])),
            append_seconds,
            group_events,
            queue_events,
            spool: SpoolMetrics::register(registry)?,
            catalog: CatalogGauges::register(registry)?,
        })
    }

    /// Counts a request; what the guard is told counts its end.
    pub(crate) fn receive(&self, route: Route) -> Received<'_> {
        let counters = &self.routes[route as usize];
        counters.received.inc();
        Received { metrics: self, route, counters, is_counted: false }
    }

    /// Counts the events of a batch.
    pub(crate) fn batch_events(&self, accepted: usize, rejected: usize) {
        for (counter, events) in self.batch_events.iter().zip([accepted, rejected]) {
            counter.inc_by(events as u64);
        }
    }

    /// The gauge of one partition's queue, looked up once.
    pub(crate) fn queue(&self, partition: u32) -> IntGauge {
        self.queue_events.with_label_values(&[&partition.to_string()])
    }

    /// The counters of one partition's spool, looked up once.
    pub(crate) fn lane(&self, partition: u32) -> LaneMetrics {
        self.spool.lane(partition)
    }

    /// Notes how far the catalog is.
    pub(crate) fn catalog(&self, status: &FollowerStatus) {
        self.catalog.revision.set(i64::try_from(status.revision.number).unwrap_or(i64::MAX));
        self.catalog.staleness_seconds.set(status.staleness.as_secs_f64());
    }

    /// Measures until it is dropped.
    pub(crate) fn append(&self) -> HistogramTimer {
        self.append_seconds.start_timer()
    }

    pub(crate) fn group(&self, events: usize) {
        self.group_events.observe(events as f64);
    }
}

/// A request that was received and whose end is not counted yet. Dropped without a word it counts as cancelled.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    metrics: &'a Metrics,
    route: Route,
    counters: &'a RouteCounters,
    is_counted: bool,
}

impl Received<'_> {
    pub(crate) fn acknowledged(mut self) {
        self.is_counted = true;
        self.counters.acknowledged.inc();
    }

    pub(crate) fn unrecorded(mut self, reason: Reason) {
        self.is_counted = true;
        self.metrics.unrecorded.with_label_values(&[self.route.as_str(), reason.as_str()]).inc();
    }

    pub(crate) fn fallback(mut self) {
        self.is_counted = true;
        self.counters.fallback.inc();
    }

    pub(crate) fn refused(mut self, code: ErrorCode) {
        self.is_counted = true;
        self.metrics.refused.with_label_values(&[self.route.as_str(), code.as_str()]).inc();
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        if !self.is_counted {
            self.counters.cancelled.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_received_request_ends_in_one_counter() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        metrics.receive(Route::Click).acknowledged();
        metrics.receive(Route::Click).unrecorded(Reason::SpoolFull);
        metrics.receive(Route::Click).fallback();
        metrics.receive(Route::Click).refused(ErrorCode::NotFound);
        drop(metrics.receive(Route::Click));
        metrics.receive(Route::Conversions).acknowledged();
        let text = service::telemetry::metrics_text(&registry).unwrap();
        for line in [
            "ingest_received_total{route=\"click\"} 5",
            "ingest_acknowledged_total{route=\"click\"} 1",
            "ingest_unrecorded_total{reason=\"spool_full\",route=\"click\"} 1",
            "ingest_unrecorded_total{reason=\"full\",route=\"click\"} 0",
            "ingest_fallback_total{route=\"click\"} 1",
            "ingest_refused_total{error=\"not_found\",route=\"click\"} 1",
            "ingest_cancelled_total{route=\"click\"} 1",
            "ingest_received_total{route=\"conversions\"} 1",
            "ingest_received_total{route=\"pixel\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
