//! Events that are not brought to the log: too old for its memory of deliveries, or refused by it for good.
//!
//! A file has one line of JSON for each event:
//!
//! ```text
//! {"partition":0,"position":17,"spooled_at":"2026-11-01T00:00:00Z","event":"0801…"}
//! ```
//!
//! `event` is the message `tributary.events.Event` of `schemas/proto/events.proto` in hexadecimal digits, `position` its
//! place in the spool. A file is named by the partition, and by the position and the time in microseconds of its first
//! event; it is whole and durable before its events leave the spool, so a crash in between writes it again under the same
//! name. Positions alone would come again after somebody removed the spool's log.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use eventlog::Record;
use schemas::hex;
use serde::Serialize;

use super::{make_dir, sync_dir};

/// What a line takes beside its event, at most.
const LINE_BYTES: u64 = 160;

/// One line of a file.
#[derive(Serialize)]
struct Line {
    partition: u32,
    position: u64,
    spooled_at: String,
    event: String,
}

/// How large their file becomes, at most.
pub(super) fn file_bytes(records: &[Record]) -> u64 {
    records.iter().map(|record| 2 * record.payload.len() as u64 + LINE_BYTES).sum()
}

/// Writes the records, which follow each other, to a file of their own.
pub(super) fn put(dir: &Path, partition: u32, records: &[Record]) -> io::Result<PathBuf> {
    make_dir(dir)?;
    let (position, micros) = records.first().map_or((0, 0), |it| (it.position, it.log_time.micros()));
    let path = dir.join(format!("events-{partition}-{position:020}-{micros}.jsonl"));
    let half = path.with_extension("half");
    let mut file = BufWriter::new(File::create(&half)?);
    for record in records {
        let line = Line {
            partition,
            position: record.position,
            spooled_at: record.log_time.to_string(),
            event: hex::encode(&record.payload),
        };
        serde_json::to_writer(&mut file, &line)?;
        file.write_all(b"\n")?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&half, &path)?;
    sync_dir(dir)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use schemas::time::Timestamp;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_position_that_comes_again_replaces_no_file() {
        let dir = TempDir::new().unwrap();
        let at = |micros| Record {
            position: 0,
            log_time: Timestamp::from_micros(micros),
            key: Bytes::new(),
            payload: Bytes::new(),
        };
        let paths = [1, 2].map(|micros| put(dir.path(), 0, &[at(micros)]).unwrap());
        assert_ne!(paths[0], paths[1]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert_eq!(put(dir.path(), 0, &[at(1)]).unwrap(), paths[0]);
    }

    #[test]
    fn a_file_can_be_read_without_us() {
        let dir = TempDir::new().unwrap();
        let record = |position, payload: &'static [u8]| Record {
            position,
            log_time: Timestamp::from_micros(1_793_491_200_000_000),
            key: Bytes::new(),
            payload: Bytes::from_static(payload),
        };
        let path = put(&dir.path().join("new"), 2, &[record(7, b"\x08\x01"), record(8, b"")]).unwrap();
        assert!(path.ends_with("events-2-00000000000000000007-1793491200000000.jsonl"));
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(
            text,
            "{\"partition\":2,\"position\":7,\"spooled_at\":\"2026-11-01T00:00:00Z\",\"event\":\"0801\"}\n\
             {\"partition\":2,\"position\":8,\"spooled_at\":\"2026-11-01T00:00:00Z\",\"event\":\"\"}\n"
        );
        let largest = [record(u64::MAX, b"")];
        assert!(text.len() as u64 <= file_bytes(&[record(7, b"\x08\x01"), record(8, b"")]));
        let path = put(dir.path(), u32::MAX, &largest).unwrap();
        assert!(fs::read(path).unwrap().len() as u64 <= file_bytes(&largest));
    }
}
