//! What was measured, where, and whether it is enough.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use serde::Serialize;
use service::clock::{Clock, SystemClock};

/// What a figure has to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

impl Bar {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bar) => value >= bar,
            Self::AtMost(bar) => value <= bar,
        }
    }
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// The part of the bench that it belongs to.
    pub part: &'static str,
    /// What it is.
    pub what: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it has to be, if anything.
    pub bar: Option<Bar>,
    /// What a reader has to know beside it.
    pub note: String,
}

/// Everything that a run found out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Where and when.
    pub surroundings: Vec<(String, String)>,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Parts that could not be measured, and why.
    pub failures: Vec<(&'static str, String)>,
}

impl Report {
    /// A report of this machine, here and now.
    #[must_use]
    pub fn here(repository: &Path, dir: &Path) -> Self {
        let mut report = Self::default();
        let now = Timestamp::from_microsecond(SystemClock.now_micros()).unwrap_or_default();
        report.surroundings = vec![
            ("date".to_owned(), now.strftime("%Y-%m-%d %H:%M UTC").to_string()),
            ("commit".to_owned(), commit(repository)),
            ("command".to_owned(), std::env::args().collect::<Vec<_>>().join(" ")),
            ("machine".to_owned(), machine()),
            ("kernel".to_owned(), first_line("/proc/sys/kernel/osrelease")),
            ("file system of the data".to_owned(), file_system(dir)),
            ("load before".to_owned(), first_line("/proc/loadavg")),
        ];
        report
    }

    pub(crate) fn add(
        &mut self,
        part: &'static str,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) {
        let (what, note) = (what.into(), String::new());
        self.figures.push(Figure { part, what, value, unit, bar: None, note });
    }

    pub(crate) fn bar(&mut self, bar: Bar) {
        if let Some(figure) = self.figures.last_mut() {
            figure.bar = Some(bar);
        }
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        if let Some(figure) = self.figures.last_mut() {
            figure.note = note.into();
        }
    }

    /// Whether every figure is as it has to be, and every part was measured.
    #[must_use]
    pub fn is_met(&self) -> bool {
        let met = |figure: &Figure| figure.bar.is_none_or(|bar| bar.is_met(figure.value));
        self.failures.is_empty() && self.figures.iter().all(met)
    }

    /// As a page for people.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        for (name, value) in &self.surroundings {
            let _ = writeln!(text, "- {name}: {value}");
        }
        let _ = writeln!(text, "\n| part | figure | value | bar | | note |\n|---|---|---|---|---|---|");
        for figure in &self.figures {
            let (bar, verdict) = match figure.bar {
                None => (String::new(), ""),
                Some(bar) => {
                    let told = match bar {
                        Bar::AtLeast(value) => format!("≥ {}", shown(value)),
                        Bar::AtMost(value) => format!("≤ {}", shown(value)),
                    };
                    (told, if bar.is_met(figure.value) { "met" } else { "**not met**" })
                }
            };
            let Figure { part, what, value, unit, note, .. } = figure;
            let (what, value, note) = (cell(what), shown(*value), cell(note));
            let _ = writeln!(text, "| {part} | {what} | {value} {unit} | {bar} | {verdict} | {note} |");
        }
        for (part, reason) in &self.failures {
            let _ = writeln!(text, "| {part} | not measured | | | **not met** | {} |", cell(reason));
        }
        text
    }
}

/// The text as it may stand in a table: what would end its cell or its line is a blank.
fn cell(text: &str) -> String {
    text.replace(['\r', '\n', '|'], " ")
}

fn shown(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn first_line(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches(['\t', ':', ' ']);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = first_line("/proc/meminfo");
    let kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default();
    format!("{cores} × {model}, {} GiB", kib / 1024 / 1024)
}

fn commit(repository: &Path) -> String {
    let git = |arguments: &[&str]| {
        let said = Command::new("git").arg("-C").arg(repository).args(arguments).output();
        said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default()
    };
    let changed =
        if git(&["status", "--porcelain", "--untracked-files=no"]).is_empty() { "" } else { " with changes" };
    format!("{}{changed}", git(&["rev-parse", "--short=12", "HEAD"]))
}

/// The kind of the file system that holds a path: the mount with the longest name that the path begins with.
pub(crate) fn file_system(path: &Path) -> String {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let fields = |line: &str| {
        let mut fields = line.split(' ').map(str::to_owned);
        Some((fields.next()?, fields.next()?, fields.next()?))
    };
    let holding = mounts.lines().filter_map(fields).filter(|(_, mount, _)| path.starts_with(mount));
    holding
        .max_by_key(|(_, mount, _)| mount.len())
        .map_or_else(|| "unknown".to_owned(), |(device, _, kind)| format!("{kind} on {device}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_that_is_not_met_is_told() {
        let mut report = Report::here(Path::new("."), Path::new("/"));
        report.add("click", "a ratio", 0.6, "");
        report.bar(Bar::AtLeast(0.5));
        assert!(report.is_met());
        report.add("click", "CPU", 14.5, "µs");
        report.bar(Bar::AtMost(14.0));
        report.note("a|noisy\r\nnote");
        assert!(!report.is_met());
        let page = report.markdown();
        assert!(page.contains("| click | a ratio | 0.60  | ≥ 0.50 | met |  |\n"), "{page}");
        assert!(
            page.contains("| click | CPU | 14.50 µs | ≤ 14.00 | **not met** | a noisy  note |\n"),
            "{page}"
        );
        assert!(page.contains("- machine: "), "{page}");
    }
}
