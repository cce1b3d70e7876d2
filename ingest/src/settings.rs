//! Settings of the edge.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::body::MEMORY_BYTES;
use crate::limits::LimitSettings;

/// Settings of the edge: the table `edge`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestSettings {
    /// Where the edge listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The edge's address as browsers see it; empty is where it listens. If it starts with `https:`, cookies are `Secure`; so they
    /// are where a trusted proxy says `X-Forwarded-Proto: https`, and over the edge's own TLS.
    pub public_url: String,
    /// Networks whose `X-Forwarded-For`, else `Forwarded`, is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// A header by which a trusted proxy states the client's country, such as `CF-IPCountry`; empty for none.
    pub country_header: String,
    /// A MaxMind database with the countries, regions or cities of addresses, read again when it changes; empty for none.
    /// It is held in memory.
    pub places_file: PathBuf,
    /// How long an event may wait for the log; then it goes into the spool.
    pub append_deadline_ms: u64,
    /// How much longer it may wait for the spool; then it is refused, and a redirect is answered without it.
    pub spool_deadline_ms: u64,
    /// What all events in the spool may take on the disk. Up to 16 MiB for each partition come on top.
    pub spool_max_bytes: u64,
    /// What the spool leaves free on its disk.
    pub spool_min_free_bytes: u64,
    /// Events of one partition that may wait for durability; beyond them requests are refused. Batches and server-to-server
    /// calls get half of them.
    pub queue_events: usize,
    /// Bytes of encoded events, of all partitions, that the log may hold unanswered.
    pub queue_bytes: usize,
    /// The time that the body of a single event may take to arrive.
    pub body_timeout_ms: u64,
    /// The largest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// The longest path and query of a request, in bytes.
    pub max_uri_bytes: usize,
    /// How many requests one sender may make.
    pub limits: LimitSettings,
}

impl Default for IngestSettings {
    fn default() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        Self {
            listen,
            public_url: String::new(),
            trusted_proxies: vec![
                IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
                IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
            ],
            country_header: String::new(),
            places_file: PathBuf::new(),
            append_deadline_ms: 250,
            spool_deadline_ms: 80,
            spool_max_bytes: 4 * 1024 * 1024 * 1024,
            spool_min_free_bytes: 256 * 1024 * 1024,
            queue_events: 32_768,
            queue_bytes: 64 * 1024 * 1024,
            body_timeout_ms: 30_000,
            max_body_bytes: 64 * 1024,
            max_uri_bytes: 8 * 1024,
            limits: LimitSettings::default(),
        }
    }
}

impl IngestSettings {
    pub(crate) const fn append_deadline(&self) -> Duration {
        Duration::from_millis(self.append_deadline_ms)
    }

    pub(crate) const fn spool_deadline(&self) -> Duration {
        Duration::from_millis(self.spool_deadline_ms)
    }

    pub(crate) const fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    pub(crate) fn is_https(&self) -> bool {
        self.public_url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
    }

    /// The host of the edge's own address, as the catalog writes hosts.
    pub(crate) fn public_host(&self) -> Option<String> {
        catalog::host::of_url(&self.public_url)
    }

    /// The first setting that contradicts itself, and why.
    pub(crate) fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let positive = [
            ("append_deadline_ms", self.append_deadline_ms == 0),
            ("spool_deadline_ms", self.spool_deadline_ms == 0),
            ("queue_events", self.queue_events == 0),
            ("queue_bytes", self.queue_bytes == 0),
            ("body_timeout_ms", self.body_timeout_ms == 0),
            ("max_body_bytes", self.max_body_bytes == 0),
            ("max_uri_bytes", self.max_uri_bytes == 0),
        ];
        if let Some((setting, _)) = positive.into_iter().find(|(_, is_zero)| *is_zero) {
            return Some((setting, "must be greater than 0"));
        }
        if self.max_body_bytes > MEMORY_BYTES {
            return Some(("max_body_bytes", "must be at most 67108864, which all bodies together may take"));
        }
        if !self.country_header.is_empty() && self.country_header.parse::<HeaderName>().is_err() {
            return Some(("country_header", "must be the name of a header"));
        }
        let is_web = self.public_url.is_empty()
            || url::Url::parse(&self.public_url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if is_web { None } else { Some(("public_url", "must be an http or https address")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_named() {
        assert_eq!(IngestSettings::default().contradiction(), None);
        let settings = IngestSettings { queue_events: 0, ..IngestSettings::default() };
        assert_eq!(settings.contradiction().unwrap().0, "queue_events");
        let settings = IngestSettings { body_timeout_ms: 0, ..IngestSettings::default() };
        assert_eq!(settings.contradiction().unwrap().0, "body_timeout_ms");
        let settings = IngestSettings { max_body_bytes: MEMORY_BYTES + 1, ..IngestSettings::default() };
        assert_eq!(settings.contradiction().unwrap().0, "max_body_bytes");
        let settings = IngestSettings { country_header: "a b".to_owned(), ..IngestSettings::default() };
        assert_eq!(settings.contradiction().unwrap().0, "country_header");
        let settings = IngestSettings { public_url: "ftp://x".to_owned(), ..IngestSettings::default() };
        assert_eq!(settings.contradiction().unwrap().0, "public_url");
    }

    #[test]
    fn settings_are_read_strictly() {
        let read = serde_json::from_str::<IngestSettings>;
        let settings =
            read(r#"{"trusted_proxies": ["10.0.0.0/8"], "public_url": "HTTPS://t.example"}"#).unwrap();
        assert!(settings.is_https() && settings.trusted_proxies.len() == 1);
        assert_eq!(settings.append_deadline(), Duration::from_millis(250));
        assert!(read(r#"{"trusted_proxies": ["10.0.0.0/33"]}"#).is_err());
        assert!(read(r#"{"listn": "127.0.0.1:1"}"#).is_err());
    }
}
