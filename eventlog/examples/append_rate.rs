//! How fast the embedded engine takes and gives records: `append_rate DIR [RECORDS] [WAITING] [PER_APPEND]`.
//!
//! WAITING callers each append PER_APPEND records of 300 bytes at a time and wait for the answer; then all is read back.

#![allow(clippy::print_stdout, reason = "an example answers on standard output")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings};
use eventlog::metrics::Metrics;
use eventlog::{EventLog as _, NewRecord, Partition, ProducerUse, TopicSpec};
use futures::stream::{self, StreamExt as _};
use schemas::time::Timestamp;

const PARTITION: Partition = Partition { topic: "events", number: 0 };
const RECORD_BYTES: usize = 300;
const WAIT: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("append_rate DIR [RECORDS] [WAITING] [PER_APPEND]")?);
    let mut number = |or: usize| args.next().map_or(Ok(or), |text| text.parse());
    let (records, waiting, per_append) = (number(500_000)?, number(2_000)?, number(1)?);

    let registry = prometheus::Registry::new();
    let started = Instant::now();
    let clock = move || Timestamp::from_micros(started.elapsed().as_micros() as i64);
    let mut settings = EmbeddedSettings::new(Arc::new(clock));
    settings.metrics = Some(Metrics::register(&registry, "main")?);
    let log = EmbeddedLog::open(&dir, settings)?;
    log.ensure_topics(&[TopicSpec { name: PARTITION.topic, partitions: 1 }]).await?;
    let before = log.bounds(PARTITION).await?.end;

    let usage = ProducerUse { name: "rate", deadline: WAIT, max_pending_bytes: 256 << 20 };
    let producer = log.producer(usage)?;
    let record = NewRecord { key: Bytes::new(), payload: Bytes::from(vec![b'x'; RECORD_BYTES]) };
    let begun = Instant::now();
    let appends = stream::iter(0..records / per_append)
        .map(|_| producer.append(PARTITION, vec![record.clone(); per_append]))
        .buffer_unordered(waiting);
    let failed = appends.fold(0, |failed, answers| async move {
        failed + answers.iter().filter(|answer| answer.is_err()).count()
    });
    let failed = failed.await;
    let seconds = begun.elapsed().as_secs_f64();
    let syncs = registry
        .gather()
        .iter()
        .find(|family| family.name() == "eventlog_fsync_seconds")
        .map(|family| family.get_metric()[0].get_histogram().clone());
    println!(
        "appended {records} in {seconds:.2} s: {:.0} records/s, {failed} failed",
        records as f64 / seconds
    );
    if let Some(syncs) = syncs {
        let (count, sum) = (syncs.get_sample_count(), syncs.get_sample_sum());
        println!("{count} fdatasyncs, {:.2} ms each", sum * 1e3 / count as f64);
    }

    let end = log.bounds(PARTITION).await?.end;
    let begun = Instant::now();
    let mut subscription = log.subscribe(&[(PARTITION, before)]).await?;
    let mut at = before;
    while at < end {
        let batch = subscription.next(1_000, WAIT).await?.ok_or("the log ended early")?;
        at += batch.records.len() as u64;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("read {} in {seconds:.2} s: {:.0} records/s", end - before, (end - before) as f64 / seconds);
    log.close(WAIT).await;
    Ok(())
}
