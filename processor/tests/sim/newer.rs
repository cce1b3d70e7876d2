//! What a newer core has decided: everybody who has an older one halts before it, and nobody decides, commits or loads any further.

use processor::core::CORE_VERSION;
use processor::store::Committed as _;
use schemas::event::Event;
use schemas::wire;

use crate::alone::{Folded, decide_as};
use crate::checker::states_are_folds_of_the_chain;
use crate::log::{EVENTS, FACTS};
use crate::scene::{DAY, MINUTE};
use crate::world::World;

/// Steps before it decides, and after.
const STEPS: usize = 900;
/// Polls of each in which all must have met its record.
const POLLS: usize = 4_000;

/// A history in the middle of which a newer core decides something.
pub(crate) fn check(seed: u64) -> Result<(), String> {
    check_with(seed, CORE_VERSION + 1)
}

/// The same, where the core that decides has this version.
pub(crate) fn check_with(seed: u64, core_version: u32) -> Result<(), String> {
    let runtime = crate::world::runtime();
    let _inside = runtime.enter();
    let (mut world, mut places) = World::new(seed, runtime.clone(), crate::breach::Breach::None);
    for _ in 0..STEPS {
        world.step(&mut places);
    }
    let newer = append(&mut world, core_version);
    world.outside.has_newer_core.set(true);
    for _ in 0..STEPS {
        world.step(&mut places);
    }
    world.settle(&places);
    world.pass(2 * DAY);
    for round in 0..POLLS {
        for place in &mut places.owners {
            world.poll(place);
        }
        for place in &mut places.sinks {
            place.poll(&world.outside);
        }
        if round % 50 == 0 {
            world.pass(MINUTE);
        }
    }
    for place in &mut places.owners {
        world.stop(place);
    }
    let halted: Vec<_> = world.outside.halted.borrow().iter().filter(|it| it.1).map(|it| it.0).collect();
    if halted.len() < 4 {
        return Err(format!("of four that work only these halted: {halted:?}"));
    }
    if world.tables.last_record() >= Some(newer) {
        return Err("a sink has loaded what a newer core has decided".into());
    }
    let remains = world.remains();
    let folded = states_are_folds_of_the_chain(&remains)?;
    if folded.links.last().map(|link| link.position) != Some(newer) {
        return Err("somebody has decided behind a newer core".into());
    }
    match remains.states.iter().find(|(_, head)| head.record >= Some(newer)) {
        Some((_, head)) => {
            Err(format!("a state has committed what a newer core has decided: {:?}", head.record))
        }
        None => Ok(()),
    }
}

/// Gives the position of the newer core's record.
fn append(world: &mut World, core_version: u32) -> u64 {
    let log = world.outside.log.clone();
    log.set_faults(false);
    let mut edge = crate::scene::Traffic::of_edge(8);
    edge.catalog = crate::alone::CATALOGS[2].revision();
    log.append_now(EVENTS, vec![wire::encode_event(edge.click(world.now(), |_| {}))]);
    let mut folded = Folded::new();
    for record in log.read(FACTS) {
        folded.take(&record).unwrap();
    }
    let from = folded.state.head().unwrap().source as usize;
    let (mut record, _) = decide_as(&folded.state, &log.read(EVENTS)[from..], |_: &mut Event| {});
    record.core_version = core_version;
    let appended = log.append_now(FACTS, vec![wire::encode_record(record)]);
    log.set_faults(true);
    appended.into_iter().next().unwrap().unwrap()
}
