//! What was fetched and not yet read: a bounded place for each partition between the fetching thread and its reader.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::{Batch, Error, Partition, Position, Record};

/// Records of one partition that may wait to be read.
const MAX_WAITING_RECORDS: usize = 10_000;
/// Their bytes; the last record may go beyond.
const MAX_WAITING_BYTES: usize = 1 << 20;

/// The places of one subscription's partitions.
#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    /// For the fetching thread: there is room, something was fetched, or it must stop.
    signal: Condvar,
    /// For the reader: there are records or an error.
    arrived: Notify,
}

#[derive(Debug)]
struct State {
    places: Vec<Place>,
    /// The place that is looked at first, so that none waits behind a busy one.
    turn: usize,
    signalled: bool,
    stopped: bool,
    failure: Option<Error>,
}

/// One partition.
#[derive(Debug)]
struct Place {
    partition: Partition,
    waiting: VecDeque<Record>,
    bytes: usize,
    paused: bool,
    /// The next position to be fetched.
    fetched: Position,
    /// The next position to be read.
    read: Position,
    /// The log's end when the subscription was made.
    first_end: Position,
}

impl Inbox {
    /// Places for partitions, each with its first position and the log's end.
    pub(super) fn new(partitions: &[(Partition, Position, Position)]) -> Self {
        let place = |&(partition, position, first_end): &(Partition, Position, Position)| Place {
            partition,
            waiting: VecDeque::new(),
            bytes: 0,
            paused: false,
            fetched: position,
            read: position,
            first_end,
        };
        let state = State {
            places: partitions.iter().map(place).collect(),
            turn: 0,
            signalled: false,
            stopped: false,
            failure: None,
        };
        Self { state: Mutex::new(state), signal: Condvar::new(), arrived: Notify::new() }
    }

    /// How many records and bytes the place has room for; `None` if it is full.
    pub(super) fn room(&self, index: usize) -> Option<(usize, usize)> {
        let state = self.state.lock();
        let place = state.places.get(index)?;
        let records = MAX_WAITING_RECORDS.saturating_sub(place.waiting.len());
        let bytes = MAX_WAITING_BYTES.saturating_sub(place.bytes);
        if records == 0 || bytes == 0 { None } else { Some((records, bytes)) }
    }

    /// Takes what was fetched.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it does not go on where the last ended.
    pub(super) fn deliver(&self, index: usize, records: Vec<Record>) -> Result<(), Error> {
        let mut state = self.state.lock();
        let Some(place) = state.places.get_mut(index) else { return Ok(()) };
        for record in records {
            if record.position != place.fetched {
                let (partition, wanted, found) = (place.partition, place.fetched, record.position);
                return Err(Error::Corrupt(format!(
                    "{partition} jumps from {wanted} to {found}: its topic must not be compacted or transactional"
                )));
            }
            place.fetched += 1;
            place.bytes += record.key.len() + record.payload.len();
            place.waiting.push_back(record);
        }
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// The next position that is to be fetched.
    pub(super) fn fetched(&self, index: usize) -> Option<(Partition, Position)> {
        self.state.lock().places.get(index).map(|place| (place.partition, place.fetched))
    }

    /// Where a partition's place is.
    pub(super) fn index(&self, topic: &str, number: i32) -> Option<usize> {
        self.state.lock().places.iter().position(|place| {
            place.partition.topic == topic && i64::from(place.partition.number) == i64::from(number)
        })
    }

    /// Tells the reader. The first failure stays until it is read; one that is worth no retry stays for good.
    pub(super) fn fail(&self, error: Error) {
        let mut state = self.state.lock();
        if state.failure.as_ref().is_none_or(Error::is_retriable) {
            state.failure = Some(error);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// The next records to be read, or the failure.
    pub(super) fn take(&self, max_records: usize) -> Result<Option<Batch>, Error> {
        let mut state = self.state.lock();
        match &state.failure {
            Some(error) if error.is_retriable() => {
                return state.failure.take().map_or(Ok(None), Err);
            }
            Some(error) => return Err(error.clone()),
            None => {}
        }
        let (count, turn) = (state.places.len(), state.turn);
        let ready = (0..count).map(|step| (turn + step) % count).find(|&index| {
            let place = &state.places[index];
            !place.paused && !place.waiting.is_empty()
        });
        let Some(index) = ready else { return Ok(None) };
        state.turn = (index + 1) % count;
        let place = &mut state.places[index];
        let taken = place.waiting.len().min(max_records);
        let records: Vec<Record> = place.waiting.drain(..taken).collect();
        place.bytes -= records.iter().map(|record| record.key.len() + record.payload.len()).sum::<usize>();
        place.read += taken as u64;
        let batch = Batch { partition: place.partition, records };
        state.signalled = true;
        drop(state);
        self.signal.notify_one();
        Ok(Some(batch))
    }

    /// Waits for records or a failure; one that came since the last look ends it at once.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Whether records are still to come that were in the log when the subscription was made.
    pub(super) fn is_behind(&self) -> bool {
        self.state.lock().places.iter().any(|place| !place.paused && place.read < place.first_end)
    }

    pub(super) fn set_paused(&self, partition: Partition, paused: bool) {
        let mut state = self.state.lock();
        for place in state.places.iter_mut().filter(|place| place.partition == partition) {
            place.paused = paused;
        }
    }

    pub(super) fn positions(&self) -> BTreeMap<Partition, Position> {
        self.state.lock().places.iter().map(|place| (place.partition, place.read)).collect()
    }

    /// Wakes the fetching thread.
    pub(super) fn signal(&self) {
        self.state.lock().signalled = true;
        self.signal.notify_one();
    }

    /// Waits for a signal, at most this long; one given since the last wait ends it at once.
    pub(super) fn wait_for_signal(&self, limit: Duration) {
        let mut state = self.state.lock();
        if !state.signalled {
            self.signal.wait_for(&mut state, limit);
        }
        state.signalled = false;
    }

    /// Ends the fetching thread.
    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.signal();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }
}
