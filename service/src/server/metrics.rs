//! What a server counts. Labels come from closed sets: names of servers in the code, and the codes of refusals.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use super::refusal::Refusal;

/// Counters of one server. Clones share their values.
#[derive(Debug, Clone)]
pub struct ServerMetrics {
    refused: IntCounterVec,
    open_connections: IntGauge,
}

impl ServerMetrics {
    /// Registers the counters of the server called `server`, such as `edge` or `api`.
    ///
    /// # Errors
    /// If the registry already has counters for a server of this name.
    pub fn register(registry: &Registry, server: &'static str) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("server", server);
        let refused = IntCounterVec::new(
            opts(
                "service_http_refused_total",
                "Connections and requests that the server refused before any handler saw them.",
            ),
            &["code"],
        )?;
        let open_connections = IntGauge::with_opts(opts(
            "service_http_open_connections",
            "Connections that have a place; those that are being told that there is none do not count.",
        ))?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(open_connections.clone()))?;
        // An operator sees what can be counted before it is.
        for refusal in Refusal::ALL {
            refused.with_label_values(&[refusal.code()]);
        }
        Ok(Self { refused, open_connections })
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.refused.with_label_values(&[refusal.code()]).inc();
    }

    pub(super) fn open(&self) {
        self.open_connections.inc();
    }

    pub(super) fn close(&self) {
        self.open_connections.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_one_process_are_told_apart_by_name() {
        let registry = Registry::new();
        let edge = ServerMetrics::register(&registry, "edge").unwrap();
        let api = ServerMetrics::register(&registry, "api").unwrap();
        assert!(ServerMetrics::register(&registry, "edge").is_err());
        edge.refuse(Refusal::TimedOut);
        api.open();
        let text = crate::telemetry::metrics_text(&registry).unwrap();
        for line in [
            "service_http_refused_total{code=\"request_timeout\",server=\"edge\"} 1",
            "service_http_refused_total{code=\"unavailable\",server=\"edge\"} 0",
            "service_http_refused_total{code=\"request_timeout\",server=\"api\"} 0",
            "service_http_open_connections{server=\"edge\"} 0",
            "service_http_open_connections{server=\"api\"} 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
