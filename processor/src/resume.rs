//! Reading on from where a state stands, in a log that is known to be the one it was made from.

use eventlog::{Partition, Position, Subscription};
use schemas::fact::RecordHash;
use schemas::wire;

use crate::archive;
use crate::core::Head;
use crate::error::Error;
use crate::owner::OwnerParts;
use crate::read_back;

/// Reads events from after the last one decided, once it is known to be the one that was.
pub(crate) async fn events_after(
    parts: &OwnerParts,
    head: &Head,
    what: &'static str,
) -> Result<Box<dyn Subscription>, Error> {
    let partition = parts.assignment.partition(parts.partition).events();
    let last = head.source.checked_sub(1).map(|position| (position, head.last_event));
    after(parts, partition, last, what).await
}

/// Reads a partition from after `last`, once the record there is known to be the one with that hash.
async fn after(
    parts: &OwnerParts,
    partition: Partition,
    last: Option<(Position, RecordHash)>,
    what: &'static str,
) -> Result<Box<dyn Subscription>, Error> {
    let log = &parts.log;
    let Some((position, hash)) = last else {
        // Whatever is old may be in the archive alone.
        return archive::subscribe(log, parts.objects.as_ref(), partition, 0).await;
    };
    let bounds = log.bounds(partition).await?;
    // Who reads the past once more may stand where the log begins no more.
    let start = if parts.objects.is_some() { 0 } else { bounds.start };
    if !(start..bounds.end).contains(&position) {
        return Err(Error::Foreign(what));
    }
    let mut subscription = archive::subscribe(log, parts.objects.as_ref(), partition, position).await?;
    let found = read_back::next(&mut *subscription).await?;
    if wire::hash_record(&found.payload) == hash { Ok(subscription) } else { Err(Error::Foreign(what)) }
}

/// Reads the generation's facts from after the last record of the state, once it is known to be the one there.
pub(crate) async fn facts_after(parts: &OwnerParts, head: &Head) -> Result<Box<dyn Subscription>, Error> {
    let partition = parts.assignment.partition(parts.partition).facts();
    let last = head.record.map(|position| (position, head.record_hash));
    after(parts, partition, last, "the last record of facts in the state").await
}
