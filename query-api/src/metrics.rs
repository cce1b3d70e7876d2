//! What the desk counts.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// Upper bounds of the duration buckets, in seconds.
const SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The desk's metrics. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    query_seconds: HistogramVec,
}

impl Metrics {
    /// Makes the metrics and registers them.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("query_api_requests_total", "Requests answered, by route and status."),
            &["route", "status"],
        )?;
        let seconds = |name: &str, help: &str, label: &str| {
            HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), &[label])
        };
        let request_seconds = seconds(
            "query_api_request_seconds",
            "Seconds from a request's head to its answer, cut off ones included.",
            "route",
        )?;
        let query_seconds =
            seconds("query_api_warehouse_seconds", "Seconds that a query of the warehouse took.", "query")?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(request_seconds.clone()))?;
        registry.register(Box::new(query_seconds.clone()))?;
        Ok(Self { requests, request_seconds, query_seconds })
    }

    /// Counts one answer.
    pub(crate) fn answered(&self, route: &str, status: u16) {
        self.requests.with_label_values(&[route, status.to_string().as_str()]).inc();
    }

    /// Times a request until the guard is dropped, so that one that is cut off counts as well.
    pub(crate) fn time_request(&self, route: &str) -> prometheus::HistogramTimer {
        self.request_seconds.with_label_values(&[route]).start_timer()
    }

    /// Times a query until the guard is dropped.
    pub(crate) fn time_query(&self, query: &'static str) -> prometheus::HistogramTimer {
        self.query_seconds.with_label_values(&[query]).start_timer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_counted_under_its_route_and_status() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        metrics.answered("/api/v1/reports", 200);
        drop(metrics.time_request("/api/v1/reports"));
        let text = service::telemetry::metrics_text(&registry).unwrap();
        assert!(
            text.contains("query_api_requests_total{route=\"/api/v1/reports\",status=\"200\"} 1"),
            "{text}"
        );
        assert!(text.contains("query_api_request_seconds_count{route=\"/api/v1/reports\"} 1"), "{text}");
    }
}
