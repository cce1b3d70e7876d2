//! The data directory: made on the first start, refused if a newer version wrote it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Version of the directory's layout.
const VERSION: u32 = 1;
const VERSION_FILE: &str = "version";

/// A data directory of this version.
pub(crate) struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Opens the directory, or makes it.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let refused = |problem: String| Error::DataDir { dir: root.to_owned(), problem };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|error| refused(format!("cannot be created: {error}")))?;
        // What is printed must be right from any other directory, too.
        let root = &std::path::absolute(root).map_err(|error| refused(error.to_string()))?;
        let dir = Self { root: root.clone() };
        let file = root.join(VERSION_FILE);
        match fs::read_to_string(&file) {
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(VERSION) => Ok(dir),
                Ok(version) if version > VERSION => Err(refused(format!(
                    "was written by a newer Tributary (layout {version}, this one knows {VERSION})"
                ))),
                _ => Err(refused(format!(
                    "{VERSION_FILE} holds {:?}, which is no layout of ours",
                    text.trim()
                ))),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                dir.write_private(VERSION_FILE, &format!("{VERSION}\n"))?;
                Ok(dir)
            }
            Err(error) => Err(refused(format!("{VERSION_FILE} cannot be read: {error}"))),
        }
    }

    /// A path inside.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file that only its owner may read, all or nothing, and durably.
    pub(crate) fn write_private(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.root.join(name);
        let half = self.root.join(format!("{name}.half"));
        let write = || -> std::io::Result<()> {
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&half, &path)?;
            fs::File::open(&self.root)?.sync_all()
        };
        write().map_err(|error| Error::DataDir {
            dir: self.root.clone(),
            problem: format!("{name} cannot be written: {error}"),
        })?;
        Ok(path)
    }

    /// A file's text; `None` if it is not there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, Error> {
        match fs::read_to_string(self.root.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::DataDir {
                dir: self.root.clone(),
                problem: format!("{name} cannot be read: {error}"),
            }),
        }
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        match fs::remove_file(self.root.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::DataDir {
                dir: self.root.clone(),
                problem: format!("{name} cannot be removed: {error}"),
            }),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
