//! Compares what was acknowledged with what the API reports: event by event and in sums.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::LoadError;
use crate::ledger::{self, Entry, Fate};

/// Between two looks at something that is not settled yet.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// An event may be stamped a little after its client saw the connection break.
const SLACK_MICROS: i64 = 1_000_000;

/// Kafka stamps in milliseconds: an event that is logged within the one in which it was sent looks older than it is.
const STAMP_MICROS: i64 = 1_000;

/// So many missing receipts are named; the others are only counted.
const MAX_NAMED: usize = 10;

/// What is audited.
#[derive(Debug, Clone)]
pub struct Audit {
    /// The ledger of the run.
    pub ledger: PathBuf,
    /// The API's base URL.
    pub api: String,
    /// A key that may read reports and receipts.
    pub key: String,
    /// How long to wait until everything is decided and reported.
    pub wait: Duration,
    /// How many receipts are asked for at a time.
    pub connections: usize,
    /// Every so many-th receipt is looked at; 1 = all. With more than 1 a missing click shows by its receipt alone: how
    /// many of the others are duplicates or rejected, and so in no sum, is not known.
    pub every: usize,
    /// Only the clicks of this link (id) are summed up; nothing = all of the workspace.
    pub link: Option<String>,
    /// The report's window, if not that of the ledger.
    pub from: Option<Timestamp>,
    /// Its end, exclusive.
    pub to: Option<Timestamp>,
}

/// The ledger, added up.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Books {
    fates: BTreeMap<Fate, u64>,
    receipts: Vec<String>,
    repeated: u64,
    first_sent: Option<i64>,
    last_acknowledged: i64,
    last_ended: i64,
}

impl Books {
    /// Adds up a ledger.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let mut books = Self::default();
        let mut seen = HashSet::new();
        ledger::read(path, |entry| books.add(entry, &mut seen))?;
        Ok(books)
    }

    fn add(&mut self, entry: Entry, seen: &mut HashSet<String>) {
        let fate = entry.fate();
        *self.fates.entry(fate).or_default() += 1;
        self.first_sent = Some(self.first_sent.map_or(entry.sent, |first| first.min(entry.sent)));
        self.last_ended = self.last_ended.max(entry.ended);
        if let (Fate::Acknowledged, Some(receipt)) = (fate, entry.receipt) {
            self.last_acknowledged = self.last_acknowledged.max(entry.sent);
            // Two requests with one receipt are one event: the second click is lost.
            if seen.insert(receipt.clone()) {
                self.receipts.push(receipt);
            } else {
                self.repeated += 1;
            }
        }
    }

    fn count(&self, fate: Fate) -> u64 {
        self.fates.get(&fate).copied().unwrap_or_default()
    }
}

/// What the API said.
#[derive(Debug, Default)]
struct Findings {
    /// Whether some receipts were not looked at.
    is_sample: bool,
    /// How many of the receipts that were looked at ended how.
    outcomes: BTreeMap<String, u64>,
    /// Receipts that the API does not know.
    unknown_receipts: Vec<String>,
    reported: u64,
    data_through: Option<Timestamp>,
}

/// The result.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Requests in the ledger.
    pub sent: u64,
    /// Answered with a receipt.
    pub acknowledged: u64,
    /// Refused: not to be counted.
    pub refused: u64,
    /// Redirected without a receipt: counted once or not at all.
    pub unrecorded: u64,
    /// Not answered: counted once or not at all.
    pub unknown: u64,
    /// How the receipts that were looked at ended.
    pub outcomes: BTreeMap<String, u64>,
    /// Receipts looked at.
    pub checked: u64,
    /// Whether others were not.
    pub is_sample: bool,
    /// Acknowledged events that the API does not have, or has not decided.
    pub missing_receipts: u64,
    /// The first of those that it does not know.
    pub missing_named: Vec<String>,
    /// Clicks in the report, gross.
    pub reported: u64,
    /// Clicks that must be in it; of a sample: so many at most.
    pub expected: u64,
    /// Up to which time the report was complete.
    pub data_through: Option<String>,
    /// What was acknowledged and is not there, by receipt or by sum; of a sample: by receipt.
    pub missing: u64,
    /// Clicks in the report that nobody sent.
    pub extra: u64,
}

impl Verdict {
    fn of(books: &Books, findings: &Findings) -> Self {
        let looked_at: u64 = findings.outcomes.values().sum();
        let outcome = |name: &str| findings.outcomes.get(name).copied().unwrap_or_default();
        let unknown_receipts = findings.unknown_receipts.len() as u64;
        let undecided = outcome("accepted");
        // Duplicates, rejected ones and so on are decided, and rightly in no sum of clicks.
        let not_counted = looked_at - outcome("recorded") - undecided;
        let acknowledged = books.count(Fate::Acknowledged);
        let expected = acknowledged - not_counted;
        let may_be = books.count(Fate::Unknown) + books.count(Fate::Unrecorded);
        let missing_receipts = unknown_receipts + undecided + books.repeated;
        let missing_in_sum = expected.saturating_sub(findings.reported);
        // A sample's upper bound: a report below it may still be right, one above what it allows cannot be.
        let missing =
            if findings.is_sample { missing_receipts } else { missing_receipts.max(missing_in_sum) };
        Self {
            sent: books.fates.values().sum(),
            acknowledged,
            refused: books.count(Fate::Refused),
            unrecorded: books.count(Fate::Unrecorded),
            unknown: books.count(Fate::Unknown),
            outcomes: findings.outcomes.clone(),
            checked: looked_at + unknown_receipts,
            is_sample: findings.is_sample,
            missing_receipts,
            missing_named: findings.unknown_receipts.iter().take(MAX_NAMED).cloned().collect(),
            reported: findings.reported,
            expected,
            data_through: findings.data_through.map(|time| time.to_string()),
            missing,
            extra: findings.reported.saturating_sub(expected + may_be),
        }
    }

    /// Whether everything is accounted for.
    pub fn is_exact(&self) -> bool {
        self.missing == 0 && self.extra == 0
    }

    /// Prints the result for people, or as JSON.
    pub fn print(&self, out: &mut impl Write, as_json: bool) -> Result<(), LoadError> {
        if as_json {
            serde_json::to_writer(&mut *out, self).map_err(std::io::Error::from)?;
            writeln!(out)?;
            return Ok(());
        }
        writeln!(out, "sent          {}", self.sent)?;
        writeln!(out, "acknowledged  {}", self.acknowledged)?;
        writeln!(out, "refused       {}", self.refused)?;
        writeln!(out, "unrecorded    {}", self.unrecorded)?;
        writeln!(out, "unknown       {}", self.unknown)?;
        writeln!(out, "receipts      {} looked at", self.checked)?;
        for (outcome, count) in &self.outcomes {
            writeln!(out, "  {outcome:<11} {count}")?;
        }
        for receipt in &self.missing_named {
            writeln!(out, "  not known   {receipt}")?;
        }
        write!(out, "reported      {} clicks, ", self.reported)?;
        if self.is_sample {
            writeln!(out, "{} expected at most: a sample does not prove the sum complete", self.expected)?;
        } else {
            writeln!(out, "{} expected", self.expected)?;
        }
        writeln!(out, "data through  {}", self.data_through.as_deref().unwrap_or("-"))?;
        writeln!(out, "missing       {}", self.missing)?;
        writeln!(out, "extra         {}", self.extra)?;
        Ok(())
    }
}

#[derive(Deserialize)]
struct ReceiptAnswer {
    status: String,
}

#[derive(Deserialize)]
struct ReportAnswer {
    totals: Totals,
    data_through: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Totals {
    clicks: u64,
}

impl Audit {
    /// Asks the API until everything is settled or the time is over, and compares.
    pub async fn run(&self) -> Result<Verdict, LoadError> {
        let books = Books::read(&self.ledger)?;
        let Some(first_sent) = books.first_sent else {
            return Err(LoadError::Arguments(format!("{}: the ledger is empty", self.ledger.display())));
        };
        let api = Api::new(self, Instant::now() + self.wait)?;
        let report_url = self.report_url(&books, first_sent)?;
        let mut findings = Findings::default();
        // Not the last request: a refused one is never logged, and without an event the time of the data stands still.
        let wanted = time(books.last_acknowledged - STAMP_MICROS)?;
        loop {
            api.look_at_report(&report_url, &mut findings).await?;
            if findings.data_through.is_some_and(|through| through >= wanted) || api.is_late() {
                break;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        self.look_at_receipts(&api, &books, &mut findings).await?;
        // The cut that `data_through` names may lie between sending the last events and logging them.
        while !Verdict::of(&books, &findings).is_exact() && !api.is_late() {
            tokio::time::sleep(POLL_INTERVAL).await;
            api.look_at_report(&report_url, &mut findings).await?;
        }
        Ok(Verdict::of(&books, &findings))
    }

    fn report_url(&self, books: &Books, first_sent: i64) -> Result<String, LoadError> {
        let from = self.from.map_or_else(|| time(first_sent), Ok)?;
        let to = self.to.map_or_else(|| time(books.last_ended + SLACK_MICROS), Ok)?;
        let link = self.link.as_ref().map(|link| format!("&link={link}")).unwrap_or_default();
        let base = self.api.trim_end_matches('/');
        Ok(format!("{base}/api/v1/reports?from={from}&to={to}&metrics=clicks&gross=true{link}"))
    }

    async fn look_at_receipts(
        &self,
        api: &Api,
        books: &Books,
        findings: &mut Findings,
    ) -> Result<(), LoadError> {
        let base = self.api.trim_end_matches('/');
        let asked = books.receipts.iter().step_by(self.every.max(1));
        findings.is_sample = asked.len() < books.receipts.len();
        let answers = asked.map(|receipt| async move {
            (receipt, api.settled(&format!("{base}/api/v1/receipts/{receipt}")).await)
        });
        let mut answers = futures::stream::iter(answers).buffer_unordered(self.connections.max(1));
        while let Some((receipt, answer)) = answers.next().await {
            match answer? {
                Some(outcome) => *findings.outcomes.entry(outcome).or_default() += 1,
                None => findings.unknown_receipts.push(receipt.clone()),
            }
        }
        findings.unknown_receipts.sort();
        Ok(())
    }
}

fn time(micros: i64) -> Result<Timestamp, LoadError> {
    Timestamp::from_microsecond(micros).map_err(|error| LoadError::Arguments(error.to_string()))
}

fn api_error(url: &str, reason: impl std::fmt::Display) -> LoadError {
    LoadError::Api { url: url.to_owned(), reason: reason.to_string() }
}

/// The API as the audit asks it, until a deadline.
struct Api {
    client: reqwest::Client,
    key: String,
    deadline: Instant,
}

impl Api {
    fn new(audit: &Audit, deadline: Instant) -> Result<Self, LoadError> {
        let client = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).no_proxy().build();
        let client = client.map_err(|error| api_error(&audit.api, error))?;
        Ok(Self { client, key: audit.key.clone(), deadline })
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// The answer, or nothing if it is a 404. A server that is away or busy is asked again until the deadline.
    async fn get<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<Option<T>, LoadError> {
        loop {
            let failure = match self.client.get(url).bearer_auth(&self.key).send().await {
                Err(error) => api_error(url, innermost(&error)),
                Ok(answer) => match (answer.status(), answer.text().await) {
                    (StatusCode::OK, Ok(text)) => {
                        return serde_json::from_str(&text).map(Some).map_err(|error| api_error(url, error));
                    }
                    (StatusCode::NOT_FOUND, _) => return Ok(None),
                    (status, text) => {
                        let error = api_error(url, format!("{status}: {}", text.unwrap_or_default().trim()));
                        if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
                            return Err(error);
                        }
                        error
                    }
                },
            };
            if self.is_late() {
                return Err(failure);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn look_at_report(&self, url: &str, findings: &mut Findings) -> Result<(), LoadError> {
        let report = self.get::<ReportAnswer>(url).await?.ok_or_else(|| api_error(url, "404 Not Found"))?;
        findings.reported = report.totals.clicks;
        findings.data_through = report.data_through;
        Ok(())
    }

    /// The status of a receipt once it is decided, or as it is at the deadline.
    async fn settled(&self, url: &str) -> Result<Option<String>, LoadError> {
        loop {
            let Some(receipt) = self.get::<ReceiptAnswer>(url).await? else { return Ok(None) };
            if receipt.status != "accepted" || self.is_late() {
                return Ok(Some(receipt.status));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// The cause at the bottom: what reqwest itself says is only that the request failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u64, status: Option<u16>, receipt: Option<&str>) -> Entry {
        let (sent, receipt) = (100 + n as i64, receipt.map(str::to_owned));
        let method = "GET".to_owned();
        Entry { n, scheduled: 0, sent, ended: sent + 5, method, status, receipt, click_id: None }
    }

    fn books(entries: &[Entry]) -> Books {
        let (mut books, mut seen) = (Books::default(), HashSet::new());
        entries.iter().for_each(|entry| books.add(entry.clone(), &mut seen));
        books
    }

    fn findings(outcomes: &[(&str, u64)], unknown: &[&str], reported: u64) -> Findings {
        Findings {
            is_sample: false,
            outcomes: outcomes.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            unknown_receipts: unknown.iter().map(|receipt| (*receipt).to_owned()).collect(),
            reported,
            data_through: None,
        }
    }

    fn two_acknowledged_one_unknown_one_refused() -> Books {
        books(&[
            entry(0, Some(302), Some("evt_a")),
            entry(1, None, None),
            entry(2, Some(405), None),
            entry(3, Some(302), Some("evt_b")),
        ])
    }

    #[test]
    fn a_ledger_is_added_up() {
        let books = two_acknowledged_one_unknown_one_refused();
        assert_eq!((books.first_sent, books.last_acknowledged, books.last_ended), (Some(100), 103, 108));
        assert_eq!(books.receipts, ["evt_a", "evt_b"]);
        assert_eq!(books.count(Fate::Refused), 1);
    }

    #[test]
    fn an_unknown_request_may_be_counted_or_not() {
        let books = two_acknowledged_one_unknown_one_refused();
        for (reported, missing, extra) in [(1, 1, 0), (2, 0, 0), (3, 0, 0), (4, 0, 1)] {
            let verdict = Verdict::of(&books, &findings(&[("recorded", 2)], &[], reported));
            assert_eq!((verdict.missing, verdict.extra), (missing, extra), "{reported} reported");
            assert_eq!(verdict.is_exact(), missing + extra == 0);
        }
    }

    #[test]
    fn a_receipt_that_is_not_known_or_not_decided_is_missing() {
        let books = two_acknowledged_one_unknown_one_refused();
        let lost = Verdict::of(&books, &findings(&[("recorded", 1)], &["evt_b"], 2));
        assert_eq!((lost.missing, lost.missing_named.as_slice()), (1, ["evt_b".to_owned()].as_slice()));
        let undecided = Verdict::of(&books, &findings(&[("recorded", 1), ("accepted", 1)], &[], 2));
        assert_eq!((undecided.missing, undecided.expected), (1, 2));
    }

    #[test]
    fn what_was_decided_otherwise_is_in_no_sum() {
        let books = two_acknowledged_one_unknown_one_refused();
        let verdict = Verdict::of(&books, &findings(&[("recorded", 1), ("duplicate", 1)], &[], 1));
        assert!(verdict.is_exact());
        assert_eq!(verdict.expected, 1);
    }

    #[test]
    fn of_a_sample_only_receipts_show_a_loss_but_a_sum_still_shows_too_much() {
        let acknowledged: Vec<String> = (0..6).map(|n| format!("evt_{n}")).collect();
        let entries = acknowledged.iter().zip(0..).map(|(receipt, n)| entry(n, Some(302), Some(receipt)));
        let books = books(&entries.collect::<Vec<_>>());
        let sample = |outcomes: &[(&str, u64)], unknown: &[&str], reported: u64| {
            let findings = Findings { is_sample: true, ..findings(outcomes, unknown, reported) };
            let verdict = Verdict::of(&books, &findings);
            (verdict.missing, verdict.extra)
        };
        // One of three was a duplicate, and so may be those that were not looked at.
        let one_of_three = [("recorded", 2), ("duplicate", 1)];
        assert_eq!(sample(&one_of_three, &[], 4), (0, 0));
        assert_eq!(sample(&one_of_three, &[], 5), (0, 0));
        assert_eq!(sample(&one_of_three, &[], 6), (0, 1));
        assert_eq!(sample(&[("recorded", 2)], &["evt_4"], 6), (1, 0));

        let mut text = Vec::new();
        let findings = Findings { is_sample: true, ..findings(&one_of_three, &[], 4) };
        Verdict::of(&books, &findings).print(&mut text, false).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("4 clicks, 5 expected at most: a sample does not prove"), "{text}");
    }

    #[test]
    fn one_receipt_for_two_requests_is_a_loss() {
        let books = books(&[entry(0, Some(302), Some("evt_a")), entry(1, Some(302), Some("evt_a"))]);
        let verdict = Verdict::of(&books, &findings(&[("recorded", 1)], &[], 1));
        assert_eq!((verdict.missing, verdict.acknowledged), (1, 2));
    }
}
