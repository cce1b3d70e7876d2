//! The ledger: what was sent and what was answered, one JSON object a line, written as it happens.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::LoadError;

/// Entries that wait to be written; when the disk cannot keep up, the load waits for it.
const QUEUE_LENGTH: usize = 64 * 1024;

/// Between two writes. A write for each entry would cost more than the request that it is about.
const WRITE_INTERVAL: Duration = Duration::from_millis(2);

/// One request. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its number in the run, from 0.
    pub n: u64,
    /// When it was due, or sent if that was a little earlier.
    pub scheduled: i64,
    /// When it was sent.
    pub sent: i64,
    /// When its answer was there, or when it was clear that none would come.
    pub ended: i64,
    /// The method.
    pub method: String,
    /// The answer's status; none if there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// The click's id, from the redirect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub click_id: Option<String>,
}

/// What the answer means for the one who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Answered with a receipt: it must be counted exactly once.
    Acknowledged,
    /// Refused: it must not be counted.
    Refused,
    /// Redirected without a receipt: the server said that it could not record it.
    Unrecorded,
    /// No answer, or a failure of the server: it may be counted once or not at all.
    Unknown,
}

impl Fate {
    /// What an answer means; `status` is none if there was no answer.
    pub fn of(status: Option<u16>, has_receipt: bool) -> Self {
        match (status, has_receipt) {
            (Some(200..=399), true) => Self::Acknowledged,
            (Some(200..=399), false) => Self::Unrecorded,
            (Some(400..=499), _) => Self::Refused,
            (Some(_) | None, _) => Self::Unknown,
        }
    }
}

impl Entry {
    /// What the answer means.
    pub fn fate(&self) -> Fate {
        Fate::of(self.status, self.receipt.is_some())
    }
}

/// Writes a ledger on a thread of its own, a few milliseconds behind: a killed load generator leaves a ledger that lacks
/// no more than the last of them.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    queue: SyncSender<Entry>,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Writer {
    /// Begins a new ledger.
    pub fn create(path: &Path) -> Result<Self, LoadError> {
        let file = File::create(path)
            .map_err(|error| LoadError::File { path: path.to_owned(), reason: error.to_string() })?;
        let (queue, entries) = sync_channel(QUEUE_LENGTH);
        let thread = std::thread::spawn(move || write_all(&entries, file));
        Ok(Self { path: path.to_owned(), queue, thread })
    }

    /// Hands one entry over. A ledger that cannot be written is reported by [`Writer::finish`].
    pub fn record(&self, entry: Entry) -> bool {
        self.queue.send(entry).is_ok()
    }

    /// Waits until everything is in the file.
    pub fn finish(self) -> Result<(), LoadError> {
        let failed = |reason: String| LoadError::File { path: self.path.clone(), reason };
        drop(self.queue);
        match self.thread.join() {
            Ok(written) => written.map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed("the ledger's writer panicked".to_owned())),
        }
    }
}

fn write_all(entries: &Receiver<Entry>, file: File) -> std::io::Result<()> {
    let mut file = BufWriter::new(file);
    while let Ok(entry) = entries.recv() {
        for entry in std::iter::once(entry).chain(entries.try_iter()) {
            serde_json::to_writer(&mut file, &entry)?;
            file.write_all(b"\n")?;
        }
        file.flush()?;
        std::thread::sleep(WRITE_INTERVAL);
    }
    file.flush()
}

/// Reads a ledger. A last line without its end was being written when the writer was killed, and does not count.
pub fn read(path: &Path, mut each: impl FnMut(Entry)) -> Result<(), LoadError> {
    let failed = |error: std::io::Error| LoadError::File { path: path.to_owned(), reason: error.to_string() };
    let mut lines = BufReader::new(File::open(path).map_err(failed)?);
    let (mut text, mut line) = (String::new(), 0);
    loop {
        text.clear();
        line += 1;
        if lines.read_line(&mut text).map_err(failed)? == 0 || !text.ends_with('\n') {
            return Ok(());
        }
        each(serde_json::from_str(&text).map_err(|error| LoadError::Ledger {
            path: path.to_owned(),
            line,
            reason: error.to_string(),
        })?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u64, status: Option<u16>, receipt: Option<&str>) -> Entry {
        let receipt = receipt.map(str::to_owned);
        Entry {
            n,
            scheduled: 1,
            sent: 2,
            ended: 3,
            method: "GET".to_owned(),
            status,
            receipt,
            click_id: None,
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_cut_line_left_out() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = Writer::create(file.path()).unwrap();
        let entries = [entry(0, Some(302), Some("evt_1")), entry(1, None, None)];
        assert!(entries.iter().all(|entry| writer.record(entry.clone())));
        writer.finish().unwrap();
        let mut text = std::fs::read_to_string(file.path()).unwrap();
        text.push_str("{\"n\":2,\"sched");
        std::fs::write(file.path(), &text).unwrap();
        let mut found = Vec::new();
        read(file.path(), |entry| found.push(entry)).unwrap();
        assert_eq!(found, entries);

        text.push('\n');
        std::fs::write(file.path(), &text).unwrap();
        let error = read(file.path(), |_| ()).unwrap_err().to_string();
        assert!(error.contains("line 3: not a ledger entry"), "{error}");
    }

    #[test]
    fn an_answer_is_judged_by_status_and_receipt() {
        assert_eq!(entry(0, Some(302), Some("evt_1")).fate(), Fate::Acknowledged);
        assert_eq!(entry(0, Some(302), None).fate(), Fate::Unrecorded);
        assert_eq!(entry(0, Some(405), None).fate(), Fate::Refused);
        assert_eq!(entry(0, Some(503), None).fate(), Fate::Unknown);
        assert_eq!(entry(0, None, None).fate(), Fate::Unknown);
    }
}
