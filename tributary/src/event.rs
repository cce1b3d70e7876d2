//! `tributary event`: one record of the topic `events`, for people.

use std::fmt::Write as _;
use std::time::Duration;

use eventlog::{EventLog as _, Partition, Record, embedded};
use prometheus::Registry;
use schemas::{hex, topic, wire};

use crate::cli::Event;
use crate::error::Error;
use crate::parts;
use crate::settings::{KafkaSettings, Settings};
use crate::up::LOG_DIR;

/// How long a record that Kafka has may take to come.
const READ: Duration = Duration::from_secs(10);
/// How long Kafka's client may take to end.
const CLOSE: Duration = Duration::from_secs(3);
/// Bytes of an unreadable record in one line.
const BYTES_PER_LINE: usize = 32;

/// Prints the record.
pub(crate) fn run(arguments: Event) -> Result<(), Error> {
    let settings: Settings = service::config::load(arguments.config.as_deref())?;
    service::telemetry::init_logging(&settings.log)?;
    let partition = Partition { topic: topic::EVENTS, number: arguments.partition };
    let log = arguments.data.unwrap_or_else(|| settings.data_dir.clone()).join(LOG_DIR);
    if log.is_dir() {
        return crate::print(&shown(partition, &embedded::read_record(&log, partition, arguments.position)?));
    }
    parts::block_on(async {
        let record = of_kafka(&settings.kafka, partition, arguments.position).await?;
        crate::print(&shown(partition, &record))
    })
}

async fn of_kafka(settings: &KafkaSettings, partition: Partition, position: u64) -> Result<Record, Error> {
    let log = parts::kafka(settings, &Registry::new()).await?;
    let bounds = log.bounds(partition).await?;
    if !(bounds.start..bounds.end).contains(&position) {
        return Err(bounds.out_of_range(partition, position).into());
    }
    let mut subscription = log.subscribe(&[(partition, position)]).await?;
    let batch = subscription.next(1, READ).await?;
    drop(subscription);
    log.close(CLOSE).await;
    let record = batch.and_then(|batch| batch.records.into_iter().next());
    Ok(record.ok_or(eventlog::Error::Deadline)?)
}

/// What is known of a record: where and when the log took it, and what it means or, byte by byte, what it is.
fn shown(partition: Partition, record: &Record) -> String {
    let mut text = format!(
        "position  {} of {partition}\nlog time  {}\nbytes     {}\n",
        record.position,
        record.log_time,
        record.payload.len()
    );
    // Writing to a string cannot fail.
    let _ = match wire::decode_event(record.payload.clone()) {
        Ok(event) => writeln!(text, "event     {event:#?}"),
        Err(error) => {
            let lines = record.payload.chunks(BYTES_PER_LINE).map(hex::encode);
            writeln!(text, "event     unreadable: {error}\n\n{}", lines.collect::<Vec<_>>().join("\n"))
        }
    };
    text
}

#[cfg(test)]
mod tests {
    use schemas::time::Timestamp;

    use super::*;

    #[test]
    fn an_unreadable_record_is_shown_byte_by_byte() {
        let payload: Vec<u8> = (0..40).map(|byte| 0xff - byte).collect();
        let record = Record {
            position: 7,
            log_time: Timestamp::from_micros(1_000_001),
            key: Default::default(),
            payload: payload.into(),
        };
        let text = shown(Partition { topic: topic::EVENTS, number: 3 }, &record);
        assert_eq!(
            text,
            "position  7 of events/3\nlog time  1970-01-01T00:00:01.000001Z\nbytes     40\n\
             event     unreadable: broken encoding\n\n\
             fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0\ndfdedddcdbdad9d8\n"
        );
    }
}
