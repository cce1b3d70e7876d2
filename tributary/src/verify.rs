//! `tributary verify`: what the facts say is decided once more from the events, and compared.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use eventlog::EventLog;
use processor::snapshot::Snapshots;
use processor::verify::{Beginning, Verified, Verifier};
use processor::{Metrics, Objects};

use crate::cli::Verify;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::parts::{self, Process};
use crate::settings::Settings;
use crate::up;

/// Verifies, and prints what was compared. False if there is a difference.
pub(crate) fn run(arguments: &Verify) -> Result<bool, Error> {
    let settings: Settings = service::config::load(arguments.config.as_deref())?;
    service::telemetry::init_logging(&settings.log)?;
    let mut is_same = true;
    parts::block_on(async {
        is_same = verify(&settings, arguments).await?;
        Ok(())
    })?;
    Ok(is_same)
}

async fn verify(settings: &Settings, arguments: &Verify) -> Result<bool, Error> {
    let process = Process::begin(settings)?;
    let (log, objects) = match &arguments.data {
        Some(dir) => embedded(dir, settings, &process)?,
        None => {
            let log = parts::kafka(&settings.kafka, &process.registry).await?;
            (log, Objects::open(&settings.object_store)?)
        }
    };
    let follower = parts::follow(&log).await?;
    let partitions = parts::partitions(&log, &follower).await?;
    follower.shutdown().await;
    let chosen = match arguments.partition {
        Some(number) if number >= partitions => {
            return Err(processor::Error::Partitions { number, partitions }.into());
        }
        Some(number) => number..number + 1,
        None => 0..partitions,
    };
    let metrics = Metrics::register(&process.registry)?;
    let mut is_same = true;
    for partition in chosen {
        let beginning = match (&objects, arguments.from_snapshot) {
            (Some(objects), true) => {
                let (objects, log) = (objects.clone(), log.clone());
                let metrics = metrics.snapshots(partition);
                oldest(&Snapshots { objects, log, partition, metrics }).await?
            }
            (None, true) => return Err(no_snapshot("there is no object store")),
            (_, false) => Beginning::default(),
        };
        let verifier = Verifier { log: log.clone(), objects: objects.clone(), partition };
        let verified = verifier.verify(beginning, arguments.until).await?;
        is_same &= verified.difference.is_none();
        crate::print(&said(partition, &verified))?;
    }
    log.close(settings.shutdown_deadline()).await;
    Ok(is_same)
}

/// Log and objects of an `up`. The log refuses a directory that another process has open.
fn embedded(
    dir: &Path,
    settings: &Settings,
    process: &Process,
) -> Result<(Arc<dyn EventLog>, Option<Objects>), Error> {
    // Looking must not make an installation of an empty folder.
    if !dir.join("log").is_dir() {
        let problem = "holds no log of a `tributary up`".to_owned();
        return Err(Error::DataDir { dir: dir.to_owned(), problem });
    }
    let dir = DataDir::open(dir)?;
    let log = up::open_log(&dir, process)?;
    let objects = up::open_objects(&dir, settings)?;
    Ok((log, Some(objects)))
}

async fn oldest(snapshots: &Snapshots) -> Result<Beginning, Error> {
    let kept = snapshots.kept().await?;
    let oldest = kept.last().ok_or_else(|| no_snapshot("there is none of this history"))?;
    Ok(snapshots.load(oldest).await?)
}

fn no_snapshot(reason: &str) -> Error {
    Error::Setting { setting: "--from-snapshot", reason: reason.to_owned() }
}

/// A line for people and for programs, and two more for a difference.
fn said(partition: u32, verified: &Verified) -> String {
    let Verified { from, to, records, facts, ignored, difference } = verified;
    let mut text = format!(
        "partition {partition}: events {from}..{to}, {records} records with {facts} facts are the same, {ignored} ignored\n"
    );
    if let Some(difference) = difference {
        let place = match difference.event {
            Some(event) => format!("the decision on event {event}"),
            None => "what is said around the decisions".to_owned(),
        };
        // Writing into a string does not fail.
        let _ = writeln!(
            text,
            "partition {partition}: record {} of facts DIFFERS in {place}\n  decided now: {}\n  in the log:  {}",
            difference.record, difference.decided, difference.accepted
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use processor::verify::Difference;

    use super::*;

    #[test]
    fn what_was_compared_and_the_first_difference_are_said() {
        let mut verified = Verified { from: 3, to: 9, records: 2, facts: 7, ignored: 1, difference: None };
        let same = "partition 1: events 3..9, 2 records with 7 facts are the same, 1 ignored\n";
        assert_eq!(said(1, &verified), same);
        let (decided, accepted) = ("a".to_owned(), "b".to_owned());
        verified.difference = Some(Difference { record: 4, event: Some(8), decided, accepted });
        let differs = "partition 1: record 4 of facts DIFFERS in the decision on event 8\n  decided now: a\n  in the log:  b\n";
        assert_eq!(said(1, &verified), format!("{same}{differs}"));
    }
}
