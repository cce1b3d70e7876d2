//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};

/// Tracks clicks and conversions, attributes them, and answers with numbers that can be explained.
#[derive(Debug, Parser)]
#[command(name = "tributary", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process, on embedded engines.
    Up(Up),
    /// Run the edge: clicks, pixels, postbacks.
    Ingest(RoleArguments),
    /// Run the processor: events in, facts out.
    Processor(RoleArguments),
    /// Run the sink: facts in, rows of the warehouse out.
    Sink(RoleArguments),
    /// Run the query API: catalog, reports, lists.
    QueryApi(RoleArguments),
    /// Create topics and tables, and on the first start a workspace and its admin key.
    Migrate(RoleArguments),
    /// Print a record of the topic `events`: decoded, or byte by byte if it cannot be read.
    Event(Event),
    /// Decide events once more and compare the facts with those in the log, byte by byte.
    Verify(Verify),
    /// Read the whole past once more into facts and tables of its own, and answer from them once they have everything.
    Replay(Replay),
    /// Print every setting with its default.
    Config,
    /// The warehouse engine's own process; started by `up`.
    #[command(hide = true)]
    Engine {
        /// The engine's arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Arguments of `up`. They win over the settings file and the environment.
#[derive(Debug, Args)]
pub struct Up {
    /// Where the edge listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    pub edge: Option<SocketAddr>,
    /// Where the query API listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    pub api: Option<SocketAddr>,
    /// Where data is kept.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The settings file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The warehouse engine's library.
    #[arg(long, value_name = "FILE")]
    pub engine_library: Option<PathBuf>,
}

/// Arguments of `event`.
#[derive(Debug, Args)]
pub struct Event {
    /// The record's position.
    pub position: u64,
    /// The partition.
    #[arg(long, value_name = "N")]
    pub partition: u32,
    /// The data of an `up`, whether it runs or not. Without a log in it, or in `data_dir`, Kafka is asked.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The settings file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of a role.
#[derive(Debug, Args)]
pub struct RoleArguments {
    /// The settings file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The settings file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data of an `up` that is stopped; without it Kafka is read.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The partition; without it all are verified.
    #[arg(long, value_name = "NUMBER")]
    pub partition: Option<u32>,
    /// Begin at the oldest snapshot that is kept instead of the first event.
    #[arg(long)]
    pub from_snapshot: bool,
    /// Stop after the record of facts that holds this event.
    #[arg(long, value_name = "POSITION")]
    pub until: Option<u64>,
    /// Count the rows in the warehouse, too.
    #[arg(long)]
    pub rows: bool,
    /// The generation whose facts are verified; without it the one that answers.
    #[arg(long, value_name = "NUMBER")]
    pub generation: Option<u32>,
}

/// Arguments of `replay`. Without one of the last three it plans a generation.
#[derive(Debug, Args)]
pub struct Replay {
    /// The settings file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data of an `up` that is stopped: the next one does the work. Without it the plan goes to Kafka, the processors and
    /// sinks that run do the work, and the command waits for it.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The revision of the catalog whose lookbacks, models and order of identifiers hold for everything that is older: a number,
    /// or `now`. Without it each event is judged by those of its own time.
    #[arg(long, value_name = "REVISION")]
    pub settings_of: Option<SettingsOf>,
    /// Show which generations there are, and how far a planned one is.
    #[arg(long, conflicts_with_all = ["settings_of", "abandon", "drop"])]
    pub status: bool,
    /// Give the planned generation up.
    #[arg(long, conflicts_with_all = ["settings_of", "drop"])]
    pub abandon: bool,
    /// Take away the tables and facts of a generation that answers no more, or was given up.
    #[arg(long, value_name = "NUMBER", conflicts_with = "settings_of")]
    pub drop: Option<u32>,
}

/// Whose attribution holds for the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingsOf {
    /// That of the newest revision.
    Now,
    /// That of the revision with this number.
    Revision(u64),
}

impl FromStr for SettingsOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "now" {
            return Ok(Self::Now);
        }
        text.parse().map(Self::Revision).map_err(|_| "must be the number of a revision, or now".to_owned())
    }
}
