//! The small files beside the spool's log: who it is, and how far it is drained.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use eventlog::{Bounds, Position};
use schemas::id::EdgeId;

use super::{SpoolError, make_dir, sync_dir};

const EDGE: &str = "edge";
const DRAINED: &str = "drained";

/// The id that names this spool; a spool without one gets `new`.
pub(super) fn edge(dir: &Path, new: EdgeId) -> Result<EdgeId, SpoolError> {
    let path = dir.join(EDGE);
    let known = read(&path)?;
    known.map_or_else(
        || match write(dir, EDGE, &new.to_string(), true) {
            Ok(()) => Ok(new),
            Err(error) => Err(SpoolError::File { path, error }),
        },
        Ok,
    )
}

/// Below which position a partition was drained; `None` if that was never noted.
pub(super) fn drained(dir: &Path, number: u32) -> Result<Option<Position>, SpoolError> {
    read(&dir.join(DRAINED).join(number.to_string()))
}

/// The same, within what the spool holds. A note that lies outside is of another log than this one, which somebody removed:
/// left there it would sooner or later hide events that are new.
pub(super) fn drained_within(dir: &Path, number: u32, bounds: Bounds) -> Result<Position, SpoolError> {
    let Some(noted) = drained(dir, number)? else { return Ok(bounds.start) };
    let position = noted.clamp(bounds.start, bounds.end);
    if position != noted {
        tracing::warn!(
            partition = number,
            noted,
            position,
            "the spool does not reach the note of how far it is drained"
        );
        note_drained(dir, number, position, true)
            .map_err(|error| SpoolError::File { path: dir.join(DRAINED).join(number.to_string()), error })?;
    }
    Ok(position)
}

/// Notes below which position a partition is drained.
pub(super) fn note_drained(dir: &Path, number: u32, position: Position, is_durable: bool) -> io::Result<()> {
    let dir = dir.join(DRAINED);
    make_dir(&dir)?;
    write(&dir, &number.to_string(), &position.to_string(), is_durable)
}

/// What a file says. One that says nothing was torn by a loss of power and counts as none.
fn read<T: FromStr>(path: &Path) -> Result<Option<T>, SpoolError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let said = text.trim().parse().ok();
            if said.is_none() {
                tracing::warn!(path = %path.display(), "a file of the spool says nothing and is written anew");
            }
            Ok(said)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SpoolError::File { path: PathBuf::from(path), error }),
    }
}

/// Writes a file whole or not at all.
fn write(dir: &Path, name: &str, text: &str, is_durable: bool) -> io::Result<()> {
    let half = dir.join(format!("{name}.half"));
    let mut file = File::create(&half)?;
    writeln!(file, "{text}")?;
    if is_durable {
        file.sync_all()?;
    }
    fs::rename(&half, dir.join(name))?;
    if is_durable { sync_dir(dir) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_spool_keeps_its_name() {
        let dir = TempDir::new().unwrap();
        let (first, second) = (EdgeId::from_bytes([1; 16]), EdgeId::from_bytes([2; 16]));
        assert_eq!(edge(dir.path(), first).unwrap(), first);
        assert_eq!(edge(dir.path(), second).unwrap(), first);
    }

    #[test]
    fn a_torn_note_is_none() {
        let dir = TempDir::new().unwrap();
        assert_eq!(drained(dir.path(), 3).unwrap(), None);
        for is_durable in [false, true] {
            note_drained(dir.path(), 3, 17 + u64::from(is_durable), is_durable).unwrap();
            assert_eq!(drained(dir.path(), 3).unwrap(), Some(17 + u64::from(is_durable)));
        }
        fs::write(dir.path().join(DRAINED).join("3"), "").unwrap();
        assert_eq!(drained(dir.path(), 3).unwrap(), None);
    }
}
