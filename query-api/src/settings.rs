//! Settings of the desk.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::lifecycle::ServeSettings;

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
    /// Requests that may wait for an outcome (`?wait=`) at a time; more are answered at once.
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
}
