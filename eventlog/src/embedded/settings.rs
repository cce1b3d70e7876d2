//! How an embedded log is set up.

use std::fmt;
use std::io;
use std::sync::Arc;

use schemas::time::Timestamp;

use super::frame::OVERHEAD_BYTES;
use crate::Error;
use crate::metrics::Metrics;

/// Gives the current time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Is called once when `fdatasync` has failed; see [`EmbeddedSettings::on_fsync_failure`].
pub type FsyncFailure = Arc<dyn Fn(&io::Error) + Send + Sync>;

/// The largest record that can be asked for: keeps lengths far inside the frame's 32 bits.
const MAX_RECORD_BYTES: usize = 256 << 20;
/// The largest record that is taken where nobody says otherwise.
pub(super) const MAX_RECORD_BYTES_BY_DEFAULT: usize = 4 << 20;

/// How an embedded log is set up. [`EmbeddedSettings::new`] gives the usual values.
#[derive(Clone)]
pub struct EmbeddedSettings {
    /// A segment file is ended when the next record would make it larger than this.
    pub segment_bytes: u64,
    /// The largest record, key and payload together, that is taken.
    pub max_record_bytes: usize,
    /// The clock that stamps records.
    pub clock: Clock,
    /// What is done when `fdatasync` fails. The kernel may then have dropped what it could not write while the process
    /// still sees it, so going on would serve records that are not on the disk: the default ends the process. If this
    /// returns, the partition takes no more records.
    pub on_fsync_failure: FsyncFailure,
    /// Where the log counts.
    pub metrics: Option<Metrics>,
}

impl EmbeddedSettings {
    /// Segments of 128 MiB, records up to 4 MiB, no metrics; a failed `fdatasync` ends the process.
    pub fn new(clock: Clock) -> Self {
        Self {
            segment_bytes: 128 << 20,
            max_record_bytes: MAX_RECORD_BYTES_BY_DEFAULT,
            clock,
            on_fsync_failure: Arc::new(abort),
            metrics: None,
        }
    }

    /// The longest frame that these settings write.
    pub(super) fn max_frame_bytes(&self) -> usize {
        self.max_record_bytes + OVERHEAD_BYTES
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.max_record_bytes == 0 || self.max_record_bytes > MAX_RECORD_BYTES {
            return Err(Error::Settings(format!("max_record_bytes must be 1..={MAX_RECORD_BYTES}")));
        }
        if self.segment_bytes < self.max_frame_bytes() as u64 {
            return Err(Error::Settings(
                "segment_bytes is too small for one record of max_record_bytes".into(),
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for EmbeddedSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedSettings")
            .field("segment_bytes", &self.segment_bytes)
            .field("max_record_bytes", &self.max_record_bytes)
            .finish_non_exhaustive()
    }
}

fn abort(error: &io::Error) {
    tracing::error!(%error, "fdatasync of the event log failed; ending, so that nothing is served that is not on the disk");
    std::process::abort();
}
