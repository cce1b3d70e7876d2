//! The core alone, in memory, on one core: `just bench-core`.
//!
//! Batches of events are made and decoded beforehand, outside of the measured time. Measured is what the decision thread does with
//! them: `decide` on an overlay, and taking the changes over into the state. Events of the warm-up are not counted. `EVENTS` and
//! `WARMUP` in the environment make a smaller run.

#![allow(clippy::print_stdout, reason = "a bench answers on standard output")]

#[allow(dead_code, reason = "each bench uses a part of it")]
mod measure;
mod traffic;

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use catalog::Catalog;
use processor::core::{Changes, Head, Input, Keys, Overlay, decide};
use schemas::time::Timestamp;

use measure::{cpu_ns, number};
use traffic::{T0, Traffic, catalog_records, folded};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: u64 = 8_000_000;
const WARMUP: u64 = 2_000_000;
/// Events in one record of facts, as the owner's settings have it.
const BATCH: u64 = 5_000;
/// Log time from one event to the next: 250,000 events a second.
const STEP_MICROS: i64 = 4;

/// Time of a part.
#[derive(Default)]
struct Spent {
    wall: Duration,
    cpu_ns: u64,
}

impl Spent {
    fn add<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, Box<dyn Error>> {
        let (began, cpu) = (Instant::now(), cpu_ns("/proc/thread-self")?);
        let done = work();
        self.wall += began.elapsed();
        self.cpu_ns += cpu_ns("/proc/thread-self")? - cpu;
        Ok(done)
    }
}

struct Run {
    catalog: Catalog,
    state: Keys,
    head: Head,
    decided: Spent,
    committed: Spent,
    facts: u64,
}

impl Run {
    fn batch(&mut self, inputs: Vec<Input>) -> Result<(), Box<dyn Error>> {
        let (state, catalog, head) = (&self.state, &self.catalog, self.head.clone());
        let decide_all = move || -> Result<(Vec<_>, Changes), processor::core::StateError> {
            let mut overlay = Overlay::new(state, head);
            let decisions = inputs
                .into_iter()
                .map(|input| decide(&mut overlay, catalog, input))
                .collect::<Result<_, _>>()?;
            Ok((decisions, overlay.into_changes()))
        };
        let (decisions, changes) = self.decided.add(decide_all)??;
        let state = &mut self.state;
        self.head = self.committed.add(|| commit(state, changes))?;
        self.facts += decisions.iter().map(|decision| decision.facts.len() as u64).sum::<u64>();
        Ok(())
    }
}

fn commit(state: &mut Keys, changes: Changes) -> Head {
    state.take_over(changes.keys);
    changes.head
}

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo says so when it is asked for benches; a test run only builds them.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let (events, warmup) = (number("EVENTS", EVENTS)?, number("WARMUP", WARMUP)?);
    let catalog = folded(&catalog_records()?)?;
    let mut traffic = Traffic::new(1, catalog.revision());
    let mut run = Run {
        catalog,
        state: Keys::default(),
        head: Head::default(),
        decided: Spent::default(),
        committed: Spent::default(),
        facts: 0,
    };
    let mut counted_from = 0;
    while run.head.source < events {
        let before = run.head.source;
        let inputs: Vec<Input> =
            (before..before + BATCH).map(|position| input(&mut traffic, position)).collect();
        run.batch(inputs)?;
        if before < warmup && run.head.source >= warmup {
            (run.decided, run.committed, run.facts) = (Spent::default(), Spent::default(), 0);
            counted_from = run.head.source;
        }
    }
    report(&run, run.head.source - counted_from);
    Ok(())
}

fn input(traffic: &mut Traffic, position: u64) -> Input {
    let at = T0 + position as i64 * STEP_MICROS;
    let event = Ok(traffic.next(at));
    Input { position, log_time: Timestamp::from_micros(at), payload: Bytes::new(), event }
}

fn report(run: &Run, events: u64) {
    let each = |ns: u64| ns as f64 / events as f64 / 1_000.0;
    let wall = run.decided.wall + run.committed.wall;
    println!("{events} events counted, {} facts, {} keys", run.facts, run.state.len());
    println!(
        "{:.0} events/s; CPU {:.2} µs an event: decide {:.2}, commit {:.2}",
        events as f64 / wall.as_secs_f64(),
        each(run.decided.cpu_ns + run.committed.cpu_ns),
        each(run.decided.cpu_ns),
        each(run.committed.cpu_ns),
    );
}
