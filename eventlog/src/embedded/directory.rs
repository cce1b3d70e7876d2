//! The log's directory: its lock, its format, its topics.
//!
//! ```text
//! DIR/lock                          held by the process that has the log open
//! DIR/format                        the version of everything below
//! DIR/TOPIC/partitions              how many; written last, so a topic without it was never finished
//! DIR/TOPIC/N/00000000000000000000.log
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::disk::sync_dir;
use crate::Error;

/// The version of the directory's layout and of the frames in it.
const FORMAT: u32 = 1;
const LOCK: &str = "lock";
const FORMAT_FILE: &str = "format";
const PARTITIONS_FILE: &str = "partitions";

/// A topic of the directory.
#[derive(Debug)]
pub(super) struct TopicDir {
    pub(super) name: String,
    pub(super) partitions: Vec<PathBuf>,
}

/// Creates the directory if it is missing and takes its lock, held as long as the file is open.
pub(super) fn lock(dir: &Path) -> Result<File, Error> {
    let file = fs::create_dir_all(dir)
        // A directory that is new must survive a power loss with what is acknowledged in it.
        .and_then(|()| dir.parent().filter(|parent| parent.is_dir()).map_or(Ok(()), sync_dir))
        .and_then(|()| File::options().create(true).truncate(false).write(true).open(dir.join(LOCK)))
        .map_err(|error| {
            Error::Unavailable(format!("cannot open the log's directory {}: {error}", dir.display()))
        })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Settings(format!("another process has the log in {} open", dir.display())))
        }
        Err(TryLockError::Error(error)) => Err(unavailable(&error)),
    }
}

/// Whether a log was ever made in the directory.
pub(super) fn is_there(dir: &Path) -> bool {
    dir.join(FORMAT_FILE).is_file()
}

/// Refuses a directory of another format; a new one gets this one.
pub(super) fn check_format(dir: &Path) -> Result<(), Error> {
    let path = dir.join(FORMAT_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !topic_names(dir)?.is_empty() {
                return Err(Error::Corrupt(format!("{} is missing beside its topics", path.display())));
            }
            return write_whole(dir, FORMAT_FILE, FORMAT);
        }
        Err(error) => return Err(unavailable(&error)),
    };
    match text.trim().parse::<u32>() {
        Ok(FORMAT) => Ok(()),
        Ok(found) => Err(Error::Settings(format!(
            "the log in {} has format {found}, this program knows format {FORMAT}",
            dir.display()
        ))),
        Err(_) => Err(Error::Corrupt(format!("{} is no number", path.display()))),
    }
}

/// The topics that were created whole.
pub(super) fn topics(dir: &Path) -> Result<Vec<TopicDir>, Error> {
    let mut topics = Vec::new();
    for name in topic_names(dir)? {
        let topic_dir = dir.join(&name);
        let path = topic_dir.join(PARTITIONS_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unavailable(&error)),
        };
        let count = text
            .trim()
            .parse::<u32>()
            .map_err(|_| Error::Corrupt(format!("{} is no number", path.display())))?;
        topics.push(TopicDir { name, partitions: partition_dirs(&topic_dir, count) });
    }
    Ok(topics)
}

/// Creates a topic, durably.
pub(super) fn create_topic(dir: &Path, name: &str, partitions: u32) -> Result<TopicDir, Error> {
    let topic_dir = dir.join(name);
    let dirs = partition_dirs(&topic_dir, partitions);
    let create = || {
        for partition in &dirs {
            fs::create_dir_all(partition)?;
        }
        sync_dir(&topic_dir)?;
        sync_dir(dir)
    };
    create().map_err(|error| unavailable(&error))?;
    write_whole(&topic_dir, PARTITIONS_FILE, partitions)?;
    Ok(TopicDir { name: name.to_owned(), partitions: dirs })
}

fn partition_dirs(topic_dir: &Path, count: u32) -> Vec<PathBuf> {
    (0..count).map(|number| topic_dir.join(number.to_string())).collect()
}

fn topic_names(dir: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| unavailable(&error))? {
        let entry = entry.map_err(|error| unavailable(&error))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Writes a one-number file so that it is there whole or not at all.
fn write_whole(dir: &Path, name: &str, number: u32) -> Result<(), Error> {
    let temporary = dir.join(format!("{name}.tmp"));
    let write = || {
        let mut file = File::create(&temporary)?;
        writeln!(file, "{number}")?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join(name))?;
        sync_dir(dir)
    };
    write().map_err(|error: io::Error| unavailable(&error))
}

fn unavailable(error: &io::Error) -> Error {
    Error::Unavailable(error.to_string())
}
