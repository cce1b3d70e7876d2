//! Events that are not brought to the log: too old for its memory of deliveries, or refused by it for good.
//!
//! A file has one line of JSON for each event:
//!
//! ```text
//! {"partition":0,"position":17,"spooled_at":"2026-11-01T00:00:00Z","event":"0801…"}
//! ```
//!
//! `event` is the message `tributary.events.Event` of `schemas/proto/events.proto` in hexadecimal digits, `position` its
//! place in the spool. A file is named by partition and first position; it is whole and durable before its events leave
//! the spool, so a crash in between writes it again under the same name.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use eventlog::Record;
use schemas::hex;
use serde::Serialize;

use super::{make_dir, sync_dir};

/// One line of a file.
#[derive(Serialize)]
struct Line {
    partition: u32,
    position: u64,
    spooled_at: String,
    event: String,
}

/// Writes the records, which follow each other, to a file of their own.
pub(super) fn put(dir: &Path, partition: u32, records: &[Record]) -> io::Result<PathBuf> {
    make_dir(dir)?;
    let first = records.first().map_or(0, |record| record.position);
    let path = dir.join(format!("events-{partition}-{first:020}.jsonl"));
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
    fn a_file_can_be_read_without_us() {
        let dir = TempDir::new().unwrap();
        let record = |position, payload: &'static [u8]| Record {
            position,
            log_time: Timestamp::from_micros(1_793_491_200_000_000),
            key: Bytes::new(),
            payload: Bytes::from_static(payload),
        };
        let path = put(&dir.path().join("new"), 2, &[record(7, b"\x08\x01"), record(8, b"")]).unwrap();
        assert!(path.ends_with("events-2-00000000000000000007.jsonl"));
        assert_eq!(
            fs::read_to_string(path).unwrap(),
            "{\"partition\":2,\"position\":7,\"spooled_at\":\"2026-11-01T00:00:00Z\",\"event\":\"0801\"}\n\
             {\"partition\":2,\"position\":8,\"spooled_at\":\"2026-11-01T00:00:00Z\",\"event\":\"\"}\n"
        );
    }
}
