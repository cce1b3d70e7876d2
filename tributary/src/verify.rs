//! `tributary verify`: what the facts say is decided once more from the events, and compared.

use std::fmt::Write as _;

use catalog::{Follower, Projection, Stage};
use processor::Metrics;
use processor::SnapshotMetrics;
use processor::assignment::PartitionOf;
use processor::snapshot::Snapshots;
use processor::verify::{Beginning, Question, TableRows, Verified, Verifier, count_rows, last_cut};
use prometheus::Registry;
use schemas::generation::Generation;

use crate::cli::Verify;
use crate::error::Error;
use crate::installation::Installation;
use crate::parts;
use crate::settings::Settings;

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
    let registry = Registry::new();
    let installation = match &arguments.data {
        Some(dir) => Installation::embedded(dir, settings, arguments.rows, &registry).await?,
        None => Installation::remote(settings, arguments.rows, &registry).await?,
    };
    let follower = parts::follow(&installation.log).await?;
    let partitions = parts::partitions(&installation.log, &follower).await?;
    let projection = projection(&follower, arguments.generation);
    follower.shutdown().await;
    let sources = Sources { installation, projection: projection? };
    let chosen = match arguments.partition {
        Some(number) if number >= partitions => {
            return Err(processor::Error::Partitions { number, partitions }.into());
        }
        Some(number) => number..number + 1,
        None => 0..partitions,
    };
    let metrics = Metrics::register(&registry)?;
    let mut is_same = true;
    for partition in chosen {
        let beginning = if arguments.from_snapshot {
            sources.oldest_snapshot(partition, metrics.snapshots(partition)).await?
        } else {
            Beginning::default()
        };
        is_same &= sources.verify(partition, beginning, arguments.until).await?;
    }
    sources.installation.close(settings.shutdown_deadline()).await;
    Ok(is_same)
}

/// What is read, and of which generation.
struct Sources {
    installation: Installation,
    projection: Projection,
}

impl Sources {
    async fn oldest_snapshot(&self, partition: u32, metrics: SnapshotMetrics) -> Result<Beginning, Error> {
        let none = |reason: &str| Error::Setting { setting: "--from-snapshot", reason: reason.to_owned() };
        let objects = self.installation.objects.clone().ok_or_else(|| none("there is no object store"))?;
        let partition = PartitionOf { generation: self.projection.generation, number: partition };
        let snapshots = Snapshots::new(objects, self.installation.log.clone(), partition, metrics);
        let kept = snapshots.kept().await?;
        let oldest = kept.last().ok_or_else(|| none("there is no snapshot of this history"))?;
        Ok(snapshots.load(oldest).await?)
    }

    /// Verifies a partition, and prints what came of it. False if there is a difference.
    async fn verify(&self, partition: u32, beginning: Beginning, until: Option<u64>) -> Result<bool, Error> {
        let warehouse = self.installation.warehouse(self.projection.generation);
        let cut = match &warehouse {
            Some(warehouse) => last_cut(warehouse, partition).await?,
            None => None,
        };
        let (log, objects) = (self.installation.log.clone(), self.installation.objects.clone());
        let verifier = Verifier { log, objects, partition, projection: self.projection.clone() };
        let verified = verifier.verify(beginning, Question { until, cut }).await?;
        crate::print(&said(partition, &verified))?;
        let mut is_same = verified.difference.is_none();
        if let Some(warehouse) = &warehouse {
            let tables = match &verified.rows {
                Some(expected) => Some(count_rows(warehouse, partition, expected).await?),
                None => None,
            };
            is_same &= tables.iter().flatten().all(|table| table.missing == 0 && table.extra == 0);
            crate::print(&said_of_rows(partition, cut, tables.as_deref()))?;
        }
        Ok(is_same)
    }
}

/// The projection that is verified: that of the generation that answers, unless another is asked for.
fn projection(catalog: &Follower, wanted: Option<u32>) -> Result<Projection, Error> {
    let catalog = catalog.read();
    let wanted = wanted.map_or(Some(catalog.live_generation()), Generation::new);
    let found = wanted.and_then(|generation| catalog.projection(generation));
    found.filter(|projection| projection.stage != Stage::Dropped).ok_or_else(|| Error::Setting {
        setting: "--generation",
        reason: "there is no such generation, or it was dropped".to_owned(),
    })
}

/// A line for people and for programs, and two more for a difference.
fn said(partition: u32, verified: &Verified) -> String {
    let Verified { from, to, records, facts, ignored, difference, rows: _ } = verified;
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

/// A line for each table, up to the sink's last cut.
fn said_of_rows(partition: u32, cut: Option<u64>, tables: Option<&[TableRows]>) -> String {
    let line = |text: String| format!("partition {partition}: {text}\n");
    match (cut, tables) {
        (None, _) => line("the warehouse has no finished cut: no rows are compared".to_owned()),
        (Some(cut), None) => {
            line(format!("cut {cut} of the warehouse is not in the range: no rows are compared"))
        }
        (Some(cut), Some(tables)) => tables
            .iter()
            .map(|TableRows { table, expected, missing, extra }| {
                line(format!("{table} up to cut {cut}: {expected} rows, {missing} missing, {extra} extra"))
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use processor::verify::Difference;

    use super::*;

    #[test]
    fn what_was_compared_and_the_first_difference_are_said() {
        let mut verified =
            Verified { from: 3, to: 9, records: 2, facts: 7, ignored: 1, difference: None, rows: None };
        let same = "partition 1: events 3..9, 2 records with 7 facts are the same, 1 ignored\n";
        assert_eq!(said(1, &verified), same);
        let (decided, accepted) = ("a".to_owned(), "b".to_owned());
        verified.difference = Some(Difference { record: 4, event: Some(8), decided, accepted });
        let differs = "partition 1: record 4 of facts DIFFERS in the decision on event 8\n  decided now: a\n  in the log:  b\n";
        assert_eq!(said(1, &verified), format!("{same}{differs}"));
    }

    #[test]
    fn rows_are_said_table_by_table_or_why_not() {
        let tables = [TableRows { table: "clicks", expected: 9, missing: 1, extra: 0 }];
        for (cut, tables, expected) in [
            (Some(3), Some(&tables[..]), "partition 1: clicks up to cut 3: 9 rows, 1 missing, 0 extra\n"),
            (
                Some(3),
                None,
                "partition 1: cut 3 of the warehouse is not in the range: no rows are compared\n",
            ),
            (None, None, "partition 1: the warehouse has no finished cut: no rows are compared\n"),
        ] {
            assert_eq!(said_of_rows(1, cut, tables), expected);
        }
    }
}
