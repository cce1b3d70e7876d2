//! What only this engine has: files that tear, disks that fill up and break, segments, the directory's lock and format.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use schemas::time::Timestamp;
use tempfile::TempDir;

use super::disk::{Disk, FileSystem, SegmentFile};
use super::frame::OVERHEAD_BYTES;
use super::*;
use crate::{NewRecord, Record};

mod faults;
mod files;
mod look;

const TOPIC: &str = "events";
const P0: Partition = Partition { topic: TOPIC, number: 0 };
const SPEC: TopicSpec = TopicSpec { name: TOPIC, partitions: 1 };
const WAIT: Duration = Duration::from_secs(20);
const USE: ProducerUse = ProducerUse { name: "test", deadline: WAIT, max_pending_bytes: 16 << 20 };

/// A log in a directory of its own.
struct Bench {
    dir: TempDir,
    settings: EmbeddedSettings,
    now: Arc<AtomicI64>,
}

impl Bench {
    fn new() -> Self {
        let now = Arc::new(AtomicI64::new(1_000));
        let clock = Arc::clone(&now);
        let mut settings =
            EmbeddedSettings::new(Arc::new(move || Timestamp::from_micros(clock.load(Ordering::SeqCst))));
        settings.max_record_bytes = 10_000;
        settings.segment_bytes = 20_000;
        Self { dir: TempDir::new().unwrap(), settings, now }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn try_open(&self) -> Result<EmbeddedLog, Error> {
        EmbeddedLog::open(self.path(), self.settings.clone())
    }

    async fn open(&self) -> EmbeddedLog {
        let log = self.try_open().unwrap();
        log.ensure_topics(&[SPEC]).await.unwrap();
        log
    }

    async fn open_on(&self, disk: Arc<dyn Disk>) -> EmbeddedLog {
        let log = EmbeddedLog::open_on(self.path(), self.settings.clone(), disk).unwrap();
        log.ensure_topics(&[SPEC]).await.unwrap();
        log
    }

    fn segment(&self, base: u64) -> PathBuf {
        self.path().join(TOPIC).join("0").join(format!("{base:020}.log"))
    }

    /// The bases of the segment files that exist.
    fn segments(&self) -> Vec<u64> {
        let mut bases: Vec<u64> = fs::read_dir(self.path().join(TOPIC).join("0"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.strip_suffix(".log").unwrap().parse().unwrap())
            .collect();
        bases.sort_unstable();
        bases
    }
}

fn record(payload: &str) -> NewRecord {
    NewRecord { key: Bytes::from_static(b"k"), payload: Bytes::copy_from_slice(payload.as_bytes()) }
}

async fn append(log: &EmbeddedLog, payloads: &[&str]) -> Vec<Result<Position, Error>> {
    let producer = log.producer(USE).unwrap();
    producer.append(P0, payloads.iter().map(|payload| record(payload)).collect()).await
}

/// Everything from the start to the end, read through a subscription.
async fn read_all(log: &EmbeddedLog) -> Result<Vec<Record>, Error> {
    let bounds = log.bounds(P0).await?;
    let mut subscription = log.subscribe(&[(P0, bounds.start)]).await?;
    let mut records = Vec::new();
    while bounds.start + (records.len() as u64) < bounds.end {
        records.extend(subscription.next(1_000, WAIT).await?.unwrap().records);
    }
    Ok(records)
}

async fn payloads(log: &EmbeddedLog) -> Vec<String> {
    let records = read_all(log).await.unwrap();
    records.into_iter().map(|record| String::from_utf8(record.payload.to_vec()).unwrap()).collect()
}
