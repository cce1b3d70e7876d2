//! Where CPU time goes: by process and by kind of thread, from the scheduler's own count in nanoseconds.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// CPU time by kind of thread: `process/thread`, where threads that differ in a number only are one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    kinds: BTreeMap<String, Duration>,
}

impl Cpu {
    /// Of a process and all its descendants, so far.
    pub(crate) fn of(pid: u32) -> Self {
        let mut cpu = Self::default();
        for pid in family(pid) {
            cpu.add_process(pid);
        }
        cpu
    }

    /// What was used since an earlier look. Threads that ended in between are left out.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let used = |(kind, now): (&String, &Duration)| {
            let before = earlier.kinds.get(kind).copied().unwrap_or_default();
            (kind.clone(), now.saturating_sub(before))
        };
        Self { kinds: self.kinds.iter().map(used).collect() }
    }

    /// Adds another measurement's.
    pub(crate) fn add(&mut self, other: &Self) {
        for (kind, used) in &other.kinds {
            *self.kinds.entry(kind.clone()).or_default() += *used;
        }
    }

    /// The same without one kind of thread.
    pub(crate) fn without(&self, thread: &str) -> Self {
        let is_other = |kind: &String| kind.rsplit_once('/').is_none_or(|(_, name)| name != thread);
        let kinds = self.kinds.iter().filter(|(kind, _)| is_other(kind));
        Self { kinds: kinds.map(|(kind, used)| (kind.clone(), *used)).collect() }
    }

    /// All together.
    pub(crate) fn total(&self) -> Duration {
        self.kinds.values().sum()
    }

    /// Microseconds for each of so many requests, of all threads together.
    pub(crate) fn micros_each(&self, requests: u64) -> f64 {
        each(self.total(), requests)
    }

    /// Microseconds for each of so many requests, by kind of thread, the dearest first; less than a hundredth of one is
    /// left out.
    pub(crate) fn by_kind(&self, requests: u64) -> Vec<(String, f64)> {
        let mut kinds: Vec<_> =
            self.kinds.iter().map(|(kind, used)| (kind.clone(), each(*used, requests))).collect();
        kinds.retain(|(_, micros)| *micros >= 0.01);
        kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
        kinds
    }

    fn add_process(&mut self, pid: u32) {
        let root = format!("/proc/{pid}");
        let process = std::fs::read_to_string(format!("{root}/comm")).unwrap_or_default();
        let Ok(tasks) = std::fs::read_dir(format!("{root}/task")) else { return };
        for task in tasks.flatten() {
            let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let Some(used) = of_schedstat(&task.path().join("schedstat")) else { continue };
            let kind = format!("{}/{}", process.trim(), kind_of(name.trim()));
            *self.kinds.entry(kind).or_default() += used;
        }
    }
}

fn each(used: Duration, requests: u64) -> f64 {
    used.as_secs_f64() * 1e6 / requests.max(1) as f64
}

/// A thread's name without its number.
fn kind_of(name: &str) -> &str {
    let kind =
        name.trim_end_matches(|character: char| character.is_ascii_digit() || "-_# :".contains(character));
    if kind.is_empty() { name } else { kind }
}

/// The first field of a `schedstat`: time on a CPU, in nanoseconds.
pub(crate) fn of_schedstat(path: &Path) -> Option<Duration> {
    let text = std::fs::read_to_string(path).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// A process and its descendants.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_differ_in_a_number_are_one_kind() {
        assert_eq!(kind_of("edge-0"), "edge");
        assert_eq!(kind_of("edge-11"), "edge");
        assert_eq!(kind_of("rdk:broker1"), "rdk:broker");
        assert_eq!(kind_of("7"), "7");
    }

    #[test]
    fn what_a_process_uses_is_seen_and_shared_among_requests() {
        let pid = std::process::id();
        let before = Cpu::of(pid);
        let mut number = 1_u64;
        while Cpu::of(pid).since(&before).total() < Duration::from_millis(1) {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        let used = Cpu::of(pid).since(&before);
        let sum: f64 = used.by_kind(1).iter().map(|(_, micros)| micros).sum();
        assert!((sum - used.micros_each(1)).abs() < 1.0, "{used:?}");
        assert!(family(pid).contains(&pid));
    }
}
