//! One role of a cluster, on Kafka and ClickHouse.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use eventlog::EventLog;
use processor::{Objects, start_processor, start_sink};

use crate::cli::RoleArguments;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::first_start::first_start;
use crate::interference::Interference;
use crate::ops;
use crate::parts::{self, HttpServer, Process};
use crate::settings::Settings;

/// What a process of a cluster does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The edge.
    Ingest,
    /// Events in, facts out.
    Processor,
    /// Facts in, rows out.
    Sink,
    /// The desk.
    QueryApi,
}

/// Runs a role until it is told to stop.
pub(crate) fn run(role: Role, arguments: &RoleArguments, interference: &Interference) -> Result<(), Error> {
    start(arguments, async |settings| match role {
        Role::Ingest => ingest(settings).await,
        Role::Processor => processor(settings, interference).await,
        Role::Sink => sink(settings, interference).await,
        Role::QueryApi => query_api(settings).await,
    })
}

/// Creates topics and tables, and on the first start a workspace and its admin key.
pub(crate) fn migrate(arguments: &RoleArguments) -> Result<(), Error> {
    start(arguments, async |settings| {
        let process = Process::begin(&settings)?;
        let dir = DataDir::open(&settings.data_dir)?;
        let log: Arc<dyn EventLog> = parts::kafka(&settings.kafka, &process.registry).await?;
        let follower = parts::follow(&log).await?;
        parts::migrate_generations(&parts::endpoint(&settings.warehouse), &follower).await?;
        let key_file = first_start(&dir, &follower, &settings.first_start, &process.clock).await?;
        let installed = follower.read().installation().map(|installation| installation.events_partitions);
        let partitions = installed.ok_or(Error::NotMigrated)?;
        log.ensure_topics(&parts::topics(partitions)).await?;
        follower.shutdown().await;
        log.close(settings.shutdown_deadline()).await;
        let mut text = format!("topics and tables are there; {partitions} partitions\n");
        if let Some(key_file) = key_file {
            text += &format!("key   {}\n", key_file.display());
        }
        crate::print(&text)
    })
}

fn start(
    arguments: &RoleArguments,
    work: impl AsyncFnOnce(Settings) -> Result<(), Error>,
) -> Result<(), Error> {
    let settings: Settings = service::config::load(arguments.config.as_deref())?;
    service::telemetry::init_logging(&settings.log)?;
    parts::block_on(work(settings))
}

async fn ingest(mut settings: Settings) -> Result<(), Error> {
    let process = Process::begin(&settings)?;
    // Long before anything is served: who comes while an edge starts again waits that second, and is not turned away.
    let listener = parts::listen(HttpServer::Edge, settings.edge.listen, &settings.edge_http)?;
    let address = parts::local_address(&listener)?;
    settings.take_real_address(address);
    let dir = DataDir::open(&settings.data_dir)?;
    let (log, follower) = parts::log_or_copy(&settings.kafka, &process.registry, &dir).await?;
    let sealer = parts::sealer(&settings.secrets.key, &follower, &process.clock)?;
    let edge = parts::edge(&process, &settings, &dir, &log, (&follower, &sealer)).await?;
    process.serve(HttpServer::Edge, listener, ingest::door(edge.clone()), &settings.edge_http)?;
    announce("edge", address)?;
    process.run_to_end(log, Some(follower), Some(edge)).await
}

async fn processor(settings: Settings, interference: &Interference) -> Result<(), Error> {
    let process = Process::begin(&settings)?;
    let listener = parts::listen(HttpServer::Ops, settings.ops.listen, &settings.api.http)?;
    let address = parts::local_address(&listener)?;
    let dir = DataDir::open(&settings.data_dir)?;
    let kafka = parts::kafka(&settings.kafka, &process.registry).await?;
    let log: Arc<dyn EventLog> = kafka.clone();
    let follower = parts::follow(&log).await?;
    let partitions = parts::partitions(&log, &follower).await?;
    let objects = Objects::open(&settings.object_store)?;
    if objects.is_none() {
        tracing::warn!(
            "object_store.url is not set: there are no snapshots and no archive: state that is lost is folded from all facts, and the log keeps everything"
        );
    }
    let surroundings = process.surroundings(&log, partitions, interference, (&follower, objects))?;
    let (warehouse, _) = warehouse::connect(&parts::endpoint(&settings.warehouse));
    let own = &settings.processor;
    let share = parts::share(&kafka, "processor", (&own.instance, own.session_ms), &own.partitions)?;
    start_processor(&surroundings, (own, share), &warehouse, dir.join("state"))?;
    let router = ops::router(process.health.clone(), process.registry.clone());
    process.serve(HttpServer::Ops, listener, router, &settings.api.http)?;
    announce("ops", address)?;
    process.run_to_end(log, Some(follower), None).await
}

async fn sink(settings: Settings, interference: &Interference) -> Result<(), Error> {
    let process = Process::begin(&settings)?;
    let listener = parts::listen(HttpServer::Ops, settings.ops.listen, &settings.api.http)?;
    let address = parts::local_address(&listener)?;
    let kafka = parts::kafka(&settings.kafka, &process.registry).await?;
    let log: Arc<dyn EventLog> = kafka.clone();
    let follower = parts::follow(&log).await?;
    let partitions = parts::partitions(&log, &follower).await?;
    let warehouse = interference.sink(parts::endpoint(&settings.warehouse));
    let objects = Objects::open(&settings.object_store)?;
    let surroundings = process.surroundings(&log, partitions, interference, (&follower, objects))?;
    let own = &settings.sink;
    let share = parts::share(&kafka, "sink", (&own.instance, own.session_ms), &own.partitions)?;
    start_sink(&surroundings, (own, share), &warehouse)?;
    let router = ops::router(process.health.clone(), process.registry.clone());
    process.serve(HttpServer::Ops, listener, router, &settings.api.http)?;
    announce("ops", address)?;
    process.run_to_end(log, Some(follower), None).await
}

async fn query_api(mut settings: Settings) -> Result<(), Error> {
    let process = Process::begin(&settings)?;
    settings.take_real_address(settings.edge.listen);
    let listener = parts::listen(HttpServer::Api, settings.api.listen, &settings.api.http)?;
    let address = parts::local_address(&listener)?;
    let log: Arc<dyn EventLog> = parts::kafka(&settings.kafka, &process.registry).await?;
    let follower = parts::follow(&log).await?;
    parts::partitions(&log, &follower).await?;
    let (_, reader) = warehouse::connect(&parts::endpoint(&settings.warehouse));
    let sealer = parts::sealer(&settings.secrets.key, &follower, &process.clock)?;
    let desk = parts::desk(&process, &settings, &log, (&follower, &sealer), reader)?;
    let router = query_api::router(desk, query_api::Edge::Elsewhere);
    process.serve(HttpServer::Api, listener, router, &settings.api.http)?;
    announce("api", address)?;
    process.run_to_end(log, Some(follower), None).await
}

/// Says where a server really listens, one line for a program that started this one.
fn announce(server: &str, address: SocketAddr) -> Result<(), Error> {
    writeln!(std::io::stdout(), "{server}  http://{address}").map_err(Error::Output)
}
