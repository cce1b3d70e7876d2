//! Follows the topic `results` from its end on: what was decided before this process began, nobody here waits for.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use eventlog::{EventLog, Partition};
use schemas::topic;
use schemas::wire::decode_result;
use service::lifecycle::Tasks;

use super::waits::Waits;

const RESULTS: Partition = Partition { topic: topic::RESULTS, number: 0 };
/// Records that are read at once.
const MAX_BATCH_RECORDS: usize = 256;
/// How long one read waits for new records.
const READ_WAIT: Duration = Duration::from_millis(500);
/// The pause after an error of the log. Who waits meanwhile finds the outcome among the rows.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Follows until the shutdown.
pub(super) fn spawn(log: Arc<dyn EventLog>, waits: Arc<Waits>, tasks: &Tasks) {
    let stop = tasks.shutdown().clone();
    tasks.spawn("query-api results", async move {
        tokio::select! {
            () = stop.started() => {}
            () = follow(log, waits) => {}
        }
        Ok::<(), Infallible>(())
    });
}

async fn follow(log: Arc<dyn EventLog>, waits: Arc<Waits>) {
    let mut is_away = false;
    loop {
        let Err(error) = follow_from_end(log.as_ref(), &waits, &mut is_away).await;
        if !is_away {
            tracing::warn!(%error, "the results of commands cannot be read, trying again");
        }
        is_away = true;
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Follows from the end until the log fails, or has deleted what was to be read next.
async fn follow_from_end(
    log: &dyn EventLog,
    waits: &Waits,
    is_away: &mut bool,
) -> Result<Infallible, eventlog::Error> {
    let end = log.bounds(RESULTS).await?.end;
    let mut subscription = log.subscribe(&[(RESULTS, end)]).await?;
    if std::mem::take(is_away) {
        tracing::info!("the results of commands are read again");
    }
    loop {
        let Some(batch) = subscription.next(MAX_BATCH_RECORDS, READ_WAIT).await? else { continue };
        for record in batch.records {
            match decode_result(record.payload) {
                Ok(result) => waits.tell(result),
                // A newer build's, or damage: the rows tell, and the next record may be readable.
                Err(error) => {
                    tracing::warn!(%error, position = record.position, "a result of a command is not readable")
                }
            }
        }
    }
}
