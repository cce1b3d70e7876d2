//! What can go wrong between Tributary and ClickHouse.

use std::time::Duration;

/// ClickHouse's codes that callers decide by.
pub mod code {
    /// A row broke a `CONSTRAINT`: of the append-only tables, the one that refuses late inserts.
    pub const VIOLATED_CONSTRAINT: u32 = 469;
    /// The statement ran longer than its `max_execution_time`.
    pub const TIMEOUT_EXCEEDED: u32 = 159;
    /// The statement or the server ran out of its memory.
    pub const MEMORY_LIMIT_EXCEEDED: u32 = 241;
    /// The answer has more rows than its limit.
    pub const TOO_MANY_ROWS_OR_BYTES: u32 = 396;
    /// A table that is not there.
    pub const UNKNOWN_TABLE: u32 = 60;
}

/// Codes behind which the same statement may succeed later: time-outs, load, memory, disk space, and a
/// cluster's replicas, quorum and Keeper.
const RETRIABLE_CODES: [u32; 16] =
    [159, 202, 203, 209, 210, 225, 241, 242, 243, 252, 285, 286, 289, 319, 473, 999];

/// A failed call to the warehouse.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers, or what answers is not ready.
    #[error("the warehouse is unavailable: {0}")]
    Unavailable(String),
    /// No answer in time. The statement may still run, and an insert may still be committed.
    #[error("the warehouse did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// ClickHouse refused or failed the statement.
    #[error("the warehouse refuses: {message}")]
    Query {
        /// ClickHouse's error code.
        code: u32,
        /// Its text.
        message: String,
    },
    /// The answer is not what the code expects of it.
    #[error("the warehouse's answer cannot be read: {0}")]
    Decode(String),
    /// The request cannot be made.
    #[error("not a request for the warehouse: {0}")]
    Request(String),
    /// A batch whose columns do not fit together.
    #[error("not a batch: {0}")]
    Batch(String),
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Timeout(_) => true,
            Self::Query { code, .. } => RETRIABLE_CODES.contains(code),
            Self::Decode(_) | Self::Request(_) | Self::Batch(_) => false,
        }
    }

    /// ClickHouse's code, if it is ClickHouse that speaks.
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Query { code, .. } => Some(*code),
            Self::Unavailable(_) | Self::Timeout(_) | Self::Decode(_) | Self::Request(_) | Self::Batch(_) => {
                None
            }
        }
    }
}

impl From<clickhouse::error::Error> for Error {
    fn from(error: clickhouse::error::Error) -> Self {
        use clickhouse::error::Error as Client;
        // Not a match: the client's enum is open, and what is not named here is a matter of reading.
        if let Client::Network(source) = &error {
            return Self::Unavailable(with_causes(&**source));
        }
        if let Client::BadResponse(text) = error {
            return match code_of(&text) {
                Some(code) => Self::Query { code, message: text },
                // A proxy's page, or a status line alone: whoever spoke, it was not the database.
                None => Self::Unavailable(text),
            };
        }
        if matches!(error, Client::TimedOut) {
            return Self::Unavailable("the connection timed out".to_owned());
        }
        if let Client::InvalidParams(source) = &error {
            return Self::Request(source.to_string());
        }
        Self::Decode(error.to_string())
    }
}

/// The whole chain of causes: hyper's outermost error says only "client error".
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The code that a text in ClickHouse's form begins with.
pub(crate) fn code_of(text: &str) -> Option<u32> {
    let digits = text.trim_start().strip_prefix("Code: ")?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_is_told_from_a_proxys_page() {
        let bad = |text: &str| Error::from(clickhouse::error::Error::BadResponse(text.to_owned()));
        assert_eq!(bad("Code: 60. DB::Exception: no table").code(), Some(60));
        assert!(!bad("Code: 60. DB::Exception: no table").is_retriable());
        assert!(bad("Code: 252. DB::Exception: Too many parts").is_retriable());
        assert!(matches!(bad("502 Bad Gateway"), Error::Unavailable(_)));
        assert!(bad("502 Bad Gateway").is_retriable());
    }
}
