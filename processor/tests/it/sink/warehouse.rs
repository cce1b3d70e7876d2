//! An installation with a warehouse, and what stands in its tables.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clickhouse::{Client, RowOwned, RowRead};
use processor::assignment::Assignment;
use processor::sink::{PartitionSink, SinkParts};
use processor::{
    Error, Failpoints, Health, Metrics, Objects, PartitionHealth, Share, SinkSettings, Surroundings,
};
use schemas::event::Event;
use schemas::table::{MIGRATIONS, Table};

use service::clock::SystemClock;
use service::lifecycle::{Shutdown, Tasks};
use tempfile::TempDir;
use tokio::runtime::Handle;
use warehouse::embedded::{EmbeddedEngine, EmbeddedSettings, SUBCOMMAND};
use warehouse::{Endpoint, Migration};

use crate::scene::Traffic;
use crate::site::{PATIENCE, Running, Site};

const MEMORY_BYTES: u64 = 1 << 30;
const STOP: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

pub(crate) struct Warehouse {
    pub(crate) site: Site,
    pub(crate) engine: EmbeddedEngine,
    _data: TempDir,
}

impl Warehouse {
    pub(crate) async fn start() -> Self {
        Self::of(Site::start().await).await
    }

    pub(crate) async fn of(site: Site) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut settings = EmbeddedSettings::new(library(), data.path().to_owned(), MEMORY_BYTES);
        settings.program = Some(env!("CARGO_BIN_EXE_engine-of-tests").into());
        settings.arguments = vec![SUBCOMMAND.into()];
        let engine = EmbeddedEngine::start(settings).await.unwrap();
        Self { site, engine, _data: data }
    }

    /// Appends the batches, each ended by a tick, and has them decided: a cut each. Gives the rows reached in each table.
    pub(crate) async fn decide(&self, batches: &[Vec<Event>]) -> [u64; Table::ALL.len()] {
        let store = self.site.store("state");
        let owner = self.site.owner(&store);
        for batch in batches {
            for event in batch {
                self.site.send(event).await;
            }
            self.site.send(&Traffic::of_edge(0).tick(0)).await;
        }
        let head = self.site.decided(&store).await;
        owner.stop().await.unwrap();
        assert_eq!(head.uncut, 0);
        *head.rows.all()
    }

    /// A database with our tables, empty.
    pub(crate) async fn database(&self, name: &str) -> Database {
        let endpoint = Endpoint { database: name.to_owned(), ..self.engine.endpoint() };
        let migrations: Vec<Migration<'_>> = MIGRATIONS.iter().map(Migration::from).collect();
        warehouse::migrate(&endpoint, &migrations).await.unwrap();
        let client = Client::default()
            .with_url(&endpoint.url)
            .with_user(&endpoint.user)
            .with_password(&endpoint.password)
            .with_database(name)
            .with_compression(clickhouse::Compression::None);
        Database { endpoint, client }
    }

    /// A sink without the runner: it ends with its first error.
    pub(crate) fn sink(&self, database: &Database) -> Running {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        self.sink_of_health(database, Health::default().partition("sink", 0, &metrics), &metrics)
    }

    /// The same, and it says how it is where others look, too.
    pub(crate) fn sink_of_health(
        &self,
        database: &Database,
        health: PartitionHealth,
        metrics: &Metrics,
    ) -> Running {
        let parts = SinkParts {
            partition: 0,
            assignment: Assignment::default(),
            log: self.site.log.clone(),
            warehouse: Arc::new(warehouse::connect(&database.endpoint).0),
            objects: Some(Objects::in_directory(&self.site.dir.path().join("objects")).unwrap()),
            settings: SinkSettings::default(),
            health,
            metrics: metrics.sink(0),
            failpoints: Failpoints::default(),
        };
        let shutdown = Shutdown::new();
        let heard = shutdown.clone();
        let runtime = Handle::current();
        let task = tokio::task::spawn_blocking(move || {
            runtime.block_on(async { PartitionSink::open(&parts).await?.work(&heard).await })
        });
        Running { shutdown, task }
    }

    /// A sink as the product runs it: with retries.
    pub(crate) fn kept_sink(&self, database: &Database) -> (Shutdown, Tasks, Health) {
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone());
        let health = Health::default();
        let surroundings = Surroundings {
            log: self.site.log.clone(),
            clock: SystemClock::shared(),
            health: health.clone(),
            metrics: Metrics::register(&prometheus::Registry::new()).unwrap(),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
            partitions: 1,
            failpoints: Failpoints::default(),
            objects: None,
            catalog: self.site.follower(),
        };
        let sink = warehouse::connect(&database.endpoint).0;
        processor::start_sink(&surroundings, (&SinkSettings::default(), Share::Named(Vec::new())), &sink)
            .unwrap();
        (shutdown, tasks, health)
    }

    /// Loads everything that is decided, and stops.
    pub(crate) async fn load(&self, database: &Database, cuts: u64) -> Result<(), Error> {
        let mut sink = self.sink(database);
        tokio::select! {
            () = database.reached(cuts) => sink.stop().await,
            ended = &mut sink.task => ended.unwrap(),
        }
    }

    pub(crate) async fn stop(self) {
        self.engine.stop(STOP).await;
    }
}

pub(crate) struct Database {
    pub(crate) endpoint: Endpoint,
    pub(crate) client: Client,
}

impl Database {
    pub(crate) async fn execute(&self, sql: &str) {
        self.client.query_raw(sql).execute().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(crate) async fn rows<T: RowOwned + RowRead>(&self, sql: &str) -> Vec<T> {
        self.client.query_raw(sql).fetch_all().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Waits until the cut with this number, the last one, is finished.
    pub(crate) async fn reached(&self, cut: u64) {
        self.passed(cut).await;
        assert_eq!(self.rows::<u64>("SELECT max(cut) FROM cuts").await, [cut]);
    }

    /// Waits until the cut with this number is finished. While the engine is away nothing is.
    pub(crate) async fn passed(&self, cut: u64) {
        let begun = Instant::now();
        while self.client.query_raw("SELECT max(cut) FROM cuts").fetch_one().await.unwrap_or(0_u64) < cut {
            assert!(begun.elapsed() < PATIENCE, "cut {cut} is not reached in time");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Of each table how many rows there are, how many different ones, and the last: of dense rows all three are equal.
    pub(crate) async fn density(&self) -> Vec<[u64; 3]> {
        let mut density = Vec::new();
        for table in Table::ALL {
            let sql = format!("SELECT count(), uniqExact(row_seq), max(row_seq) FROM {}", table.name());
            let (count, different, last) = self.rows::<(u64, u64, u64)>(&sql).await.remove(0);
            density.push([count, different, last]);
        }
        density
    }

    /// A number that two databases share only if their rows do.
    pub(crate) async fn contents(&self) -> Vec<u64> {
        let mut contents = Vec::new();
        for table in Table::ALL {
            let sql = format!("SELECT sum(cityHash64(* EXCEPT insert_before)) FROM {}", table.name());
            contents.extend(self.rows::<u64>(&sql).await);
        }
        contents.extend(self.rows::<u64>("SELECT sum(cityHash64(*)) FROM conversions FINAL").await);
        contents.extend(self.rows::<u64>("SELECT sum(cityHash64(*)) FROM cuts FINAL").await);
        contents
    }

    /// Takes rows over from another database, as if an INSERT of an earlier life had brought them.
    pub(crate) async fn take(&self, from: &Self, table: &str, condition: &str) {
        self.execute(&format!(
            "INSERT INTO {table} SELECT * REPLACE (now() + 60 AS insert_before) FROM {}.{table} WHERE {condition}",
            from.endpoint.database
        ))
        .await;
    }
}

fn library() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/engine/fetch.sh");
    let output = Command::new(&script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}
