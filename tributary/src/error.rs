//! Why the binary does not start, or ended badly: each in one line.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the binary does not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings.
    #[error(transparent)]
    Config(#[from] service::config::ConfigError),
    /// A setting that is wrong by itself.
    #[error("{setting}: {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Logging or metrics.
    #[error(transparent)]
    Telemetry(#[from] service::telemetry::TelemetryError),
    /// A metric was registered twice.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// An address that cannot be listened on.
    #[error("{setting}: cannot listen on {address}: {error}")]
    Listen {
        /// The setting that names it.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// A setting of a server, or its certificate.
    #[error("{table}.{error}")]
    Server {
        /// The table of its settings.
        table: &'static str,
        /// What is wrong, beginning with the setting.
        error: service::lifecycle::ServerError,
    },
    /// The data directory.
    #[error("data directory {dir}: {problem}", dir = dir.display())]
    DataDir {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The event log.
    #[error("event log: {0}")]
    Log(#[from] eventlog::Error),
    /// The embedded engine.
    #[error("warehouse engine: {0}")]
    Engine(#[from] warehouse::embedded::StartError),
    /// The tables.
    #[error("warehouse tables: {0}")]
    Migrate(#[from] warehouse::MigrateError),
    /// The catalog cannot be followed.
    #[error("catalog: {0}")]
    Catalog(String),
    /// Nothing was set up yet.
    #[error("the catalog is empty: run `tributary migrate` first")]
    NotMigrated,
    /// The object store.
    #[error(transparent)]
    Objects(#[from] processor::ObjectsError),
    /// Processor or sink.
    #[error(transparent)]
    Processor(#[from] processor::Error),
    /// The edge.
    #[error("edge: {0}")]
    Edge(String),
    /// The desk.
    #[error("api: {0}")]
    Desk(#[from] query_api::StartError),
    /// A task failed.
    #[error("{0}")]
    Tasks(#[from] service::lifecycle::TasksError),
    /// The runtime or its signals could not be set up.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    /// Standard output is gone.
    #[error("cannot write: {0}")]
    Output(std::io::Error),
}
