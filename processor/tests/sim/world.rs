//! One history: owners and sinks that are stopped anywhere and begin anew, between a log, a warehouse, an object store and
//! clocks with all of which everything goes wrong.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use processor::core::{CORE_VERSION, Head};
use processor::store::Committed as _;
use processor::{Metrics, Objects, ProcessorSettings};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use schemas::event::{Body, Event};
use schemas::wire;
use service::clock::{Clock as _, ManualClock};
use tokio::runtime::Runtime;

use crate::alone::{EDITS, FIRST_REVISIONS, Folded, decide_as};
use crate::breach::{Breach, seen_by_sinks};
use crate::finish::Remains;
use crate::log::{CATALOG, EVENTS, FACTS, SimLog};
use crate::memory::Fate;
use crate::objects::SimObjects;
use crate::pause::WrongClock;
use crate::place::{Outside, OwnerPlace, SinkPlace};
use crate::scene::{DAY, HOUR, MINUTE, Map, SECOND, T0};
use crate::tables::SimTables;
use crate::traffic::{Delivery, Edges};

/// Steps in which things go wrong.
const STEPS: usize = 2_400;

/// Everything but those who work.
pub(crate) struct World {
    pub(crate) rng: StdRng,
    runtime: Rc<Runtime>,
    pub(crate) clock: Arc<ManualClock>,
    /// The clocks of the log and of the warehouse.
    pub(crate) clocks: [Arc<WrongClock>; 2],
    pub(crate) edges: Edges,
    pub(crate) outside: Outside,
    pub(crate) tables: SimTables,
    pub(crate) objects: Option<SimObjects>,
    settings: ProcessorSettings,
    breach: Breach,
    /// Of eight times that somebody may be stopped, so many come true.
    stops: u32,
    pub(crate) states: Vec<(Map, Head)>,
    pub(crate) seen: BTreeSet<&'static str>,
}

/// Everybody who works.
pub(crate) struct Places {
    pub(crate) owners: [OwnerPlace; 2],
    pub(crate) sinks: [SinkPlace; 2],
}

/// The history of a seed.
pub(crate) fn history(seed: u64) -> Remains {
    broken_history(seed, Breach::None)
}

/// The history of a seed in which somebody breaks a promise.
pub(crate) fn broken_history(seed: u64, breach: Breach) -> Remains {
    let runtime = runtime();
    let _inside = runtime.enter();
    let (mut world, mut places) = World::new(seed, Rc::clone(&runtime), breach);
    for _ in 0..STEPS {
        world.step(&mut places);
    }
    world.finish(places)
}

/// A runtime whose timers go off when the simulation lets time pass, and at no other moment.
pub(crate) fn runtime() -> Rc<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Rc::new(builder.enable_time().start_paused(true).build().unwrap())
}

impl World {
    pub(crate) fn new(seed: u64, runtime: Rc<Runtime>, breach: Breach) -> (Self, Places) {
        let mut rng = StdRng::seed_from_u64(seed);
        let clock = ManualClock::at(T0);
        let clocks = [(); 2].map(|()| WrongClock::new(clock.clone()));
        let log = SimLog::new(rng.next_u64(), clocks[0].clone());
        log.append_now(CATALOG, EDITS[..FIRST_REVISIONS].to_vec());
        log.set_faults(true);
        if breach == Breach::DeletesTooMuch {
            log.delete_too_much(3);
        }
        let tables = SimTables::new(rng.next_u64(), (clocks[1].clone(), clock.clone()), breach);
        let objects = rng.random_ratio(7, 8).then(|| SimObjects::new(rng.next_u64(), clock.clone()));
        let settings = ProcessorSettings {
            batch_linger_ms: 0,
            snapshot_period_s: *[10, 10, 600].choose(&mut rng).unwrap(),
            snapshots_kept: *[1, 1, 2, 3].choose(&mut rng).unwrap(),
            archive_after_hours: *[0, 1, 1, 1, 24].choose(&mut rng).unwrap(),
            ..ProcessorSettings::default()
        };
        let outside = Outside {
            log,
            tables: seen_by_sinks(&tables, breach),
            objects: objects.clone().map(|objects| Objects::of(Arc::new(objects))),
            metrics: Metrics::register(&prometheus::Registry::new()).unwrap(),
            has_newer_core: Rc::default(),
            halted: Rc::default(),
        };
        let places = Places {
            owners: ["one owner", "another owner"]
                .map(|name| OwnerPlace::new(name, WrongClock::new(clock.clone()))),
            sinks: ["one sink", "another sink"]
                .map(|name| SinkPlace::new(name, WrongClock::new(clock.clone()))),
        };
        let edges = Edges::new(rng.random_range(10..50));
        let (states, seen, stops) = (Vec::new(), BTreeSet::new(), *[1, 4, 8].choose(&mut rng).unwrap());
        let world = Self {
            rng,
            runtime,
            clock,
            clocks,
            edges,
            outside,
            tables,
            objects,
            settings,
            breach,
            stops,
            states,
            seen,
        };
        (world, places)
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now_micros() - T0
    }

    pub(crate) fn step(&mut self, places: &mut Places) {
        let which = usize::from(self.rng.random_ratio(1, 3));
        match self.rng.random_range(0..1_000) {
            0..8 if self.rng.random_ratio(self.stops, 8) => self.stop(&mut places.owners[which]),
            8..14 if self.rng.random_ratio(self.stops, 8) => places.sinks[which].stop(),
            14..45 if self.edges.left > 0 => {
                let now = self.now();
                self.edges.make(&mut self.rng, now);
            }
            45..72 => self.deliver(),
            72..76 => self.append_rival(),
            76..82 => {
                let unit = [MINUTE, HOUR, DAY, DAY][self.rng.random_range(0..4)];
                let by = self.rng.random_range(unit..unit * 3);
                self.jump(by);
            }
            82..125 => {
                let by = SECOND * [1, 1, 5, 20][self.rng.random_range(0..4)];
                self.jump(by);
            }
            125..130 => self.set_a_clock(places),
            130..136 => places.owners[which].store.forget(),
            136..138 => {
                let fate = if self.rng.random_ratio(1, 2) { Fate::Lost } else { Fate::Unknown };
                places.owners[which].store.next_commit(fate);
            }
            138 => self.edit_catalog(),
            139 => self.objects.iter().for_each(SimObjects::rot),
            140..600 => self.poll(&mut places.owners[which]),
            _ => places.sinks[which].poll(&self.outside),
        }
    }

    /// Lets time pass. What would be older than an edge keeps it arrives before.
    fn jump(&mut self, by: i64) {
        let old = self.edges.take_old(self.now(), by);
        if by > HOUR {
            self.outside.log.land_late();
        }
        if !old.is_empty() {
            self.outside.log.set_faults(false);
            self.outside.log.append_now(EVENTS, old);
            self.outside.log.set_faults(true);
        }
        self.pass(by);
    }

    pub(crate) fn pass(&self, micros: i64) {
        let by = Duration::from_micros(micros.unsigned_abs());
        self.clock.advance(by);
        self.runtime.block_on(tokio::time::advance(by));
    }

    /// Some machine's clock jumps, ahead or back. The log's is never so wrong that a right one would refuse what it says, and the
    /// warehouse's goes back by little: rows are judged by it.
    fn set_a_clock(&mut self, places: &Places) {
        let any = [0, 0, -SECOND, -3 * MINUTE, 3 * MINUTE];
        let (of, by) = match self.rng.random_range(0..4) {
            0 => (&self.clocks[0], *any.choose(&mut self.rng).unwrap()),
            1 => (&self.clocks[1], self.clocks[1].wrong_by() + self.rng.random_range(-2..20) * SECOND),
            which => {
                let wrong = [0, 0, -MINUTE, -HOUR, MINUTE, HOUR, 30 * DAY];
                (&places.owners[which - 2].clock, *wrong.choose(&mut self.rng).unwrap())
            }
        };
        of.set_wrong_by(by);
    }

    /// The catalog gets its next record. It has no faults: who makes it waits until it is there.
    pub(crate) fn edit_catalog(&mut self) {
        if let Some(edit) = EDITS.get(self.edges.revisions) {
            self.outside.log.set_faults(false);
            self.outside.log.append_now(CATALOG, vec![edit.clone()]);
            self.outside.log.set_faults(true);
            self.edges.revisions += 1;
        }
    }

    /// An edge appends some of what it holds, in any order, and keeps what it has no answer for; some it sends twice.
    fn deliver(&mut self) {
        let count = self.rng.random_range(1..6).min(self.edges.outbox.len());
        if count == 0 {
            return;
        }
        let outbox = &mut self.edges.outbox;
        let taken: Vec<Delivery> =
            (0..count).map(|_| outbox.swap_remove(self.rng.random_range(0..outbox.len()))).collect();
        let payloads = taken.iter().map(|it| it.payload.clone()).collect();
        let answers = self.outside.log.append_now(EVENTS, payloads);
        for (delivery, answer) in taken.into_iter().zip(answers) {
            if answer.is_err() || self.rng.random_ratio(1, 8) {
                self.edges.outbox.push(delivery);
            }
        }
    }

    /// A record of another owner: on the chain's end with batches of its own, or long overtaken; of this core, or of an older one that
    /// thinks otherwise.
    fn append_rival(&mut self) {
        // None of them knows what a newer core has decided.
        if self.outside.has_newer_core.get() {
            return;
        }
        let facts = self.outside.log.read(FACTS);
        let is_stale = self.rng.random_ratio(1, 2);
        let known = if is_stale { self.rng.random_range(0..=facts.len()) } else { facts.len() };
        let mut folded = Folded::new();
        for record in &facts[..known] {
            folded.take(record).unwrap();
        }
        let events = self.outside.log.read(EVENTS);
        let from = folded.state.head().unwrap().source as usize;
        let to = events.len().min(from + self.rng.random_range(1..6));
        if from == to {
            return;
        }
        let core_version = self.rng.random_range(0..=CORE_VERSION);
        let read = if core_version < CORE_VERSION { of_another_opinion } else { |_: &mut Event| {} };
        let (mut record, _) = decide_as(&folded.state, &events[from..to], read);
        record.core_version = core_version;
        if !is_stale && core_version < CORE_VERSION {
            self.seen.insert("another opinion");
        }
        self.outside.log.append_now(FACTS, vec![wire::encode_record(record)]);
    }

    pub(crate) fn stop(&mut self, place: &mut OwnerPlace) {
        place.stop();
        self.states.push(place.store.all());
        if place.store.was_restored.get() {
            self.seen.insert("restored");
        }
        match self.rng.random_range(0..8) {
            0 => place.store = Rc::default(),
            1 | 2 if !place.before.is_empty() => {
                let before = self.rng.random_range(0..place.before.len());
                place.store = Rc::new(place.before[before].clone());
            }
            _ => place.before.push((*place.store).clone()),
        }
        place.store.hides_a_key.set(self.breach == Breach::SnapshotsLackAKey);
    }

    pub(crate) fn poll(&mut self, place: &mut OwnerPlace) {
        if !place.is_working() {
            let max_batch_events = [1, 2, 5, 5_000][self.rng.random_range(0..4)];
            let settings = ProcessorSettings { max_batch_events, ..self.settings.clone() };
            place.begin(&self.outside, settings);
        }
        place.poll();
    }
}

/// How an older core takes an event that knows neither coupons nor persons.
fn of_another_opinion(event: &mut Event) {
    if let Body::Conversion(conversion) = &mut event.body {
        conversion.coupon.clear();
        conversion.customer_id.clear();
        conversion.email_sha256 = None;
    }
}
