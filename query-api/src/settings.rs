//! Settings of the desk.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::lifecycle::ServeSettings;
use tokio::sync::Semaphore;

use crate::receipts::MAX_WAIT_SECONDS;

/// Settings of the query API's server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryApiSettings {
    /// Where it listens; port 0 is a free one.
    pub listen: SocketAddr,
    /// The edge's address as clients know it, for answers that point there.
    pub edge_url: String,
    /// The time that a whole answer may take.
    pub request_timeout_ms: u64,
    /// The time that one query of the warehouse may take.
    pub query_timeout_ms: u64,
    /// The time that a body may take to arrive.
    pub body_timeout_ms: u64,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// The longest path and query, in bytes.
    pub max_uri_bytes: usize,
    /// Requests that may wait for an outcome (`?wait=`, transitions) at a time; more are answered at once.
    pub max_waiting: usize,
    /// Limits of the HTTP server itself.
    pub http: ServeSettings,
}

impl Default for QueryApiSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            edge_url: "http://127.0.0.1:8080".to_owned(),
            request_timeout_ms: 30_000,
            query_timeout_ms: 20_000,
            body_timeout_ms: 10_000,
            max_body_bytes: 1024 * 1024,
            max_uri_bytes: 16 * 1024,
            max_waiting: 256,
            http: ServeSettings::default(),
        }
    }
}

impl QueryApiSettings {
    /// [`Self::request_timeout_ms`] as a duration.
    pub const fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// [`Self::query_timeout_ms`] as a duration.
    pub const fn query_timeout(&self) -> Duration {
        Duration::from_millis(self.query_timeout_ms)
    }

    /// [`Self::body_timeout_ms`] as a duration.
    pub const fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    /// The host of the edge's address, as the catalog writes hosts.
    pub(crate) fn edge_host(&self) -> Option<String> {
        catalog::host::of_url(&self.edge_url)
    }

    /// The first setting that contradicts itself or another one, and why.
    pub(crate) fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let positive = [
            ("request_timeout_ms", self.request_timeout_ms == 0),
            ("query_timeout_ms", self.query_timeout_ms == 0),
            ("body_timeout_ms", self.body_timeout_ms == 0),
            ("max_body_bytes", self.max_body_bytes == 0),
            ("max_uri_bytes", self.max_uri_bytes == 0),
            ("max_waiting", self.max_waiting == 0),
        ];
        if let Some((setting, _)) = positive.into_iter().find(|(_, is_zero)| *is_zero) {
            return Some((setting, "must be greater than 0"));
        }
        let is_web =
            url::Url::parse(&self.edge_url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_web {
            return Some(("edge_url", "must be an http or https address"));
        }
        // Else a client that waits as long as it may gets an error instead of its answer.
        if self.request_timeout() <= Duration::from_secs(MAX_WAIT_SECONDS as u64) {
            return Some(("request_timeout_ms", "must be more than 10000, the longest wait for a receipt"));
        }
        if self.max_waiting > Semaphore::MAX_PERMITS {
            return Some(("max_waiting", "is more than a process can hold"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_named() {
        assert_eq!(QueryApiSettings::default().contradiction(), None);
        let set = |change: fn(&mut QueryApiSettings)| {
            let mut settings = QueryApiSettings::default();
            change(&mut settings);
            settings.contradiction().map(|(setting, _)| setting)
        };
        for url in ["", "127.0.0.1:8080", "ftp://t.example", "//t.example"] {
            let settings = QueryApiSettings { edge_url: url.to_owned(), ..QueryApiSettings::default() };
            assert_eq!(settings.contradiction().map(|(setting, _)| setting), Some("edge_url"), "{url:?}");
        }
        assert_eq!(set(|settings| settings.edge_url = "HTTPS://t.example/base".to_owned()), None);
        assert_eq!(set(|settings| settings.request_timeout_ms = 0), Some("request_timeout_ms"));
        assert_eq!(set(|settings| settings.request_timeout_ms = 10_000), Some("request_timeout_ms"));
        assert_eq!(set(|settings| settings.request_timeout_ms = 10_001), None);
        assert_eq!(set(|settings| settings.query_timeout_ms = 0), Some("query_timeout_ms"));
        assert_eq!(set(|settings| settings.body_timeout_ms = 0), Some("body_timeout_ms"));
        assert_eq!(set(|settings| settings.max_body_bytes = 0), Some("max_body_bytes"));
        assert_eq!(set(|settings| settings.max_uri_bytes = 0), Some("max_uri_bytes"));
        assert_eq!(set(|settings| settings.max_waiting = 0), Some("max_waiting"));
        assert_eq!(set(|settings| settings.max_waiting = usize::MAX), Some("max_waiting"));
    }
}
