//! What can be set about a server.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

/// Limits of a server, and how it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeSettings {
    /// On how many threads of its own it runs.
    pub threads: Threads,
    /// Open connections at a time; more are answered 503 and closed.
    pub max_connections: usize,
    /// Requests in work at a time; more are answered 503.
    pub max_requests: usize,
    /// The time a client has to send a request's head, and before it to agree on a cipher.
    pub header_read_timeout_ms: u64,
    /// The time after which a connection without a request is closed, and one whose client no longer reads.
    pub idle_timeout_ms: u64,
    /// The time that open requests have to end after the shutdown began.
    pub drain_deadline_ms: u64,
    /// The largest head of a request, in bytes; at least 8,192.
    pub max_header_bytes: usize,
    /// The most headers that a request may have.
    pub max_headers: usize,
    /// The certificate chain, a PEM file, read anew when it changes. Empty: the server speaks plain HTTP.
    pub tls_certificate: PathBuf,
    /// The certificate's key, a PEM file.
    pub tls_key: PathBuf,
}

/// hyper panics when asked for a smaller read buffer.
const MIN_HEADER_BYTES: usize = 8 * 1024;

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            threads: Threads::Shared,
            max_connections: 16_384,
            max_requests: 16_384,
            header_read_timeout_ms: 10_000,
            idle_timeout_ms: 75_000,
            drain_deadline_ms: 10_000,
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            tls_certificate: PathBuf::new(),
            tls_key: PathBuf::new(),
        }
    }
}

impl ServeSettings {
    /// Whether the server speaks TLS.
    pub fn is_tls(&self) -> bool {
        !self.tls_certificate.as_os_str().is_empty() || !self.tls_key.as_os_str().is_empty()
    }

    /// The first setting that contradicts itself, and why.
    pub fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let positive = [
            ("max_connections", self.max_connections == 0),
            ("max_requests", self.max_requests == 0),
            ("header_read_timeout_ms", self.header_read_timeout_ms == 0),
            ("idle_timeout_ms", self.idle_timeout_ms == 0),
            ("max_headers", self.max_headers == 0),
        ];
        if let Some((setting, _)) = positive.into_iter().find(|(_, is_zero)| *is_zero) {
            return Some((setting, "must be greater than 0"));
        }
        (self.max_header_bytes < MIN_HEADER_BYTES).then_some(("max_header_bytes", "must be at least 8192"))
    }

    pub(super) const fn header_read_timeout(&self) -> Duration {
        Duration::from_millis(self.header_read_timeout_ms)
    }

    pub(super) const fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    pub(super) const fn drain_deadline(&self) -> Duration {
        Duration::from_millis(self.drain_deadline_ms)
    }
}

/// On how many threads a server runs. Each has a runtime and a listener of its own; the kernel spreads the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// On none of its own: with everything else on the process's runtime.
    Shared,
    /// As many as there are cores.
    Cores,
    /// That many.
    Exactly(usize),
}

/// More threads than this are a typing error.
const MAX_THREADS: usize = 1_024;

impl Threads {
    /// How many listeners such a server takes.
    pub fn listeners(self) -> usize {
        match self {
            Self::Shared => 1,
            Self::Cores => std::thread::available_parallelism().map_or(1, usize::from),
            Self::Exactly(threads) => threads,
        }
    }
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("shared"),
            Self::Cores => f.write_str("cores"),
            Self::Exactly(threads) => threads.fmt(f),
        }
    }
}

impl Serialize for Threads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Threads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(usize),
            Text(String),
        }
        let threads = match Raw::deserialize(deserializer)? {
            Raw::Text(text) if text == "shared" => return Ok(Self::Shared),
            Raw::Text(text) if text == "cores" => return Ok(Self::Cores),
            Raw::Text(text) => text.parse().unwrap_or(0),
            Raw::Number(threads) => threads,
        };
        if (1..=MAX_THREADS).contains(&threads) {
            Ok(Self::Exactly(threads))
        } else {
            Err(D::Error::custom(format!("is shared, cores, or a number of threads from 1 to {MAX_THREADS}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_named() {
        assert_eq!(ServeSettings::default().contradiction(), None);
        let set = |change: fn(&mut ServeSettings)| {
            let mut settings = ServeSettings::default();
            change(&mut settings);
            settings.contradiction().map(|(setting, _)| setting)
        };
        assert_eq!(set(|settings| settings.max_connections = 0), Some("max_connections"));
        assert_eq!(set(|settings| settings.max_requests = 0), Some("max_requests"));
        assert_eq!(set(|settings| settings.header_read_timeout_ms = 0), Some("header_read_timeout_ms"));
        assert_eq!(set(|settings| settings.idle_timeout_ms = 0), Some("idle_timeout_ms"));
        assert_eq!(set(|settings| settings.max_headers = 0), Some("max_headers"));
        assert_eq!(set(|settings| settings.max_header_bytes = 8_191), Some("max_header_bytes"));
        assert_eq!(set(|settings| settings.max_header_bytes = 8_192), None);
        // Nobody is waited for: that is a wish.
        assert_eq!(set(|settings| settings.drain_deadline_ms = 0), None);
    }
}
