//! What a run is measured by.

use std::collections::BTreeMap;
use std::error::Error;

/// A number from the environment.
pub(crate) fn number(name: &str, or: u64) -> Result<u64, Box<dyn Error>> {
    match std::env::var_os(name) {
        Some(text) => Ok(text.to_str().ok_or("not a number")?.parse()?),
        None => Ok(or),
    }
}

/// Nanoseconds that a thread has had of a processor, by the scheduler's own count.
pub(crate) fn cpu_ns(task: &str) -> Result<u64, Box<dyn Error>> {
    let stat = std::fs::read_to_string(format!("{task}/schedstat"))?;
    Ok(stat.split(' ').next().ok_or("an empty schedstat")?.parse()?)
}

/// The same of every thread of this process, by name. One that has ended is not among them.
pub(crate) fn cpu_of_threads() -> Result<BTreeMap<String, u64>, Box<dyn Error>> {
    let mut threads = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path().display().to_string();
        // A thread may end between two looks.
        if let (Ok(name), Ok(ns)) = (std::fs::read_to_string(format!("{task}/comm")), cpu_ns(&task)) {
            *threads.entry(name.trim_end().to_owned()).or_default() += ns;
        }
    }
    Ok(threads)
}

/// The most memory that this process has had, in MiB.
pub(crate) fn peak_mib() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("an empty VmHWM")?.parse()?;
    Ok(kib / 1024)
}
