//! The state of one partition on disk: fjall, one keyspace, one atomic batch for each accepted record.
//!
//! The store need not be synced: facts are the truth, and what a power loss takes is folded again from them.

use std::path::Path;
use std::sync::Arc;

use fjall::compaction::filter::Factory;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, Readable as _};

use crate::core::{self, Changes, Head, Keys, Pair, State, StateError, Value, Visit, Walk};
use crate::error::Error;
use crate::forget::{CommittedTime, HeldTime};
use crate::touches::Touches;

/// Version of the layout of keys and values. A newer one in a directory is refused.
pub(crate) const LAYOUT: u32 = 1;
const FORMAT_KEY: &[u8] = b"F";
const HEAD_KEY: &[u8] = b"H";
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
const MEMTABLE_BYTES: u64 = 32 * 1024 * 1024;

/// Committed state as an owner works on it: read by the core, moved by accepted records alone.
pub trait Committed: State {
    /// Where the state stands.
    fn head(&self) -> Result<Head, StateError>;

    /// Commits the changes of one accepted record, all or nothing.
    fn commit(&self, changes: Changes) -> Result<(), StateError>;
}

/// A partition's state.
pub struct Store {
    database: Database,
    keyspace: Keyspace,
    /// What the state says of itself.
    format: Vec<u8>,
    committed_time: CommittedTime,
    touches: Touches,
}

/// A partition's state as it is at one moment; what is committed later does not change it.
pub struct View {
    /// As long as it is there, nothing is forgotten that was not over then.
    _held: HeldTime,
    snapshot: fjall::Snapshot,
    keyspace: Keyspace,
}

impl View {
    /// Where the state stands.
    ///
    /// # Errors
    /// [`StateError`] if it cannot be read.
    pub fn head(&self) -> Result<Head, StateError> {
        let bytes = self.snapshot.get(&self.keyspace, HEAD_KEY).map_err(|error| failed(&error))?;
        bytes.map_or_else(|| Ok(Head::default()), |bytes| Head::decode(&bytes))
    }

    /// Every key of the state with its value, in order; the head is not among them, nor is what the store may forget at any time: so
    /// that two stores of the same facts say the same.
    ///
    /// # Errors
    /// [`StateError`] if the head cannot be read.
    pub fn pairs(&self) -> Result<impl Iterator<Item = Result<Pair, StateError>>, StateError> {
        let now = self.head()?.core_time;
        let is_state = move |(key, value): &Pair| {
            key != FORMAT_KEY && key != HEAD_KEY && !core::is_over(key, value, now)
        };
        let pairs = self.snapshot.iter(&self.keyspace).map(pair);
        Ok(pairs.filter(move |pair| pair.as_ref().map_or(true, &is_state)))
    }
}

fn pair(guard: fjall::Guard) -> Result<Pair, StateError> {
    let (key, value) = guard.into_inner().map_err(|error| failed(&error))?;
    Ok((key.to_vec(), value.to_vec()))
}

fn failed(error: &fjall::Error) -> StateError {
    StateError::Store(error.to_string())
}

impl Store {
    /// Opens the state of a partition, or begins one.
    ///
    /// # Errors
    /// [`Error::StateDirectory`] if the state is of another version or of another partition. [`StateError::Store`], which is worth
    /// another try, if the directory cannot be opened: another process has it, or the disk is full.
    pub fn open(dir: &Path, partition: u32) -> Result<Self, Error> {
        let refused = |problem: String| Error::StateDirectory { dir: dir.display().to_string(), problem };
        let committed_time = CommittedTime::unknown();
        let open = || -> Result<(Database, Keyspace), fjall::Error> {
            let forgets: Arc<dyn Factory> = Arc::new(committed_time.clone());
            let database = Database::builder(dir)
                .cache_size(CACHE_BYTES)
                .worker_threads(1)
                .with_compaction_filter_factories(Arc::new(move |_| Some(forgets.clone())))
                .open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            let keyspace = database.keyspace("state", options)?;
            Ok((database, keyspace))
        };
        let failed_to_open =
            |error: fjall::Error| StateError::Store(format!("{} cannot be opened: {error}", dir.display()));
        let (database, keyspace) = match open() {
            // A power loss can tear what was not synced. Nothing of it is lost: it is folded again from the facts.
            Err(error @ fjall::Error::JournalRecovery(_)) => {
                tracing::warn!(dir = %dir.display(), %error, "the state is torn and begins anew from the facts");
                std::fs::remove_dir_all(dir)
                    .and_then(|()| std::fs::create_dir_all(dir))
                    .map_err(|error| StateError::Store(format!("{}: {error}", dir.display())))?;
                open().map_err(failed_to_open)?
            }
            opened => opened.map_err(failed_to_open)?,
        };
        let format = [LAYOUT.to_be_bytes(), partition.to_be_bytes()].concat();
        let touches = Touches::none();
        let store = Self { database, keyspace, format: format.clone(), committed_time, touches };
        match store.get(FORMAT_KEY)? {
            None => store.keyspace.insert(FORMAT_KEY, format).map_err(|error| failed(&error))?,
            Some(found) if *found == format[..] => {}
            Some(found) if found.len() == 8 && found[..4] == format[..4] => {
                return Err(refused(format!("is not that of partition {partition}")));
            }
            Some(_) => {
                return Err(refused(format!(
                    "is of another version than {LAYOUT}: use the version that wrote it"
                )));
            }
        }
        store.committed_time.set(store.head()?.core_time);
        Ok(store)
    }
}

impl Store {
    /// The state as it is now.
    pub fn view(&self) -> View {
        // Held before the moment of the view, so that no later time comes between.
        let held = self.committed_time.hold();
        View { _held: held, snapshot: self.database.snapshot(), keyspace: self.keyspace.clone() }
    }

    /// Whether nothing was ever committed, or taken in to its end.
    ///
    /// # Errors
    /// [`StateError`] if it cannot be read.
    pub fn is_empty(&self) -> Result<bool, StateError> {
        Ok(self.get(HEAD_KEY)?.is_none())
    }

    /// Removes everything, also what is left of an import that did not come to its end.
    pub(crate) fn clear(&self) -> Result<(), StateError> {
        self.committed_time.begin_anew();
        let clear = || {
            self.keyspace.clear()?;
            self.keyspace.insert(FORMAT_KEY, &*self.format)
        };
        let cleared = clear().map_err(|error| failed(&error));
        self.touches.begin_anew();
        cleared
    }

    /// Takes in pairs of a snapshot. The state stays empty until [`Self::found`].
    pub(crate) fn import(&self, pairs: Vec<Pair>) -> Result<(), StateError> {
        let mut batch = self.database.batch();
        for (key, value) in pairs {
            batch.insert(&self.keyspace, key, value);
        }
        let committed = batch.commit().map_err(|error| failed(&error));
        self.touches.begin_anew();
        committed
    }

    /// Says where the state stands of which all pairs were taken in.
    pub(crate) fn found(&self, head: Head) -> Result<(), StateError> {
        self.commit(Changes { head, keys: Keys::default() })
    }
}

impl Committed for Store {
    fn head(&self) -> Result<Head, StateError> {
        self.get(HEAD_KEY)?.map_or_else(|| Ok(Head::default()), |bytes| Head::decode(&bytes))
    }

    fn commit(&self, changes: Changes) -> Result<(), StateError> {
        let mut batch = self.database.batch();
        let mut changed: Vec<_> = changes.keys.into_iter().collect();
        // Neighbours lie in the same places of the store's memory.
        changed.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (key, value) in &changed {
            match value {
                Some(value) => batch.insert(&self.keyspace, key.as_slice(), value.clone()),
                None => batch.remove(&self.keyspace, key.as_slice()),
            }
        }
        batch.insert(&self.keyspace, HEAD_KEY, changes.head.encode());
        if let Err(error) = batch.commit() {
            // Whether it is there or not: what is read next is what the disk has.
            self.touches.begin_anew();
            return Err(failed(&error));
        }
        self.committed_time.set(changes.head.core_time);
        self.touches.commit(
            changed
                .iter()
                .filter_map(|(key, value)| Some((core::visitor_of(key)?, key.as_slice(), value.as_ref()))),
        );
        Ok(())
    }
}

impl State for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, StateError> {
        let value = self.keyspace.get(key).map_err(|error| failed(&error))?;
        Ok(value.map(Value::from))
    }

    fn visit(&self, walk: Walk<'_>, visit: &mut Visit<'_>) -> Result<(), StateError> {
        let Walk { from, to, backward } = walk;
        if from >= to {
            return Ok(());
        }
        let whose = core::visitor_of(from).filter(|whose| core::visitor_of(to).as_ref() == Some(whose));
        let Some(visitor) = whose else { return self.walk(walk, visit) };
        match self.touches.of(&visitor, &|walk, limit| self.read(walk, limit))?.visit(walk, visit) {
            Some((from, to)) => self.walk(Walk { from: &from, to: &to, backward }, visit),
            None => Ok(()),
        }
    }
}

impl Store {
    /// Up to so many pairs of a walk on disk.
    fn read(&self, walk: Walk<'_>, limit: usize) -> Result<Vec<Pair>, StateError> {
        let mut found = Vec::new();
        self.walk(walk, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            found.len() < limit
        })?;
        Ok(found)
    }

    /// Walks on disk.
    fn walk(&self, Walk { from, to, backward }: Walk<'_>, visit: &mut Visit<'_>) -> Result<(), StateError> {
        let mut range = self.keyspace.range(from..to);
        while let Some(guard) = if backward { range.next_back() } else { range.next() } {
            let (key, value) = guard.into_inner().map_err(|error| failed(&error))?;
            if !visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use schemas::time::Timestamp;

    use super::*;

    #[test]
    fn what_was_committed_is_there_after_reopening_and_scans_are_ordered() {
        let dir = tempfile::tempdir().unwrap();
        let head = Head { source: 7, ..Head::default() };
        {
            let store = Store::open(dir.path(), 2).unwrap();
            assert_eq!(store.head().unwrap(), Head::default());
            let keys = (0..10_u8).map(|n| (vec![b'k', n], Some([n].into()))).collect();
            store.commit(Changes { head: Head::default(), keys }).unwrap();
            let keys = [(vec![b'k', 3], None)].into_iter().collect();
            store.commit(Changes { head: head.clone(), keys }).unwrap();
        }
        let store = Store::open(dir.path(), 2).unwrap();
        assert_eq!(store.head().unwrap(), head);
        let keys = |backward| -> Vec<u8> {
            let pairs = store.scan(b"k\x01", b"k\x06", 3, backward).unwrap();
            pairs.into_iter().map(|(key, _)| key[1]).collect()
        };
        assert_eq!(keys(false), [1, 2, 4]);
        assert_eq!(keys(true), [5, 4, 2]);
    }

    #[test]
    fn a_unique_click_is_forgotten_once_its_window_is_over_and_nothing_else_is() {
        const DAY: i64 = 24 * 3_600 * 1_000_000;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 0).unwrap();
        let head = |micros| Head { core_time: Timestamp::from_micros(micros), ..Head::default() };
        let at = |micros: i64| Some(micros.to_be_bytes().into());
        let keys = [(&b"u1"[..], at(0)), (b"u2", at(1)), (b"d1", at(0))].into_iter().collect();
        store.commit(Changes { head: head(1), keys }).unwrap();
        let left = |store: &Store| -> Vec<Vec<u8>> {
            store.keyspace.rotate_memtable_and_wait().unwrap();
            store.keyspace.major_compact().unwrap();
            store.scan(b"a", b"z", 9, false).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        for (now, wanted) in
            [(DAY - 1, &[b"d1", b"u1", b"u2"][..]), (DAY, &[b"d1", b"u2"]), (DAY + 1, &[b"d1"])]
        {
            store.commit(Changes { head: head(now), keys: Keys::default() }).unwrap();
            assert_eq!(left(&store), wanted, "{now}");
        }
    }

    #[test]
    fn a_view_is_the_state_at_its_moment_whatever_the_store_forgets_meanwhile() {
        const DAY: i64 = 24 * 3_600 * 1_000_000;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 0).unwrap();
        let head = |micros| Head { core_time: Timestamp::from_micros(micros), ..Head::default() };
        let commit = |now, keys: &[(&[u8], i64)]| {
            let keys = keys.iter().map(|(key, at)| (*key, Some(at.to_be_bytes().into()))).collect();
            store.commit(Changes { head: head(now), keys }).unwrap();
        };
        let merge = || {
            store.keyspace.rotate_memtable_and_wait().unwrap();
            store.keyspace.major_compact().unwrap();
        };
        let keys_of =
            |view: &View| -> Vec<Vec<u8>> { view.pairs().unwrap().map(|pair| pair.unwrap().0).collect() };
        commit(DAY, &[(b"u1", 0), (b"u2", 1), (b"d1", 0)]);
        let unmerged = store.view();
        merge();
        let merged = store.view();
        commit(DAY + 1, &[]);
        merge();
        for view in [&unmerged, &merged] {
            assert_eq!(keys_of(view), [b"d1", b"u2"], "what is over is no part of it, and the rest is there");
        }
        assert_eq!(keys_of(&store.view()), [b"d1"]);
        drop(unmerged);
        merge();
        assert!(store.get(b"u2").unwrap().is_some(), "somebody still reads it");
        drop(merged);
        merge();
        assert!(store.get(b"u2").unwrap().is_none());
    }

    #[test]
    fn the_state_of_another_partition_or_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path(), 2).unwrap());
        let refused = |partition| {
            let error = Store::open(dir.path(), partition).err().unwrap();
            assert!(matches!(error, Error::StateDirectory { .. }), "{error}");
            error.to_string()
        };
        let error = refused(3);
        assert!(error.contains("not that of partition 3"), "{error}");
        let store = Store::open(dir.path(), 2).unwrap();
        store.keyspace.insert(FORMAT_KEY, [0, 0, 0, 9, 0, 0, 0, 2]).unwrap();
        drop(store);
        let error = refused(2);
        assert!(error.contains("another version"), "{error}");
    }
}
