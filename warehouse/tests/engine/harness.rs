//! One engine with a directory of its own, and the two ways to ask it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use warehouse::embedded::{EmbeddedEngine, EmbeddedSettings, SUBCOMMAND};
use warehouse::{Endpoint, Limits, Reader, Sink};

pub(crate) const MEMORY_BYTES: u64 = 1 << 30;
const STOP: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Harness {
    pub(crate) engine: EmbeddedEngine,
    pub(crate) directory: TempDir,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = EmbeddedEngine::start(settings(directory.path())).await.unwrap();
        Self { engine, directory }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.engine.endpoint()
    }

    pub(crate) fn connect(&self) -> (Sink, Reader) {
        warehouse::connect(&self.endpoint())
    }

    /// Runs a statement that answers nothing.
    pub(crate) fn execute(&self, sql: &str) {
        let answer = self.curl(&["--data-binary", sql], "");
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
    }

    /// The answer to `sql` in TabSeparated, without its last line end.
    pub(crate) fn ask(&self, sql: &str) -> String {
        let answer = self.curl(&["--data-binary", sql], "");
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        answer.text().trim_end().to_owned()
    }

    /// `curl` with the engine's credentials; `query` is the URL's query part.
    pub(crate) fn curl(&self, arguments: &[&str], query: &str) -> Answer {
        let endpoint = self.endpoint();
        let user = format!("{}:{}", endpoint.user, endpoint.password);
        let mut all = vec!["--user", user.as_str()];
        all.extend_from_slice(arguments);
        curl(&all, &format!("{}/?{query}", endpoint.url))
    }

    pub(crate) async fn stop(self) {
        self.engine.stop(STOP).await;
    }
}

pub(crate) fn settings(directory: &Path) -> EmbeddedSettings {
    let mut settings = EmbeddedSettings::new(library(), directory.to_owned(), MEMORY_BYTES);
    settings.program = Some(env!("CARGO_BIN_EXE_engine-child").into());
    settings.arguments = vec![SUBCOMMAND.into()];
    settings
}

pub(crate) fn limits() -> Limits {
    Limits::default()
}

/// Waits until `holds`, not longer than a broken test may take.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn library() -> PathBuf {
    script("fetch.sh")
}

/// Runs a script of `deploy/engine` that prints the path of what it has made.
pub(crate) fn script(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/engine").join(name);
    let output = Command::new(&path).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// What `curl` got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) exit: i32,
    headers: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// A field of `X-ClickHouse-Summary`.
    pub(crate) fn summary(&self, field: &str) -> u64 {
        let summary: serde_json::Value =
            serde_json::from_str(self.header("x-clickhouse-summary").unwrap()).unwrap();
        summary[field].as_str().unwrap().parse().unwrap()
    }
}

pub(crate) fn curl<S: AsRef<OsStr>>(arguments: &[S], url: &str) -> Answer {
    let headers = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--dump-header"])
        .arg(headers.path())
        .args(arguments)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .expect("curl is needed: install it");
    let headers = std::fs::read_to_string(headers.path()).unwrap();
    let status = headers.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, exit: output.status.code().unwrap_or(-1), headers, body: output.stdout }
}
