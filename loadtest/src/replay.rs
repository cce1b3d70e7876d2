//! Sends an access log as traffic.

use std::path::PathBuf;

use crate::LoadError;
use crate::access_log::{Entry, Reader};
use crate::drive::{Job, Load};
use crate::schedule::{Pace, Schedule};
use crate::wire::Target;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The log.
    pub file: PathBuf,
    /// The link that every request clicks.
    pub link: String,
    /// How fast.
    pub pace: Pace,
    /// So many requests are left out at the beginning.
    pub skip: u64,
    /// So many are sent at most.
    pub limit: Option<u64>,
}

/// A log on its way.
pub struct Requests {
    target: Target,
    path: String,
    reader: Reader,
    schedule: Schedule,
    skip: u64,
    left: u64,
}

impl Replay {
    /// Opens the log.
    pub fn open(&self, target: &Target) -> Result<Requests, LoadError> {
        Ok(Requests {
            target: target.clone(),
            path: click_path(&self.link)?,
            reader: Reader::open(&self.file)?,
            schedule: Schedule::new(self.pace),
            skip: self.skip,
            left: self.limit.unwrap_or(u64::MAX),
        })
    }
}

/// The route of a click. The key is checked, so that a wrong one is said here and not 10,000 times by the server.
pub(crate) fn click_path(link: &str) -> Result<String, LoadError> {
    let is_key = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    if link.is_empty() || link.len() > 64 || !link.chars().all(is_key) {
        return Err(LoadError::Arguments(format!("{link:?} is not a link key: 1 to 64 of A-Z a-z 0-9 _ -")));
    }
    Ok(format!("/c/{link}"))
}

impl Requests {
    /// The log that is being read.
    pub fn log(&self) -> &Reader {
        &self.reader
    }

    fn request(&self, entry: &Entry) -> Vec<u8> {
        let mut headers = vec![("X-Forwarded-For", entry.address.as_str())];
        headers.extend(entry.user_agent.as_deref().map(|agent| ("User-Agent", agent)));
        headers.extend(entry.referrer.as_deref().map(|referrer| ("Referer", referrer)));
        if !matches!(entry.method.as_str(), "GET" | "HEAD") {
            headers.push(("Content-Length", "0"));
        }
        self.target.request(&entry.method, &self.path, &headers)
    }
}

impl Load for Requests {
    fn next_job(&mut self) -> Result<Option<Job>, LoadError> {
        while self.skip > 0 {
            self.skip -= 1;
            if self.reader.next_entry()?.is_none() {
                return Ok(None);
            }
        }
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let Some(entry) = self.reader.next_entry()? else { return Ok(None) };
        let request = self.request(&entry).into();
        let due = self.schedule.next_due(Some(entry.at));
        Ok(Some(Job { due, method: entry.method.into(), request }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_key_is_checked() {
        assert_eq!(click_path("an_na-1").unwrap(), "/c/an_na-1");
        assert!(click_path("").is_err());
        assert!(click_path("a b").unwrap_err().to_string().contains("\"a b\" is not a link key"));
        assert!(click_path(&"x".repeat(65)).is_err());
    }

    #[test]
    fn a_part_of_the_log_is_sent_in_order() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = |second, method| {
            format!(
                "1.2.3.4 - - [17/May/2015:10:05:0{second} +0000] \"{method} / HTTP/1.1\" 200 1 \"http://r/\" \"UA\"\n"
            )
        };
        std::fs::write(
            file.path(),
            [line(0, "GET"), line(1, "POST"), line(5, "HEAD"), line(6, "GET")].concat(),
        )
        .unwrap();
        let pace = Pace::Speed(2.0);
        let replay =
            Replay { file: file.path().to_owned(), link: "anna".to_owned(), pace, skip: 1, limit: Some(2) };
        let mut requests = replay.open(&Target::parse("http://127.0.0.1:1").unwrap()).unwrap();
        let first = requests.next_job().unwrap().unwrap();
        assert_eq!(
            std::str::from_utf8(&first.request).unwrap(),
            "POST /c/anna HTTP/1.1\r\nHost: 127.0.0.1:1\r\nX-Forwarded-For: 1.2.3.4\r\nUser-Agent: UA\r\n\
             Referer: http://r/\r\nContent-Length: 0\r\n\r\n"
        );
        let second = requests.next_job().unwrap().unwrap();
        assert_eq!((second.method.as_ref(), second.due.unwrap().as_secs()), ("HEAD", 2));
        assert!(requests.next_job().unwrap().is_none());
    }
}
