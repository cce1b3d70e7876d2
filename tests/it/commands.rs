//! The binary's small commands, and what `up` says.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use crate::harness::{POLL, Process, SETTLE_LIMIT, binary, engine_library};

fn tributary(argument: &str) -> Output {
    Command::new(binary("tributary")).arg(argument).output().unwrap()
}

#[test]
fn config_prints_every_setting_by_its_table() {
    let output = tributary("config");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let edge = text.split("\n[edge]\n").nth(1).unwrap_or_else(|| panic!("no table [edge]: {text}"));
    let edge = edge.split("\n[").next().unwrap();
    assert!(edge.lines().any(|line| line.starts_with("# listen = \"")), "{edge}");
}

#[test]
fn the_version_is_that_of_the_workspace() {
    let output = tributary("--version");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("tributary {version}\n"));
}

/// Only the program that is made for tests can.
#[test]
fn the_product_knows_no_point_at_which_it_could_be_ended() {
    let arguments = ["--die-at", "before_commit", "1", "config"];
    let output = Command::new(binary("tributary")).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("unexpected argument '--die-at'"), "{stderr}");
    let output = Command::new(binary("tributary-that-dies")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until the processor beside this edge has recorded something.
fn await_decision(edge: &str) {
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let asked = Command::new("curl").args(["-s", &format!("http://{edge}/metrics")]).output().unwrap();
        let metrics = String::from_utf8(asked.stdout).unwrap();
        let is_recorded = |line: &str| {
            line.starts_with("tributary_processor_outcomes{") && line.ends_with("status=\"recorded\"} 1")
        };
        if metrics.lines().any(is_recorded) {
            return;
        }
        assert!(Instant::now() < deadline, "{metrics}");
        std::thread::sleep(POLL);
    }
}

/// The labels of the only click, once it is listed.
fn labels_of_the_click(api: &str, key_file: &Path) -> Vec<String> {
    let key = std::fs::read_to_string(key_file).unwrap();
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let header = format!("Authorization: Bearer {}", key.trim());
        let url = format!("http://{api}/api/v1/clicks");
        let asked = Command::new("curl").args(["-s", "-H", &header, &url]).output().unwrap();
        let listed: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
        if let Some(click) = listed["items"].get(0) {
            return serde_json::from_value(click["labels"].clone()).unwrap();
        }
        assert!(Instant::now() < deadline, "{listed}");
        std::thread::sleep(POLL);
    }
}

/// Whoever reads the lines has another terminal, and that another working directory.
#[test]
fn the_lines_that_up_prints_work_as_they_stand_from_another_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Command::new(binary("tributary"));
    up.args(["up", "--edge", "127.0.0.1:0", "--api", "127.0.0.1:0", "--data", "data", "--engine-library"])
        .arg(engine_library())
        .env("TRIBUTARY_LOG__FILTER", "warn")
        .current_dir(dir.path());
    let up = Process::start("up", up, "Try it:");
    let lines: Vec<String> = (0..3).map(|_| up.next_line("three lines to try")).collect();
    assert!(lines.iter().all(|line| line.trim_start().starts_with("curl ")), "{lines:#?}");

    // The lines are not touched: curl's own settings make it say how each was answered.
    std::fs::write(dir.path().join(".curlrc"), "write-out = \"%{stderr}%{http_code}\\n\"\n").unwrap();
    let output = Command::new("bash")
        .args(["-e", "-c", &lines.join("\n")])
        .env("CURL_HOME", dir.path())
        .current_dir("/")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let statuses: Vec<&str> = stderr.lines().collect();
    assert_eq!(statuses, ["201", "201", "302"], "{lines:#?}\n{stdout}");

    // Who tries it wants to see a click that counts.
    let api = lines[0].split("http://").nth(1).unwrap().split("/api/").next().unwrap();
    let labels = labels_of_the_click(api, &dir.path().join("data/admin-key"));
    assert!(!labels.iter().any(|label| label.starts_with("bot")), "{labels:?}");

    // What it decided is decided once more, when nobody else has its log open.
    await_decision(lines[2].split("http://").nth(1).unwrap().split("/c/").next().unwrap());
    let verify = || {
        let mut verify = Command::new(binary("tributary"));
        verify.args(["verify", "--data", "data", "--rows"]).env("TRIBUTARY_LOG__FILTER", "warn");
        verify.env("TRIBUTARY_ENGINE__LIBRARY", engine_library());
        verify.current_dir(dir.path()).output().unwrap()
    };
    let refused = verify();
    assert!(!refused.status.success(), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another process"), "{refused:?}");
    up.stop();
    let verified = verify();
    assert!(verified.status.success(), "{verified:?}");
    let text = String::from_utf8(verified.stdout).unwrap();
    let same: Vec<&str> = text.lines().filter(|line| line.contains("are the same")).collect();
    assert_eq!(same.len(), 4, "{text}");
    assert!(same.iter().any(|line| !line.contains("events 0..0,")), "{text}");
    // Whether the click's cut came before the stop is a matter of luck; that nothing is missing up to the last one is not.
    let is_about_rows = |line: &&str| line.contains("no rows are compared") || line.contains(" rows, ");
    assert!(text.lines().filter(is_about_rows).count() >= 4, "{text}");
}
