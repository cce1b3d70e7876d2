//! What other processes cost, from `/proc`.

use std::time::Duration;

use serde::Serialize;

use crate::LoadError;

/// The unit of the CPU times in `/proc`: Linux fixes it at 100 a second for user space.
const TICKS_PER_SECOND: u64 = 100;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, of all threads, in user space and in the kernel.
    pub cpu: Duration,
    /// Resident memory now, in KiB.
    pub resident_kib: u64,
    /// The most resident memory so far, in KiB.
    pub peak_resident_kib: u64,
}

/// What a process used during a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Its id.
    pub pid: u32,
    /// CPU time in seconds.
    pub cpu_seconds: f64,
    /// CPU time for each acknowledged event, in microseconds.
    pub cpu_micros_per_event: f64,
    /// Resident memory at the end, in KiB.
    pub resident_kib: u64,
    /// The most resident memory since the process began, in KiB.
    pub peak_resident_kib: u64,
}

/// Looks at a process.
pub fn usage(pid: u32) -> Result<Usage, LoadError> {
    let failed = |reason: &str| LoadError::Process { pid, reason: reason.to_owned() };
    let read = |file: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/{file}")).map_err(|_| failed("there is no such process"))
    };
    let cpu = parse_cpu(&read("stat")?).ok_or_else(|| failed("its CPU time cannot be read"))?;
    let status = read("status")?;
    let memory = |key| parse_kib(&status, key).ok_or_else(|| failed("its memory cannot be read"));
    Ok(Usage { cpu, resident_kib: memory("VmRSS:")?, peak_resident_kib: memory("VmHWM:")? })
}

/// The difference of two looks, shared among `events`.
pub fn cost(pid: u32, before: Usage, after: Usage, events: u64) -> Cost {
    let cpu = after.cpu.saturating_sub(before.cpu);
    Cost {
        pid,
        cpu_seconds: cpu.as_secs_f64(),
        cpu_micros_per_event: cpu.as_secs_f64() * 1e6 / events.max(1) as f64,
        resident_kib: after.resident_kib,
        peak_resident_kib: after.peak_resident_kib,
    }
}

fn parse_cpu(stat: &str) -> Option<Duration> {
    // The second field is the program's name in brackets, and may itself hold spaces and brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + kernel) * 1_000 / TICKS_PER_SECOND))
}

fn parse_kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_at() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_kib > 100 && usage.peak_resident_kib >= usage.resident_kib, "{usage:?}");
        assert_eq!(
            super::usage(u32::MAX).unwrap_err().to_string(),
            "process 4294967295: there is no such process"
        );
    }

    #[test]
    fn cpu_time_is_shared_among_events() {
        let stat = "42 (a ) b) S 1 1 1 0 -1 4194560 1 0 0 0 150 50 0 0 20 0";
        assert_eq!(parse_cpu(stat), Some(Duration::from_secs(2)));
        let before = Usage { cpu: Duration::from_secs(1), resident_kib: 1, peak_resident_kib: 1 };
        let after = Usage { cpu: Duration::from_secs(3), resident_kib: 7, peak_resident_kib: 9 };
        let cost = cost(42, before, after, 1_000_000);
        assert_eq!((cost.cpu_micros_per_event, cost.resident_kib), (2.0, 7));
    }
}
