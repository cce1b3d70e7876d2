//! Why the edge does not start, and why it refuses a request.

use std::fmt;
use std::path::PathBuf;

use schemas::error_code::{ErrorCode, FieldError};

use crate::agent::ListError;
use crate::appender::AppendError;
use crate::place::PlaceError;

/// Why the edge does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting contradicts itself.
    #[error("edge.{setting} {reason}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The log has no topic for events.
    #[error("the log has no topic {0}; run the migration first")]
    NoTopic(&'static str),
    /// The log and the catalog disagree about the number of partitions.
    #[error("topic events has {found} partitions in the log, the catalog says {wanted}")]
    PartitionCount {
        /// What the log has.
        found: u32,
        /// What the catalog says.
        wanted: u32,
    },
    /// The catalog has no record yet.
    #[error("the catalog is empty: nothing was installed on this log")]
    NotInstalled,
    /// The log's own error.
    #[error("the log: {0}")]
    Log(#[from] eventlog::Error),
    /// The lists by which agents are told do not compile.
    #[error("agents: {0}")]
    Agents(#[from] &'static ListError),
    /// The file of places cannot be used.
    #[error("edge.places_file names {}: {source}", file.display())]
    Places {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: PlaceError,
    },
    /// The system gives no thread for appending.
    #[error("no thread for appending: {0}")]
    Thread(std::io::Error),
    /// The runtime stopped meanwhile.
    #[error("the runtime was stopped while the edge started")]
    Stopped,
    /// The spool belongs to another process or another installation.
    #[error("the spool: {0}")]
    Spool(String),
    /// The counters exist already.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Why a request is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request is wrong in itself: at least one fault.
    #[error("{}", .0.first().map_or("the request is invalid", |fault| &fault.message))]
    Invalid(Vec<FieldError>),
    /// No key or token, or not a good one.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The key may not do this, or not from there.
    #[error("{0}")]
    Forbidden(&'static str),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(&'static str),
    /// The route exists, the method does not.
    #[error("this route does not take this method")]
    MethodNotAllowed,
    /// The body did not come.
    #[error("the body did not arrive within {seconds} seconds")]
    RequestTimeout {
        /// The time that it had.
        seconds: u64,
    },
    /// The body is too large.
    #[error("the body is larger than {limit} bytes")]
    PayloadTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// An event of a batch is too large.
    #[error("the event is larger than {limit} bytes")]
    EventTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The batch has too many events.
    #[error("the batch has more than {limit} events")]
    TooManyEvents {
        /// How many it may have.
        limit: usize,
    },
    /// The address is too long.
    #[error("path and query are longer than {limit} bytes")]
    UriTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body's type is none that the route takes.
    #[error("the content type must be {wanted}")]
    UnsupportedMediaType {
        /// What the route takes.
        wanted: &'static str,
    },
    /// The client takes none of the types that the route answers with.
    #[error("the answer is {offered}, which the request does not accept")]
    NotAcceptable {
        /// What the route answers with.
        offered: &'static str,
    },
    /// Too many requests.
    #[error("too many requests; try again in {seconds} seconds")]
    RateLimited {
        /// When the next one is taken.
        seconds: u64,
    },
    /// The event is not known to be durable.
    #[error("the event could not be recorded; try again")]
    Unavailable,
    /// Our fault.
    #[error("something went wrong here")]
    ServerError,
}

impl Refusal {
    /// One fault of one field.
    pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    /// Our fault. The cause is for our log: the client can do nothing about it.
    pub(crate) fn broken(cause: impl fmt::Display) -> Self {
        tracing::error!(%cause, "a request cannot be answered");
        Self::ServerError
    }

    pub(crate) const fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::ValidationFailed,
            Self::Unauthorized(_) => ErrorCode::Unauthorized,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::MethodNotAllowed => ErrorCode::MethodNotAllowed,
            Self::RequestTimeout { .. } => ErrorCode::RequestTimeout,
            Self::PayloadTooLarge { .. } | Self::EventTooLarge { .. } | Self::TooManyEvents { .. } => {
                ErrorCode::PayloadTooLarge
            }
            Self::UriTooLong { .. } => ErrorCode::UriTooLong,
            Self::UnsupportedMediaType { .. } => ErrorCode::UnsupportedMediaType,
            Self::NotAcceptable { .. } => ErrorCode::NotAcceptable,
            Self::RateLimited { .. } => ErrorCode::RateLimited,
            Self::Unavailable => ErrorCode::Unavailable,
            Self::ServerError => ErrorCode::ServerError,
        }
    }

    /// The same with no more than this many faults.
    pub(crate) fn shortened(mut self, faults: usize) -> Self {
        if let Self::Invalid(all) = &mut self {
            all.truncate(faults);
        }
        self
    }

    /// The faults by field; empty where the request as a whole was refused.
    pub(crate) fn faults(&self) -> &[FieldError] {
        match self {
            Self::Invalid(faults) => faults,
            Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::MethodNotAllowed
            | Self::RequestTimeout { .. }
            | Self::PayloadTooLarge { .. }
            | Self::EventTooLarge { .. }
            | Self::TooManyEvents { .. }
            | Self::UriTooLong { .. }
            | Self::UnsupportedMediaType { .. }
            | Self::NotAcceptable { .. }
            | Self::RateLimited { .. }
            | Self::Unavailable
            | Self::ServerError => &[],
        }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Log(eventlog::Error::TooLarge { limit, .. }) => Self::PayloadTooLarge { limit },
            // Whatever ails the log and the spool, the client's remedy is the same: send it again.
            AppendError::Full
            | AppendError::Stopping
            | AppendError::Log(_)
            | AppendError::SpoolFull
            | AppendError::NoSpool
            | AppendError::SpoolUnreadable
            | AppendError::Spool(_) => Self::Unavailable,
        }
    }
}
