//! All settings of the binary: each part's own, put together.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ingest::IngestSettings;
use processor::{ObjectStoreSettings, ProcessorSettings, SinkSettings};
use query_api::QueryApiSettings;
use serde::{Deserialize, Serialize};
use service::config::Secret;
use service::lifecycle::{ServeSettings, Threads};
use service::telemetry::LogSettings;

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where this process keeps its data.
    pub data_dir: PathBuf,
    /// How long a process that was asked to stop may finish what it has begun.
    pub shutdown_deadline_ms: u64,
    /// The log that people read.
    pub log: LogSettings,
    /// What the first start creates.
    pub first_start: FirstStart,
    /// What keeps secrets secret.
    pub secrets: SecretsSettings,
    /// The embedded warehouse engine of `up`.
    pub engine: EngineSettings,
    /// The event log of the roles.
    pub kafka: KafkaSettings,
    /// The warehouse of the roles.
    pub warehouse: WarehouseSettings,
    /// Where processor and sink have what must outlive a disk.
    pub object_store: ObjectStoreSettings,
    /// The edge.
    pub edge: IngestSettings,
    /// Limits of the edge's HTTP server.
    pub edge_http: ServeSettings,
    /// The query API.
    pub api: QueryApiSettings,
    /// The processor.
    pub processor: ProcessorSettings,
    /// The sink.
    pub sink: SinkSettings,
    /// Health and metrics of processor and sink, which serve nothing else.
    pub ops: OpsSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            shutdown_deadline_ms: 15_000,
            // The state store's own narration is of no use to an operator.
            log: LogSettings { filter: "info,fjall=warn,lsm_tree=warn".to_owned(), ..LogSettings::default() },
            first_start: FirstStart::default(),
            secrets: SecretsSettings::default(),
            engine: EngineSettings::default(),
            kafka: KafkaSettings::default(),
            warehouse: WarehouseSettings::default(),
            object_store: ObjectStoreSettings::default(),
            edge: IngestSettings::default(),
            edge_http: ServeSettings { threads: Threads::Cores, ..ServeSettings::default() },
            api: QueryApiSettings::default(),
            processor: ProcessorSettings::default(),
            sink: SinkSettings::default(),
            ops: OpsSettings::default(),
        }
    }
}

impl Settings {
    /// Where nobody said how browsers reach the edge, it is the address that it really listens on; and where nobody said how
    /// clients of the API reach it, it is the same.
    pub(crate) fn take_real_address(&mut self, edge: SocketAddr) {
        if self.edge.public_url.is_empty() {
            let scheme = if self.edge_http.is_tls() { "https" } else { "http" };
            self.edge.public_url = format!("{scheme}://{edge}");
        }
        if self.api.edge_url == QueryApiSettings::default().edge_url {
            self.api.edge_url.clone_from(&self.edge.public_url);
        }
    }

    pub(crate) const fn shutdown_deadline(&self) -> Duration {
        Duration::from_millis(self.shutdown_deadline_ms)
    }
}

/// What the first start creates; later starts leave it alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FirstStart {
    /// Partitions of `events` and `facts`, for ever.
    pub events_partitions: u32,
    /// The first workspace's name.
    pub workspace_name: String,
    /// Its currency, ISO 4217.
    pub currency: String,
    /// Its IANA time zone.
    pub timezone: String,
}

impl Default for FirstStart {
    fn default() -> Self {
        Self {
            events_partitions: 4,
            workspace_name: "default".to_owned(),
            currency: "USD".to_owned(),
            timezone: "UTC".to_owned(),
        }
    }
}

/// What keeps secrets secret.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretsSettings {
    /// Seals the secrets of signed sources: 32 bytes as hexadecimal digits, the same for every role.
    pub key: Secret,
}

/// The embedded warehouse engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineSettings {
    /// `libchdb.so`.
    pub library: PathBuf,
    /// Memory that all its statements together may use.
    pub memory_mib: u64,
    /// Its port on the loopback interface; 0 is a free one.
    pub port: u16,
    /// The password of its user, for a notebook beside the product; empty is a new random one at each start.
    pub password: Secret,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self { library: PathBuf::from("libchdb.so"), memory_mib: 512, port: 0, password: Secret::new("") }
    }
}

/// Apache Kafka.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// `host:port`, with commas.
    pub brokers: String,
    /// What the names of our topics begin with.
    pub topic_prefix: String,
    /// Replicas of the topics that `migrate` creates.
    pub replication_factor: u16,
    /// Settings of librdkafka, such as `socket.timeout.ms`; by the file alone, their names have dots.
    pub options: BTreeMap<String, Secret>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            topic_prefix: String::new(),
            replication_factor: 3,
            options: BTreeMap::new(),
        }
    }
}

/// ClickHouse, by its HTTP interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarehouseSettings {
    /// Its address.
    pub url: String,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Secret,
    /// The database of our tables; `migrate` creates it.
    pub database: String,
}

impl Default for WarehouseSettings {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8123".to_owned(),
            user: "default".to_owned(),
            password: Secret::new(""),
            database: "default".to_owned(),
        }
    }
}

/// Health and metrics of the roles that serve nothing else.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpsSettings {
    /// Where they listen; port 0 takes a free one.
    pub listen: SocketAddr,
}

impl Default for OpsSettings {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8082)) }
    }
}
