//! One history: owners that are stopped anywhere and begin anew, on a log on which everything goes wrong.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use eventlog::{EventLog, Record};
use processor::core::{CORE_VERSION, Head};
use processor::owner::{Owner, OwnerParts};
use processor::store::Committed as _;
use processor::{Error, Failpoints, Health, Metrics, ProcessorSettings, Workers};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use schemas::fact::OutcomeStatus;
use schemas::wire;
use service::clock::{Clock as _, ManualClock};
use service::lifecycle::Shutdown;

use crate::alone::{Folded, decide_range};
use crate::log::{CATALOG, EVENTS, FACTS, SimLog};
use crate::memory::Memory;
use crate::scene::{DAY, HOUR, MINUTE, Map, SECOND, T0, proposals};
use crate::traffic::{Delivery, Edges};

/// Steps in which things go wrong.
const STEPS: usize = 1_800;
/// An owner that has not decided everything after as many polls never will.
const MAX_POLLS: usize = 100_000;

/// What a history leaves behind.
pub(crate) struct Remains {
    pub(crate) events: Vec<Record>,
    pub(crate) facts: Vec<Record>,
    /// Every state that an owner had when it was stopped; the last one has seen everything.
    pub(crate) states: Vec<(Map, Head)>,
}

type Work = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// A place where one owner after the other works.
#[derive(Default)]
struct Place {
    store: Rc<Memory>,
    work: Option<Work>,
    /// States to which a power loss may set it back.
    before: Vec<Memory>,
}

struct World {
    rng: StdRng,
    clock: Arc<ManualClock>,
    log: SimLog,
    edges: Edges,
    metrics: Metrics,
    states: Vec<(Map, Head)>,
}

/// The history of a seed.
pub(crate) fn history(seed: u64) -> Remains {
    // Timers need a runtime to exist; nobody drives it, so that none ever fires and only the seed decides who goes on.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _inside = runtime.enter();
    let mut rng = StdRng::seed_from_u64(seed);
    let clock = ManualClock::at(T0);
    let log = SimLog::new(rng.next_u64(), clock.clone());
    log.append_now(CATALOG, proposals());
    log.set_faults(true);
    let edges = Edges::new(rng.random_range(10..50));
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let mut world = World { rng, clock, log, edges, metrics, states: Vec::new() };
    let mut places = [Place::default(), Place::default()];
    for _ in 0..STEPS {
        world.step(&mut places);
    }
    world.finish(places)
}

impl World {
    fn now(&self) -> i64 {
        self.clock.now_micros() - T0
    }

    fn step(&mut self, places: &mut [Place; 2]) {
        let which = usize::from(self.rng.random_ratio(1, 3));
        match self.rng.random_range(0..1_000) {
            0..10 => self.stop(&mut places[which]),
            10..45 if self.edges.left > 0 => {
                let now = self.now();
                self.edges.make(&mut self.rng, now);
            }
            45..75 => self.deliver(),
            75..80 => self.append_rival(),
            80..86 => {
                let unit = [MINUTE, HOUR, HOUR, DAY][self.rng.random_range(0..4)];
                let by = self.rng.random_range(unit..unit * 3);
                self.jump(by);
            }
            86..130 => self.jump(SECOND),
            130..140 => places[which].store.forget(),
            _ => self.poll(&mut places[which]),
        }
    }

    /// Lets time pass. What would be older than an edge keeps it arrives before.
    fn jump(&mut self, by: i64) {
        let old = self.edges.take_old(self.now(), by);
        if by > HOUR {
            self.log.land_late();
        }
        if !old.is_empty() {
            self.log.set_faults(false);
            self.log.append_now(EVENTS, old);
            self.log.set_faults(true);
        }
        self.clock.advance(Duration::from_micros(by.unsigned_abs()));
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
        let answers = self.log.append_now(EVENTS, taken.iter().map(|it| it.payload.clone()).collect());
        for (delivery, answer) in taken.into_iter().zip(answers) {
            if answer.is_err() || self.rng.random_ratio(1, 8) {
                self.edges.outbox.push(delivery);
            }
        }
    }

    /// A record of another owner: on the chain's end with batches of its own, or long overtaken.
    fn append_rival(&mut self) {
        let facts = self.log.read(FACTS);
        let is_stale = self.rng.random_ratio(1, 2);
        let known = if is_stale { self.rng.random_range(0..=facts.len()) } else { facts.len() };
        let mut folded = Folded::new();
        for record in &facts[..known] {
            folded.take(record).unwrap();
        }
        let events = self.log.read(EVENTS);
        let from = folded.state.head().unwrap().source as usize;
        let to = events.len().min(from + self.rng.random_range(1..6));
        if from == to {
            return;
        }
        let (mut record, _) = decide_range(&folded.state, &events[from..to]);
        // An older core's facts are as good as any.
        record.core_version = self.rng.random_range(0..=CORE_VERSION);
        self.log.append_now(FACTS, vec![wire::encode_record(&record)]);
    }

    fn stop(&mut self, place: &mut Place) {
        place.work = None;
        self.states.push(place.store.all());
        match self.rng.random_range(0..8) {
            0 => place.store = Rc::default(),
            1 | 2 if !place.before.is_empty() => {
                let before = self.rng.random_range(0..place.before.len());
                place.store = Rc::new(place.before[before].clone());
            }
            _ => place.before.push((*place.store).clone()),
        }
    }

    fn poll(&mut self, place: &mut Place) {
        if place.work.is_none() {
            place.work = Some(self.begin(&place.store));
        }
        if let Some(work) = &mut place.work
            && let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            match done {
                Err(error) if error.is_retriable() => place.work = None,
                Err(error) => panic!("an owner halted: {error}"),
                Ok(()) => panic!("an owner stopped by itself"),
            }
        }
    }

    fn begin(&mut self, store: &Rc<Memory>) -> Work {
        let max_batch_events = [1, 2, 5, 5_000][self.rng.random_range(0..4)];
        let settings =
            ProcessorSettings { max_batch_events, batch_linger_ms: 0, ..ProcessorSettings::default() };
        let log: Arc<dyn EventLog> = Arc::new(self.log.clone());
        let parts = OwnerParts {
            partition: 0,
            log,
            objects: None,
            settings,
            clock: self.clock.clone(),
            health: Health::default().partition("processor", 0, &self.metrics),
            metrics: self.metrics.owner(0),
            failpoints: Failpoints::default(),
            workers: Workers::Nobody,
        };
        let store = Rc::clone(store);
        Box::pin(async move { Owner::on(&parts, &*store).await?.work(&Shutdown::new()).await })
    }

    /// Nothing goes wrong any more: one fresh owner decides everything, up to the end of every wait.
    fn finish(mut self, mut places: [Place; 2]) -> Remains {
        for place in &mut places {
            self.stop(place);
        }
        while self.edges.left > 0 {
            let now = self.now();
            self.edges.make(&mut self.rng, now);
        }
        self.log.land_late();
        self.log.set_faults(false);
        let rest = self.edges.outbox.drain(..).map(|it| it.payload).collect();
        self.log.append_now(EVENTS, rest);
        self.clock.advance(Duration::from_micros((8 * DAY + MINUTE).unsigned_abs()));
        let mut place = Place::default();
        let mut polls = 0;
        while !self.is_over(&place.store) {
            self.poll(&mut place);
            polls += 1;
            if polls % 50 == 0 {
                self.clock.advance(Duration::from_secs(1));
            }
            assert!(polls < MAX_POLLS, "not everything is decided: {:?}", place.store.head());
        }
        self.states.push(place.store.all());
        Remains { events: self.log.read(EVENTS), facts: self.log.read(FACTS), states: self.states }
    }

    fn is_over(&self, store: &Memory) -> bool {
        let head = store.head().unwrap();
        let parked = head.counters.outcomes[OutcomeStatus::Parked as usize];
        head.source == self.log.end(EVENTS) && parked == 0 && head.uncut == 0
    }
}
