//! The bytes of requests, built before a measurement begins.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use crate::LoadError;
use crate::access_log::Reader;

/// A person's browser.
const BROWSER: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
/// So many different clients click in turn: so many that none of them clicks too often for one client.
const CLIENTS: u32 = 65_536;
/// Events of one batch.
pub(crate) const BATCH_EVENTS: usize = 5_000;
/// Different batches.
const BATCHES: usize = 8;

/// The same pixel for everybody.
pub(crate) fn pixel(address: SocketAddr, path: &str) -> Vec<Vec<u8>> {
    vec![format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: {BROWSER}\r\n\r\n").into_bytes()]
}

/// Clicks of many clients with one browser.
pub(crate) fn clicks(address: SocketAddr, link: &str) -> Vec<Vec<u8>> {
    (0..CLIENTS).map(|client| click(address, link, &client_address(client), BROWSER, "")).collect()
}

/// Clicks with the agents and referrers of an access log, line by line.
pub(crate) fn clicks_of_log(
    address: SocketAddr,
    link: &str,
    log: &Path,
) -> Result<(Vec<Vec<u8>>, usize), LoadError> {
    let (mut reader, mut requests, mut agents) = (Reader::open(log)?, Vec::new(), HashSet::new());
    while let Some(entry) = reader.next_entry()? {
        let agent = entry.user_agent.unwrap_or_default();
        let referrer = entry.referrer.unwrap_or_default();
        requests.push(click(address, link, &entry.address, &agent, &referrer));
        agents.insert(agent);
    }
    if requests.is_empty() {
        return Err(LoadError::Arguments(format!("{} holds no request", log.display())));
    }
    Ok((requests, agents.len()))
}

/// Batches of clicks as lines of JSON, each event another one.
pub(crate) fn batches(address: SocketAddr, key: &str, link: &str) -> Vec<Vec<u8>> {
    let batch = |number: usize| {
        let mut body = String::new();
        for event in 0..BATCH_EVENTS {
            // Writing to a string cannot fail.
            let _ =
                writeln!(body, r#"{{"type":"click","link":"{link}","sub1":"b{number}","sub2":"{event}"}}"#);
        }
        format!(
            "POST /api/v1/events/batch HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    (0..BATCHES).map(batch).collect()
}

fn client_address(client: u32) -> String {
    let [_, a, b, c] = client.to_be_bytes();
    format!("10.{a}.{b}.{c}")
}

fn click(address: SocketAddr, link: &str, client: &str, agent: &str, referrer: &str) -> Vec<u8> {
    let mut text = format!("GET /c/{link} HTTP/1.1\r\nHost: {address}\r\nX-Forwarded-For: {client}\r\n");
    for (name, value) in [("User-Agent", agent), ("Referer", referrer)] {
        if !value.is_empty() {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    text.push_str("\r\n");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_becomes_clicks_with_its_agents() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = |agent| {
            format!("1.2.3.4 - - [17/May/2015:10:05:00 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"{agent}\"\n")
        };
        std::fs::write(file.path(), [line("A"), line("B"), line("A")].concat()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let (requests, agents) = clicks_of_log(address, "anna", file.path()).unwrap();
        assert_eq!((requests.len(), agents), (3, 2));
        let text = std::str::from_utf8(&requests[1]).unwrap();
        assert!(text.starts_with("GET /c/anna HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"), "{text}");
        assert!(text.ends_with("User-Agent: B\r\n\r\n"), "{text}");
    }

    #[test]
    fn a_batch_holds_as_many_events_as_it_says() {
        let batches = batches(SocketAddr::from(([127, 0, 0, 1], 80)), "k", "anna");
        let text = std::str::from_utf8(&batches[3]).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.lines().count(), BATCH_EVENTS);
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(body.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }
}
