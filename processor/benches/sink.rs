//! The sink beside the engine's own insert: `just bench-sink`.
//!
//! Facts of the traffic lie in the log, cut as the core cuts them. The sink loads them into a fresh database; then the engine itself
//! does, `INSERT … SELECT * FROM file(…, Native)`, with the very rows, into the same tables with the same projections; and so on in
//! turn, so that what changes on the machine meets both. `EVENTS` in the environment makes another size, `TURNS` more turns, `DIR`
//! where everything goes.

#![allow(clippy::print_stdout, reason = "a bench answers on standard output")]

#[allow(dead_code, reason = "each bench uses a part of it")]
mod measure;
#[allow(dead_code, reason = "each bench uses a part of it")]
mod traffic;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings as LogSettings};
use eventlog::{EventLog, NewRecord, Partition, ProducerUse, TopicSpec};
use processor::assignment::Assignment;
use processor::core::{CORE_VERSION, Changes, Head, Input, Keys, Overlay, decide};
use processor::sink::{PartitionSink, SinkParts};
use processor::{Failpoints, Health, Metrics, SinkSettings};
use schemas::event::Event;
use schemas::fact::{Decision, NO_RECORD, Record};
use schemas::id::{EventId, WorkspaceNumber};
use schemas::table::{MIGRATIONS, Table};
use schemas::time::Timestamp;
use schemas::{topic, wire};
use service::clock::{Clock as _, SystemClock};
use service::lifecycle::Shutdown;
use warehouse::embedded::{EmbeddedEngine, EmbeddedSettings, SUBCOMMAND};
use warehouse::{Endpoint, Limits, Migration};

use measure::number;
use traffic::{T0, Traffic, catalog_records, folded};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: u64 = 1_000_000;
const TURNS: u64 = 3;
/// Events in one record of facts, as the owner's settings have it.
const BATCH: u64 = 5_000;
/// Log time from one event to the next: 250,000 events a second.
const STEP_MICROS: i64 = 4;
const ENGINE_BYTES: u64 = 4 << 30;
const STOP: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);
const DEADLINE: Duration = Duration::from_secs(60);

type Failure = Box<dyn Error>;

/// What a load took.
#[derive(Clone, Copy)]
struct Took {
    wall: Duration,
    /// CPU time of this process and of the engine.
    cpu_ns: [u64; 2],
}

struct Bench {
    log: Arc<dyn EventLog>,
    engine: EmbeddedEngine,
    /// The number of the last cut, and the rows of all tables.
    cuts: u64,
    rows: u64,
}

fn main() -> Result<(), Failure> {
    // Cargo says so when it is asked for benches; a test run only builds them.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let (events, turns) = (number("EVENTS", EVENTS)?, number("TURNS", TURNS)?);
    let dir = match std::env::var_os("DIR") {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let clock = || Timestamp::from_micros(SystemClock.now_micros());
        let log = EmbeddedLog::open(&dir.path().join("log"), LogSettings::new(Arc::new(clock)))?;
        let log: Arc<dyn EventLog> = Arc::new(log);
        log.ensure_topics(&[TopicSpec { name: topic::FACTS, partitions: 1 }]).await?;
        let head = fill(log.as_ref(), events).await?;
        let mut settings = EmbeddedSettings::new(library()?, dir.path().join("engine"), ENGINE_BYTES);
        settings.program = Some(env!("CARGO_BIN_EXE_engine-of-tests").into());
        settings.arguments = vec![SUBCOMMAND.into()];
        let engine = EmbeddedEngine::start(settings).await?;
        let rows = head.rows.all().iter().sum();
        let bench = Bench { log, engine, cuts: head.cut, rows };
        println!("{events} events, {} cuts, {rows} rows", bench.cuts);
        bench.compare(dir.path(), turns).await?;
        bench.engine.stop(STOP).await;
        bench.log.close(DEADLINE).await;
        Ok(())
    })
}

/// Decides traffic, and appends the records of facts; the last event is a tick, which cuts.
async fn fill(log: &dyn EventLog, events: u64) -> Result<Head, Failure> {
    let catalog = folded(&catalog_records()?)?;
    let mut traffic = Traffic::new(1, catalog.revision());
    let usage = ProducerUse { name: "bench", deadline: DEADLINE, max_pending_bytes: 256 << 20 };
    let producer = log.producer(usage)?;
    let (mut state, mut head) = (Keys::default(), Head { record_hash: NO_RECORD, ..Head::default() });
    while head.source <= events {
        let from = head.source;
        let mut overlay = Overlay::new(&state, head.clone());
        let decisions = (from..(from + BATCH).min(events + 1))
            .map(|position| {
                let at = T0 + position as i64 * STEP_MICROS;
                let event = if position == events { tick(at, catalog.revision()) } else { traffic.next(at) };
                let log_time = Timestamp::from_micros(at);
                decide(
                    &mut overlay,
                    &catalog,
                    Input { position, log_time, payload: Bytes::new(), event: Ok(event) },
                )
            })
            .collect::<Result<Vec<Decision>, _>>()?;
        let Changes { head: after, keys } = overlay.into_changes();
        let payload = wire::encode_record(Record {
            core_version: CORE_VERSION,
            partition: 0,
            previous: head.record_hash,
            first_seq: head.next_seq,
            source_from: from,
            source_to: after.source,
            catalog: catalog.revision(),
            last_event: [0; 32],
            decisions,
        });
        head = Head { record_hash: wire::hash_record(&payload), ..after };
        state.take_over(keys);
        let partition = Partition { topic: topic::FACTS, number: 0 };
        for answer in producer.append(partition, vec![NewRecord { key: Bytes::new(), payload }]).await {
            answer?;
        }
    }
    Ok(head)
}

fn tick(at: i64, catalog: schemas::event::CatalogRevision) -> Event {
    Event {
        id: EventId::from_bytes([0xff; 16]),
        workspace: WorkspaceNumber::NONE,
        mark: None,
        received_at: Timestamp::from_micros(at),
        catalog,
        body: schemas::event::Body::Tick,
    }
}

impl Bench {
    async fn compare(&self, dir: &Path, turns: u64) -> Result<(), Failure> {
        self.database("first").await?;
        self.load("first").await?;
        for table in tables() {
            let file = dir.join(table);
            let to_file = format!(
                "INSERT INTO FUNCTION file('{}', 'Native') SELECT * FROM first.{table}",
                file.display()
            );
            self.execute("first", &to_file).await?;
        }
        self.execute("first", "DROP DATABASE first").await?;
        let (mut ours, mut engines) = (Vec::new(), Vec::new());
        for turn in 0..turns {
            ours.push(self.sink_turn(&format!("sink{turn}")).await?);
            if turn + 1 < turns {
                engines.push(self.engine_turn(&format!("own{turn}"), dir).await?);
            }
        }
        let ratio = mean(&engines) / mean(&ours);
        println!("the sink has {ratio:.2} × the rows a second of the engine's own INSERT … SELECT FROM file");
        Ok(())
    }

    async fn sink_turn(&self, database: &str) -> Result<Took, Failure> {
        self.database(database).await?;
        let before = self.cpu()?;
        let began = Instant::now();
        self.load(database).await?;
        self.turned("sink", database, began, before).await
    }

    async fn engine_turn(&self, database: &str, dir: &Path) -> Result<Took, Failure> {
        self.database(database).await?;
        let before = self.cpu()?;
        let began = Instant::now();
        for table in tables() {
            let sent_in_time =
                if table == "conversions" { "" } else { " REPLACE (now() + 60 AS insert_before)" };
            let file = dir.join(table);
            let sql = format!(
                "INSERT INTO {table} SELECT *{sent_in_time} FROM file('{}', 'Native')",
                file.display()
            );
            self.execute(database, &sql).await?;
        }
        self.turned("engine", database, began, before).await
    }

    async fn turned(
        &self,
        who: &str,
        database: &str,
        began: Instant,
        before: [u64; 2],
    ) -> Result<Took, Failure> {
        let (wall, after) = (began.elapsed(), self.cpu()?);
        let took = Took { wall, cpu_ns: [after[0] - before[0], after[1] - before[1]] };
        let [ours, engines] = took.cpu_ns.map(|ns| ns as f64 / self.rows as f64 / 1_000.0);
        let speed = self.rows as f64 / wall.as_secs_f64();
        println!(
            "{who}: {wall:.2?}, {speed:.0} rows/s; CPU a row {ours:.2} µs here, {engines:.2} µs in the engine"
        );
        self.execute(database, &format!("DROP DATABASE {database}")).await?;
        Ok(took)
    }

    /// Lets a sink load everything, from the log's beginning.
    async fn load(&self, database: &str) -> Result<(), Failure> {
        let metrics = Metrics::register(&prometheus::Registry::new())?;
        let (warehouse, reader) = warehouse::connect(&self.endpoint(database));
        let parts = SinkParts {
            partition: 0,
            assignment: Assignment::default(),
            log: self.log.clone(),
            warehouse: Arc::new(warehouse),
            objects: None,
            settings: SinkSettings::default(),
            health: Health::default().partition("sink", 0, &metrics),
            metrics: metrics.sink(0),
            failpoints: Failpoints::default(),
        };
        let shutdown = Shutdown::new();
        let loaded = async { PartitionSink::open(&parts).await?.work(&shutdown).await };
        let all = async {
            while reader.rows::<u64>("SELECT max(cut) FROM cuts", &[], &Limits::default()).await?
                != [self.cuts]
            {
                tokio::time::sleep(LOOK).await;
            }
            Ok::<_, Failure>(())
        };
        tokio::select! {
            done = loaded => Err(format!("the sink stopped: {done:?}").into()),
            done = all => done,
        }
    }

    fn endpoint(&self, database: &str) -> Endpoint {
        Endpoint { database: database.to_owned(), ..self.engine.endpoint() }
    }

    /// A database with our tables, empty.
    async fn database(&self, name: &str) -> Result<(), Failure> {
        let migrations: Vec<Migration<'_>> = MIGRATIONS.iter().map(Migration::from).collect();
        warehouse::migrate(&self.endpoint(name), &migrations).await?;
        Ok(())
    }

    async fn execute(&self, database: &str, sql: &str) -> Result<(), Failure> {
        let endpoint = self.endpoint(database);
        let client = clickhouse::Client::default()
            .with_url(&endpoint.url)
            .with_user(&endpoint.user)
            .with_password(&endpoint.password)
            .with_database(&endpoint.database);
        Ok(client.query_raw(sql).execute().await?)
    }

    fn cpu(&self) -> Result<[u64; 2], Failure> {
        let engine = self.engine.pid().ok_or("the engine is away")?;
        Ok([cpu_of("self")?, cpu_of(&engine.to_string())?])
    }
}

/// The tables that a sink fills; the engine fills the replacing one, too.
fn tables() -> impl Iterator<Item = &'static str> {
    Table::ALL.into_iter().map(Table::name).chain(["conversions"])
}

fn mean(took: &[Took]) -> f64 {
    took.iter().map(|took| took.wall.as_secs_f64()).sum::<f64>() / took.len() as f64
}

/// CPU time of a process, in nanoseconds: of all its threads, also of those that have ended.
fn cpu_of(process: &str) -> Result<u64, Failure> {
    const TICK_NS: u64 = 10_000_000;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // After the name, which may have spaces: the state is the first field, then user time is the twelfth and system time the next.
    let (_, fields) = stat.rsplit_once(')').ok_or("a stat without a name")?;
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() * TICK_NS)
}

fn library() -> Result<PathBuf, Failure> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/engine/fetch.sh");
    let output = Command::new(&script).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
