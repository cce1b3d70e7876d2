//! Where an owner or a sink works, one life after the other: as the runner has it, stopped anywhere.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use eventlog::EventLog;
use processor::assignment::Assignment;
use processor::owner::OwnerParts;
use processor::runner::{decide, keep_going, load};
use processor::sink::{SinkParts, Tables};
use processor::snapshot::Keeper;
use processor::{Error, Failpoints, Health, Metrics, Objects, ProcessorSettings, SinkSettings, Workers};
use service::lifecycle::Shutdown;

use crate::log::SimLog;
use crate::memory::Memory;
use crate::pause::WrongClock;
use crate::scene::MINUTE;

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// What all places share.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) log: SimLog,
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) objects: Option<Objects>,
    pub(crate) metrics: Metrics,
    /// Whether a newer core has decided something.
    pub(crate) has_newer_core: Rc<Cell<bool>>,
    /// Who stopped until somebody looks, and whether for a newer core.
    pub(crate) halted: Rc<RefCell<BTreeSet<(&'static str, bool)>>>,
}

impl Outside {
    /// A partition may halt only for what is so: a clock that is wrong, what a newer core has decided, and a log that let go what was not
    /// read yet, because others have long done so.
    fn hear(&self, who: &'static str, done: &Result<(), Error>, clock: &WrongClock) {
        let Err(error) = done else { panic!("it stopped by itself") };
        if error.is_retriable() {
            return;
        }
        let is_newer_core = matches!(error, Error::NewerCore { .. });
        self.halted.borrow_mut().insert((who, is_newer_core));
        // What was seen then is said when what comes before it has landed: the clock may be right again.
        let was_behind = clock.was_behind_by() > 7 * MINUTE;
        let is_justified = matches!(error, Error::ClockAhead { .. }) && was_behind
            || is_newer_core && self.has_newer_core.get()
            || matches!(error, Error::Log(eventlog::Error::OutOfRange { position, start, .. }) if position < start);
        assert!(is_justified, "halted: {error}");
    }
}

/// A place where one owner after the other decides.
pub(crate) struct OwnerPlace {
    name: &'static str,
    pub(crate) store: Rc<Memory>,
    pub(crate) clock: Arc<WrongClock>,
    work: Option<Work>,
    /// States to which a power loss may set it back.
    pub(crate) before: Vec<Memory>,
}

/// A place where one sink after the other loads.
pub(crate) struct SinkPlace {
    name: &'static str,
    clock: Arc<WrongClock>,
    work: Option<Work>,
}

fn poll(work: &mut Work) {
    if let Poll::Ready(()) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        panic!("nobody said that it shall stop");
    }
}

impl OwnerPlace {
    pub(crate) fn new(name: &'static str, clock: Arc<WrongClock>) -> Self {
        Self { name, store: Rc::default(), clock, work: None, before: Vec::new() }
    }

    pub(crate) fn is_working(&self) -> bool {
        self.work.is_some()
    }

    pub(crate) fn stop(&mut self) {
        self.work = None;
    }

    pub(crate) fn begin(&mut self, outside: &Outside, settings: ProcessorSettings) {
        let log: Arc<dyn EventLog> = Arc::new(outside.log.clone());
        let parts = OwnerParts {
            partition: 0,
            assignment: Assignment::default(),
            log,
            objects: outside.objects.clone(),
            settings,
            clock: self.clock.clone(),
            health: Health::default().partition("processor", 0, &outside.metrics),
            metrics: outside.metrics.owner(0),
            failpoints: Failpoints::default(),
            workers: Workers::Nobody,
        };
        let keeper = Keeper::of(&parts, &outside.tables, Arc::new(|| true), outside.metrics.snapshots(0));
        let (store, outside, clock) = (Rc::clone(&self.store), outside.clone(), self.clock.clone());
        let name = self.name;
        self.work = Some(Box::pin(async move {
            let shutdown = Shutdown::new();
            keep_going(&parts.health, &shutdown, async || {
                store.reopen();
                let done = decide(&parts, keeper.as_ref(), store.as_ref(), &shutdown).await;
                outside.hear(name, &done, &clock);
                done
            })
            .await;
        }));
    }

    pub(crate) fn poll(&mut self) {
        self.work.iter_mut().for_each(poll);
    }
}

impl SinkPlace {
    pub(crate) fn new(name: &'static str, clock: Arc<WrongClock>) -> Self {
        Self { name, clock, work: None }
    }

    pub(crate) fn stop(&mut self) {
        self.work = None;
    }

    /// Polls the sink, a new one if there is none.
    pub(crate) fn poll(&mut self, outside: &Outside) {
        let work =
            self.work.get_or_insert_with(|| begin_sink(self.name, outside.clone(), self.clock.clone()));
        poll(work);
    }
}

fn begin_sink(name: &'static str, outside: Outside, clock: Arc<WrongClock>) -> Work {
    let log: Arc<dyn EventLog> = Arc::new(outside.log.clone());
    let parts = SinkParts {
        partition: 0,
        assignment: Assignment::default(),
        log,
        warehouse: outside.tables.clone(),
        objects: outside.objects.clone(),
        settings: SinkSettings::default(),
        health: Health::default().partition("sink", 0, &outside.metrics),
        metrics: outside.metrics.sink(0),
        failpoints: Failpoints::default(),
    };
    Box::pin(async move {
        let shutdown = Shutdown::new();
        keep_going(&parts.health, &shutdown, async || {
            let done = load(&parts, &shutdown).await;
            outside.hear(name, &done, &clock);
            done
        })
        .await;
    })
}
