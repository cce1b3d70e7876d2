//! What becomes of clicks while the edge is killed again and again, or while the log is away: every acknowledged one is
//! looked for afterwards, and how long the redirects took meanwhile is told.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::Serialize;
use service::clock::SystemClock;

use super::installation::{Cluster, Company, PLAIN, Place};
use super::server;
use crate::LoadError;
use crate::audit::{Audit, Verdict};
use crate::clicks::Clicks;
use crate::drive::Drive;
use crate::ledger;
use crate::tally::Summary;
use crate::wire::Target;

/// Clicks before the outage, and after it.
const QUIET: Duration = Duration::from_secs(5);
/// Between two kills of the edge.
const BETWEEN_KILLS: Duration = Duration::from_secs(1);
/// A spool is drained, decided and reported within this time, or it is a failure.
const AUDIT_WAIT: Duration = Duration::from_secs(180);
/// Receipts that are asked for at a time.
const QUESTIONS: usize = 16;
/// How long the edge waits for the log, as it does where nobody has set `edge.append_deadline_ms`: so it is in this cluster.
const APPEND_DEADLINE_MS: f64 = 250.0;
/// How much longer a redirect may take while the log is away.
const GRACE_MS: f64 = 100.0;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// `kill -9` of the edge, every second.
    EdgeKilled,
    /// `kill -9` of the broker; it is started again at the end.
    LogKilled,
    /// The broker is stopped in good order.
    LogStopped,
    /// The broker takes connections and does not answer (SIGSTOP).
    LogPaused,
    /// The broker is killed, then the edge is killed and started without it.
    EdgeStartsWithoutLog,
}

impl Fault {
    /// Whether visitors are to notice nothing of it, for only the log is away.
    const fn is_hidden_by_the_edge(self) -> bool {
        match self {
            Self::LogKilled | Self::LogStopped | Self::LogPaused => true,
            // Whoever asks while the edge itself is away waits, or asks in vain.
            Self::EdgeKilled | Self::EdgeStartsWithoutLog => false,
        }
    }
}

/// An outage under load.
#[derive(Debug, Clone)]
pub struct Outage {
    /// What goes wrong.
    pub fault: Fault,
    /// For so long.
    pub duration: Duration,
    /// Clicks a second.
    pub rate: f64,
    /// Connections.
    pub connections: usize,
    /// The repository, for the scripts that start engine and Kafka.
    pub repository: std::path::PathBuf,
    /// The binary.
    pub tributary: std::path::PathBuf,
    /// Where the data goes; `run` inside it is emptied.
    pub dir: std::path::PathBuf,
}

/// What became of it.
#[derive(Debug, Serialize)]
pub struct Aftermath {
    /// What was sent and answered.
    pub summary: Summary,
    /// The longest time from sending a request to its redirect, in milliseconds, of those that were answered.
    pub longest_redirect_ms: f64,
    /// How often the edge was killed.
    pub edge_kills: u32,
    /// What was found afterwards.
    pub verdict: Verdict,
    /// The bars that were missed, each in a sentence.
    pub missed: Vec<String>,
}

impl Outage {
    /// Starts a cluster, lets it go wrong under load, and audits what was acknowledged.
    pub async fn run(&self) -> Result<Aftermath, LoadError> {
        let place = Place {
            repository: self.repository.clone(),
            tributary: self.tributary.clone(),
            engine_library: server::engine_library(&self.repository)?,
            dir: self.dir.join(super::RUN),
        };
        super::empty(&place.dir)?;
        let mut cluster = Cluster::start(&place, Company::All).await?;
        let (api, key) = (format!("http://{}", cluster.desk.address), cluster.key.clone());
        let ledger = place.dir.join("ledger");
        let drive = Drive {
            target: Target::parse(&format!("http://{}", cluster.edge.address))?,
            connections: self.connections,
            keeps_going: true,
            ledger: Some(ledger.clone()),
        };
        let mut clicks = Clicks::new(&drive.target, PLAIN, self.rate, self.duration + 2 * QUIET)?;
        let (fault, duration) = (self.fault, self.duration);
        // The faults' thread owns the cluster meanwhile, and gives it back to be audited.
        let faults = std::thread::spawn(move || {
            let kills = happen(fault, duration, &mut cluster)?;
            Ok::<_, LoadError>((cluster, kills))
        });
        let tally = drive.run(&mut clicks, &SystemClock).await?;
        let joined =
            faults.join().map_err(|_| LoadError::Arguments("the faults' thread panicked".to_owned()))?;
        let (cluster, edge_kills) = joined?;
        let longest_redirect_ms = longest_redirect(&ledger)?;
        let audit = Audit {
            ledger,
            api,
            key,
            wait: AUDIT_WAIT,
            connections: QUESTIONS,
            every: 1,
            link: None,
            from: None,
            to: None,
        };
        let verdict = audit.run().await?;
        drop(cluster);
        let summary = tally.summary(0, Vec::new());
        let mut missed = Vec::new();
        if !verdict.is_exact() {
            let Verdict { missing, extra, .. } = verdict;
            missed.push(format!("not everything is counted once: {missing} missing, {extra} too many"));
        }
        if fault.is_hidden_by_the_edge() {
            missed.extend(noticed(&summary, longest_redirect_ms));
        }
        Ok(Aftermath { summary, longest_redirect_ms, edge_kills, verdict, missed })
    }
}

/// Lets it go wrong, and right again; how often the edge was killed.
fn happen(fault: Fault, duration: Duration, cluster: &mut Cluster) -> Result<u32, LoadError> {
    std::thread::sleep(QUIET);
    let end = Instant::now() + duration;
    let mut kills = 0;
    match fault {
        Fault::EdgeKilled => {
            while Instant::now() < end {
                let next = Instant::now() + BETWEEN_KILLS;
                cluster.edge.kill()?;
                kills += 1;
                cluster.edge.start_again()?;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        }
        Fault::LogKilled => {
            cluster.broker.kill()?;
            std::thread::sleep(duration);
            cluster.broker.start_again()?;
        }
        Fault::LogStopped => {
            cluster.broker.stop()?;
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            cluster.broker.start_again()?;
        }
        Fault::LogPaused => {
            cluster.broker.signal(Signal::SIGSTOP)?;
            std::thread::sleep(duration);
            cluster.broker.signal(Signal::SIGCONT)?;
        }
        Fault::EdgeStartsWithoutLog => {
            cluster.broker.kill()?;
            cluster.edge.kill()?;
            kills += 1;
            cluster.edge.start_again()?;
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            cluster.broker.start_again()?;
        }
    }
    Ok(kills)
}

/// What visitors noticed of a fault of which they are to notice nothing.
fn noticed(summary: &Summary, longest_redirect_ms: f64) -> Vec<String> {
    let bar = APPEND_DEADLINE_MS + GRACE_MS;
    let is_slow = longest_redirect_ms > bar;
    let slow = is_slow.then(|| format!("a redirect took {longest_redirect_ms:.1} ms, more than {bar} ms"));
    let counts = [
        (summary.unrecorded, "redirected without a receipt"),
        (summary.refused, "refused"),
        (summary.unknown, "not answered, or answered with a failure"),
        (summary.unsent, "never sent"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    slow.into_iter().chain(counts.map(|(count, what)| format!("clicks {what}: {count}"))).collect()
}

fn longest_redirect(path: &Path) -> Result<f64, LoadError> {
    let mut longest = 0;
    ledger::read(path, |entry| {
        if entry.status.is_some() {
            longest = longest.max(entry.ended - entry.sent);
        }
    })?;
    Ok(longest as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Fate;
    use crate::tally::Tally;

    fn summary(fates: &[Fate]) -> Summary {
        let mut tally = Tally::new().unwrap();
        fates.iter().for_each(|fate| tally.add(*fate, Some(302), Duration::ZERO, Duration::ZERO));
        tally.summary(0, Vec::new())
    }

    #[test]
    fn an_outage_of_the_log_that_somebody_notices_misses_a_bar() {
        let well = summary(&[Fate::Acknowledged]);
        assert!(noticed(&well, 350.0).is_empty());
        assert_eq!(noticed(&well, 10_000.0), ["a redirect took 10000.0 ms, more than 350 ms"]);
        let ill =
            summary(&[Fate::Acknowledged, Fate::Unrecorded, Fate::Unknown, Fate::Unknown, Fate::Refused]);
        let told = [
            "clicks redirected without a receipt: 1",
            "clicks refused: 1",
            "clicks not answered, or answered with a failure: 2",
        ];
        assert_eq!(noticed(&ill, 1.0), told);
        let unsent = Summary { unsent: 3, ..well };
        assert_eq!(noticed(&unsent, 1.0), ["clicks never sent: 3"]);
    }
}
