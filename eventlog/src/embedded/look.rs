//! One record out of the files, beside whoever has the log open.

use std::fs::{self, File};
use std::path::Path;

use super::directory;
use super::frame::OVERHEAD_BYTES;
use super::segment::{ReadError, Segment};
use super::settings::MAX_RECORD_BYTES_BY_DEFAULT;
use super::window::{Found, Window};
use crate::{Bounds, Error, Partition, Position, Record};

/// The record at `position` of the log in `dir`, for people. It takes no lock and changes nothing, so that it works while another
/// process writes; the very last record may be one that is not durable yet. Reads files, so it blocks.
///
/// # Errors
/// [`Error::Unavailable`] if there is no log, [`Error::UnknownPartition`], [`Error::OutOfRange`], or [`Error::Corrupt`] if it is
/// damaged.
pub fn read_record(dir: &Path, partition: Partition, position: Position) -> Result<Record, Error> {
    if !directory::is_there(dir) {
        return Err(Error::Unavailable(format!("there is none in {}", dir.display())));
    }
    directory::check_format(dir)?;
    let topic = directory::topics(dir)?.into_iter().find(|topic| topic.name == partition.topic);
    let found = topic.as_ref().and_then(|topic| topic.partitions.get(partition.number as usize));
    let dir = found.ok_or_else(|| Error::UnknownPartition(partition.to_string()))?;
    match find(dir, position)? {
        Ok(record) => Ok(record),
        Err(bounds) => Err(bounds.out_of_range(partition, position)),
    }
}

/// The record of a partition's directory; its bounds if it is not among them.
fn find(dir: &Path, position: Position) -> Result<Result<Record, Bounds>, ReadError> {
    let segments = Segment::list(dir)?;
    let start = segments.first().map_or(0, |first| first.base);
    let behind = segments.partition_point(|segment| segment.base <= position);
    let Some(segment) = behind.checked_sub(1).and_then(|index| segments.get(index)) else {
        let end = segments.last().map_or(0, |last| last.base);
        return Ok(Err(Bounds { start, end }));
    };
    let length = fs::metadata(&segment.path)?.len();
    let max_frame_bytes = MAX_RECORD_BYTES_BY_DEFAULT + OVERHEAD_BYTES;
    let mut window = Window::new(File::open(&segment.path)?, 0, max_frame_bytes);
    let mut at = segment.base;
    loop {
        let offset = window.offset();
        match window.next(length)? {
            Found::Frame(frame, bytes) if frame.stamp.position == at => {
                if at == position {
                    return Ok(Ok(frame.record(&bytes)));
                }
                at += 1;
            }
            // What follows in the last segment is being written.
            Found::Frame(..) | Found::Broken | Found::End if behind == segments.len() => {
                return Ok(Err(Bounds { start, end: at }));
            }
            Found::Frame(..) | Found::Broken => return Err(segment.broken(offset, at)),
            Found::End => return Err(segment.too_short(at, position)),
        }
    }
}
