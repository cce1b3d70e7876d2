//! What the disk alone takes: an append and an `fdatasync`, again and again, beside a run and in the same folder.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::LoadError;

/// What one group of clicks comes to.
const GROUP_BYTES: usize = 16 * 1024;
/// Between two. Often enough for a p99.9 in half a minute, and rarely enough not to be the disk's load itself.
const INTERVAL: Duration = Duration::from_millis(5);
const LONGEST_MICROS: u64 = 60_000_000;

/// A probe that runs until it is finished.
pub(crate) struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<Histogram<u64>>>,
}

impl Probe {
    /// Begins in this folder.
    pub(crate) fn start(dir: &Path) -> Result<Self, LoadError> {
        let file = tempfile_in(dir)?;
        let histogram = Histogram::new_with_bounds(1, LONGEST_MICROS, 3)
            .map_err(|error| LoadError::Arguments(error.to_string()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || measure(file, histogram, &stopped));
        Ok(Self { stop, thread })
    }

    /// Ends it; the times in microseconds.
    pub(crate) fn finish(self) -> Result<Histogram<u64>, LoadError> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(measured) => Ok(measured?),
            Err(_) => Err(LoadError::Arguments("the disk's probe panicked".to_owned())),
        }
    }
}

/// A file that is gone when it is closed.
fn tempfile_in(dir: &Path) -> Result<std::fs::File, LoadError> {
    let path = dir.join("fdatasync-probe");
    let open = || {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    };
    open().map_err(|error: std::io::Error| LoadError::File { path: path.clone(), reason: error.to_string() })
}

fn measure(
    mut file: std::fs::File,
    mut histogram: Histogram<u64>,
    stop: &AtomicBool,
) -> std::io::Result<Histogram<u64>> {
    let group = vec![0x5a; GROUP_BYTES];
    loop {
        let began = Instant::now();
        file.write_all(&group)?;
        file.sync_data()?;
        histogram.saturating_record(u64::try_from(began.elapsed().as_micros()).unwrap_or(LONGEST_MICROS));
        if stop.load(Ordering::Relaxed) {
            return Ok(histogram);
        }
        std::thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_measures_until_it_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let probe = Probe::start(dir.path()).unwrap();
        assert!(!probe.finish().unwrap().is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
