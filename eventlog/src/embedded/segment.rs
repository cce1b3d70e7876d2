//! A segment: a file of consecutive records, named by the position of the first.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::window::{Found, Window};
use crate::{Error, Position};

/// A mark is kept for about every this many bytes, so that looking up a position reads no more than that.
const MARK_EVERY_BYTES: u64 = 64 << 10;
const SUFFIX: &str = ".log";
const NAME_DIGITS: usize = 20;

/// Where a record starts in its segment's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: Position,
    pub(super) offset: u64,
}

/// A segment file that exists.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base: Position,
    pub(super) path: PathBuf,
    /// Ascending; the first is always the segment's beginning.
    marks: Mutex<Vec<Mark>>,
}

impl Segment {
    /// The segment of `dir` that starts with the record at `base`.
    pub(super) fn new(dir: &Path, base: Position) -> Self {
        let path = dir.join(format!("{base:0NAME_DIGITS$}{SUFFIX}"));
        Self { base, path, marks: Mutex::new(vec![Mark { position: base, offset: 0 }]) }
    }

    /// The segments of a directory, lowest first.
    pub(super) fn list(dir: &Path) -> io::Result<Vec<Self>> {
        let mut bases = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let base = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|digits| {
                if digits.len() == NAME_DIGITS { digits.parse::<Position>().ok() } else { None }
            });
            bases.extend(base);
        }
        bases.sort_unstable();
        Ok(bases.into_iter().map(|base| Self::new(dir, base)).collect())
    }

    /// Remembers where a record starts, unless a mark close before it does.
    pub(super) fn mark(&self, mark: Mark) {
        let mut marks = self.marks.lock();
        if marks.last().is_some_and(|last| {
            mark.position > last.position && mark.offset >= last.offset.saturating_add(MARK_EVERY_BYTES)
        }) {
            marks.push(mark);
        }
    }

    /// The last mark at or before `position`.
    pub(super) fn mark_before(&self, position: Position) -> Mark {
        let marks = self.marks.lock();
        let behind = marks.partition_point(|mark| mark.position <= position);
        marks.get(behind.saturating_sub(1)).copied().unwrap_or(Mark { position: self.base, offset: 0 })
    }

    /// A window on the record at `position`, which lies below `limit` or exactly there.
    pub(super) fn window_at(
        &self,
        position: Position,
        limit: u64,
        max_frame_bytes: usize,
    ) -> Result<Window, ReadError> {
        let mark = self.mark_before(position);
        let mut window = Window::new(File::open(&self.path)?, mark.offset, max_frame_bytes);
        let mut at = mark.position;
        while at < position {
            let offset = window.offset();
            self.mark(Mark { position: at, offset });
            match window.next(limit)? {
                Found::Frame(frame, _) if frame.stamp.position == at => at += 1,
                Found::Frame(..) | Found::Broken => return Err(self.broken(offset, at)),
                Found::End => return Err(self.too_short(at, position)),
            }
        }
        Ok(window)
    }

    /// The record that must stand at `offset` is not there.
    pub(super) fn broken(&self, offset: u64, position: Position) -> ReadError {
        ReadError::Damage(format!(
            "{} has no intact record {position} at byte {offset}, though it was durable",
            self.path.display()
        ))
    }

    /// The file ends before the records that it must hold.
    pub(super) fn too_short(&self, end: Position, wanted: Position) -> ReadError {
        ReadError::Damage(format!(
            "{} ends before record {end}, though records up to {wanted} were durable",
            self.path.display()
        ))
    }
}

/// Why a segment could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    Damage(String),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Unavailable(error.to_string()),
            ReadError::Damage(what) => Self::Corrupt(what),
        }
    }
}
