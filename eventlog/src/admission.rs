//! What both engines refuse before they take a record.

use crate::{Error, NewRecord, Position};

/// Answers [`Error::TooLarge`] for the records above `limit` and appends the others, each answer in its place.
pub(crate) async fn refuse_large<F, Fut>(
    records: Vec<NewRecord>,
    limit: usize,
    append: F,
) -> Vec<Result<Position, Error>>
where
    F: FnOnce(Vec<NewRecord>) -> Fut,
    Fut: Future<Output = Vec<Result<Position, Error>>>,
{
    if records.iter().all(|record| size(record) <= limit) {
        return append(records).await;
    }
    let refused: Vec<Option<Error>> = records
        .iter()
        .map(size)
        .map(|bytes| if bytes > limit { Some(Error::TooLarge { bytes, limit }) } else { None })
        .collect();
    let fitting: Vec<NewRecord> = records.into_iter().filter(|record| size(record) <= limit).collect();
    let mut answers = if fitting.is_empty() { Vec::new() } else { append(fitting).await }.into_iter();
    let place = |refused| match refused {
        Some(error) => Err(error),
        // Never short: `append` answers for every record.
        None => answers.next().unwrap_or(Err(Error::Closed)),
    };
    refused.into_iter().map(place).collect()
}

/// What a record counts against limits.
pub(crate) fn size(record: &NewRecord) -> usize {
    record.key.len() + record.payload.len()
}
