//! What the writer asks of the disk. A seam of its own because tests must be able to fill a disk and to break one.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Opens segment files for writing.
pub(super) trait Disk: Debug + Send + Sync + 'static {
    /// A file that must not exist yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;

    /// A file that exists.
    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
}

/// A segment file as the writer sees it.
pub(super) trait SegmentFile: Debug + Send {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when everything written is durable.
    fn sync(&mut self) -> io::Result<()>;

    /// Removes everything from `length` on.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// The file system.
#[derive(Debug)]
pub(super) struct FileSystem;

impl Disk for FileSystem {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }
}

impl SegmentFile for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// Makes created and removed names of a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
