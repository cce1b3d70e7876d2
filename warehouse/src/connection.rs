//! The one way to ClickHouse: the official client, with a time limit on every call.

use std::time::Duration;

use clickhouse::{Client, Compression};

use crate::{Endpoint, Error, Reader, Sink};

/// A client of `endpoint` for writing and one for reading.
pub fn connect(endpoint: &Endpoint) -> (Sink, Reader) {
    (Sink::new(endpoint), Reader::new(endpoint))
}

/// The client's own compression is off: on a loopback it only costs, and between machines the columns
/// that weigh are already compressed by their encoding.
pub(crate) fn client(endpoint: &Endpoint) -> Client {
    Client::default()
        .with_url(&endpoint.url)
        .with_user(&endpoint.user)
        .with_password(&endpoint.password)
        .with_database(&endpoint.database)
        .with_compression(Compression::None)
}

/// Waits for `call`, but not for ever: the client itself has no time-outs.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, clickhouse::error::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, call).await {
        Ok(answered) => answered.map_err(Error::from),
        Err(_) => Err(Error::Timeout(limit)),
    }
}

/// Refuses what is not the plain name of a table or parameter, so that a name can stand in a statement.
pub(crate) fn plain_name(name: &str) -> Result<&str, Error> {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(name)
    } else {
        Err(Error::Request(format!("{name:?} is no plain name")))
    }
}

/// Seconds for ClickHouse's time settings, never 0: that would mean no limit.
pub(crate) fn whole_seconds(duration: Duration) -> String {
    duration.as_secs().max(1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_pass() {
        assert_eq!(plain_name("clicks_2").unwrap(), "clicks_2");
        for name in ["", "2x", "a.b", "a`b", "a b", "ä"] {
            assert!(plain_name(name).is_err(), "{name}");
        }
    }
}
