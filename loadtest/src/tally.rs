//! What a run came to.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::LoadError;
use crate::ledger::Fate;
use crate::process::Cost;

/// The longest latency that is told apart, in microseconds: an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// The sums of a run, while it runs.
#[derive(Debug)]
pub struct Tally {
    fates: BTreeMap<Fate, u64>,
    statuses: BTreeMap<u16, u64>,
    latency: Histogram<u64>,
    lag: Histogram<u64>,
    /// Requests that were due and not sent, because the server could not be reached any more.
    pub unsent: u64,
    /// The time from the start to the last answer.
    pub elapsed: Duration,
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Half of the requests took at most so long.
    pub p50: u64,
    /// 99 of 100 did.
    pub p99: u64,
    /// 999 of 1,000 did.
    pub p999: u64,
    /// All did.
    pub max: u64,
}

/// The sums of a run, to be shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Requests sent.
    pub sent: u64,
    /// Those answered with a receipt.
    pub acknowledged: u64,
    /// Those refused.
    pub refused: u64,
    /// Those redirected without a receipt.
    pub unrecorded: u64,
    /// Those without an answer, or with a failure.
    pub unknown: u64,
    /// Those that could not even be sent.
    pub unsent: u64,
    /// Lines of the log that are no request.
    pub bad_lines: u64,
    /// How many answers had which status.
    pub statuses: BTreeMap<u16, u64>,
    /// The time from the start to the last answer, in seconds.
    pub seconds: f64,
    /// Acknowledged requests a second.
    pub rate: f64,
    /// From the time a request was due until its answer was there.
    pub latency_micros: Percentiles,
    /// From the time a request was due until it was sent: the part of the latency that is the generator's own, or its
    /// wait for a free connection.
    pub lag_micros: Percentiles,
    /// What the watched processes used.
    pub costs: Vec<Cost>,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Result<Self, LoadError> {
        let histogram = || {
            Histogram::new_with_bounds(1, LONGEST_MICROS, SIGNIFICANT_DIGITS)
                .map_err(|error| LoadError::Arguments(error.to_string()))
        };
        Ok(Self {
            fates: BTreeMap::new(),
            statuses: BTreeMap::new(),
            latency: histogram()?,
            lag: histogram()?,
            unsent: 0,
            elapsed: Duration::ZERO,
        })
    }

    /// Adds one request: how long after it was due it was sent, and how long after it was due it was answered.
    pub fn add(&mut self, fate: Fate, status: Option<u16>, lag: Duration, latency: Duration) {
        *self.fates.entry(fate).or_default() += 1;
        self.lag.saturating_record(micros(lag));
        if let Some(status) = status {
            *self.statuses.entry(status).or_default() += 1;
            self.latency.saturating_record(micros(latency));
        }
    }

    /// How many requests ended so.
    pub fn count(&self, fate: Fate) -> u64 {
        self.fates.get(&fate).copied().unwrap_or_default()
    }

    /// The sums, to be shown.
    pub fn summary(&self, bad_lines: u64, costs: Vec<Cost>) -> Summary {
        let seconds = self.elapsed.as_secs_f64();
        let acknowledged = self.count(Fate::Acknowledged);
        Summary {
            sent: self.fates.values().sum(),
            acknowledged,
            refused: self.count(Fate::Refused),
            unrecorded: self.count(Fate::Unrecorded),
            unknown: self.count(Fate::Unknown),
            unsent: self.unsent,
            bad_lines,
            statuses: self.statuses.clone(),
            seconds,
            rate: if seconds > 0.0 { acknowledged as f64 / seconds } else { 0.0 },
            latency_micros: percentiles(&self.latency),
            lag_micros: percentiles(&self.lag),
            costs,
        }
    }
}

impl Summary {
    /// Prints the sums for people, or as JSON.
    pub fn print(&self, out: &mut impl Write, as_json: bool) -> Result<(), LoadError> {
        if as_json {
            serde_json::to_writer(&mut *out, self).map_err(std::io::Error::from)?;
            writeln!(out)?;
            return Ok(());
        }
        writeln!(out, "sent          {}", self.sent)?;
        writeln!(out, "acknowledged  {}", self.acknowledged)?;
        writeln!(out, "refused       {}", self.refused)?;
        writeln!(out, "unrecorded    {}", self.unrecorded)?;
        writeln!(out, "unknown       {}", self.unknown)?;
        writeln!(out, "unsent        {}", self.unsent)?;
        writeln!(out, "bad lines     {}", self.bad_lines)?;
        let statuses: Vec<_> =
            self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        writeln!(out, "statuses      {}", statuses.join(", "))?;
        writeln!(out, "rate          {:.0} acknowledged/s over {:.2} s", self.rate, self.seconds)?;
        writeln!(out, "latency µs    {}", self.latency_micros)?;
        writeln!(out, "of it lag µs  {}", self.lag_micros)?;
        for cost in &self.costs {
            writeln!(
                out,
                "process {}: {:.2} s CPU, {:.2} µs an acknowledged event, {} MiB resident, {} MiB at most",
                cost.pid,
                cost.cpu_seconds,
                cost.cpu_micros_per_event,
                cost.resident_kib / 1024,
                cost.peak_resident_kib / 1024
            )?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {}, p99 {}, p99.9 {}, max {}", self.p50, self.p99, self.p999, self.max)
    }
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    Percentiles {
        p50: histogram.value_at_quantile(0.5),
        p99: histogram.value_at_quantile(0.99),
        p999: histogram.value_at_quantile(0.999),
        max: histogram.max(),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_summed_up() {
        let mut tally = Tally::new().unwrap();
        for n in 1..=100 {
            tally.add(Fate::Acknowledged, Some(302), Duration::ZERO, Duration::from_micros(n));
        }
        tally.add(Fate::Unknown, None, Duration::ZERO, Duration::from_secs(30));
        tally.elapsed = Duration::from_secs(2);
        let summary = tally.summary(3, Vec::new());
        assert_eq!((summary.sent, summary.acknowledged, summary.unknown, summary.rate), (101, 100, 1, 50.0));
        assert_eq!(summary.latency_micros, Percentiles { p50: 50, p99: 99, p999: 100, max: 100 });
        let (mut text, mut json) = (Vec::new(), Vec::new());
        summary.print(&mut text, false).unwrap();
        assert!(String::from_utf8(text).unwrap().contains("statuses      302: 100\n"));
        summary.print(&mut json, true).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["latency_micros"]["p99"], 99);
    }
}
