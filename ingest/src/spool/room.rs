//! How much may be held: a limit of bytes, and room that must stay free on the disk.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Limits;

/// How often the disk is asked for its free room.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The spool's room.
pub(super) struct Room {
    dir: PathBuf,
    limits: Limits,
    /// Bytes on their way to the disk.
    taken: AtomicU64,
    has_free: AtomicBool,
    looked: Mutex<Option<Instant>>,
}

/// Room for events on their way; given back when dropped, when they count among what is held.
pub(super) struct Taken<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Room {
    pub(super) fn new(dir: &Path, limits: Limits) -> Self {
        Self {
            dir: dir.to_owned(),
            limits,
            taken: AtomicU64::new(0),
            has_free: AtomicBool::new(true),
            looked: Mutex::new(None),
        }
    }

    /// Room for so many bytes beside those held; `None` if there is not enough.
    pub(super) fn take(&self, bytes: u64, held: u64) -> Option<Taken<'_>> {
        let before = self.taken.fetch_add(bytes, Ordering::AcqRel);
        // From here on the bytes are given back, whatever comes.
        let taken = Taken { room: self, bytes };
        self.holds(held.saturating_add(before).saturating_add(bytes)).then_some(taken)
    }

    /// Whether there is room for so many bytes beside those held.
    pub(super) fn has_room(&self, bytes: u64, held: u64) -> bool {
        self.holds(held.saturating_add(self.taken.load(Ordering::Acquire)).saturating_add(bytes))
    }

    fn holds(&self, bytes: u64) -> bool {
        bytes <= self.limits.max_bytes && self.has_free()
    }

    /// Whether enough is free on the disk, and still is when so many bytes more are written. Asks the disk.
    pub(super) fn leaves_free(&self, bytes: u64) -> bool {
        // A disk that does not tell is tried: the write itself will.
        statvfs(&self.dir).map_or(true, |disk| {
            let free = disk.blocks_available() as u128 * disk.fragment_size() as u128;
            free >= u128::from(self.limits.min_free_bytes) + u128::from(bytes)
        })
    }

    fn has_free(&self) -> bool {
        // Who finds somebody looking takes the last answer.
        if let Some(mut looked) = self.looked.try_lock()
            && looked.is_none_or(|at| at.elapsed() >= LOOK_INTERVAL)
        {
            self.has_free.store(self.leaves_free(0), Ordering::Release);
            *looked = Some(Instant::now());
        }
        self.has_free.load(Ordering::Acquire)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(max_bytes: u64, min_free_bytes: u64) -> Room {
        Room::new(Path::new("/"), Limits { max_bytes, min_free_bytes, queue_bytes: 0 })
    }

    #[test]
    fn room_is_bounded_and_given_back() {
        let room = room(100, 0);
        let first = room.take(40, 30).unwrap();
        assert!(room.has_room(30, 30) && !room.has_room(31, 30));
        assert!(room.take(31, 30).is_none());
        let second = room.take(30, 30).unwrap();
        assert!(room.take(1, 30).is_none());
        drop((first, second));
        assert!(room.take(70, 30).is_some());
        assert!(room.take(u64::MAX, u64::MAX).is_none());
        assert!(room.take(100, 0).is_some());
    }

    #[test]
    fn a_disk_without_enough_free_room_takes_nothing() {
        assert!(room(100, u64::MAX).take(1, 0).is_none());
        assert!(room(100, 0).leaves_free(0) && !room(100, 0).leaves_free(u64::MAX));
    }
}
