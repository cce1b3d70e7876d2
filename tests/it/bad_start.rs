//! What cannot work is refused at the start: one line, a code that is not 0, no stack trace.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Engines, Stack, binary, engine_library};

fn up(data: &Path, more: &[&str]) -> Output {
    Command::new(binary("tributary"))
        .args(["up", "--edge", "127.0.0.1:0", "--api", "127.0.0.1:0", "--data"])
        .arg(data)
        .arg("--engine-library")
        .arg(engine_library())
        .args(more)
        .output()
        .unwrap()
}

fn assert_one_line(output: &Output, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it started: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "more than one line: {stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in: {stderr}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(binary("tributary"))
        .args(["up", "--edge", &address, "--api", "127.0.0.1:0", "--data"])
        .arg(dir.path().join("data"))
        .output()
        .unwrap();
    assert_one_line(&output, &["edge.listen", &address, "in use"]);
    assert!(!dir.path().join("data").exists(), "a start that failed left data behind");
}

#[test]
fn a_missing_engine_library_is_named_with_the_way_to_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(binary("tributary"))
        .args([
            "up",
            "--edge",
            "127.0.0.1:0",
            "--api",
            "127.0.0.1:0",
            "--engine-library",
            "/nowhere/libchdb.so",
            "--data",
        ])
        .arg(dir.path().join("data"))
        .output()
        .unwrap();
    assert_one_line(&output, &["/nowhere/libchdb.so", "deploy/engine/fetch.sh"]);
}

#[test]
fn a_broken_settings_file_is_named_with_its_line_or_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settings.toml");
    for (text, words) in [
        ("[edge\nlisten = 1", vec!["settings.toml", "line 1"]),
        ("[edge]\nlistn = \"127.0.0.1:1\"", vec!["listn"]),
        ("[edge]\nlisten = \"nowhere\"", vec!["edge.listen"]),
        ("shutdown_deadline_ms = \"soon\"", vec!["shutdown_deadline_ms"]),
    ] {
        std::fs::write(&file, text).unwrap();
        assert_one_line(&up(&dir.path().join("data"), &["--config", file.to_str().unwrap()]), &words);
    }
    assert_one_line(&up(&dir.path().join("data"), &["--config", "/nowhere.toml"]), &["/nowhere.toml"]);
}

#[test]
fn a_data_folder_of_a_newer_version_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("version"), "99\n").unwrap();
    assert_one_line(&up(dir.path(), &[]), &["newer", "99"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "something was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_data_is_refused_and_the_first_goes_on() {
    let stack = Stack::start(Engines::Embedded).await;
    stack.campaign("anna").await;
    let output = up(&stack.scratch("data"), &[]);
    assert_one_line(&output, &["data"]);
    stack.click("anna").await;
    stack.await_totals(&serde_json::json!({"clicks": 1})).await;
}

#[test]
fn a_role_without_its_broker_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(binary("tributary"))
        .arg("processor")
        .env("TRIBUTARY_DATA_DIR", dir.path())
        .env("TRIBUTARY_KAFKA__BROKERS", "127.0.0.1:1")
        .env("TRIBUTARY_OPS__LISTEN", "127.0.0.1:0")
        .env("TRIBUTARY_LOG__FILTER", "off")
        .output()
        .unwrap();
    assert_one_line(&output, &["event log"]);
}
