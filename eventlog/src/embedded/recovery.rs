//! What a partition's directory holds when the log is opened.
//!
//! A process that dies leaves a torn tail: frames that were being written and that nobody was told about. It is cut.
//! A broken frame before something that was durable is damage, and nothing is served.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use schemas::time::Timestamp;

use super::disk::sync_dir;
use super::frame::{self, Decoded, OVERHEAD_BYTES};
use super::segment::{Mark, ReadError, Segment};
use super::window::{Found, Window};
use crate::Position;

/// How much is read at once where frames are searched or rewritten.
const PIECE_BYTES: usize = 1 << 20;

/// A partition as it was found, with everything in it durable.
#[derive(Debug)]
pub(super) struct Recovered {
    /// Never empty; the last one is written to.
    pub(super) segments: Vec<Segment>,
    pub(super) end: Position,
    /// The length of the last segment's file.
    pub(super) active_bytes: u64,
    pub(super) last_time: Timestamp,
    /// Bytes of a torn tail that were cut.
    pub(super) cut_bytes: u64,
}

/// What a walk through one file's frames found.
struct Walked {
    end: Position,
    bytes: u64,
    last_time: Option<Timestamp>,
    /// Below this all was durable when the last frames were written.
    durable_end: Position,
}

/// Opens a partition's directory: creates its first segment, or checks the last one and makes it durable.
pub(super) fn recover(dir: &Path, max_frame_bytes: usize) -> Result<Recovered, ReadError> {
    let mut segments = Segment::list(dir)?;
    let Some(last) = segments.last() else {
        let first = Segment::new(dir, 0);
        File::create_new(&first.path)?.sync_all()?;
        sync_dir(dir)?;
        segments.push(first);
        let last_time = Timestamp::from_micros(i64::MIN);
        return Ok(Recovered { segments, end: 0, active_bytes: 0, last_time, cut_bytes: 0 });
    };
    let file = OpenOptions::new().read(true).write(true).open(&last.path)?;
    let length = file.metadata()?.len();
    let walked = walk(last, length, max_frame_bytes)?;
    if walked.bytes < length {
        if let Some(offset) = later_promise(&file, walked.bytes, length, walked.end, max_frame_bytes)? {
            return Err(ReadError::Damage(format!(
                "{} has no intact record {} at byte {}, though the record at byte {offset} says it was durable",
                last.path.display(),
                walked.end,
                walked.bytes,
            )));
        }
        file.set_len(walked.bytes)?;
    }
    rewrite_undurable(last, &file, &walked, max_frame_bytes)?;
    file.sync_all()?;
    sync_dir(dir)?;
    let last_time = match walked.last_time {
        Some(time) => time,
        None => last_time_before(&segments, max_frame_bytes)?,
    };
    Ok(Recovered {
        end: walked.end,
        active_bytes: walked.bytes,
        last_time,
        cut_bytes: length - walked.bytes,
        segments,
    })
}

/// Goes through a segment's frames up to the first that is broken.
fn walk(segment: &Segment, length: u64, max_frame_bytes: usize) -> io::Result<Walked> {
    let mut window = Window::new(File::open(&segment.path)?, 0, max_frame_bytes);
    let mut walked = Walked { end: segment.base, bytes: 0, last_time: None, durable_end: segment.base };
    while let Found::Frame(frame, _) = window.next(length)? {
        if frame.stamp.position != walked.end {
            break;
        }
        segment.mark(Mark { position: walked.end, offset: walked.bytes });
        walked.end += 1;
        walked.bytes = window.offset();
        walked.last_time = Some(frame.stamp.log_time);
        walked.durable_end = walked.durable_end.max(frame.stamp.durable_end);
    }
    Ok(walked)
}

/// Where, behind a broken frame, an intact one says that the broken one's record was durable.
fn later_promise(
    file: &File,
    broken_at: u64,
    length: u64,
    position: Position,
    max_frame_bytes: usize,
) -> io::Result<Option<u64>> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut piece_at = broken_at + 1;
    while piece_at + OVERHEAD_BYTES as u64 <= length {
        let bytes = usize::try_from(length - piece_at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        file.read_exact_at(&mut piece[..bytes], piece_at)?;
        for (at, header) in piece[..bytes].windows(OVERHEAD_BYTES).enumerate() {
            // Cheap tests first: only what would prove damage is worth reading whole.
            let Some((frame_bytes, stamp, _)) = frame::peek(header) else { continue };
            let offset = piece_at + at as u64;
            // No more frames fit in between than there is room for: what a sender puts into a payload, to look like a frame from
            // far ahead, is none.
            let most = (offset - broken_at) / OVERHEAD_BYTES as u64;
            let near = stamp.position.saturating_sub(position) <= most;
            let promises = stamp.durable_end > position && stamp.position >= stamp.durable_end;
            if near && promises && frame_bytes <= max_frame_bytes && offset + frame_bytes as u64 <= length {
                let mut whole = vec![0; frame_bytes];
                file.read_exact_at(&mut whole, offset)?;
                if matches!(frame::decode(&whole, max_frame_bytes), Decoded::Intact(_)) {
                    return Ok(Some(offset));
                }
            }
        }
        piece_at += (bytes - OVERHEAD_BYTES + 1) as u64;
    }
    Ok(None)
}

/// Writes again what lies beyond the durable mark.
///
/// These frames were read from the page cache. If the `fdatasync` before the end failed, the kernel holds them as clean
/// though the disk never got them; only pages that are dirty again are written by the next `fdatasync`.
fn rewrite_undurable(
    segment: &Segment,
    file: &File,
    walked: &Walked,
    max_frame_bytes: usize,
) -> Result<(), ReadError> {
    let mut at = segment.window_at(walked.durable_end, walked.bytes, max_frame_bytes)?.offset();
    let mut piece = vec![0; PIECE_BYTES];
    while at < walked.bytes {
        let bytes = usize::try_from(walked.bytes - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        file.read_exact_at(&mut piece[..bytes], at)?;
        file.write_all_at(&piece[..bytes], at)?;
        at += bytes as u64;
    }
    Ok(())
}

/// The log time of the last record before an empty last segment.
fn last_time_before(segments: &[Segment], max_frame_bytes: usize) -> Result<Timestamp, ReadError> {
    let [.., previous, last] = segments else { return Ok(Timestamp::from_micros(i64::MIN)) };
    let length = std::fs::metadata(&previous.path)?.len();
    let walked = walk(previous, length, max_frame_bytes)?;
    // A segment is begun only when the one before it is durable to its last byte.
    if walked.bytes < length {
        return Err(previous.broken(walked.bytes, walked.end));
    }
    if walked.end != last.base {
        return Err(previous.too_short(walked.end, last.base));
    }
    Ok(walked.last_time.unwrap_or(Timestamp::from_micros(i64::MIN)))
}
