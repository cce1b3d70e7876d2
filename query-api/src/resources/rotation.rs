//! What rotating the secret of a key and of a source have in common.

use schemas::time::Timestamp;
use serde_json::{Map, Value};

use crate::error::Error;

/// How long the old secret is good after a rotation that does not say.
const DEFAULT_GRACE_SECONDS: u64 = 24 * 60 * 60;
/// The longest grace.
const MAX_GRACE_SECONDS: u64 = 30 * 24 * 60 * 60;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// Until when the secret is good that a rotation at `now` replaces; `None`: no longer. The body may hold `grace`, in seconds.
///
/// There are two secrets at most: while an older one is in its own grace there is no further rotation, because it would end a
/// secret that is still in use, unless the body says that all of them shall end (`"grace": 0`).
pub(crate) fn grace(
    mut body: Map<String, Value>,
    older_until: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let seconds = match body.remove("grace") {
        None | Some(Value::Null) => DEFAULT_GRACE_SECONDS,
        Some(value) => value.as_u64().filter(|seconds| *seconds <= MAX_GRACE_SECONDS).ok_or_else(|| {
            Error::invalid("grace", format!("must be a number of seconds from 0 to {MAX_GRACE_SECONDS}"))
        })?,
    };
    if let Some(name) = body.keys().next() {
        return Err(Error::invalid(name.clone(), "is not a field that can be set here"));
    }
    if seconds == 0 {
        return Ok(None);
    }
    if let Some(until) = older_until.filter(|until| *until > now) {
        let message = format!("it was rotated already, its old secret is good until {until}");
        return Err(Error::Conflict { message, field: None, current_version: None });
    }
    let micros = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(MICROS_PER_SECOND);
    Ok(Some(now.saturating_add(micros)))
}
