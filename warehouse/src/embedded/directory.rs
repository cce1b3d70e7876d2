//! One engine per data directory.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

const LOCK_FILE: &str = "engine.lock";

/// A dying predecessor holds its lock until the kernel has taken it down.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// Held for as long as the engine runs; the kernel frees it even after `kill -9`.
pub(crate) struct DirectoryLock {
    _file: Flock<File>,
}

/// Makes the directory if need be and waits for its lock.
pub(crate) fn lock(directory: &Path) -> io::Result<DirectoryLock> {
    fs::create_dir_all(directory)?;
    let path = directory.join(LOCK_FILE);
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    let begun = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(DirectoryLock { _file: locked }),
            Err((_, errno)) if begun.elapsed() >= LOCK_TIMEOUT => {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    format!("{} is in use by another engine ({errno})", directory.display()),
                ));
            }
            Err((unlocked, _)) => {
                file = unlocked;
                thread::sleep(LOCK_INTERVAL);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_goes_to_the_next_when_it_is_freed() {
        let directory = tempfile::tempdir().unwrap();
        let first = lock(directory.path()).unwrap();
        let path = directory.path().to_owned();
        let second = thread::spawn(move || lock(&path).map(|_| ()));
        assert!(!second.is_finished());
        drop(first);
        second.join().unwrap().unwrap();
    }
}
