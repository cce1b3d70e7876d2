//! Sends a sequence of requests over a fixed number of connections, each when it is due, in order.

use std::borrow::Cow;
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use service::clock::Clock;
use tokio::time::Instant;

use crate::LoadError;
use crate::ledger::{Entry, Fate, Writer};
use crate::tally::Tally;
use crate::wire::{Answer, Connection, Target};

/// No answer after this time is no answer.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// The runtime's timer and the kernel's wait each round up to a millisecond. So much earlier the wait ends: a request goes
/// out up to so much before it is due rather than after, which would look like the server's latency.
const TIMER_SLACK: Duration = Duration::from_millis(2);

/// How long a server may be unreachable: normally, and while it is being killed and started again on purpose.
const PATIENCE: Duration = Duration::from_secs(2);
const LONG_PATIENCE: Duration = Duration::from_secs(120);

/// One request to come.
#[derive(Debug, Clone)]
pub struct Job {
    /// When it is due, as the time since the start; nothing = at once.
    pub due: Option<Duration>,
    /// Its method.
    pub method: Cow<'static, str>,
    /// Its bytes.
    pub request: Rc<[u8]>,
}

/// A sequence of requests.
pub trait Load {
    /// The next one, or nothing at the end.
    fn next_job(&mut self) -> Result<Option<Job>, LoadError>;
}

/// How a sequence is sent.
#[derive(Debug, Clone)]
pub struct Drive {
    /// Where to.
    pub target: Target,
    /// How many requests may be under way.
    pub connections: usize,
    /// Whether to wait for a server that is away, instead of giving up soon.
    pub keeps_going: bool,
    /// Where each request is written down.
    pub ledger: Option<PathBuf>,
}

/// What the connections share. All of them live on one thread.
struct Run<'a, 'load> {
    drive: &'a Drive,
    clock: &'a dyn Clock,
    ledger: Option<&'a Writer>,
    start: Instant,
    start_micros: i64,
    state: RefCell<State<'load>>,
}

struct State<'load> {
    load: &'load mut dyn Load,
    next: u64,
    tally: Tally,
    /// Why the run ends early.
    failure: Option<LoadError>,
}

impl Drive {
    /// Sends everything and returns the sums. When the server stays away, what was not sent is counted as unsent.
    pub async fn run(&self, load: &mut dyn Load, clock: &dyn Clock) -> Result<Tally, LoadError> {
        if self.connections == 0 {
            return Err(LoadError::Arguments("at least one connection is needed".to_owned()));
        }
        // A server that is not there at all is an error, not a result.
        drop(self.target.connect(Instant::now() + self.patience()).await?);
        let ledger = self.ledger.as_deref().map(Writer::create).transpose()?;
        let tally = Tally::new()?;
        // Both clocks in one breath: the ledger's times are the one, counted by the other. A ledger that is ahead of the
        // server's clock would begin after its own first event.
        let (start_micros, start) = (clock.now_micros(), Instant::now());
        let state = RefCell::new(State { load, next: 0, tally, failure: None });
        let ledger_ref = ledger.as_ref();
        let run = Run { drive: self, clock, ledger: ledger_ref, start, start_micros, state };
        futures::future::join_all((0..self.connections).map(|_| run.worker())).await;
        let mut state = run.state.into_inner();
        state.tally.elapsed = start.elapsed();
        if let Some(ledger) = ledger {
            ledger.finish()?;
        }
        match state.failure {
            Some(LoadError::Connect { .. }) | None => {
                while state.failure.is_some() && state.load.next_job()?.is_some() {
                    state.tally.unsent += 1;
                }
                Ok(state.tally)
            }
            Some(failure) => Err(failure),
        }
    }

    fn patience(&self) -> Duration {
        if self.keeps_going { LONG_PATIENCE } else { PATIENCE }
    }
}

impl Run<'_, '_> {
    async fn worker(&self) {
        let mut connection = None;
        while let Some((number, job)) = self.take() {
            if let Some(due) = job.due {
                tokio::time::sleep_until(self.start + due.saturating_sub(TIMER_SLACK)).await;
            }
            let usable = connection.take().filter(Connection::is_usable);
            let mut open = match usable {
                Some(open) => open,
                None => match self.drive.target.connect(Instant::now() + self.drive.patience()).await {
                    Ok(open) => open,
                    Err(failure) => {
                        let mut state = self.state.borrow_mut();
                        state.tally.unsent += 1;
                        state.failure.get_or_insert(failure);
                        return;
                    }
                },
            };
            let sent = Instant::now();
            let exchange = open.exchange(&job.request, job.method != "HEAD");
            let answer = match tokio::time::timeout(REQUEST_DEADLINE, exchange).await {
                Ok(Ok(answer)) => Some(answer),
                Ok(Err(_)) | Err(_) => None,
            };
            self.note(number, &job, sent, answer);
            connection = Some(open);
        }
    }

    /// The next request, unless the run is over.
    fn take(&self) -> Option<(u64, Job)> {
        let mut state = self.state.borrow_mut();
        if state.failure.is_some() {
            return None;
        }
        match state.load.next_job() {
            Ok(job) => {
                let number = state.next;
                state.next += 1;
                job.map(|job| (number, job))
            }
            Err(failure) => {
                state.failure = Some(failure);
                None
            }
        }
    }

    fn note(&self, number: u64, job: &Job, sent: Instant, answer: Option<Answer>) {
        let ended = Instant::now();
        let scheduled = job.due.map_or(sent, |due| sent.min(self.start + due));
        let status = answer.as_ref().map(|answer| answer.status);
        let (receipt, click_id) = answer.map_or((None, None), |answer| (answer.receipt, answer.click_id));
        let fate = Fate::of(status, receipt.is_some());
        let mut state = self.state.borrow_mut();
        state.tally.add(fate, status, sent - scheduled, ended - scheduled);
        let Some(ledger) = self.ledger else { return };
        let entry = Entry {
            n: number,
            scheduled: self.micros(scheduled),
            sent: self.micros(sent),
            ended: self.clock.now_micros(),
            method: job.method.clone().into_owned(),
            status,
            receipt,
            click_id,
        };
        // The writer ends early only with an error of its own, which it reports at the end: stop soon, and let it.
        if !ledger.record(entry) {
            state.failure.get_or_insert(LoadError::Arguments("the ledger cannot be written".to_owned()));
        }
    }

    fn micros(&self, instant: Instant) -> i64 {
        let since = i64::try_from((instant - self.start).as_micros()).unwrap_or(i64::MAX);
        self.start_micros.saturating_add(since)
    }
}
