//! What can go wrong, each in one line.

use std::path::PathBuf;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A URL cannot be used.
    #[error("{url:?} is not a usable URL: {reason}")]
    Url {
        /// The URL as it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A line of the ledger is not one of ours.
    #[error("{path}, line {line}: not a ledger entry: {reason}", path = path.display())]
    Ledger {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The server cannot be reached.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The API answered something else than it should.
    #[error("{url}: {reason}")]
    Api {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The results cannot be printed.
    #[error("cannot write the results: {0}")]
    Output(#[from] std::io::Error),
    /// A process whose cost was asked for cannot be looked at.
    #[error("process {pid}: {reason}")]
    Process {
        /// Its id.
        pid: u32,
        /// Why not.
        reason: String,
    },
    /// A server that a measurement starts does not do its part.
    #[error("{name}: {reason}")]
    Server {
        /// Which one.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The arguments contradict each other.
    #[error("{0}")]
    Arguments(String),
}
