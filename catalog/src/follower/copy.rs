//! The follower's records on this machine's disk, from which it starts when the log is away.
//!
//! They are the log's own records in the log's own order, so folding them gives the same catalog. The copy may be shorter
//! than the log and is never longer; whether it is of the same log shows by its last record, for no two proposals are
//! equal.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings};
use eventlog::{Error, EventLog, NewRecord, Producer, ProducerUse, Record};
use schemas::time::Timestamp;

use super::{MAX_PENDING_BYTES, PARTITION, TOPIC};
use crate::fold::Catalog;

/// How long the disk may take for a batch, and for the end.
const DISK_DEADLINE: Duration = Duration::from_secs(10);
/// Records read at once.
const READ_RECORDS: usize = 1_000;

/// The copy, open for what the log brings.
pub(super) struct Copy {
    dir: PathBuf,
    log: EmbeddedLog,
    producer: Box<dyn Producer>,
    /// It takes no more: the disk failed. What it has stays right.
    is_cut: bool,
}

/// What a copy held.
pub(super) struct Kept {
    pub(super) catalog: Catalog,
    /// Of its revisions, by number.
    pub(super) hashes: Vec<u64>,
    /// Its last record; `None` for an empty copy.
    pub(super) last: Option<Bytes>,
}

impl Copy {
    /// Opens the copy in `dir` and folds it. One that is damaged, or of another build, is thrown away; `None` if the disk
    /// does not let it be.
    pub(super) async fn open(dir: &Path) -> Option<(Self, Kept)> {
        let refused = |error: &Error| {
            tracing::error!(%error, dir = %dir.display(), "no copy of the catalog: without the log there is no start");
        };
        let damage = match Self::open_and_fold(dir).await {
            Ok(opened) => return Some(opened),
            Err(error @ Error::Corrupt(_)) => error,
            Err(error) => {
                refused(&error);
                return None;
            }
        };
        tracing::error!(error = %damage, dir = %dir.display(), "the copy of the catalog is thrown away");
        if let Err(error) = remove(dir) {
            refused(&Error::Unavailable(error.to_string()));
            return None;
        }
        Self::open_and_fold(dir).await.inspect_err(refused).ok()
    }

    async fn open_and_fold(dir: &Path) -> Result<(Self, Kept), Error> {
        let copy = Self::open_empty_or_not(dir).await?;
        match copy.fold().await {
            Ok(kept) => Ok((copy, kept)),
            Err(error) => {
                // The directory is free again when this is done.
                copy.close().await;
                Err(error)
            }
        }
    }

    async fn open_empty_or_not(dir: &Path) -> Result<Self, Error> {
        // When a record was copied is nobody's business.
        let mut settings = EmbeddedSettings::new(Arc::new(|| Timestamp::from_micros(0)));
        settings.on_fsync_failure = Arc::new(|error| {
            tracing::error!(%error, "fdatasync of the catalog's copy failed; it takes no more until a restart");
        });
        let log = EmbeddedLog::open(dir, settings)?;
        log.ensure_topics(&[TOPIC]).await?;
        let usage = ProducerUse {
            name: "catalog_copy",
            deadline: DISK_DEADLINE,
            max_pending_bytes: MAX_PENDING_BYTES,
        };
        let producer = log.producer(usage)?;
        Ok(Self { dir: dir.to_owned(), log, producer, is_cut: false })
    }

    async fn fold(&self) -> Result<Kept, Error> {
        let end = self.log.bounds(PARTITION).await?.end;
        let catalog = Catalog::new();
        let mut kept = Kept { hashes: vec![catalog.revision().hash], catalog, last: None };
        let mut reader = self.log.subscribe(&[(PARTITION, 0)]).await?;
        while kept.catalog.revision().number < end {
            let Some(batch) = reader.next(READ_RECORDS, DISK_DEADLINE).await? else {
                return Err(Error::Corrupt("fewer records than it says".to_owned()));
            };
            for record in &batch.records {
                kept.catalog.fold(record).map_err(|error| Error::Corrupt(error.to_string()))?;
                kept.hashes.push(kept.catalog.revision().hash);
                kept.last = Some(record.payload.clone());
            }
        }
        // Cut free from the piece that it was read with.
        kept.last = kept.last.map(|last| Bytes::copy_from_slice(&last));
        Ok(kept)
    }

    /// Adds the log's next records. A disk that fails ends the copying and nothing else.
    pub(super) async fn extend(&mut self, records: &[Record]) {
        let new = |record: &Record| NewRecord { key: record.key.clone(), payload: record.payload.clone() };
        let mut rest = records;
        while !self.is_cut && !rest.is_empty() {
            let answers = self.producer.append(PARTITION, rest.iter().map(new).collect()).await;
            let copied =
                answers.iter().zip(rest).take_while(|(answer, record)| **answer == Ok(record.position));
            let copied = copied.count();
            if copied == 0 {
                let found = answers.into_iter().next();
                tracing::error!(?found, dir = %self.dir.display(), "the copy of the catalog cannot be continued");
                self.is_cut = true;
            }
            rest = &rest[copied..];
        }
    }

    /// Begins anew: it was of another log.
    pub(super) async fn begin_anew(self) -> Option<Self> {
        let dir = self.dir.clone();
        self.close().await;
        let begun = match remove(&dir) {
            Ok(()) => Self::open_empty_or_not(&dir).await,
            Err(error) => Err(Error::Unavailable(error.to_string())),
        };
        begun
            .inspect_err(|error| tracing::error!(%error, dir = %dir.display(), "the catalog is not copied"))
            .ok()
    }

    pub(super) async fn close(&self) {
        self.log.close(DISK_DEADLINE).await;
    }
}

/// Removes what the embedded log made, and nothing else that may lie there.
fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir.join(TOPIC.name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
