//! What a test key made: in no answer unless it is asked for.

use crate::error::Error;
use crate::params::Params;

/// `include_test`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TestRows {
    Without,
    With,
    Only,
}

impl TestRows {
    /// Takes `include_test` from the parameters.
    pub(crate) fn take(params: &mut Params) -> Result<Self, Error> {
        match params.take("include_test")?.as_deref() {
            None | Some("false") => Ok(Self::Without),
            Some("true") => Ok(Self::With),
            Some("only") => Ok(Self::Only),
            Some(_) => Err(Error::invalid("include_test", "must be one of false, true, only")),
        }
    }

    /// The condition on a row.
    pub(crate) const fn condition(self) -> &'static str {
        match self {
            Self::Without => "NOT test",
            Self::With => "1",
            Self::Only => "test",
        }
    }
}
