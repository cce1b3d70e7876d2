//! Two servers in turn, ABAB, with one client: their speed, their cost, and the ratio of both.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::answer::Expected;
use super::client::{self, Outcome, Plan, Rhythm};
use super::cpu::Cpu;
use super::report::Report;
use super::server::Server;
use super::{EdgeBench, Part};
use crate::LoadError;

/// So long a server is driven before it is measured: caches, JVMs, TCP windows.
pub(crate) const WARM_UP: Duration = Duration::from_secs(3);
/// Threads of the client where throughput is measured: as many as the machine has cores, or the client would be the limit.
const THREADS: usize = 2;

/// One of the two that are compared.
pub(crate) struct Side<'a> {
    server: &'a mut Server,
    requests: Vec<Vec<u8>>,
    expected: Expected,
    sum: Sum,
}

/// What all turns of one side came to.
#[derive(Default)]
pub(crate) struct Sum {
    rates: Vec<f64>,
    pub(crate) answered: u64,
    errors: u64,
    sample: Option<String>,
    pub(crate) cpu: Cpu,
    client_cpu: Duration,
    latency: Option<Histogram<u64>>,
}

impl<'a> Side<'a> {
    pub(crate) fn new(server: &'a mut Server, requests: Vec<Vec<u8>>, expected: Expected) -> Self {
        Self { server, requests, expected, sum: Sum::default() }
    }

    /// One turn. The other server, and what this one still has to do of the turn before, are quiet meanwhile.
    fn turn(&mut self, bench: &EdgeBench, duration: Duration) -> Result<(), LoadError> {
        self.server.settle()?;
        let before = self.server.cpu();
        let outcome = client::run(&Plan {
            address: self.server.address,
            requests: &self.requests,
            expected: self.expected,
            connections: bench.connections,
            threads: THREADS,
            rhythm: Rhythm::Closed,
            duration,
        })?;
        self.sum.cpu.add(&self.server.cpu().since(&before));
        self.sum.take(outcome)
    }
}

impl Sum {
    fn take(&mut self, outcome: Outcome) -> Result<(), LoadError> {
        self.rates.push(outcome.rate());
        self.answered += outcome.answered;
        self.errors += outcome.errors();
        self.client_cpu += outcome.client_cpu;
        self.sample = self.sample.take().or(outcome.sample);
        match &mut self.latency {
            Some(latency) => {
                latency.add(outcome.latency).map_err(|error| LoadError::Arguments(error.to_string()))?;
            }
            None => self.latency = Some(outcome.latency),
        }
        Ok(())
    }

    pub(crate) fn rate(&self) -> f64 {
        self.rates.iter().sum::<f64>() / self.rates.len().max(1) as f64
    }

    fn client_micros(&self) -> f64 {
        self.client_cpu.as_secs_f64() * 1e6 / self.answered.max(1) as f64
    }

    /// Errors, and one of them.
    fn note(&self) -> String {
        let errors = match self.errors {
            0 => String::new(),
            errors => format!("{errors} errors; "),
        };
        let sample = self.sample.as_deref().unwrap_or_default();
        format!("{errors}client {:.1} µs a request {sample}", self.client_micros())
    }
}

/// Drives the two in turn, ABAB, and puts both and their ratio into the report.
pub(crate) fn compare<'a>(
    bench: &EdgeBench,
    report: &mut Report,
    part: Part,
    names: [&str; 2],
    mut nginx: Side<'a>,
    mut edge: Side<'a>,
) -> Result<(Sum, Sum), LoadError> {
    for side in [&mut nginx, &mut edge] {
        side.turn(bench, WARM_UP)?;
        side.sum = Sum::default();
    }
    for _ in 0..bench.rounds {
        nginx.turn(bench, bench.turn)?;
        edge.turn(bench, bench.turn)?;
    }
    let (nginx, edge) = (nginx.sum, edge.sum);
    let part = part.name();
    for (name, sum) in [(names[0], &nginx), (names[1], &edge)] {
        report.add(part, format!("{name}: requests"), sum.rate(), "/s");
        report.note(sum.note());
        report.add(part, format!("{name}: CPU a request"), sum.cpu.micros_each(sum.answered), "µs");
        report.note(kinds(&sum.cpu, sum.answered));
    }
    let mut ratios: Vec<f64> =
        edge.rates.iter().zip(&nginx.rates).map(|(edge, nginx)| edge / nginx.max(1.0)).collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
    report.add(part, format!("{} : {}", names[1], names[0]), median, "");
    let (least, most) =
        (ratios.first().copied().unwrap_or_default(), ratios.last().copied().unwrap_or_default());
    report.note(format!("median of {} pairs of turns, {least:.2}–{most:.2}", ratios.len()));
    Ok((nginx, edge))
}

pub(crate) fn kinds(cpu: &Cpu, requests: u64) -> String {
    let kinds = cpu.by_kind(requests);
    kinds.iter().take(12).map(|(kind, micros)| format!("{kind} {micros:.2}")).collect::<Vec<_>>().join(", ")
}
