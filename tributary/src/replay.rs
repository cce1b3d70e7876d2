//! `tributary replay`: plans another reading of the whole past, follows it until it answers, and takes away what was before.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use catalog::{Actor, ActorKind, Change, Expected, Follower, Projection, Proposal, Resource, Stage};
use eventlog::TopicSpec;
use prometheus::Registry;
use schemas::generation::Generation;
use schemas::id::{IdGenerator, WorkspaceNumber};
use schemas::time::Timestamp;
use service::clock::{SystemClock, random_seed};

use crate::cli::{Replay, SettingsOf};
use crate::error::Error;
use crate::installation::Installation;
use crate::parts;
use crate::settings::Settings;

/// How often a follower looks and says how far the planned generation is.
const PERIOD: Duration = Duration::from_secs(1);

/// Plans, follows, gives up, drops or shows, as the arguments say.
pub(crate) fn run(arguments: &Replay) -> Result<(), Error> {
    let settings: Settings = service::config::load(arguments.config.as_deref())?;
    service::telemetry::init_logging(&settings.log)?;
    parts::block_on(async {
        let registry = Registry::new();
        let installation = match &arguments.data {
            Some(dir) => Installation::embedded(dir, &settings, arguments.drop.is_some(), &registry).await?,
            None => Installation::remote(&settings, true, &registry).await?,
        };
        let catalog = parts::follow(&installation.log).await?;
        let command = ReplayCommand { arguments, installation: &installation, catalog: &catalog };
        let done = command.run().await;
        catalog.shutdown().await;
        installation.close(settings.shutdown_deadline()).await;
        done
    })
}

/// A command line at work.
struct ReplayCommand<'a> {
    arguments: &'a Replay,
    installation: &'a Installation,
    catalog: &'a Follower,
}

impl ReplayCommand<'_> {
    async fn run(&self) -> Result<(), Error> {
        if self.arguments.status {
            return self.status().await;
        }
        if self.arguments.abandon {
            return self.abandon().await;
        }
        if let Some(number) = self.arguments.drop {
            return self.drop_tables(number).await;
        }
        let planned = self.plan().await?;
        if let Some(dir) = &self.arguments.data {
            return crate::print(&next_steps(planned, dir));
        }
        self.follow(planned).await
    }

    /// Plans the next generation, unless one is planned already: then that one is followed.
    async fn plan(&self) -> Result<Generation, Error> {
        let (planned, last, live, revision) = {
            let catalog = self.catalog.read();
            let last = catalog.projections().last().map_or(Generation::FIRST, |it| it.generation);
            (catalog.planned(), last, catalog.live_generation(), catalog.revision().number)
        };
        let partitions = parts::partitions(&self.installation.log, self.catalog).await?;
        if let Some(planned) = planned {
            if self.arguments.settings_of.is_some() {
                let reason = format!("{} already: give it up first", shown(&planned, live));
                return Err(wrong("--settings-of", reason));
            }
            crate::print(&format!("generation {} is planned already\n", planned.generation))?;
            return Ok(planned.generation);
        }
        let settings_of = self.arguments.settings_of.map(|of| match of {
            SettingsOf::Now => revision,
            SettingsOf::Revision(number) => number,
        });
        let generation = last.next();
        let projection = Projection { generation, stage: Stage::Planned, after: live, settings_of };
        // Its places first: whoever hears of the plan begins at once.
        let topic = TopicSpec { name: generation.facts(), partitions };
        self.installation.log.ensure_topics(&[topic]).await?;
        if let Some(endpoint) = self.installation.endpoint() {
            parts::migrate_warehouse(&endpoint.of_generation(generation)).await?;
        }
        self.propose(projection).await?;
        crate::print(&format!(
            "generation {generation} is planned{}\n",
            settings_of.map_or_else(String::new, |of| format!(", with the attribution of revision {of}"))
        ))?;
        Ok(generation)
    }

    /// Says how far it is, until it is live or given up.
    async fn follow(&self, generation: Generation) -> Result<(), Error> {
        let mut said = String::new();
        loop {
            let stage = self.catalog.read().projection(generation).map(|it| it.stage);
            match stage {
                Some(Stage::Planned) => {}
                Some(Stage::Live) => return crate::print(&format!("generation {generation} is live\n")),
                Some(Stage::Dropped) | None => {
                    return Err(wrong("replay", format!("generation {generation} was given up")));
                }
            }
            let progress = self.progress(generation).await?;
            if progress != said {
                crate::print(&progress)?;
                said = progress;
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Up to when everything is counted, partition by partition, in the live generation and in this one.
    async fn progress(&self, generation: Generation) -> Result<String, Error> {
        let live = self.catalog.read().live_generation();
        let partitions = parts::partitions(&self.installation.log, self.catalog).await?;
        let mut text = String::new();
        for partition in 0..partitions {
            let through = |through: Option<Timestamp>| {
                through.map_or_else(|| "nothing".to_owned(), |through| through.to_string())
            };
            let (ours, of_live) = (
                through(self.installation.data_through(generation, partition).await?),
                through(self.installation.data_through(live, partition).await?),
            );
            // Writing into a string does not fail.
            let _ = writeln!(text, "partition {partition}: {ours}, the live one {of_live}");
        }
        Ok(text)
    }

    async fn status(&self) -> Result<(), Error> {
        let projections: Vec<Projection> = self.catalog.read().projections().collect();
        let live = self.catalog.read().live_generation();
        let mut text = String::new();
        for projection in &projections {
            // Writing into a string does not fail.
            let _ = writeln!(text, "{}", shown(projection, live));
        }
        crate::print(&text)?;
        match projections.iter().find(|it| it.stage == Stage::Planned) {
            Some(planned) if self.installation.endpoint().is_some() => {
                crate::print(&self.progress(planned.generation).await?)
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn abandon(&self) -> Result<(), Error> {
        let planned = self.catalog.read().planned();
        let planned = planned.ok_or_else(|| wrong("--abandon", "no generation is planned".to_owned()))?;
        let generation = planned.generation;
        self.propose(Projection { stage: Stage::Dropped, ..planned }).await?;
        crate::print(&format!(
            "generation {generation} is given up; `tributary replay --drop {generation}` takes away what it has\n"
        ))
    }

    /// Takes away what a former generation has, or one that was given up.
    async fn drop_tables(&self, number: u32) -> Result<(), Error> {
        let no = |reason: &str| wrong("--drop", reason.to_owned());
        let generation = Generation::new(number).ok_or_else(|| no("generations are counted from 1"))?;
        let (projection, live) = {
            let catalog = self.catalog.read();
            (catalog.projection(generation), catalog.live_generation())
        };
        let projection = projection.ok_or_else(|| no("there is no such generation"))?;
        match projection.stage {
            Stage::Planned => return Err(no("it is planned: give it up first")),
            Stage::Live if generation == live => return Err(no("it answers")),
            Stage::Live => {
                let switched = self.switched_in_every_partition(live).await?;
                if !switched {
                    return Err(no("a partition has not passed the switch yet: try again in some seconds"));
                }
                self.propose(Projection { stage: Stage::Dropped, ..projection }).await?;
            }
            Stage::Dropped => {}
        }
        let partitions = parts::partitions(&self.installation.log, self.catalog).await?;
        self.installation.take_away(generation, partitions).await?;
        crate::print(&format!("generation {generation} is gone\n"))
    }

    /// Whether the live generation decides by itself everywhere.
    async fn switched_in_every_partition(&self, live: Generation) -> Result<bool, Error> {
        let partitions = parts::partitions(&self.installation.log, self.catalog).await?;
        for partition in 0..partitions {
            if !processor::decides_by_itself(&self.installation.log, live, partition).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn propose(&self, projection: Projection) -> Result<(), Error> {
        let now = Timestamp::from_micros(SystemClock::shared().now_micros());
        let proposal = Proposal {
            id: IdGenerator::new(random_seed()).next(now.unix_ms(), WorkspaceNumber::NONE),
            workspace: WorkspaceNumber::NONE,
            actor: Actor { kind: ActorKind::System, id: String::new() },
            request_id: String::new(),
            at: now,
            idempotency: None,
            changes: vec![Change::Put {
                resource: Resource::Projection(projection),
                expected: Expected::Any,
            }],
        };
        let accepted = self.catalog.propose(proposal).await;
        accepted.map(|_| ()).map_err(|error| Error::Catalog(error.to_string()))
    }
}

const fn wrong(setting: &'static str, reason: String) -> Error {
    Error::Setting { setting, reason }
}

/// What has to be done where the log could be opened because nobody else has it open.
fn next_steps(generation: Generation, dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "the next `tributary up` on {dir} fills generation {generation} beside the live one and switches to it by itself.\n\
         Metrics tell how far it is: tributary_replay_source_position, tributary_replay_data_through_seconds.\n\
         `tributary replay --data {dir} --status` tells on a stopped installation which one answers.\n"
    )
}

/// A generation in one line.
fn shown(projection: &Projection, live: Generation) -> String {
    let Projection { generation, stage, settings_of, .. } = projection;
    let stage = match stage {
        Stage::Planned => "planned",
        Stage::Live if *generation == live => "live",
        Stage::Live => "former",
        Stage::Dropped => "dropped",
    };
    let settings = settings_of.map_or_else(String::new, |of| format!(", attribution of revision {of}"));
    format!("generation {generation}: {stage}{settings}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_shown_as_what_it_is_now() {
        let second = Generation::FIRST.next();
        let of = |generation, stage| Projection { generation, stage, ..Projection::FIRST };
        for (projection, expected) in [
            (of(Generation::FIRST, Stage::Live), "generation 1: former"),
            (of(second, Stage::Live), "generation 2: live"),
            (of(second, Stage::Dropped), "generation 2: dropped"),
            (
                Projection { settings_of: Some(7), ..of(second.next(), Stage::Planned) },
                "generation 3: planned, attribution of revision 7",
            ),
        ] {
            assert_eq!(shown(&projection, second), expected);
        }
    }
}
