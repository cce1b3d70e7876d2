//! The client that drives the edge and nginx alike: a few threads, each with its own epoll and its share of the
//! connections. It must cost less than the servers it measures, so there is no runtime and no allocation per request.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::answer::{Expected, Parser};
use crate::LoadError;

/// How often an open loop looks at its schedule. So much later than due a request may go out; it counts as latency.
const TICK: Duration = Duration::from_micros(200);
/// Answers that are read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Events taken from the kernel at a time.
const EVENTS: usize = 256;
/// The longest latency that is told apart.
const LONGEST_MICROS: u64 = 60_000_000;
/// How long the last answers may take after the end of a run.
const DRAIN: Duration = Duration::from_secs(10);
const POLL_MS: u16 = 50;
/// The key of the timer among the connections'.
const TIMER: u64 = u64::MAX;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rhythm {
    /// Each connection sends its next request when it has the answer to the last one.
    Closed,
    /// So many requests a second are due, whatever the server does; latency counts from there.
    Open(f64),
}

/// What is sent, to whom, and how.
pub(crate) struct Plan<'a> {
    pub(crate) address: SocketAddr,
    /// The bytes of the requests, sent in turn.
    pub(crate) requests: &'a [Vec<u8>],
    pub(crate) expected: Expected,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) rhythm: Rhythm,
    pub(crate) duration: Duration,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Answers as they should be.
    pub(crate) answered: u64,
    /// Other answers.
    pub(crate) wrong: u64,
    /// Connections that broke with a request under way.
    pub(crate) broken: u64,
    /// Requests that were due and never sent, or never answered.
    pub(crate) unanswered: u64,
    /// One of the wrong answers, to be shown.
    pub(crate) sample: Option<String>,
    pub(crate) elapsed: Duration,
    pub(crate) latency: Histogram<u64>,
    /// CPU time of the client's threads.
    pub(crate) client_cpu: Duration,
}

impl Outcome {
    fn new() -> Result<Self, LoadError> {
        let latency = Histogram::new_with_bounds(1, LONGEST_MICROS, 3)
            .map_err(|error| LoadError::Arguments(error.to_string()))?;
        let none = Duration::ZERO;
        Ok(Self {
            answered: 0,
            wrong: 0,
            broken: 0,
            unanswered: 0,
            sample: None,
            elapsed: none,
            latency,
            client_cpu: none,
        })
    }

    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Requests that did not end as they should.
    pub(crate) fn errors(&self) -> u64 {
        self.wrong + self.broken + self.unanswered
    }

    fn add(&mut self, other: Self) -> Result<(), LoadError> {
        self.answered += other.answered;
        self.wrong += other.wrong;
        self.broken += other.broken;
        self.unanswered += other.unanswered;
        self.sample = self.sample.take().or(other.sample);
        self.elapsed = self.elapsed.max(other.elapsed);
        self.client_cpu += other.client_cpu;
        self.latency.add(other.latency).map_err(|error| LoadError::Arguments(error.to_string()))
    }
}

/// Runs a plan to its end.
pub(crate) fn run(plan: &Plan<'_>) -> Result<Outcome, LoadError> {
    // All connections are open before the first request, so that no thread begins early.
    let open = |thread| Worker::open(plan, thread);
    let workers = (0..plan.threads).map(open).collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    let mut sum = Outcome::new()?;
    let outcomes: Vec<Result<Outcome, LoadError>> = std::thread::scope(|scope| {
        let started: Vec<_> =
            workers.into_iter().map(|worker| scope.spawn(move || worker.drive(start))).collect();
        started.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
    });
    for outcome in outcomes {
        sum.add(outcome?)?;
    }
    Ok(sum)
}

fn panicked() -> LoadError {
    LoadError::Arguments("a client thread panicked".to_owned())
}

/// One connection, which carries one request at a time.
struct Connection {
    stream: TcpStream,
    parser: Parser,
    /// Since when the request under way was due; nothing = idle.
    due: Option<Instant>,
    request: usize,
    written: usize,
    waits_to_write: bool,
}

impl Connection {
    fn open(address: SocketAddr, expected: Expected) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let parser = Parser::new(expected);
        Ok(Self { stream, parser, due: None, request: 0, written: 0, waits_to_write: false })
    }
}

/// A thread's share.
struct Worker<'a> {
    plan: &'a Plan<'a>,
    epoll: Epoll,
    timer: Option<TimerFd>,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    next_request: usize,
    /// Requests due so far, of an open loop.
    scheduled: u64,
    under_way: usize,
    thread: usize,
    outcome: Outcome,
}

impl<'a> Worker<'a> {
    fn open(plan: &'a Plan<'a>, thread: usize) -> Result<Self, LoadError> {
        let failed = |reason: String| LoadError::Connect { address: plan.address.to_string(), reason };
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|e| failed(e.to_string()))?;
        let share = plan.connections / plan.threads + usize::from(thread < plan.connections % plan.threads);
        let mut connections = Vec::with_capacity(share);
        for key in 0..share {
            let connection =
                Connection::open(plan.address, plan.expected).map_err(|e| failed(e.to_string()))?;
            watch(&epoll, &connection.stream, key).map_err(|e| failed(e.to_string()))?;
            connections.push(connection);
        }
        let timer = match plan.rhythm {
            Rhythm::Closed => None,
            Rhythm::Open(_) => Some(ticking(&epoll).map_err(|e| failed(e.to_string()))?),
        };
        let idle = (0..share).rev().collect();
        // Each thread begins elsewhere among the requests.
        let next_request = thread * plan.requests.len() / plan.threads;
        let outcome = Outcome::new()?;
        Ok(Self {
            plan,
            epoll,
            timer,
            connections,
            idle,
            next_request,
            scheduled: 0,
            under_way: 0,
            thread,
            outcome,
        })
    }

    fn drive(mut self, start: Instant) -> Result<Outcome, LoadError> {
        let address = self.plan.address;
        let failed =
            |error: io::Error| LoadError::Connect { address: address.to_string(), reason: error.to_string() };
        let cpu = thread_cpu();
        let end = start + self.plan.duration;
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut buffer = vec![0; READ_BYTES];
        let mut now = Instant::now();
        loop {
            if now < end || self.is_open() {
                // What was due and found no connection goes late, and counts from when it was due.
                self.send_due(start, now.min(end)).map_err(failed)?;
            }
            if now >= end && (self.under_way == 0 || now > end + DRAIN) {
                break;
            }
            let ready = match self.epoll.wait(&mut events, EpollTimeout::from(POLL_MS)) {
                Ok(ready) => ready,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(failed(error.into())),
            };
            for event in &events[..ready] {
                if event.data() == TIMER {
                    self.timer.as_ref().map_or(Ok(()), TimerFd::wait).map_err(|e| failed(e.into()))?;
                    continue;
                }
                let key = usize::try_from(event.data()).unwrap_or_default();
                self.attend(key, &mut buffer).map_err(failed)?;
            }
            now = Instant::now();
        }
        self.outcome.unanswered += self.under_way as u64 + self.never_sent(end - start);
        self.outcome.elapsed = now.min(end) - start;
        self.outcome.client_cpu = thread_cpu().saturating_sub(cpu);
        Ok(self.outcome)
    }

    const fn is_open(&self) -> bool {
        match self.plan.rhythm {
            Rhythm::Closed => false,
            Rhythm::Open(_) => true,
        }
    }

    /// The seconds between two requests of this thread, in an open loop.
    fn interval(&self) -> Option<f64> {
        match self.plan.rhythm {
            Rhythm::Closed => None,
            Rhythm::Open(rate) => Some(self.plan.threads as f64 / rate),
        }
    }

    /// When the next request of an open loop is due, as the time since the start. The threads take turns.
    fn next_due(&self, interval: f64) -> Duration {
        let turn = self.thread as f64 / self.plan.threads as f64;
        Duration::from_secs_f64((self.scheduled as f64 + turn) * interval)
    }

    fn never_sent(&mut self, duration: Duration) -> u64 {
        let Some(interval) = self.interval() else { return 0 };
        let mut count = 0;
        while self.next_due(interval) < duration {
            self.scheduled += 1;
            count += 1;
        }
        count
    }

    fn send_due(&mut self, start: Instant, now: Instant) -> io::Result<()> {
        let Some(interval) = self.interval() else {
            while let Some(key) = self.idle.pop() {
                self.send(key, now)?;
            }
            return Ok(());
        };
        while let Some(&key) = self.idle.last() {
            let due = start + self.next_due(interval);
            if due > now {
                return Ok(());
            }
            self.idle.pop();
            self.scheduled += 1;
            self.send(key, due)?;
        }
        Ok(())
    }

    fn send(&mut self, key: usize, due: Instant) -> io::Result<()> {
        let connection = &mut self.connections[key];
        connection.due = Some(due);
        connection.request = self.next_request;
        connection.written = 0;
        self.under_way += 1;
        self.next_request = (self.next_request + 1) % self.plan.requests.len();
        self.write(key)
    }

    /// Writes as much as goes; the kernel tells when the rest goes.
    fn write(&mut self, key: usize) -> io::Result<()> {
        let connection = &mut self.connections[key];
        let request = &self.plan.requests[connection.request];
        while connection.written < request.len() {
            match (&connection.stream).write(&request[connection.written..]) {
                Ok(written) => connection.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.watch_writing(key, true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.replace(key),
            }
        }
        if connection.waits_to_write { self.watch_writing(key, false) } else { Ok(()) }
    }

    fn watch_writing(&mut self, key: usize, waits: bool) -> io::Result<()> {
        let connection = &mut self.connections[key];
        connection.waits_to_write = waits;
        let flags = if waits { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
        Ok(self.epoll.modify(&connection.stream, &mut EpollEvent::new(flags, key as u64))?)
    }

    /// Reads what came, and writes what did not go before.
    fn attend(&mut self, key: usize, buffer: &mut [u8]) -> io::Result<()> {
        if self.connections[key].waits_to_write {
            self.write(key)?;
        }
        let connection = &mut self.connections[key];
        let read = match (&connection.stream).read(buffer) {
            Ok(0) => return self.replace(key),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(_) => return self.replace(key),
        };
        let Some(answer) = connection.parser.take(&buffer[..read]) else { return Ok(()) };
        let Some(due) = connection.due.take() else { return self.replace(key) };
        self.under_way -= 1;
        if answer.is_expected {
            self.outcome.answered += 1;
            let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(LONGEST_MICROS);
            self.outcome.latency.saturating_record(micros);
        } else {
            self.outcome.wrong += 1;
            let shown = || String::from_utf8_lossy(&buffer[..read.min(600)]).into_owned();
            self.outcome.sample.get_or_insert_with(shown);
        }
        if answer.closes {
            return self.replace(key);
        }
        self.idle.push(key);
        Ok(())
    }

    /// A new connection in the place of one that broke or was closed.
    fn replace(&mut self, key: usize) -> io::Result<()> {
        if self.connections[key].due.is_some() {
            self.outcome.broken += 1;
            self.under_way -= 1;
        }
        let fresh = Connection::open(self.plan.address, self.plan.expected)?;
        watch(&self.epoll, &fresh.stream, key)?;
        // The old one leaves the epoll when it is closed.
        self.connections[key] = fresh;
        if !self.idle.contains(&key) {
            self.idle.push(key);
        }
        Ok(())
    }
}

fn watch(epoll: &Epoll, stream: impl AsFd, key: usize) -> io::Result<()> {
    Ok(epoll.add(stream, EpollEvent::new(EpollFlags::EPOLLIN, key as u64))?)
}

fn ticking(epoll: &Epoll) -> nix::Result<TimerFd> {
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
    timer.set(Expiration::Interval(TimeSpec::from_duration(TICK)), TimerSetTimeFlags::empty())?;
    epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
    Ok(timer)
}

/// What this thread has used, by the scheduler's own count in nanoseconds.
fn thread_cpu() -> Duration {
    super::cpu::of_schedstat(std::path::Path::new("/proc/thread-self/schedstat")).unwrap_or_default()
}
