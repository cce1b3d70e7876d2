//! One object of the archive: consecutive records of one partition, named by what they are.
//!
//! The name holds the first and the last position and a SHA-256 of the content, so that an object is never changed, and two
//! that hold the same records are the same.

use std::io::{self, Read as _, Write as _};

use bytes::Bytes;
use eventlog::{Position, Record};
use schemas::fact::RecordHash;
use schemas::hex;
use schemas::time::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::objects::ObjectsError;

const SUFFIX: &str = ".zst";
const LEVEL: i32 = 6;
/// Position, log time, length of the key, length of the payload.
const FIXED_BYTES: usize = 8 + 8 + 4 + 4;
/// More than any piece has: what claims more is damaged.
const MAX_BYTES: u64 = 512 << 20;

/// An object of the archive, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) first: Position,
    pub(super) last: Position,
    hash: RecordHash,
    pub(super) name: String,
}

impl Piece {
    /// The piece that has this name, if a piece can have it.
    pub(super) fn of(name: &str) -> Option<Self> {
        let (_, file) = name.rsplit_once('/')?;
        let mut parts = file.strip_suffix(SUFFIX)?.splitn(3, '-');
        let (first, last) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let hash = hex::decode(parts.next()?)?;
        (first <= last).then(|| Self { first, last, hash, name: name.to_owned() })
    }

    /// The records in the object's bytes.
    ///
    /// # Errors
    /// [`ObjectsError::Damaged`] if they are not those of the name.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<Vec<Record>, ObjectsError> {
        let damaged = |problem: &dyn std::fmt::Display| {
            ObjectsError::damaged(&self.name, format!("is damaged: {problem}"))
        };
        let mut content = Vec::new();
        let zstd = zstd::stream::read::Decoder::new(bytes).map_err(|error| damaged(&error))?;
        zstd.take(MAX_BYTES).read_to_end(&mut content).map_err(|error| damaged(&error))?;
        if Sha256::digest(&content)[..] != self.hash {
            return Err(damaged(&"its content is not what its name says"));
        }
        let mut rest = Bytes::from(content);
        let mut records = Vec::new();
        while let Some(record) = take_record(&mut rest) {
            records.push(record);
        }
        let positions = records.iter().map(|record| record.position);
        if !rest.is_empty() || !positions.eq(self.first..=self.last) {
            return Err(damaged(&"its records are not those of its name"));
        }
        Ok(records)
    }
}

fn take_record(rest: &mut Bytes) -> Option<Record> {
    let fixed = rest.get(..FIXED_BYTES)?;
    let position = u64::from_be_bytes(fixed[..8].try_into().ok()?);
    let log_time = i64::from_be_bytes(fixed[8..16].try_into().ok()?);
    let key = u32::from_be_bytes(fixed[16..20].try_into().ok()?) as usize;
    let payload = u32::from_be_bytes(fixed[20..24].try_into().ok()?) as usize;
    if rest.len() < FIXED_BYTES.checked_add(key)?.checked_add(payload)? {
        return None;
    }
    drop(rest.split_to(FIXED_BYTES));
    let (key, payload) = (rest.split_to(key), rest.split_to(payload));
    Some(Record { position, log_time: Timestamp::from_micros(log_time), key, payload })
}

/// A piece that is being made.
pub(super) struct PieceWriter {
    zstd: zstd::stream::write::Encoder<'static, Vec<u8>>,
    digest: Sha256,
    first: Position,
    next: Position,
    /// Bytes of the content so far.
    pub(super) bytes: usize,
    /// When the log took the first record.
    pub(super) since: Option<Timestamp>,
}

impl PieceWriter {
    pub(super) fn at(first: Position) -> io::Result<Self> {
        let zstd = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        Ok(Self { zstd, digest: Sha256::new(), first, next: first, bytes: 0, since: None })
    }

    /// The position of the record that comes next.
    pub(super) fn next(&self) -> Position {
        self.next
    }

    pub(super) fn push(&mut self, record: &Record) -> io::Result<()> {
        if record.position != self.next {
            let (found, wanted) = (record.position, self.next);
            return Err(io::Error::other(format!("the log gave record {found} in place of {wanted}")));
        }
        let length = |bytes: &Bytes| u32::try_from(bytes.len()).map_err(io::Error::other);
        let (key, payload) = (length(&record.key)?, length(&record.payload)?);
        for bytes in [
            &record.position.to_be_bytes()[..],
            &record.log_time.micros().to_be_bytes(),
            &key.to_be_bytes(),
            &payload.to_be_bytes(),
            &record.key,
            &record.payload,
        ] {
            self.digest.update(bytes);
            self.zstd.write_all(bytes)?;
            self.bytes += bytes.len();
        }
        self.since = self.since.or(Some(record.log_time));
        self.next += 1;
        Ok(())
    }

    /// The piece in this folder, and its bytes. At least one record must have been pushed.
    pub(super) fn finish(self, folder: &str) -> io::Result<(Piece, Vec<u8>)> {
        let hash: RecordHash = self.digest.finalize().into();
        let (first, last) = (self.first, self.next.saturating_sub(1));
        let name = format!("{folder}/{first:020}-{last:020}-{}{SUFFIX}", hex::encode(&hash));
        Ok((Piece { first, last, hash, name }, self.zstd.finish()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(position: Position) -> Record {
        Record {
            position,
            log_time: Timestamp::from_micros(position as i64 * 7),
            key: Bytes::from(vec![1; position as usize % 3]),
            payload: Bytes::from(vec![2; position as usize % 50]),
        }
    }

    #[test]
    fn a_piece_is_what_its_name_says_or_nothing() {
        let records: Vec<Record> = (10..60).map(record).collect();
        let mut writer = PieceWriter::at(10).unwrap();
        records.iter().for_each(|record| writer.push(record).unwrap());
        assert!(writer.push(&record(99)).is_err());
        let (piece, bytes) = writer.finish("archive/events/0").unwrap();
        assert_eq!((piece.first, piece.last, Piece::of(&piece.name)), (10, 59, Some(piece.clone())));
        assert_eq!(piece.decode(&bytes).unwrap(), records);
        for end in 0..bytes.len() {
            assert!(piece.decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let mut other = bytes.clone();
        let middle = bytes.len() / 2;
        other[middle] ^= 1;
        assert!(piece.decode(&other).is_err());
        // Another range than the content's.
        let renamed = piece.name.replace("00010-", "00011-");
        assert!(Piece::of(&renamed).unwrap().decode(&bytes).is_err());
        for no in ["archive/events/0/x.zst", "archive/events/0/2-1-00.zst", "x"] {
            assert_eq!(Piece::of(no), None, "{no}");
        }
    }
}
