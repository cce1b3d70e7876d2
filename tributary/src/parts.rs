//! The parts that both ways of running are put together from.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catalog::follower::FollowerSettings;
use catalog::seal::{SealError, Sealer};
use catalog::{Catalog, Follower, Projection, Stage};
use eventlog::kafka::{KafkaLog, KafkaSettings as LogSettings};
use eventlog::{EventLog, Membership, TopicSpec};
use ingest::Edge;
use processor::{Health, Metrics, Objects, Share, Surroundings};
use prometheus::Registry;
use query_api::{Desk, Parts};
use schemas::generation::Generation;
use schemas::id::{IdGenerator, RequestKind, WorkspaceNumber};
use schemas::time::Timestamp;
use schemas::topic;
use service::clock::{SharedClock, SystemClock, random_seed};
use service::config::Secret;
use service::lifecycle::{
    self, Handler, ServeSettings, Server, ServerError, ServerMetrics, Shutdown, Signals, Tasks,
};
use service::telemetry::MakeRequestId;
use warehouse::{Endpoint, Migration, Reader};

use crate::data_dir::DataDir;
use crate::error::Error;
use crate::interference::Interference;
use crate::settings::{KafkaSettings, Settings, WarehouseSettings};

/// The servers that a process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpServer {
    /// The edge's.
    Edge,
    /// The desk's.
    Api,
    /// Health and metrics of the roles that serve nothing else.
    Ops,
}

impl HttpServer {
    /// What the metrics call it.
    const fn label(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Api => "api",
            Self::Ops => "ops",
        }
    }

    /// The setting that names its address.
    const fn address_setting(self) -> &'static str {
        match self {
            Self::Edge => "edge.listen",
            Self::Api => "api.listen",
            Self::Ops => "ops.listen",
        }
    }

    /// What its tasks are called.
    const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge server",
            Self::Api => "api server",
            Self::Ops => "ops server",
        }
    }

    /// The table of its limits.
    const fn table(self) -> &'static str {
        match self {
            Self::Edge => "edge_http",
            Self::Api | Self::Ops => "api.http",
        }
    }
}

/// What every process has, whatever it runs. Servers stop before workers, so that what a server has taken in is finished.
pub(crate) struct Process {
    pub(crate) clock: SharedClock,
    pub(crate) registry: Registry,
    pub(crate) health: Health,
    pub(crate) servers: Tasks,
    pub(crate) workers: Tasks,
    signals: Signals,
    deadline: Duration,
}

impl Process {
    /// From here on signals are heard.
    pub(crate) fn begin(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            clock: SystemClock::shared(),
            registry: Registry::new(),
            health: Health::default(),
            servers: Tasks::new(Shutdown::new()),
            workers: Tasks::new(Shutdown::new()),
            signals: Signals::install().map_err(Error::Runtime)?,
            deadline: settings.shutdown_deadline(),
        })
    }

    /// Serves until the servers are asked to stop.
    pub(crate) fn serve(
        &self,
        server: HttpServer,
        listeners: Vec<TcpListener>,
        handler: impl Handler,
        settings: &ServeSettings,
    ) -> Result<(), Error> {
        let metrics = ServerMetrics::register(&self.registry, server.label())?;
        Server::new(handler, settings.clone(), request_ids(self.clock.clone()), metrics)
            .map_err(|error| Error::Server { table: server.table(), error })?
            .spawn(&self.servers, server.name(), listeners)
            .map_err(Error::Runtime)
    }

    /// What processor and sink need of the process.
    pub(crate) fn surroundings(
        &self,
        log: &Arc<dyn EventLog>,
        partitions: u32,
        interference: &Interference,
        (catalog, objects): (&Follower, Option<Objects>),
    ) -> Result<Surroundings, Error> {
        Ok(Surroundings {
            log: log.clone(),
            clock: self.clock.clone(),
            health: self.health.clone(),
            metrics: Metrics::register(&self.registry)?,
            tasks: self.workers.clone(),
            shutdown: self.workers.shutdown().clone(),
            partitions,
            failpoints: interference.failpoints.clone(),
            objects,
            catalog: catalog.clone(),
        })
    }

    /// Waits until somebody asks the process to stop, or a task fails; then stops it in order.
    pub(crate) async fn run_to_end(
        mut self,
        log: Arc<dyn EventLog>,
        follower: Option<Follower>,
        edge: Option<Edge>,
    ) -> Result<(), Error> {
        tokio::select! {
            signal = self.signals.received() => tracing::info!(signal, "stopping"),
            () = self.servers.shutdown().started() => {}
            () = self.workers.shutdown().started() => {}
        }
        // All stages share one deadline: what an earlier one leaves is what the later ones have.
        let by = tokio::time::Instant::now() + self.deadline;
        let left = || by.saturating_duration_since(tokio::time::Instant::now());
        self.servers.shutdown().trigger();
        let served = self.servers.join_all(left()).await;
        // The edge's tasks end when they have drained, which is well only once the workers may end.
        self.workers.shutdown().trigger();
        if let Some(edge) = edge
            && !edge.drain(left()).await
        {
            tracing::warn!("events were still unanswered at the deadline; their clients got no receipt");
        }
        let worked = self.workers.join_all(left()).await;
        if let Some(follower) = follower {
            follower.shutdown().await;
        }
        log.close(left()).await;
        served?;
        Ok(worked?)
    }
}

impl Drop for Process {
    /// A start that fails half way must not leave threads that wait for a shutdown.
    fn drop(&mut self) {
        self.servers.shutdown().trigger();
        self.workers.shutdown().trigger();
    }
}

/// Runs `work` on a runtime of its own. Threads that do not end with it are left behind: nothing that they do is lost.
pub(crate) fn block_on(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    /// How long the runtime waits for them.
    const PATIENCE: Duration = Duration::from_secs(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(PATIENCE);
    done
}

/// Ids of requests that no handler sees. Like all ids of requests they are of no workspace.
fn request_ids(clock: SharedClock) -> MakeRequestId {
    let ids = Mutex::new(IdGenerator::new(random_seed()));
    Arc::new(move || {
        let unix_ms = Timestamp::from_micros(clock.now_micros()).unix_ms();
        ids.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next::<RequestKind>(unix_ms, WorkspaceNumber::NONE)
            .to_string()
    })
}

/// Binds a server's address before anything else is done, so that a port in use changes nothing, nor do limits within which
/// nobody could be served.
pub(crate) fn listen(
    server: HttpServer,
    address: SocketAddr,
    http: &ServeSettings,
) -> Result<Vec<TcpListener>, Error> {
    if let Some((setting, reason)) = http.contradiction() {
        let error = ServerError::Setting { setting, reason };
        return Err(Error::Server { table: server.table(), error });
    }
    lifecycle::listen(address, http.threads.listeners()).map_err(|error| Error::Listen {
        setting: server.address_setting(),
        address,
        error,
    })
}

/// The address that listeners really have.
pub(crate) fn local_address(listeners: &[TcpListener]) -> Result<SocketAddr, Error> {
    let first = listeners.first().ok_or_else(|| Error::Runtime(io::ErrorKind::NotFound.into()))?;
    first.local_addr().map_err(Error::Runtime)
}

/// Connects to Kafka.
pub(crate) async fn kafka(settings: &KafkaSettings, registry: &Registry) -> Result<Arc<KafkaLog>, Error> {
    Ok(Arc::new(KafkaLog::connect(log_settings(settings, registry)?).await?))
}

/// The partitions of a role: those that its settings name, or those that its group gives it if they name the process.
pub(crate) fn share(
    log: &KafkaLog,
    group: &'static str,
    (instance, session_ms): (&str, u64),
    named: &[u32],
) -> Result<Share, Error> {
    if instance.is_empty() {
        return Ok(Share::Named(named.to_vec()));
    }
    let session = Duration::from_millis(session_ms);
    // The other topics have as many partitions.
    let membership = Membership { group, instance: instance.to_owned(), topic: topic::EVENTS, session };
    Ok(Share::OfGroup(log.join(&membership)?))
}

/// The log and the catalog of an edge. Both may be away at a start that is not the first: then the catalog's copy on this
/// machine's disk takes their place.
pub(crate) async fn log_or_copy(
    settings: &KafkaSettings,
    registry: &Registry,
    dir: &DataDir,
) -> Result<(Arc<dyn EventLog>, Follower), Error> {
    let copy = dir.join("catalog");
    let log = log_settings(settings, registry)?;
    // Without a copy nothing can be done without the log, and a wrong address is better noticed at once.
    let log = Arc::new(if copy.is_dir() { KafkaLog::open(log)? } else { KafkaLog::connect(log).await? });
    let shared: Arc<dyn EventLog> = log.clone();
    let follower = Follower::start_with_copy(Arc::clone(&shared), FollowerSettings::default(), &copy)
        .await
        .map_err(|error| Error::Catalog(error.to_string()))?;
    let installed = follower.read().installation().map(|installation| installation.events_partitions);
    if follower.status().confirmed.is_none() {
        log.expect(&topics(installed.ok_or(Error::NotMigrated)?));
    }
    Ok((shared, follower))
}

fn log_settings(settings: &KafkaSettings, registry: &Registry) -> Result<LogSettings, Error> {
    let mut log = LogSettings::new(&settings.brokers);
    log.topic_prefix.clone_from(&settings.topic_prefix);
    log.replication_factor = settings.replication_factor;
    log.extra =
        settings.options.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    log.metrics = Some(eventlog::metrics::Metrics::register(registry, "kafka")?);
    Ok(log)
}

/// The topics of all generations that there are beside the first.
fn topics_of_generations(catalog: &Catalog, partitions: u32) -> Vec<TopicSpec> {
    let there = catalog.projections().filter(|it| it.stage != Stage::Dropped);
    let later = there.map(|it| it.generation).filter(|generation| *generation != Generation::FIRST);
    later.map(|generation| TopicSpec { name: generation.facts(), partitions }).collect()
}

/// The topics of an installation.
pub(crate) const fn topics(partitions: u32) -> [TopicSpec; 4] {
    [
        TopicSpec { name: topic::EVENTS, partitions },
        TopicSpec { name: topic::FACTS, partitions },
        TopicSpec { name: topic::CAPS, partitions: 1 },
        TopicSpec { name: topic::RESULTS, partitions: 1 },
    ]
}

/// Follows the catalog.
pub(crate) async fn follow(log: &Arc<dyn EventLog>) -> Result<Follower, Error> {
    Follower::start(log.clone(), FollowerSettings::default())
        .await
        .map_err(|error| Error::Catalog(error.to_string()))
}

/// How many partitions the installation has; its topics must have as many.
pub(crate) async fn partitions(log: &Arc<dyn EventLog>, follower: &Follower) -> Result<u32, Error> {
    let wanted = follower.read().installation().map(|installation| installation.events_partitions);
    let wanted = wanted.ok_or(Error::NotMigrated)?;
    let of_generations = topics_of_generations(&follower.read(), wanted);
    for topic in topics(wanted).into_iter().chain(of_generations) {
        match log.partitions(topic.name).await? {
            Some(found) if found == topic.partitions => {}
            Some(found) => {
                let wanted = topic.partitions;
                return Err(eventlog::Error::PartitionCount { topic: topic.name, found, wanted }.into());
            }
            None => return Err(Error::NotMigrated),
        }
    }
    Ok(wanted)
}

/// Where the roles' warehouse is.
pub(crate) fn endpoint(settings: &WarehouseSettings) -> Endpoint {
    Endpoint::new(&settings.url, &settings.user, settings.password.expose(), &settings.database)
}

/// Brings the warehouse to this version's tables.
pub(crate) async fn migrate_warehouse(endpoint: &Endpoint) -> Result<(), Error> {
    let migrations: Vec<Migration<'_>> = schemas::table::MIGRATIONS.iter().map(Migration::from).collect();
    let applied = warehouse::migrate(endpoint, &migrations).await?;
    if !applied.is_empty() {
        tracing::info!(?applied, "warehouse tables");
    }
    Ok(())
}

/// Brings the tables of every generation to this version.
pub(crate) async fn migrate_generations(endpoint: &Endpoint, follower: &Follower) -> Result<(), Error> {
    let projections: Vec<Projection> = follower.read().projections().collect();
    for projection in projections.iter().filter(|it| it.stage != Stage::Dropped) {
        migrate_warehouse(&endpoint.of_generation(projection.generation)).await?;
    }
    Ok(())
}

/// What seals the secrets of signed sources. Without a key for those that are there, the process does not start: each of
/// their requests would be refused.
pub(crate) fn sealer(key: &Secret, follower: &Follower, clock: &SharedClock) -> Result<Sealer, Error> {
    let wrong = |error: SealError| Error::Setting { setting: "secrets.key", reason: error.to_string() };
    let sealer = Sealer::from_hex(key.expose()).map_err(wrong)?;
    sealer.check(&follower.read(), Timestamp::from_micros(clock.now_micros())).map_err(wrong)?;
    Ok(sealer)
}

/// The desk.
pub(crate) fn desk(
    process: &Process,
    settings: &Settings,
    log: &Arc<dyn EventLog>,
    (follower, sealer): (&Follower, &Sealer),
    reader: Reader,
) -> Result<Desk, Error> {
    let health = process.health.clone();
    Ok(Desk::new(Parts {
        settings: settings.api.clone(),
        catalog: follower.clone(),
        sealer: sealer.clone(),
        log: log.clone(),
        tasks: process.workers.clone(),
        warehouse: reader,
        clock: process.clock.clone(),
        registry: process.registry.clone(),
        problems: Arc::new(move || health.problems()),
        seed: random_seed(),
    })?)
}

/// The edge.
pub(crate) async fn edge(
    process: &Process,
    settings: &Settings,
    dir: &DataDir,
    log: &Arc<dyn EventLog>,
    (follower, sealer): (&Follower, &Sealer),
) -> Result<Edge, Error> {
    Edge::start(ingest::Parts {
        settings: settings.edge.clone(),
        log: log.clone(),
        follower: follower.clone(),
        sealer: sealer.clone(),
        clock: process.clock.clone(),
        registry: process.registry.clone(),
        tasks: process.workers.clone(),
        shutdown: process.servers.shutdown().clone(),
        spool_dir: dir.join("spool"),
    })
    .await
    .map_err(|error| Error::Edge(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_could_serve_nobody_does_not_listen() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listened = |server, settings: &ServeSettings| listen(server, address, settings);
        assert_eq!(listened(HttpServer::Edge, &ServeSettings::default()).unwrap().len(), 1);
        let none = ServeSettings { max_connections: 0, ..ServeSettings::default() };
        for (server, setting) in [
            (HttpServer::Edge, "edge_http.max_connections"),
            (HttpServer::Api, "api.http.max_connections"),
            (HttpServer::Ops, "api.http.max_connections"),
        ] {
            let error = listened(server, &none).unwrap_err().to_string();
            assert_eq!(error, format!("{setting} must be greater than 0"));
        }
    }
}
