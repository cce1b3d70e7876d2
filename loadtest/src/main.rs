//! `loadtest`: sends traffic and audits what became of it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use loadtest::audit::Audit;
use loadtest::bench::{EdgeBench, Fault, Outage, Part};
use loadtest::clicks::Clicks;
use loadtest::drive::Drive;
use loadtest::process::{self, Cost, Usage};
use loadtest::replay::Replay;
use loadtest::schedule::Pace;
use loadtest::wire::Target;
use loadtest::{LoadError, access_log::BadLine};
use service::clock::SystemClock;

/// Sends traffic to Tributary and audits what became of it.
#[derive(Parser)]
#[command(name = "loadtest", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends an access log in the combined format as clicks on one link.
    Replay(ReplayArgs),
    /// Clicks on one link at a constant rate.
    Clicks(ClicksArgs),
    /// Compares what was acknowledged with what the API reports.
    Audit(AuditArgs),
    /// Clicks while something goes wrong, and an audit of what was acknowledged.
    Outage(OutageArgs),
    /// Measures a part of the product beside something that everybody knows.
    #[command(subcommand)]
    Bench(BenchCommand),
}

#[derive(Args)]
struct OutageArgs {
    /// What goes wrong.
    fault: Fault,
    /// For so many seconds.
    #[arg(long, default_value_t = 30)]
    duration: u64,
    /// Clicks a second.
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// How many requests may be under way: enough for those that wait until the edge stops waiting for the log.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Where the servers that are started come from, and where their data goes.
#[derive(Args)]
struct PlaceArgs {
    /// The repository, for the scripts that start nginx and Kafka.
    #[arg(long, default_value = ".")]
    repository: PathBuf,
    /// The binary that is put under load; else the one beside this program.
    #[arg(long)]
    tributary: Option<PathBuf>,
    /// A folder for the data, on the disk that is to be measured; `run` inside it is emptied.
    #[arg(long, default_value = "target/bench-edge")]
    dir: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl PlaceArgs {
    fn binary(&self) -> Result<PathBuf, LoadError> {
        match &self.tributary {
            Some(path) => Ok(path.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("tributary")),
        }
    }
}

#[derive(Subcommand)]
enum BenchCommand {
    /// The edge beside nginx, in one run, with one client.
    Edge(Box<EdgeArgs>),
}

#[derive(Args)]
struct EdgeArgs {
    /// Measure these parts only.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Seconds for which one server is driven before it is the other's turn.
    #[arg(long, default_value_t = 5)]
    turn: u64,
    /// Turns of each server.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Connections.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Clicks a second of the latency part.
    #[arg(long, default_value_t = 40_000.0)]
    rate: f64,
    /// Seconds of the latency part.
    #[arg(long, default_value_t = 30)]
    latency_for: u64,
    /// Seconds of the memory part.
    #[arg(long, default_value_t = 600)]
    memory_for: u64,
    /// The path of a pixel that records nothing.
    #[arg(long, default_value = "/p.gif")]
    pixel: String,
    /// An access log whose agents the clicks of the rules part have.
    #[arg(long)]
    agents: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// What every command that sends takes.
#[derive(Args)]
struct SendArgs {
    /// The edge: http://host:port
    #[arg(long)]
    target: String,
    /// The key of the link that is clicked.
    #[arg(long)]
    link: String,
    /// How many requests may be under way.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Where each request is written down, for the audit.
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// Wait for a server that goes away, up to two minutes.
    #[arg(long)]
    keep_going: bool,
    /// A process whose CPU time and memory are measured, next to this one's. May be repeated.
    #[arg(long = "pid")]
    pids: Vec<u32>,
    /// Print the sums as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ReplayArgs {
    /// The log.
    file: PathBuf,
    #[command(flatten)]
    send: SendArgs,
    /// So many times as fast as the log was written. Without it and without --rate: as fast as possible.
    #[arg(long, conflicts_with = "rate")]
    speed: Option<f64>,
    /// So many requests a second.
    #[arg(long)]
    rate: Option<f64>,
    /// Leave out so many requests at the beginning.
    #[arg(long, default_value_t = 0)]
    skip: u64,
    /// Send at most so many.
    #[arg(long)]
    limit: Option<u64>,
}

#[derive(Args)]
struct ClicksArgs {
    #[command(flatten)]
    send: SendArgs,
    /// Clicks a second.
    #[arg(long)]
    rate: f64,
    /// For so many seconds.
    #[arg(long)]
    duration: u64,
}

#[derive(Args)]
struct AuditArgs {
    /// The ledger that a run has written.
    #[arg(long)]
    ledger: PathBuf,
    /// The API: http://host:port
    #[arg(long)]
    api: String,
    /// A file with a key that may read reports and receipts.
    #[arg(long, conflicts_with = "key", required_unless_present = "key")]
    key_file: Option<PathBuf>,
    /// The key itself.
    #[arg(long)]
    key: Option<String>,
    /// Seconds to wait until everything is decided and reported.
    #[arg(long, default_value_t = 30)]
    wait: u64,
    /// How many receipts are asked for at a time.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Look at every so many-th receipt only. With more than 1 the sum shows what is too much, not what is missing.
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Sum up the clicks of this link only (its id); else of the whole workspace.
    #[arg(long)]
    link: Option<String>,
    /// Where the report begins; else with the first request of the ledger.
    #[arg(long)]
    from: Option<Timestamp>,
    /// Where it ends, exclusive; else a second after the last answer.
    #[arg(long)]
    to: Option<Timestamp>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread is enough for 100,000 requests a second, and leaves the other cores to the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(LoadError::Output).and_then(|runtime| match cli.command {
        Command::Replay(args) => runtime.block_on(Box::pin(replay(args))),
        Command::Clicks(args) => runtime.block_on(Box::pin(clicks(args))),
        Command::Audit(args) => runtime.block_on(Box::pin(audit(args))),
        Command::Outage(args) => runtime.block_on(Box::pin(outage(args))),
        Command::Bench(BenchCommand::Edge(args)) => runtime.block_on(Box::pin(bench_edge(*args))),
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "loadtest: {error}");
            ExitCode::from(2)
        }
    }
}

async fn replay(args: ReplayArgs) -> Result<ExitCode, LoadError> {
    let pace = match (args.speed, args.rate) {
        (Some(speed), _) => Pace::Speed(speed),
        (None, Some(rate)) => Pace::Rate(rate),
        (None, None) => Pace::Unpaced,
    };
    let pace = pace.check().map_err(LoadError::Arguments)?;
    let drive = drive(&args.send)?;
    let replay = Replay { file: args.file, link: args.send.link, pace, skip: args.skip, limit: args.limit };
    let mut requests = replay.open(&drive.target)?;
    let watched = Watched::begin(&args.send.pids)?;
    let tally = drive.run(&mut requests, &SystemClock).await?;
    let acknowledged = tally.count(loadtest::ledger::Fate::Acknowledged);
    let summary = tally.summary(requests.log().bad(), watched.costs(acknowledged));
    summary.print(&mut std::io::stdout().lock(), args.send.json)?;
    name_bad_lines(&replay.file, requests.log().named())?;
    Ok(ended(summary.unsent))
}

async fn clicks(args: ClicksArgs) -> Result<ExitCode, LoadError> {
    let drive = drive(&args.send)?;
    let mut clicks =
        Clicks::new(&drive.target, &args.send.link, args.rate, Duration::from_secs(args.duration))?;
    let watched = Watched::begin(&args.send.pids)?;
    let tally = drive.run(&mut clicks, &SystemClock).await?;
    let acknowledged = tally.count(loadtest::ledger::Fate::Acknowledged);
    let summary = tally.summary(0, watched.costs(acknowledged));
    summary.print(&mut std::io::stdout().lock(), args.send.json)?;
    Ok(ended(summary.unsent))
}

async fn audit(args: AuditArgs) -> Result<ExitCode, LoadError> {
    let key = match (args.key, args.key_file) {
        (Some(key), _) => key,
        (None, Some(file)) => std::fs::read_to_string(&file)
            .map_err(|error| LoadError::File { path: file, reason: error.to_string() })?
            .trim()
            .to_owned(),
        (None, None) => return Err(LoadError::Arguments("a key is needed: --key or --key-file".to_owned())),
    };
    let audit = Audit {
        ledger: args.ledger,
        api: args.api,
        key,
        wait: Duration::from_secs(args.wait),
        connections: args.connections,
        every: args.every,
        link: args.link,
        from: args.from,
        to: args.to,
    };
    let verdict = audit.run().await?;
    verdict.print(&mut std::io::stdout().lock(), args.json)?;
    Ok(if verdict.is_exact() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn outage(args: OutageArgs) -> Result<ExitCode, LoadError> {
    let outage = Outage {
        fault: args.fault,
        duration: Duration::from_secs(args.duration),
        rate: args.rate,
        connections: args.connections,
        tributary: args.place.binary()?,
        repository: args.place.repository,
        dir: args.place.dir,
    };
    let after = outage.run().await?;
    let mut out = std::io::stdout().lock();
    if args.place.json {
        serde_json::to_writer(&mut out, &after).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        after.summary.print(&mut out, false)?;
        writeln!(out, "longest redirect {:.1} ms from its sending", after.longest_redirect_ms)?;
        writeln!(out, "edge killed   {} times\n", after.edge_kills)?;
        after.verdict.print(&mut out, false)?;
        for missed in &after.missed {
            writeln!(out, "bar missed    {missed}")?;
        }
    }
    Ok(if after.missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn bench_edge(args: EdgeArgs) -> Result<ExitCode, LoadError> {
    let tributary = args.place.binary()?;
    let bench = EdgeBench {
        only: args.only,
        turn: Duration::from_secs(args.turn),
        rounds: args.rounds,
        connections: args.connections,
        rate: args.rate,
        latency_for: Duration::from_secs(args.latency_for),
        memory_for: Duration::from_secs(args.memory_for),
        pixel: args.pixel,
        agents: args.agents,
        repository: args.place.repository,
        tributary,
        dir: args.place.dir,
    };
    let report = bench.run().await?;
    let mut out = std::io::stdout().lock();
    if args.place.json {
        serde_json::to_writer(&mut out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        out.write_all(report.markdown().as_bytes())?;
    }
    Ok(if report.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn drive(args: &SendArgs) -> Result<Drive, LoadError> {
    Ok(Drive {
        target: Target::parse(&args.target)?,
        connections: args.connections,
        keeps_going: args.keep_going,
        ledger: args.ledger.clone(),
    })
}

/// A run that could not send everything has failed.
fn ended(unsent: u64) -> ExitCode {
    if unsent == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn name_bad_lines(file: &Path, lines: &[BadLine]) -> Result<(), LoadError> {
    let mut err = std::io::stderr().lock();
    for bad in lines {
        writeln!(err, "{}, line {}: {}", file.display(), bad.line, bad.reason)?;
    }
    Ok(())
}

/// The processes whose cost is measured, this one last.
struct Watched {
    before: Vec<(u32, Usage)>,
}

impl Watched {
    fn begin(pids: &[u32]) -> Result<Self, LoadError> {
        let pids = pids.iter().copied().chain([std::process::id()]);
        let before = pids.map(|pid| Ok((pid, process::usage(pid)?))).collect::<Result<_, LoadError>>()?;
        Ok(Self { before })
    }

    /// What each used since; one that ended meanwhile (it may be killed on purpose) is left out.
    fn costs(&self, events: u64) -> Vec<Cost> {
        let cost =
            |&(pid, before)| process::usage(pid).ok().map(|after| process::cost(pid, before, after, events));
        self.before.iter().filter_map(cost).collect()
    }
}
