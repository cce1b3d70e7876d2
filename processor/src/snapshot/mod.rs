//! Snapshots: a partition's state at one record of `facts`, kept where a machine's disk cannot take it along.
//!
//! A snapshot is named by its partition, the position of its record and that record's hash, so that nothing but the log decides
//! whether it is one of this history. It is written under its name in one piece or not at all, and read back before it counts.

mod format;
mod keeper;
mod restorable;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use eventlog::{EventLog, Partition, Position};
use parking_lot::Mutex;
use schemas::fact::RecordHash;
use schemas::time::Timestamp;
use schemas::{hex, wire};

use crate::assignment::PartitionOf;
use crate::core::{Head, Pair};
use crate::error::Error;
use crate::metrics::SnapshotMetrics;
use crate::objects::{Object, Objects, ObjectsError, Upload};
use crate::read_back;
use crate::verify::Beginning;
use format::{Decoder, Encoder, Unusable};

pub use keeper::{Keeper, MayLetGo};
pub use restorable::{Pairs, Restorable, StateView};

/// Compressed bytes that are collected before they are handed on.
const READY_BYTES: usize = 1 << 20;
/// Bytes of pairs that one batch of an import has at least.
const IMPORT_BYTES: usize = 4 << 20;
const SUFFIX: &str = ".zst";

/// A snapshot that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Position of its record in `facts`.
    pub position: Position,
    /// Hash of that record.
    pub hash: RecordHash,
    /// Its size as it is kept.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub written_at: Timestamp,
    name: String,
}

impl Snapshot {
    fn of(object: Object) -> Option<Self> {
        let (_, file) = object.name.rsplit_once('/')?;
        let (position, hash) = file.strip_suffix(SUFFIX)?.split_once('-')?;
        let (position, hash) = (position.parse().ok()?, hex::decode(hash)?);
        let Object { name, bytes, written_at } = object;
        Some(Self { position, hash, bytes, written_at, name })
    }
}

/// Where the snapshots of a partition are.
pub(crate) fn folder(partition: PartitionOf) -> String {
    format!("snapshots/{}", partition.generation.place(&partition.number.to_string()))
}

/// What the log says about a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Its record is in the log.
    Ours,
    /// Another record is there, or none.
    Foreign,
}

/// The snapshots of one partition.
pub struct Snapshots {
    objects: Objects,
    log: Arc<dyn EventLog>,
    partition: PartitionOf,
    metrics: SnapshotMetrics,
    /// Names of those that this process has read whole.
    read: Mutex<HashSet<String>>,
}

impl Snapshots {
    /// The snapshots of `partition` in `objects`; the log decides which of them are of this history.
    pub fn new(
        objects: Objects,
        log: Arc<dyn EventLog>,
        partition: PartitionOf,
        metrics: SnapshotMetrics,
    ) -> Self {
        Self { objects, log, partition, metrics, read: Mutex::default() }
    }

    fn folder(&self) -> String {
        folder(self.partition)
    }

    /// Writes a snapshot of `view`, unless there is one of its record already. `None` if nothing was ever committed.
    ///
    /// # Errors
    /// [`Error::Objects`] if it could not be written, or is not read back as it was written: it does not count then.
    pub async fn take(&self, view: &dyn StateView) -> Result<Option<Snapshot>, Error> {
        let head = view.head()?;
        let Some(position) = head.record else { return Ok(None) };
        let name = format!("{}/{position:020}-{}{SUFFIX}", self.folder(), hex::encode(&head.record_hash));
        if let Some(there) = self.find(&name).await? {
            return Ok(Some(there));
        }
        let mut upload = self.objects.upload(&name).await?;
        if let Err(error) = self.write(view, &mut upload).await {
            upload.abort().await;
            return Err(error);
        }
        upload.finish().await?;
        if let Err(error) = self.check(&name).await {
            self.objects.delete(&name).await?;
            return Err(error);
        }
        self.find(&name).await
    }

    /// Reads a snapshot to its end, unless this process has done so.
    async fn check(&self, name: &str) -> Result<(), Error> {
        if !self.read.lock().contains(name) {
            self.read(name, &mut |_| Ok(())).await?;
            self.read.lock().insert(name.to_owned());
        }
        Ok(())
    }

    /// Makes sure that a state can be had from each of these.
    pub(crate) async fn check_all(&self, kept: &[Snapshot]) -> Result<(), Error> {
        for snapshot in kept {
            self.check(&snapshot.name).await?;
        }
        Ok(())
    }

    async fn find(&self, name: &str) -> Result<Option<Snapshot>, Error> {
        Ok(self.list().await?.into_iter().find(|snapshot| snapshot.name == name))
    }

    async fn write(&self, view: &dyn StateView, upload: &mut Upload) -> Result<(), Error> {
        let failed = |error: io::Error| Error::Objects(ObjectsError::damaged("to be written", error));
        let mut encoder = Encoder::begin(self.partition.number, &view.head()?).map_err(failed)?;
        for pair in view.pairs()? {
            let (key, value) = pair?;
            encoder.pair(&key, &value).map_err(failed)?;
            let ready = encoder.ready();
            if ready.len() >= READY_BYTES {
                upload.write(&std::mem::take(ready)).await?;
            }
        }
        let rest = encoder.finish().map_err(failed)?;
        Ok(upload.write(&rest).await?)
    }

    /// Reads a snapshot whole, handing its pairs to `take`.
    async fn read(
        &self,
        name: &str,
        take: &mut dyn FnMut(Vec<Pair>) -> Result<(), Error>,
    ) -> Result<Head, Error> {
        let unusable = |error: Unusable| Error::Objects(ObjectsError::damaged(name, error));
        let mut decoder = Decoder::new(self.partition.number).map_err(|error| unusable(error.into()))?;
        let taken = self.objects.read(name, |bytes| take(decoder.take(&bytes).map_err(unusable)?)).await;
        taken?;
        decoder.finish().map_err(unusable)
    }

    /// What lies in the partition's folder, by position.
    async fn list(&self) -> Result<Vec<Snapshot>, Error> {
        let objects = self.objects.list(&self.folder()).await?;
        Ok(objects.into_iter().filter_map(Snapshot::of).collect())
    }

    /// The snapshots of this history, the newest first.
    ///
    /// # Errors
    /// [`Error`] if store or log cannot be asked.
    pub async fn kept(&self) -> Result<Vec<Snapshot>, Error> {
        let mut kept = Vec::new();
        for snapshot in self.list().await?.into_iter().rev() {
            if self.origin(&snapshot).await? == Origin::Ours {
                kept.push(snapshot);
            }
        }
        Ok(kept)
    }

    /// Removes what is older than the newest `keep`, and gives those that are left, the newest first. Others' stay alone.
    ///
    /// # Errors
    /// [`Error`] if store or log cannot be asked.
    pub async fn prune(&self, keep: usize) -> Result<Vec<Snapshot>, Error> {
        let mut kept = self.kept().await?;
        for old in kept.split_off(keep.min(kept.len())) {
            self.objects.delete(&old.name).await?;
            self.read.lock().remove(&old.name);
        }
        Ok(kept)
    }

    /// Fills a store that is empty, as on a new machine, or that stands where the log begins no more. Where no snapshot can be had the
    /// state is folded from nothing, by log and archive: that takes longer, and gives the same.
    ///
    /// # Errors
    /// [`Error`] if log or store cannot be asked, or the state cannot be written.
    pub async fn fill(&self, store: &dyn Restorable) -> Result<(), Error> {
        let partition = self.partition;
        let start = self.log.bounds(self.facts()).await?.start;
        let is_empty = store.is_empty()?;
        if !is_empty {
            let first_event = self.log.bounds(partition.events()).await?.start;
            let head = store.head()?;
            // By its last record and its last event a state knows its log.
            if head.record.is_some_and(|record| record >= start) && head.source > first_event {
                return Ok(());
            }
        }
        match self.restore(store).await {
            Ok(Some(snapshot)) => {
                let Snapshot { position, bytes, .. } = snapshot;
                tracing::info!(%partition, position, bytes, "the state was restored from a snapshot");
            }
            Ok(None) if is_empty => store.clear()?,
            // The owner says what is wrong with it.
            Ok(None) => {}
            Err(Error::Objects(error)) if start == 0 => {
                self.metrics.failed();
                tracing::error!(%partition, %error, "no snapshot can be had: the state is folded from all facts");
                store.clear()?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn facts(&self) -> Partition {
        self.partition.facts()
    }

    /// Fills an empty store from the newest snapshot that is whole and of this history. `None` if there is none.
    ///
    /// # Errors
    /// [`Error`] if log or store cannot be asked, or the state cannot be written.
    pub async fn restore(&self, store: &dyn Restorable) -> Result<Option<Snapshot>, Error> {
        for snapshot in self.list().await?.into_iter().rev() {
            let name = &snapshot.name;
            if self.origin(&snapshot).await? == Origin::Foreign {
                self.metrics.refused("foreign");
                tracing::error!(
                    partition = %self.partition,
                    name,
                    "a snapshot is passed over: the log has no such record at its position"
                );
                continue;
            }
            match self.import(&snapshot, store).await {
                Ok(()) => return Ok(Some(snapshot)),
                Err(Error::Objects(error @ ObjectsError::Damaged { .. })) => {
                    self.metrics.refused("damaged");
                    tracing::error!(partition = %self.partition, %error, "a snapshot is passed over");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The state in a snapshot, in memory.
    ///
    /// # Errors
    /// [`Error::Objects`] if it cannot be had or is damaged.
    pub async fn load(&self, snapshot: &Snapshot) -> Result<Beginning, Error> {
        let mut pairs = BTreeMap::new();
        let mut take = |taken: Vec<Pair>| {
            pairs.extend(taken);
            Ok(())
        };
        let head = self.read(&snapshot.name, &mut take).await?;
        Ok(Beginning { pairs, head })
    }

    /// Until the head is there the store counts as empty: a half of a snapshot is none.
    async fn import(&self, snapshot: &Snapshot, store: &dyn Restorable) -> Result<(), Error> {
        store.clear()?;
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut take = |pairs: Vec<Pair>| {
            bytes += pairs.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
            batch.extend(pairs);
            if bytes >= IMPORT_BYTES {
                bytes = 0;
                store.import(std::mem::take(&mut batch))?;
            }
            Ok(())
        };
        let head = self.read(&snapshot.name, &mut take).await?;
        if (head.record, head.record_hash) != (Some(snapshot.position), snapshot.hash) {
            return Err(ObjectsError::damaged(&snapshot.name, "holds the state at another record").into());
        }
        store.import(batch)?;
        Ok(store.found(head)?)
    }

    async fn origin(&self, snapshot: &Snapshot) -> Result<Origin, Error> {
        let partition = self.facts();
        let bounds = self.log.bounds(partition).await?;
        if !(bounds.start..bounds.end).contains(&snapshot.position) {
            return Ok(Origin::Foreign);
        }
        let mut facts = self.log.subscribe(&[(partition, snapshot.position)]).await?;
        let found = wire::hash_record(&read_back::next(&mut *facts).await?.payload);
        Ok(if found == snapshot.hash { Origin::Ours } else { Origin::Foreign })
    }
}
