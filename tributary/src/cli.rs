//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

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
}
