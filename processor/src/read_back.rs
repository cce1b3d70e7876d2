//! Records that the log is known to have.

use std::sync::Arc;
use std::time::Duration;

use eventlog::{EventLog, Partition, Position, Subscription};
use schemas::{fact, wire};

use crate::error::Error;

/// How long a record that the log has may take to arrive.
pub(crate) const READ_BACK: Duration = Duration::from_secs(10);

/// The next record of a subscription that is not at the log's end.
///
/// # Errors
/// [`Error::Log`] if it does not arrive.
pub(crate) async fn next(subscription: &mut dyn Subscription) -> Result<eventlog::Record, Error> {
    let batch = subscription.next(1, READ_BACK).await?.ok_or(eventlog::Error::Deadline)?;
    Ok(batch.records.into_iter().next().ok_or(eventlog::Error::Deadline)?)
}

/// A record of facts by its position.
///
/// # Errors
/// [`Error::Log`] if it does not arrive, [`Error::UnreadableRecord`] if it is none of ours.
pub(crate) async fn facts_at(
    log: &Arc<dyn EventLog>,
    facts: Partition,
    position: Position,
) -> Result<fact::Record, Error> {
    let mut subscription = log.subscribe(&[(facts, position)]).await?;
    decoded(next(&mut *subscription).await?)
}

/// The facts of a record.
///
/// # Errors
/// [`Error::UnreadableRecord`] if it is none of ours.
pub(crate) fn decoded(record: eventlog::Record) -> Result<fact::Record, Error> {
    let position = record.position;
    wire::decode_record(record.payload).map_err(|error| Error::UnreadableRecord { position, error })
}
