//! A partition's owner from log to facts, its state on disk: `just bench-owner`.
//!
//! All events lie in the log before the owner begins. Measured is from the end of the warm-up until the last event is committed: wall
//! time, and CPU time by thread. `EVENTS` and `WARMUP` in the environment make a smaller run, `KAFKA` names the brokers of a real
//! Kafka instead of the embedded log, `DIR` where the log and the state go.

#![allow(clippy::print_stdout, reason = "a bench answers on standard output")]

#[allow(dead_code, reason = "each bench uses a part of it")]
mod measure;
mod traffic;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings};
use eventlog::kafka::{KafkaLog, KafkaSettings};
use eventlog::{EventLog, NewRecord, Partition, ProducerUse, TopicSpec};
use processor::assignment::Assignment;
use processor::owner::{Owner, OwnerParts};
use processor::store::{Committed as _, Store};
use processor::{Failpoints, Health, Metrics, ProcessorSettings, Workers};
use schemas::time::Timestamp;
use schemas::{topic, wire};
use service::clock::{Clock as _, SystemClock};
use service::lifecycle::Shutdown;

use measure::{cpu_of_threads, number, peak_mib};
use traffic::{Traffic, catalog_records, folded};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: u64 = 8_000_000;
const WARMUP: u64 = 2_000_000;
/// Events appended at once.
const APPENDED: u64 = 5_000;
const LOOK: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(60);

type Failure = Box<dyn Error>;

/// Where the owner stands, and what it has used.
struct Mark {
    source: u64,
    at: Instant,
    cpu: BTreeMap<String, u64>,
}

fn main() -> Result<(), Failure> {
    // Cargo says so when it is asked for benches; a test run only builds them.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let (events, warmup) = (number("EVENTS", EVENTS)?, number("WARMUP", WARMUP)?);
    let dir = match std::env::var_os("DIR") {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let log = runtime.block_on(open_log(dir.path()))?;
    runtime.block_on(fill(log.as_ref(), events))?;
    println!("{events} events lie in the log");
    let state = dir.path().join("state");
    let handle = runtime.handle().clone();
    let decider = std::thread::Builder::new().name("decide".into());
    let log_of_owner = log.clone();
    let owner = decider.spawn(move || {
        handle.block_on(own(log_of_owner, &state, (warmup, events))).map_err(|error| error.to_string())
    })?;
    owner.join().map_err(|_| "the owner panicked")??;
    runtime.block_on(log.close(DEADLINE));
    Ok(())
}

async fn open_log(dir: &Path) -> Result<Arc<dyn EventLog>, Failure> {
    let log: Arc<dyn EventLog> = match std::env::var_os("KAFKA") {
        Some(brokers) => {
            let mut settings = KafkaSettings::new(brokers.to_string_lossy());
            settings.topic_prefix = format!("bench{}.", std::process::id());
            Arc::new(KafkaLog::connect(settings).await?)
        }
        None => {
            let clock = || Timestamp::from_micros(SystemClock.now_micros());
            Arc::new(EmbeddedLog::open(&dir.join("log"), EmbeddedSettings::new(Arc::new(clock)))?)
        }
    };
    let topics = [topic::CATALOG, topic::EVENTS, topic::FACTS, topic::CAPS, topic::RESULTS];
    log.ensure_topics(&topics.map(|name| TopicSpec { name, partitions: 1 })).await?;
    Ok(log)
}

async fn append(
    log: &dyn EventLog,
    topic: &'static str,
    batches: impl Iterator<Item = Vec<Bytes>>,
) -> Result<(), Failure> {
    let usage = ProducerUse { name: "bench", deadline: DEADLINE, max_pending_bytes: 256 << 20 };
    let producer = log.producer(usage)?;
    for batch in batches {
        let records = batch.into_iter().map(|payload| NewRecord { key: Bytes::new(), payload }).collect();
        for answer in producer.append(Partition { topic, number: 0 }, records).await {
            answer?;
        }
    }
    Ok(())
}

async fn fill(log: &dyn EventLog, events: u64) -> Result<(), Failure> {
    let catalog = catalog_records()?;
    let mut traffic = Traffic::new(1, folded(&catalog)?.revision());
    append(log, topic::CATALOG, catalog.into_iter().map(|record| vec![record])).await?;
    let mut left = events;
    let batches = std::iter::from_fn(|| {
        let count = left.min(APPENDED);
        left -= count;
        let event = |_| wire::encode_event(traffic.next(SystemClock.now_micros()));
        (count > 0).then(|| (0..count).map(event).collect())
    });
    append(log, topic::EVENTS, batches).await
}

async fn own(log: Arc<dyn EventLog>, state: &Path, (warmup, events): (u64, u64)) -> Result<(), Failure> {
    std::fs::create_dir_all(state)?;
    let metrics = Metrics::register(&prometheus::Registry::new())?;
    let parts = OwnerParts {
        partition: 0,
        assignment: Assignment::default(),
        log,
        objects: None,
        settings: ProcessorSettings::default(),
        clock: SystemClock::shared(),
        health: Health::default().partition("processor", 0, &metrics),
        metrics: metrics.owner(0),
        failpoints: Failpoints::default(),
        workers: Workers::Threads,
    };
    let store = Store::open(state, 0)?;
    let mut owner = Owner::on(&parts, &store).await?;
    let shutdown = Shutdown::new();
    let watch = async {
        let mut marks = Vec::new();
        loop {
            let source = store.head()?.source;
            if marks.is_empty() && source >= warmup || source >= events {
                marks.push(Mark { source, at: Instant::now(), cpu: cpu_of_threads()? });
            }
            if source >= events {
                return Ok::<_, Failure>(marks);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let marks = tokio::select! {
        done = owner.work(&shutdown) => return Err(format!("the owner stopped: {done:?}").into()),
        marks = watch => marks?,
    };
    let [from, to] = &marks[..] else { return Err("the warm-up is longer than the run".into()) };
    report(from, to)?;
    drop(owner);
    drop(store);
    let catalog = catalog_of(parts.log.as_ref()).await?;
    let event = wire::encode_event(Traffic::new(2, catalog).next(SystemClock.now_micros()));
    append(parts.log.as_ref(), topic::EVENTS, std::iter::once(vec![event])).await?;
    restart(&parts, state).await
}

/// Opens the state once more and lets an owner decide what came meanwhile.
async fn restart(parts: &OwnerParts, state: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    let store = Store::open(state, 0)?;
    let before = store.head()?.source;
    let mut owner = Owner::on(parts, &store).await?;
    let ready = began.elapsed();
    let shutdown = Shutdown::new();
    let decided = async {
        while store.head()?.source == before {
            tokio::time::sleep(LOOK).await;
        }
        Ok::<_, Failure>(())
    };
    tokio::select! {
        done = owner.work(&shutdown) => return Err(format!("the owner stopped: {done:?}").into()),
        done = decided => done?,
    }
    let first = began.elapsed();
    println!("opened again at {before}: ready after {ready:.2?}, the next event decided after {first:.2?}");
    Ok(())
}

/// The catalog that all events of the run carry.
async fn catalog_of(log: &dyn EventLog) -> Result<schemas::event::CatalogRevision, Failure> {
    let partition = Partition { topic: topic::EVENTS, number: 0 };
    let mut events = log.subscribe(&[(partition, 0)]).await?;
    let batch = events.next(1, DEADLINE).await?.ok_or("an empty log")?;
    Ok(wire::decode_event(batch.records[0].payload.clone())?.catalog)
}

fn report(from: &Mark, to: &Mark) -> Result<(), Failure> {
    let (events, wall) = ((to.source - from.source) as f64, to.at - from.at);
    println!(
        "{events} events counted in {wall:.2?}: {:.0} events/s; {} MiB at most",
        events / wall.as_secs_f64(),
        peak_mib()?
    );
    let mut threads: Vec<_> = to
        .cpu
        .iter()
        .map(|(name, ns)| (name, (ns - from.cpu.get(name).copied().unwrap_or(0)) as f64 / events / 1_000.0))
        .collect();
    threads.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    println!("CPU {:.2} µs an event", threads.iter().map(|(_, micros)| micros).sum::<f64>());
    for (name, micros) in threads.iter().filter(|(_, micros)| *micros >= 0.01) {
        println!("  {name}: {micros:.2}");
    }
    Ok(())
}
