//! Measures the edge beside nginx, in one run, with one client: what counts on a machine whose speed changes by the hour
//! are ratios within minutes.

mod answer;
mod client;
mod compare;
mod cpu;
mod installation;
mod outage;
mod parts;
mod probe;
mod report;
mod requests;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use outage::{Aftermath, Fault, Outage};
pub use report::{Bar, Figure, Report};

use self::installation::Place;
use crate::LoadError;

/// The folder inside the given one that is emptied.
const RUN: &str = "run";

/// A part that can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// A pixel that records nothing, beside nginx's empty one.
    Pixel,
    /// A durable click, beside nginx's `return 302`.
    Click,
    /// A durable click with rules, on the agents of a log.
    Rules,
    /// Durable clicks at a constant rate, from the scheduled time.
    Latency,
    /// Clicks on a real broker.
    Kafka,
    /// Events in batches.
    Batch,
    /// Memory with many open connections, over minutes.
    Memory,
}

impl Part {
    const ALL: [Self; 7] =
        [Self::Pixel, Self::Click, Self::Rules, Self::Latency, Self::Kafka, Self::Batch, Self::Memory];

    const fn name(self) -> &'static str {
        match self {
            Self::Pixel => "pixel",
            Self::Click => "click",
            Self::Rules => "rules",
            Self::Latency => "latency",
            Self::Kafka => "kafka",
            Self::Batch => "batch",
            Self::Memory => "memory",
        }
    }
}

/// A measurement of the edge.
#[derive(Debug, Clone)]
pub struct EdgeBench {
    /// The parts; none = all.
    pub only: Vec<Part>,
    /// How long one server is driven before it is the other's turn.
    pub turn: Duration,
    /// How often each of the two has its turn.
    pub rounds: u32,
    /// Connections.
    pub connections: usize,
    /// Clicks a second of the latency part, and how long.
    pub rate: f64,
    /// How long the latency part takes.
    pub latency_for: Duration,
    /// How long the memory part watches.
    pub memory_for: Duration,
    /// The path of a pixel that records nothing.
    pub pixel: String,
    /// An access log whose agents the clicks of the rules part have.
    pub agents: Option<PathBuf>,
    /// The repository, for the scripts that start nginx and Kafka.
    pub repository: PathBuf,
    /// The binary that is measured.
    pub tributary: PathBuf,
    /// Where the data goes: a folder on the disk that is to be measured.
    pub dir: PathBuf,
}

impl EdgeBench {
    /// Measures. A part that cannot be measured is a failure of the report, not its end.
    pub async fn run(&self) -> Result<Report, LoadError> {
        std::fs::create_dir_all(&self.dir)?;
        raise_file_limit()?;
        let place = Place {
            repository: self.repository.clone(),
            tributary: self.tributary.clone(),
            engine_library: server::engine_library(&self.repository)?,
            dir: self.dir.join(RUN),
        };
        let mut report = Report::here(&self.repository, &self.dir);
        let parts = if self.only.is_empty() { Part::ALL.to_vec() } else { self.only.clone() };
        for part in parts {
            empty(&place.dir)?;
            let measured = match part {
                Part::Pixel => parts::pixel(self, &place, &mut report).await,
                Part::Click => parts::click(self, &place, &mut report).await,
                Part::Rules => parts::rules(self, &place, &mut report).await,
                Part::Latency => parts::latency(self, &place, &mut report).await,
                Part::Kafka => parts::kafka(self, &place, &mut report).await,
                Part::Batch => parts::batch(self, &place, &mut report).await,
                Part::Memory => parts::memory(self, &place, &mut report).await,
            };
            if let Err(error) = measured {
                report.failures.push((part.name(), error.to_string()));
            }
        }
        std::fs::remove_dir_all(&place.dir)?;
        Ok(report)
    }
}

/// A part begins with nothing.
fn empty(dir: &Path) -> Result<(), LoadError> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(std::fs::create_dir_all(dir)?)
}

/// Every connection is a file, here and in the servers that inherit the limit.
fn raise_file_limit() -> Result<(), LoadError> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(std::io::Error::from)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(std::io::Error::from)?)
}
