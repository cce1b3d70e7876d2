//! Reading ahead: the next events of a partition, decoded while the owner decides those before them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use eventlog::{Position, Record, Subscription};
use schemas::time::Timestamp;
use schemas::wire::{EVENT_VERSION, WireError};
use service::clock::SharedClock;

use crate::core::Input;
use crate::error::Error;
use crate::owner::OwnerParts;
use crate::settings::ProcessorSettings;
use crate::workers::Workers;

/// A record logged further ahead of this machine's clock halts the partition before it is decided: one wrong clock would
/// move core time for ever.
const MAX_CLOCK_AHEAD_MICROS: i64 = 10 * 60 * 1_000_000;
/// Bytes of events collected for one record of facts; the last batch read may exceed it.
const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;
/// How long the owner waits for events before it looks at its timers.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// Events that follow each other; none if nothing came in time.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) inputs: VecDeque<Input>,
    /// Why the event after them cannot be decided.
    pub(crate) halt: Option<Error>,
}

/// The events of a partition from a position on.
pub(crate) struct Reading {
    rules: Rules,
    next: Next,
}

type Next = Pin<Box<dyn Future<Output = (Box<dyn Subscription>, Result<Collected, Error>)> + Send>>;

/// What a batch is collected by.
#[derive(Clone)]
struct Rules {
    settings: Arc<ProcessorSettings>,
    clock: SharedClock,
    workers: Workers,
}

impl Reading {
    /// Begins to read where the subscription stands.
    pub(crate) fn from(parts: &OwnerParts, events: Box<dyn Subscription>) -> Self {
        let rules = Rules {
            settings: Arc::new(parts.settings.clone()),
            clock: parts.clock.clone(),
            workers: parts.workers,
        };
        let next = collect(rules.clone(), events);
        Self { rules, next }
    }

    /// What is there, and what comes within the linger time. Nothing is lost if this is dropped before it is ready.
    pub(crate) async fn next(&mut self) -> Result<Collected, Error> {
        let (events, collected) = self.next.as_mut().await;
        self.next = collect(self.rules.clone(), events);
        collected
    }
}

fn collect(rules: Rules, mut events: Box<dyn Subscription>) -> Next {
    Box::pin(async move {
        let collected = rules.collect(events.as_mut()).await;
        (events, collected)
    })
}

impl Rules {
    async fn collect(&self, events: &mut dyn Subscription) -> Result<Collected, Error> {
        let mut collected = Collected::default();
        let mut bytes = 0;
        let mut wait = IDLE_WAIT;
        let linger = Duration::from_millis(self.settings.batch_linger_ms);
        let began = tokio::time::Instant::now();
        while let Some(room) = self.settings.max_batch_events.checked_sub(collected.inputs.len())
            && room > 0
            && bytes < MAX_BATCH_BYTES
        {
            let Some(batch) = events.next(room, wait).await? else { break };
            bytes += batch.records.iter().map(|record| record.payload.len()).sum::<usize>();
            for input in self.workers.begin(move || decode(&batch.records)).await? {
                if let Err(error) = self.check(&input) {
                    collected.halt = Some(error);
                    return Ok(collected);
                }
                collected.inputs.push_back(input);
            }
            let Some(left) = linger.checked_sub(began.elapsed()) else { break };
            wait = left;
        }
        Ok(collected)
    }

    /// Whether an event may be decided by this build, here and now.
    fn check(&self, input: &Input) -> Result<(), Error> {
        let position = input.position;
        let ahead = input.log_time.micros_since(Timestamp::from_micros(self.clock.now_micros()));
        if ahead > MAX_CLOCK_AHEAD_MICROS {
            return Err(Error::ClockAhead { position, ahead_s: ahead / 1_000_000 });
        }
        match input.event {
            // A newer edge was told that this event is safe: it waits for a build that can read it.
            Err(WireError::UnknownVersion(version)) if version > EVENT_VERSION => {
                Err(Error::NewerEvent { position, version })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

fn decode(records: &[Record]) -> Vec<Input> {
    records.iter().map(Input::read).collect()
}

/// Events that were decided and mean nothing: where in the log each of them is, and why.
#[derive(Default)]
pub(crate) struct Unreadable(VecDeque<(Position, WireError)>);

impl Unreadable {
    /// Takes note of an event that is decided.
    pub(crate) fn note(&mut self, input: &Input) {
        if let Err(error) = &input.event {
            self.0.push_back((input.position, error.clone()));
        }
    }

    /// Forgets those from a position on: they are decided anew.
    pub(crate) fn forget_from(&mut self, source: Position) {
        self.0.truncate(self.0.partition_point(|(position, _)| *position < source));
    }

    /// Says where those before a position are, now that they are rejected for good: the log alone has their bytes.
    pub(crate) fn name_before(&mut self, source: Position, partition: u32) {
        let after = self.0.split_off(self.0.partition_point(|(position, _)| *position < source));
        let before = std::mem::replace(&mut self.0, after);
        if let Some((position, error)) = before.front() {
            let more = before.len() - 1;
            tracing::warn!(partition, position, more, %error, "an event cannot be read and is rejected");
        }
    }
}
