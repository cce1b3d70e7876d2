//! Where work runs that needs no state: decoding events, encoding facts.

use std::pin::Pin;

use crate::error::Error;

/// Who does an owner's work beside its decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// The owner itself, in turn: in a simulation one seed is one history.
    Nobody,
    /// Threads of the runtime's pool for blocking work, while the owner decides.
    Threads,
}

/// Work that may be done already.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

impl Workers {
    /// Begins a piece of work. It goes on whether the result is waited for or not.
    pub(crate) fn begin<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Work<T> {
        match self {
            Self::Nobody => {
                let done = work();
                Box::pin(async { Ok(done) })
            }
            Self::Threads => {
                let running = tokio::task::spawn_blocking(work);
                Box::pin(async { running.await.map_err(|error| Error::Worker(error.to_string())) })
            }
        }
    }
}
