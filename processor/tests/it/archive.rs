//! What is old goes from the log into the archive, whole, and can be read from there.

use std::path::PathBuf;
use std::time::Duration;

use eventlog::{Partition, Position, Record};
use processor::archive::{Archive, History, Mover};
use processor::{Error, Objects};
use schemas::time::Timestamp;
use service::clock::Clock as _;

use crate::scene::{DAY, HOUR};
use crate::site::{EVENTS, PATIENCE, Site};

impl Site {
    fn archive(&self) -> Archive {
        let objects = Objects::in_directory(&self.dir.path().join("objects")).unwrap();
        Archive::new(objects, self.log.clone(), EVENTS)
    }

    fn archived_files(&self) -> Vec<PathBuf> {
        let folder = self.dir.path().join("objects/archive/events/0");
        let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }

    /// This many clicks, all logged now.
    async fn click(&self, edge: u8, count: usize) {
        let mut edge = self.edge(edge);
        for n in 0..count {
            self.send(&edge.click(n as i64, |_| {})).await;
        }
    }

    async fn start_of(&self, partition: Partition) -> Position {
        self.log.bounds(partition).await.unwrap().start
    }

    /// Moves what is older than `age` and below `needed`.
    pub(crate) async fn archive_older(&self, age: i64, needed: Position) -> Result<Position, Error> {
        let old = Timestamp::from_micros(self.clock.now_micros() - age);
        Mover::new(self.archive()).pass(needed, old).await
    }

    /// Everything that was ever appended to `events`, as far as the log or the archive has it.
    async fn history(&self, from: Position) -> Result<Vec<Record>, Error> {
        let objects = Objects::in_directory(&self.dir.path().join("objects")).unwrap();
        let mut history = History::from(self.log.clone(), Some(objects), EVENTS, from).await?;
        let mut records = Vec::new();
        while let Some(record) = history.next().await? {
            records.push(record);
        }
        Ok(records)
    }
}

async fn all_in_log(site: &Site) -> Vec<Record> {
    let mut subscription = site.log.subscribe(&[(EVENTS, 0)]).await.unwrap();
    let end = site.log.bounds(EVENTS).await.unwrap().end;
    let mut records = Vec::new();
    while (records.len() as u64) < end {
        records.extend(subscription.next(1_000, PATIENCE).await.unwrap().unwrap().records);
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_and_not_needed_moves_and_is_read_as_it_was() {
    let site = Site::with_small_segments().await;
    site.click(1, 200).await;
    site.clock.advance(Duration::from_micros(3 * DAY as u64));
    site.click(2, 100).await;
    let everything = all_in_log(&site).await;
    assert_eq!(site.archive_older(4 * DAY, 300).await.unwrap(), 0, "nothing is so old");
    assert_eq!(site.archive_older(3 * DAY - HOUR, 300).await.unwrap(), 0, "it may still become a full piece");
    assert_eq!((site.start_of(EVENTS).await, site.archived_files().len()), (0, 0));

    assert_eq!(site.archive_older(DAY, 150).await.unwrap(), 150);
    let start = site.start_of(EVENTS).await;
    assert!(start > 0 && start <= 150, "{start}");
    assert_eq!(site.archive_older(DAY, 300).await.unwrap(), 200, "the others are young");
    assert_eq!(site.archived_files().len(), 2);
    assert_eq!(site.archive_older(DAY, 300).await.unwrap(), 200, "and nothing is moved twice");
    assert_eq!(site.archived_files().len(), 2);
    let start = site.start_of(EVENTS).await;
    assert!(start > 150 && start <= 200, "{start}");
    for from in [0, 1, 149, 150, 199, 200, 299, 300] {
        assert_eq!(site.history(from).await.unwrap(), everything[from as usize..], "from {from}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_that_the_archive_does_not_have_as_it_was() {
    let site = Site::with_small_segments().await;
    let other = Site::with_small_segments().await;
    for (site, edge) in [(&site, 1), (&other, 2)] {
        site.click(edge, 200).await;
        site.clock.advance(Duration::from_micros(3 * DAY as u64));
    }
    // An archive of another installation: sound, and not ours.
    other.archive_older(DAY, 200).await.unwrap();
    let foreign = other.archived_files().remove(0);
    let place = site.dir.path().join("objects/archive/events/0").join(foreign.file_name().unwrap());
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::copy(&foreign, &place).unwrap();
    let error = site.archive_older(DAY, 200).await.unwrap_err();
    assert!(error.to_string().contains("differs from the log at 0"), "{error}");
    std::fs::remove_file(&place).unwrap();

    // A piece that was damaged after it was written.
    assert_eq!(site.archive_older(DAY, 100).await.unwrap(), 100);
    let start = site.start_of(EVENTS).await;
    assert_eq!(site.archive_older(DAY, 101).await.unwrap(), 101);
    let last = site.archived_files().pop().unwrap();
    let mut bytes = std::fs::read(&last).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&last, bytes).unwrap();
    let error = site.archive_older(DAY, 200).await.unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert_eq!(site.start_of(EVENTS).await, start);

    // A hole: what is missing is said, not passed over.
    std::fs::remove_file(site.archived_files().remove(0)).unwrap();
    let error = site.history(0).await.unwrap_err();
    assert!(error.to_string().contains("has no record 0, and neither has the log"), "{error}");
}
