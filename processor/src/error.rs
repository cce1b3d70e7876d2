//! Why a partition cannot go on.

use schemas::wire::WireError;
use warehouse::error::code;

use crate::core::{CORE_VERSION, StateError};
use crate::objects::ObjectsError;

/// Why a processor's or a sink's partition stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The event log.
    #[error(transparent)]
    Log(#[from] eventlog::Error),
    /// The warehouse.
    #[error(transparent)]
    Warehouse(#[from] warehouse::Error),
    /// The state store.
    #[error(transparent)]
    State(#[from] StateError),
    /// The object store.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The thread that takes a snapshot is gone.
    #[error("a snapshot was given up: {0}")]
    Snapshot(String),
    /// A record of the catalog cannot be folded.
    #[error("catalog: {0}")]
    Catalog(#[from] catalog::CatalogError),
    /// A record of `facts` cannot be read.
    #[error("record {position} of facts: {error}")]
    UnreadableRecord {
        /// Its position.
        position: u64,
        /// Why.
        error: WireError,
    },
    /// An event carries a catalog revision that the catalog's log does not have.
    #[error("event {position} was stamped with catalog revision {number}, which {problem}")]
    CatalogRevision {
        /// The event's position.
        position: u64,
        /// The revision's number.
        number: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An event was written by a newer edge.
    #[error("event {position} has version {version}, which this build does not know: use a newer one")]
    NewerEvent {
        /// The event's position.
        position: u64,
        /// Its version.
        version: u32,
    },
    /// Facts were decided by a newer core: what they change may be more than this one knows.
    #[error(
        "record {position} of facts was decided by core {version}, which this build does not know: use a newer one"
    )]
    NewerCore {
        /// The record's position.
        position: u64,
        /// The core's version.
        version: u32,
    },
    /// Facts were decided by another core, so that this one need not decide the same.
    #[error(
        "record {position} of facts was decided by core {version}, this build has core {CORE_VERSION}: verify it with that build, or from a later snapshot"
    )]
    OtherCore {
        /// The record's position.
        position: u64,
        /// The core's version.
        version: u32,
    },
    /// A record's log time lies far ahead of the owner's clock.
    #[error("event {position} was logged {ahead_s} s ahead of this machine's clock")]
    ClockAhead {
        /// The event's position.
        position: u64,
        /// How far, in seconds.
        ahead_s: i64,
    },
    /// The log is not the one that the state or the warehouse was made from.
    #[error("{0} does not match the log: they are not of the same installation, or one of them was set back")]
    Foreign(&'static str),
    /// A state directory of another version or of another partition, or one that cannot be created.
    #[error("the state in {dir} {problem}")]
    StateDirectory {
        /// The directory.
        dir: String,
        /// What is wrong.
        problem: String,
    },
    /// What is in a table is neither nothing, nor a beginning, nor all of what must be there.
    #[error(
        "table {table}, log partition {partition}, cut {cut}, chunk {chunk}: expected rows {expected}, found {found}"
    )]
    UnexplainedRows {
        /// The table.
        table: &'static str,
        /// The log partition.
        partition: u32,
        /// The cut.
        cut: u64,
        /// The chunk.
        chunk: u16,
        /// What must be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The warehouse took rows again and again, and does not have them.
    #[error("the warehouse has not all rows of {table}, cut {cut}, chunk {chunk}, though it took them")]
    RowsNotTaken {
        /// The table.
        table: &'static str,
        /// The cut.
        cut: u64,
        /// The chunk.
        chunk: u16,
    },
    /// The warehouse took conversions, and does not have them.
    #[error("the warehouse has not all conversions of cut {cut}, though it took them")]
    ConversionsNotTaken {
        /// The cut.
        cut: u64,
    },
    /// A cut's row numbers are not those of the facts before it.
    #[error("cut {cut} counts {expected} rows of {table}, its facts give {found}")]
    CutMismatch {
        /// The cut.
        cut: u64,
        /// The table.
        table: &'static str,
        /// What the cut says.
        expected: u64,
        /// What the facts give.
        found: u64,
    },
    /// The warehouse took the row that says that a cut is finished, and does not have it.
    #[error("the warehouse has no row for cut {cut}, though it took one")]
    CutNotFinished {
        /// The cut.
        cut: u64,
    },
    /// The settings name a partition that the installation does not have.
    #[error("the settings name partition {number}, the installation has {partitions}, counted from 0")]
    Partitions {
        /// The partition.
        number: u32,
        /// How many there are.
        partitions: u32,
    },
    /// A setting that cannot work.
    #[error("{name} {problem}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The catalog does not take the word that a generation is live.
    #[error("the catalog does not take it: {0}")]
    Switch(String),
    /// The metrics of another generation cannot be had.
    #[error("metrics: {0}")]
    Metrics(String),
    /// A thread that decodes or encodes beside the owner did not come to its end.
    #[error("a worker failed: {0}")]
    Worker(String),
    /// Rows could not be encoded.
    #[error("rows cannot be encoded: {0}")]
    Rows(String),
}

impl Error {
    /// Whether going on from the committed position may help without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Log(error) => error.is_retriable(),
            // An INSERT that came too late left nothing behind: it is asked for and sent again.
            Self::Warehouse(error) => error.is_retriable() || error.code() == Some(code::VIOLATED_CONSTRAINT),
            // A full disk may have room again; the store is opened anew for each attempt.
            Self::State(StateError::Store(_)) => true,
            // All rows are there: the next attempt has the row alone to write.
            Self::CutNotFinished { .. } => true,
            // A token that remembers what is gone is no longer sent in the next span.
            Self::RowsNotTaken { .. } | Self::ConversionsNotTaken { .. } => true,
            Self::Objects(error) => error.is_retriable(),
            Self::Snapshot(_) => true,
            Self::State(StateError::Unreadable(_))
            | Self::Catalog(_)
            | Self::UnreadableRecord { .. }
            | Self::CatalogRevision { .. }
            | Self::NewerEvent { .. }
            | Self::NewerCore { .. }
            | Self::OtherCore { .. }
            | Self::ClockAhead { .. }
            | Self::Foreign(_)
            | Self::StateDirectory { .. }
            | Self::UnexplainedRows { .. }
            | Self::CutMismatch { .. }
            | Self::Partitions { .. }
            | Self::Setting { .. }
            | Self::Switch(_)
            | Self::Metrics(_)
            | Self::Worker(_)
            | Self::Rows(_) => false,
        }
    }
}
