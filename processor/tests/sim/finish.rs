//! How a history ends: nothing goes wrong any more, everything is decided and loaded, and what is left is gathered.

use std::collections::BTreeSet;
use std::sync::Arc;

use eventlog::{EventLog, Record};
use processor::archive::History;
use processor::assignment::PartitionOf;
use processor::core::Head;
use processor::snapshot::Snapshots;
use processor::store::Committed as _;
use schemas::fact::OutcomeStatus;

use crate::alone::EDITS;
use crate::log::{EVENTS, FACTS};
use crate::memory::Memory;
use crate::objects::SimObjects;
use crate::pause::{WrongClock, finished};
use crate::place::{OwnerPlace, SinkPlace};
use crate::scene::{DAY, HOUR, Map, SECOND};
use crate::tables::Warehoused;
use crate::world::{Places, World};

/// Polls in which a keeper, of whom nobody hears, has come to its end.
const KEEPER_POLLS: usize = 600;
/// Whoever has not come to the end after as many polls never will.
const MAX_POLLS: usize = 100_000;

/// What a history leaves behind.
pub(crate) struct Remains {
    pub(crate) events: Vec<Record>,
    pub(crate) facts: Vec<Record>,
    /// Every state that an owner had when it was stopped; the last one has seen everything.
    pub(crate) states: Vec<(Map, Head)>,
    /// The states in the snapshots that are left.
    pub(crate) snapshots: Vec<(Map, Head)>,
    /// Events and facts as archive and log give them together; `None` where there is no archive.
    pub(crate) archived: Option<[Vec<Record>; 2]>,
    pub(crate) warehoused: Warehoused,
    /// What has happened on the way.
    pub(crate) seen: BTreeSet<&'static str>,
}

impl World {
    /// Nothing goes wrong any more: one fresh owner decides everything, up to the end of every wait, and one fresh sink loads it.
    pub(crate) fn finish(mut self, mut places: Places) -> Remains {
        for place in &mut places.owners {
            self.stop(place);
        }
        places.sinks.iter_mut().for_each(SinkPlace::stop);
        while self.edges.left > 0 {
            let now = self.now();
            self.edges.make(&mut self.rng, now);
        }
        for _ in 0..EDITS.len() {
            self.edit_catalog();
        }
        if self.outside.log.bounds_now(EVENTS).start > 0 {
            self.seen.insert("deleted on the way");
        }
        self.settle(&places);
        let rest = self.edges.outbox.drain(..).map(|it| it.payload).collect();
        self.outside.log.append_now(EVENTS, rest);
        self.pass(8 * DAY + HOUR);
        let mut owner = OwnerPlace::new("the last owner", WrongClock::new(self.clock.clone()));
        let mut sink = SinkPlace::new("the last sink", WrongClock::new(self.clock.clone()));
        self.come_to_the_end(&mut owner, &mut sink);
        // Then what nobody needs goes from the log, and what is held is approved.
        self.pass(2 * DAY);
        for _ in 0..KEEPER_POLLS {
            owner.poll();
        }
        self.come_to_the_end(&mut owner, &mut sink);
        self.states.push(owner.store.all());
        self.remains()
    }

    /// Nothing goes wrong any more, and all clocks are right.
    pub(crate) fn settle(&self, places: &Places) {
        self.outside.log.land_late();
        self.outside.log.set_faults(false);
        self.tables.settle();
        self.objects.iter().for_each(SimObjects::settle);
        let owners = places.owners.iter().map(|place| &place.clock);
        self.clocks.iter().chain(owners).for_each(|clock| clock.set_wrong_by(0));
    }

    /// Until everything is decided and loaded.
    fn come_to_the_end(&mut self, owner: &mut OwnerPlace, sink: &mut SinkPlace) {
        let mut polls = 0;
        while !self.is_over(&owner.store) {
            self.poll(owner);
            self.go_on(&mut polls);
        }
        while self.tables.last_finished() < owner.store.head().unwrap().cut {
            sink.poll(&self.outside);
            self.go_on(&mut polls);
        }
    }

    fn go_on(&self, polls: &mut usize) {
        *polls += 1;
        if polls.is_multiple_of(50) {
            self.pass(SECOND);
        }
        assert!(*polls < MAX_POLLS, "it does not come to its end");
    }

    fn is_over(&self, store: &Memory) -> bool {
        let head = store.head().unwrap();
        let parked = head.counters.outcomes[OutcomeStatus::Parked as usize];
        head.source == self.outside.log.bounds_now(EVENTS).end && parked == 0 && head.uncut == 0
    }

    pub(crate) fn remains(mut self) -> Remains {
        let log = &self.outside.log;
        if log.bounds_now(EVENTS).start > 0 {
            self.seen.insert("deleted");
        }
        if !self.outside.halted.borrow().is_empty() {
            self.seen.insert("halted");
        }
        Remains {
            events: log.read(EVENTS),
            facts: log.read(FACTS),
            snapshots: self.snapshots(),
            archived: self.archived(),
            states: self.states,
            warehoused: self.tables.remains(),
            seen: self.seen,
        }
    }

    /// The states in the snapshots that are left.
    fn snapshots(&self) -> Vec<(Map, Head)> {
        let Some(objects) = &self.outside.objects else { return Vec::new() };
        let log: Arc<dyn EventLog> = Arc::new(self.outside.log.clone());
        let snapshots =
            Snapshots::new(objects.clone(), log, PartitionOf::first(0), self.outside.metrics.snapshots(0));
        finished(async {
            let mut states = Vec::new();
            for snapshot in snapshots.kept().await.unwrap() {
                // One that lost its end is told from one that is whole, and that is all that is asked of it.
                if let Ok(state) = snapshots.load(&snapshot).await {
                    states.push((state.pairs, state.head));
                }
            }
            states
        })
    }

    /// Events and facts from their beginning on, wherever they are.
    fn archived(&self) -> Option<[Vec<Record>; 2]> {
        let objects = self.outside.objects.as_ref()?;
        let log: Arc<dyn EventLog> = Arc::new(self.outside.log.clone());
        let all = |partition| {
            let (log, objects) = (Arc::clone(&log), objects.clone());
            finished(async move {
                let mut records = Vec::new();
                let mut history = History::from(log, Some(objects), partition, 0).await.unwrap();
                while let Some(record) = history.next().await.unwrap() {
                    records.push(record);
                }
                records
            })
        };
        Some([all(EVENTS), all(FACTS)])
    }
}
