//! `tributary up`: everything in one process, on embedded engines.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use eventlog::EventLog;
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings as LogSettings};
use processor::{Objects, Share, start_processor, start_sink};
use prometheus::Registry;
use schemas::time::Timestamp;
use service::clock::SharedClock;
use warehouse::embedded::{EmbeddedEngine, EmbeddedSettings, Password};

use crate::cli::Up;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::first_start::{first_start, secrets_key};
use crate::greeting::greeting;
use crate::interference::Interference;
use crate::parts::{self, HttpServer, Process};
use crate::settings::Settings;

/// Where the log lies in the data directory.
pub(crate) const LOG_DIR: &str = "log";
/// How long the engine may finish what runs when everybody who asks it is gone.
pub(crate) const ENGINE_STOP: Duration = Duration::from_secs(3);

/// Runs until it is told to stop.
pub(crate) fn run(arguments: Up, interference: &Interference) -> Result<(), Error> {
    let settings = settings(arguments)?;
    service::telemetry::init_logging(&settings.log)?;
    parts::block_on(up(settings, interference))
}

/// The file and the environment, and over them the command line.
fn settings(arguments: Up) -> Result<Settings, Error> {
    let mut settings: Settings = service::config::load(arguments.config.as_deref())?;
    if let Some(edge) = arguments.edge {
        settings.edge.listen = edge;
    }
    if let Some(api) = arguments.api {
        settings.api.listen = api;
    }
    if let Some(data) = arguments.data {
        settings.data_dir = data;
    }
    if let Some(library) = arguments.engine_library {
        settings.engine.library = library;
    }
    Ok(settings)
}

async fn up(mut settings: Settings, interference: &Interference) -> Result<(), Error> {
    let process = Process::begin(&settings)?;
    let edge_listener = parts::listen(HttpServer::Edge, settings.edge.listen, &settings.edge_http)?;
    let api_listener = parts::listen(HttpServer::Api, settings.api.listen, &settings.api.http)?;
    let (edge_address, api_address) =
        (parts::local_address(&edge_listener)?, parts::local_address(&api_listener)?);
    settings.take_real_address(edge_address);

    let dir = DataDir::open(&settings.data_dir)?;
    let log = open_log(&dir, process.clock.clone(), &process.registry)?;
    let engine = open_engine(&dir, &settings).await?;
    let (_, reader) = warehouse::connect(&engine.endpoint());
    let sink = interference.sink(engine.endpoint());

    let follower = parts::follow(&log).await?;
    let key_file = first_start(&dir, &follower, &settings.first_start, &process.clock).await?;
    let installed = follower.read().installation().map(|installation| installation.events_partitions);
    log.ensure_topics(&parts::topics(installed.ok_or(Error::NotMigrated)?)).await?;
    let partitions = parts::partitions(&log, &follower).await?;
    parts::migrate_generations(&engine.endpoint(), &follower).await?;

    let sealer = parts::sealer(&secrets_key(&dir, &settings)?, &follower, &process.clock)?;
    let edge = parts::edge(&process, &settings, &dir, &log, (&follower, &sealer)).await?;
    if settings.object_store.url.is_empty() {
        // On the same disk nothing would be won: the log keeps everything.
        settings.processor.archive_after_hours = 0;
    }
    let objects = Some(open_objects(&dir, &settings)?);
    let surroundings = process.surroundings(&log, partitions, interference, (&follower, objects))?;
    let (processor, loader) = (&settings.processor, &settings.sink);
    is_alone("processor.instance", &processor.instance)?;
    is_alone("sink.instance", &loader.instance)?;
    let named = |partitions: &[u32]| Share::Named(partitions.to_vec());
    start_processor(&surroundings, (processor, named(&processor.partitions)), &sink, dir.join("state"))?;
    start_sink(&surroundings, (loader, named(&loader.partitions)), &sink)?;
    let desk = parts::desk(&process, &settings, &log, (&follower, &sealer), reader)?;

    let api = query_api::router(desk, query_api::Edge::Here(ingest::api_router(edge.clone())));
    process.serve(HttpServer::Edge, edge_listener, ingest::door(edge.clone()), &settings.edge_http)?;
    process.serve(HttpServer::Api, api_listener, api, &settings.api.http)?;
    let text = greeting(edge_address, api_address, key_file.as_deref());
    std::io::stdout().write_all(text.as_bytes()).map_err(Error::Output)?;

    let ended = process.run_to_end(log, Some(follower), Some(edge)).await;
    engine.stop(ENGINE_STOP).await;
    ended
}

/// One process does everything: a name among others is a mistake.
fn is_alone(setting: &'static str, instance: &str) -> Result<(), Error> {
    if instance.is_empty() {
        return Ok(());
    }
    let reason = "there is nobody to share partitions with in `tributary up`".to_owned();
    Err(Error::Setting { setting, reason })
}

/// The object store of the settings, or a folder beside the other data.
pub(crate) fn open_objects(dir: &DataDir, settings: &Settings) -> Result<Objects, Error> {
    Ok(match Objects::open(&settings.object_store)? {
        Some(objects) => objects,
        None => Objects::in_directory(&dir.join("objects"))?,
    })
}

pub(crate) fn open_log(
    dir: &DataDir,
    clock: SharedClock,
    registry: &Registry,
) -> Result<Arc<dyn EventLog>, Error> {
    let mut settings = LogSettings::new(Arc::new(move || Timestamp::from_micros(clock.now_micros())));
    settings.metrics = Some(eventlog::metrics::Metrics::register(registry, "embedded")?);
    Ok(Arc::new(EmbeddedLog::open(&dir.join(LOG_DIR), settings)?))
}

pub(crate) async fn open_engine(dir: &DataDir, settings: &Settings) -> Result<EmbeddedEngine, Error> {
    let memory_bytes = settings.engine.memory_mib.saturating_mul(1024 * 1024);
    let mut engine =
        EmbeddedSettings::new(settings.engine.library.clone(), dir.join("warehouse"), memory_bytes);
    engine.port = settings.engine.port;
    let password = settings.engine.password.expose();
    engine.password = (!password.is_empty()).then(|| Password(password.to_owned()));
    Ok(EmbeddedEngine::start(engine).await?)
}
