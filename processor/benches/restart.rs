//! A state with many clicks is opened again: `just bench-restart`.
//!
//! Clicks of the traffic are applied as facts and committed, in the sizes in which an owner commits. Then the store is closed, opened, and
//! one conversion decided on it. `CLICKS` in the environment makes another size, `DIR` says where the state goes. What a machine still
//! has in memory of the files is not dropped.

#![allow(clippy::print_stdout, reason = "a bench answers on standard output")]

#[allow(dead_code, reason = "each bench uses a part of it")]
mod measure;
#[allow(dead_code, reason = "each bench uses a part of it")]
mod traffic;

use std::error::Error;
use std::time::Instant;

use bytes::Bytes;
use processor::core::{Input, Overlay, apply_decision, decide};
use processor::store::{Committed as _, Store};
use schemas::event::{Body, Event};
use schemas::fact::{ClickFact, Decision, Fact};
use schemas::time::Timestamp;

use measure::{number, peak_mib};
use traffic::{T0, Traffic, catalog_records, folded};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLICKS: u64 = 10_000_000;
/// Clicks committed at once.
const BATCH: u64 = 5_000;
/// Log time from one event to the next: 250,000 events a second.
const STEP_MICROS: i64 = 4;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo says so when it is asked for benches; a test run only builds them.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let clicks = number("CLICKS", CLICKS)?;
    let dir = match std::env::var_os("DIR") {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let catalog = folded(&catalog_records()?)?;
    let mut traffic = Traffic::new(1, catalog.revision());
    let mut position = 0;
    let mut next = |wanted: fn(&Body) -> bool| loop {
        position += 1;
        let at = Timestamp::from_micros(T0 + position * STEP_MICROS);
        let event = traffic.next(at.micros());
        if wanted(&event.body) {
            return (at, event);
        }
    };
    let store = Store::open(dir.path(), 0)?;
    while store.head()?.source < clicks {
        let mut overlay = Overlay::new(&store, store.head()?);
        for _ in 0..BATCH {
            let (at, event) = next(|body| matches!(body, Body::Click(_)));
            let decision =
                Decision { source: overlay.head().source, core_time: at, facts: vec![stored(event)] };
            apply_decision(&mut overlay, &decision)?;
        }
        let changes = overlay.into_changes();
        store.commit(changes)?;
    }
    drop(store);
    println!("{clicks} clicks in the state, {} MiB at most while they came", peak_mib()?);
    let (log_time, event) = next(|body| matches!(body, Body::Conversion(_)));
    let began = Instant::now();
    let store = Store::open(dir.path(), 0)?;
    let opened = began.elapsed();
    let head = store.head()?;
    let input = Input { position: head.source, log_time, payload: Bytes::new(), event: Ok(event) };
    let mut overlay = Overlay::new(&store, head);
    let decision = decide(&mut overlay, &catalog, input)?;
    let decided = began.elapsed();
    println!(
        "opened after {opened:.2?}, a conversion decided after {decided:.2?}: {} facts",
        decision.facts.len()
    );
    Ok(())
}

/// The fact of a click, with the labels that the first one of a visitor has.
fn stored(event: Event) -> Fact {
    let Body::Click(mut click) = event.body else { return Fact::Ticked };
    click.hit.labels.push(schemas::event::label::UNIQUE_LINK_24H.to_owned());
    click.hit.labels.push(schemas::event::label::UNIQUE_OFFER_24H.to_owned());
    let (receipt, workspace, received_at) = (event.id, event.workspace, event.received_at);
    Fact::Click(Box::new(ClickFact { receipt, workspace, received_at, click }))
}
