//! Follows the topic `caps`: what the core has counted. Nothing waits for it: while the log is away, or before the topic is
//! there, an edge goes by its own counts.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use eventlog::{Batch, EventLog, Partition, Subscription};
use schemas::time::Timestamp;
use schemas::topic;
use schemas::wire::decode_cap_counts;
use service::clock::SharedClock;
use service::lifecycle::{Shutdown, Tasks};

use crate::caps::CapCounts;

const PARTITION: Partition = Partition { topic: topic::CAPS, number: 0 };
/// Records that are read at once.
const MAX_BATCH_RECORDS: usize = 256;
/// How long one read waits for new records.
const READ_WAIT: Duration = Duration::from_millis(500);
/// The pause after an error of the log. The core repeats its counts, so little is missed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Follows until the shutdown.
pub(crate) fn spawn(
    log: Arc<dyn EventLog>,
    counts: Arc<CapCounts>,
    clock: SharedClock,
    tasks: &Tasks,
    shutdown: Shutdown,
) {
    let stop = shutdown.clone();
    tasks.spawn_until(&shutdown, "ingest caps", async move {
        tokio::select! {
            () = stop.started() => {}
            () = follow(log, counts, clock) => {}
        }
        Ok::<(), Infallible>(())
    });
}

async fn follow(log: Arc<dyn EventLog>, counts: Arc<CapCounts>, clock: SharedClock) {
    let mut is_away = false;
    loop {
        let Err(error) = follow_from_start(log.as_ref(), &counts, &clock, &mut is_away).await;
        if !is_away {
            tracing::warn!(%error, "the counts of caps cannot be read, trying again");
        }
        is_away = true;
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Follows from the first record that is still there, until the log fails.
async fn follow_from_start(
    log: &dyn EventLog,
    counts: &CapCounts,
    clock: &SharedClock,
    is_away: &mut bool,
) -> Result<Infallible, eventlog::Error> {
    let start = log.bounds(PARTITION).await?.start;
    let mut subscription: Box<dyn Subscription> = log.subscribe(&[(PARTITION, start)]).await?;
    if std::mem::take(is_away) {
        tracing::info!("the counts of caps are read again");
    }
    loop {
        if let Some(batch) = subscription.next(MAX_BATCH_RECORDS, READ_WAIT).await? {
            learn(counts, batch, Timestamp::from_micros(clock.now_micros()));
        }
    }
}

fn learn(counts: &CapCounts, batch: Batch, now: Timestamp) {
    for record in batch.records {
        match decode_cap_counts(record.payload) {
            Ok(counted) => counts.learn(&counted, now),
            // A newer build's counts, or damage: own counts go on, and the next record may be readable.
            Err(error) => {
                tracing::warn!(%error, position = record.position, "counts of caps are not readable")
            }
        }
    }
}
