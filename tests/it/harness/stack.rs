//! A whole installation with data of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use warehouse::Endpoint;
use warehouse::embedded::{EmbeddedEngine, EmbeddedSettings, PACKAGE_VERSION};

use super::client::{Customer, http_client, wait_for};
use super::process::{Process, binary, free_port, repository};
use crate::broker::Broker;

/// Redirects and pixels that one client address may have in a minute before they are labelled: fewer than by default, so that
/// a test passes the limit soon.
pub const HITS_PER_MINUTE: u32 = 120;

/// Which engines an installation runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engines {
    /// `tributary up`: embedded log, embedded engine, one process.
    Embedded,
    /// Four roles as processes, Apache Kafka, ClickHouse's HTTP interface.
    Cluster,
}

/// A part of an installation that can be killed and started. On embedded engines all of them are one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The edge.
    Ingest,
    /// The processor.
    Processor,
    /// A second processor that owns the same partitions; on a cluster only.
    SecondProcessor,
    /// The sink.
    Sink,
    /// The desk.
    QueryApi,
}

impl Role {
    /// The four that every installation has.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Processor, Self::Sink, Self::QueryApi];

    const fn subcommand(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Processor | Self::SecondProcessor => "processor",
            Self::Sink => "sink",
            Self::QueryApi => "query-api",
        }
    }
}

/// An installation.
pub struct Stack {
    pub engines: Engines,
    customer: Customer,
    processes: BTreeMap<Role, Process>,
    ports: BTreeMap<Role, u16>,
    prefix: String,
    engine: Option<EmbeddedEngine>,
    /// Settings of single roles, over those that every test has.
    settings: BTreeMap<Role, BTreeMap<&'static str, String>>,
    /// A broker that only this installation uses.
    broker: Option<Broker>,
    dir: TempDir,
}

/// The engine's library; `./test` and `./run` fetch it.
pub fn engine_library() -> PathBuf {
    let library = repository().join(".cache/engine").join(PACKAGE_VERSION).join("libchdb.so");
    assert!(library.is_file(), "no engine library at {}: run deploy/engine/fetch.sh", library.display());
    library
}

/// The product's own program.
fn tributary() -> Command {
    Command::new(binary("tributary"))
}

impl Stack {
    /// A fresh installation, up and ready.
    pub async fn start(engines: Engines) -> Self {
        Self::start_on(engines, None).await
    }

    /// A fresh cluster on a broker of its own, which can be stopped.
    pub async fn start_with_broker() -> Self {
        Self::start_on(Engines::Cluster, Some(Broker::start())).await
    }

    async fn start_on(engines: Engines, broker: Option<Broker>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut ports: BTreeMap<Role, u16> = Role::ALL.into_iter().map(|role| (role, free_port())).collect();
        ports.insert(Role::SecondProcessor, free_port());
        let address = |role| format!("http://127.0.0.1:{}", ports[&role]);
        let mut stack = Self {
            engines,
            customer: Customer {
                edge: address(Role::Ingest),
                api: address(Role::QueryApi),
                key: String::new(),
                // A redirect is the answer that is looked at.
                http: http_client(),
            },
            processes: BTreeMap::new(),
            prefix: format!("t{}-", ports[&Role::Ingest]),
            ports,
            engine: None,
            settings: BTreeMap::new(),
            broker,
            dir,
        };
        if engines == Engines::Cluster {
            stack.start_engine().await;
            let status = stack.command(tributary(), "migrate", "migrate").status().unwrap();
            assert!(status.success(), "migrate ended with {status}");
        }
        for role in Role::ALL {
            stack.start_role(role);
        }
        let key_file = match engines {
            Engines::Embedded => stack.dir.path().join("data/admin-key"),
            Engines::Cluster => stack.dir.path().join("migrate/admin-key"),
        };
        stack.customer.key = std::fs::read_to_string(key_file).unwrap().trim().to_owned();
        stack
    }

    /// The warehouse's engine of a cluster: started by the test, so that it outlives every role.
    async fn start_engine(&mut self) {
        let mut settings =
            EmbeddedSettings::new(engine_library(), self.dir.path().join("warehouse"), 512 << 20);
        settings.program = Some(binary("tributary"));
        self.engine = Some(EmbeddedEngine::start(settings).await.unwrap());
    }

    /// Starts a role that does not run. On embedded engines they are all one process.
    pub fn start_role(&mut self, role: Role) {
        let key = self.key(role);
        if self.engines == Engines::Embedded && self.processes.contains_key(&key) {
            return;
        }
        let ready = match key {
            Role::Ingest if self.engines == Engines::Cluster => "edge  ",
            Role::Processor | Role::SecondProcessor | Role::Sink => "ops  ",
            Role::Ingest | Role::QueryApi => "api  ",
        };
        let process = Process::start(&format!("{role:?}"), self.command_of(tributary(), role), ready);
        self.processes.insert(key, process);
    }

    /// Ends a role, starts it as one that ends itself when it reaches a point for the `times`th time, and waits until it has. It
    /// does not run then.
    pub fn die(&mut self, role: Role, point: &str, times: u32) {
        self.kill(role);
        let mut program = Command::new(binary("tributary-that-dies"));
        program.args(["--die-at", point, &times.to_string()]);
        let command = self.command_of(program, role);
        Process::spawn(&format!("{role:?} dying at {point}"), command).await_own_death(point);
    }

    /// Sets something for a role from its next start on.
    pub fn set(&mut self, role: Role, name: &'static str, value: &str) {
        self.settings.entry(self.key(role)).or_default().insert(name, value.to_owned());
    }

    /// Under which role the process of a role is kept.
    fn key(&self, role: Role) -> Role {
        if self.engines == Engines::Embedded { Role::Ingest } else { role }
    }

    /// What runs a role: `program` with its arguments and environment.
    fn command_of(&self, program: Command, role: Role) -> Command {
        let mut command = match self.engines {
            Engines::Embedded => self.up(program),
            Engines::Cluster => self.command(program, role.subcommand(), &format!("{role:?}")),
        };
        command.envs(self.settings.get(&self.key(role)).into_iter().flatten());
        command
    }

    fn up(&self, mut command: Command) -> Command {
        command
            .args(["up", "--edge", self.edge.trim_start_matches("http://")])
            .args(["--api", self.api.trim_start_matches("http://")])
            .arg("--data")
            .arg(self.dir.path().join("data"))
            .arg("--engine-library")
            .arg(engine_library())
            .env("TRIBUTARY_LOG__FILTER", "warn")
            // A busy disk shall not make a test's click one that nobody has recorded.
            .env("TRIBUTARY_EDGE__SPOOL_DEADLINE_MS", "5000")
            .env("TRIBUTARY_EDGE__LIMITS__HITS_PER_MINUTE", HITS_PER_MINUTE.to_string());
        command
    }

    /// A subcommand of a cluster's binary, set up by its environment.
    fn command(&self, mut command: Command, subcommand: &str, data: &str) -> Command {
        let listen = |role| format!("127.0.0.1:{}", self.ports[&role]);
        let warehouse = self.engine.as_ref().unwrap().endpoint();
        let ops = match data {
            "Sink" => Role::Sink,
            "SecondProcessor" => Role::SecondProcessor,
            _ => Role::Processor,
        };
        command
            .arg(subcommand)
            .env("TRIBUTARY_DATA_DIR", self.dir.path().join(data))
            .env("TRIBUTARY_LOG__FILTER", "warn,eventlog=error")
            .env("TRIBUTARY_KAFKA__BROKERS", self.broker_address())
            .env("TRIBUTARY_KAFKA__TOPIC_PREFIX", &self.prefix)
            .env("TRIBUTARY_KAFKA__REPLICATION_FACTOR", "1")
            .env("TRIBUTARY_EDGE__LIMITS__HITS_PER_MINUTE", HITS_PER_MINUTE.to_string())
            .env("TRIBUTARY_SECRETS__KEY", "5e".repeat(32))
            .env("TRIBUTARY_WAREHOUSE__URL", warehouse.url)
            .env("TRIBUTARY_WAREHOUSE__USER", warehouse.user)
            .env("TRIBUTARY_WAREHOUSE__PASSWORD", warehouse.password)
            .env("TRIBUTARY_WAREHOUSE__DATABASE", warehouse.database)
            .env("TRIBUTARY_EDGE__LISTEN", listen(Role::Ingest))
            .env("TRIBUTARY_EDGE__SPOOL_DEADLINE_MS", "5000")
            .env("TRIBUTARY_API__LISTEN", listen(Role::QueryApi))
            .env("TRIBUTARY_API__EDGE_URL", &self.edge)
            .env("TRIBUTARY_OPS__LISTEN", listen(ops));
        command
    }

    /// A subcommand of the product's program that works beside the installation.
    pub fn tool(&self, subcommand: &str) -> Command {
        match self.engines {
            Engines::Cluster => self.command(tributary(), subcommand, "tool"),
            Engines::Embedded => {
                let mut command = tributary();
                command.arg(subcommand).arg("--data").arg(self.dir.path().join("data"));
                command
            }
        }
    }

    /// `kill -9` of a role; of everything, on embedded engines.
    pub fn kill(&mut self, role: Role) {
        if let Some(process) = self.processes.remove(&self.key(role)) {
            process.kill();
        }
    }

    /// `kill -9` of all roles.
    pub fn kill_all(&mut self) {
        for process in std::mem::take(&mut self.processes).into_values() {
            process.kill();
        }
    }

    /// Stops all roles by SIGTERM; each must end well.
    pub fn stop_all(&mut self) {
        for process in std::mem::take(&mut self.processes).into_values() {
            process.stop();
        }
    }

    /// Starts all roles that do not run.
    pub fn start_all(&mut self) {
        for role in Role::ALL {
            if !self.processes.contains_key(&role) {
                self.start_role(role);
            }
        }
    }

    /// Stops or continues a role's process.
    pub fn signal(&self, role: Role, signal: Signal) {
        self.processes[&role].signal(signal);
    }

    /// `kill -9` of the warehouse's engine alone; its supervisor starts it again.
    pub async fn kill_engine(&self) {
        let pid = wait_for("the engine", async || {
            let pid = match &self.engine {
                Some(engine) => engine.pid(),
                None => engine_child(self.processes[&Role::Ingest].pid()),
            };
            pid.ok_or_else(|| "no engine runs".to_owned())
        })
        .await;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
    }

    /// Where the warehouse of a cluster is.
    pub fn warehouse(&self) -> Endpoint {
        self.engine.as_ref().expect("the engine belongs to the process").endpoint()
    }

    /// The sum of a metric of the processor over its labels; `None` if it does not answer or has none.
    pub async fn processor_metric(&self, name: &str, label: &str) -> Option<f64> {
        let is_of = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(label);
        let response = self.http.get(self.processor_metrics()).send().await.ok()?;
        let text = response.text().await.ok()?;
        let values = text.lines().filter(is_of);
        let values: Vec<f64> = values.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Where the processor's metrics are.
    pub fn processor_metrics(&self) -> String {
        match self.engines {
            Engines::Embedded => format!("{}/metrics", self.edge),
            Engines::Cluster => format!("http://127.0.0.1:{}/metrics", self.ports[&Role::Processor]),
        }
    }

    /// Every event ended in exactly one outcome, on every partition.
    pub async fn assert_balance(&self) {
        wait_for("balance", async || {
            let response =
                self.http.get(self.processor_metrics()).send().await.map_err(|error| error.to_string())?;
            let text = response.text().await.map_err(|error| error.to_string())?;
            let imbalances: Vec<&str> =
                text.lines().filter(|line| line.starts_with("tributary_processor_imbalance{")).collect();
            let balanced = !imbalances.is_empty() && imbalances.iter().all(|line| line.ends_with(" 0"));
            if balanced { Ok(()) } else { Err(format!("{imbalances:?}")) }
        })
        .await;
    }

    /// A customer of the installation.
    pub fn customer(&self) -> Customer {
        self.customer.clone()
    }

    /// Where the installation's broker is.
    pub fn broker_address(&self) -> String {
        self.broker.as_ref().unwrap_or_else(|| Broker::shared()).address()
    }

    /// The broker of an installation that has one of its own.
    pub fn broker(&mut self) -> &mut Broker {
        self.broker.as_mut().expect("the installation shares its broker")
    }

    /// What the installation's topics in Kafka begin with.
    pub fn topic_prefix(&self) -> &str {
        &self.prefix
    }

    /// A place for files of the test.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl std::ops::Deref for Stack {
    type Target = Customer;

    fn deref(&self) -> &Customer {
        &self.customer
    }
}

/// The engine among a process's children.
fn engine_child(parent: u32) -> Option<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).ok()?;
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|children| {
            children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
        })
        .next()
}
