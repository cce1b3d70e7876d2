//! The child's death, its return, and its end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use warehouse::Error;
use warehouse::embedded::{EmbeddedEngine, Password, StartError};

use crate::harness::{Harness, eventually, library, limits, settings};

const PING: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_engine_comes_back_with_every_committed_row() {
    let harness = Harness::start().await;
    let (_, reader) = harness.connect();
    let endpoint = harness.endpoint();
    harness.execute(
        "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS fsync_after_insert = 1, fsync_part_directory = 1",
    );
    let mut committed = 0;
    for round in 0..3 {
        for _ in 0..5 {
            harness.execute(&format!("INSERT INTO t SELECT number + {committed} FROM numbers(1000)"));
            committed += 1000;
        }
        let pid = harness.engine.pid().unwrap();
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
        eventually("a new child", async || harness.engine.pid().is_some_and(|new| new != pid)).await;
        assert_eq!(harness.endpoint(), endpoint, "clients keep their endpoint");
        eventually("an answer", async || reader.ping(PING).await.is_ok()).await;
        let sums =
            reader.rows::<(u64, u64)>("SELECT count(), uniqExact(a) FROM t", &[], &limits()).await.unwrap();
        assert_eq!(sums, [(committed, committed)], "round {round}");
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_engine_is_gone_and_its_directory_free() {
    let harness = Harness::start().await;
    harness.execute("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    harness.execute("INSERT INTO t VALUES (1)");
    let (_, reader) = harness.connect();
    let pid = harness.engine.pid().unwrap();
    let directory = harness.directory;
    harness.engine.stop(Duration::from_secs(20)).await;
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(matches!(reader.ping(PING).await, Err(Error::Unavailable(_))));
    let again = EmbeddedEngine::start(settings(directory.path())).await.unwrap();
    let (_, reader) = warehouse::connect(&again.endpoint());
    assert_eq!(reader.rows::<u64>("SELECT a FROM t", &[], &limits()).await.unwrap(), [1]);
    again.stop(Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_insert_is_finished_before_the_stop() {
    let harness = Harness::start().await;
    harness.execute("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    let endpoint = harness.endpoint();
    let (sink, _) = warehouse::connect(&endpoint);
    let rows = warehouse::batch::BatchBuilder::new().column("a", 0..2_000_000_u64).build().unwrap();
    let stream = rows.to_arrow_stream().unwrap();
    #[allow(clippy::disallowed_methods, reason = "the test itself waits for it")]
    let insert = tokio::spawn(async move { sink.insert("t", stream, &crate::batch::settings("x")).await });
    eventually("the insert to run", async || {
        harness.ask("SELECT count() FROM system.processes WHERE query LIKE 'INSERT%'") != "0"
            || insert.is_finished()
    })
    .await;
    let directory = harness.directory;
    harness.engine.stop(Duration::from_secs(30)).await;
    insert.await.unwrap().unwrap();
    let again = EmbeddedEngine::start(settings(directory.path())).await.unwrap();
    let (_, reader) = warehouse::connect(&again.endpoint());
    assert_eq!(reader.rows::<u64>("SELECT count() FROM t", &[], &limits()).await.unwrap(), [2_000_000]);
    again.stop(Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_the_engine_from_starting_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let mut missing = settings(directory.path());
    missing.library = directory.path().join("libchdb.so");
    let error = EmbeddedEngine::start(missing).await.unwrap_err();
    assert!(matches!(error, StartError::LibraryMissing(_)));
    assert!(error.to_string().ends_with("libchdb.so: fetch it with deploy/engine/fetch.sh"), "{error}");

    let mut broken = settings(directory.path());
    broken.library = directory.path().join("broken.so");
    std::fs::write(&broken.library, "no library").unwrap();
    let error = EmbeddedEngine::start(broken).await.unwrap_err();
    assert!(error.to_string().starts_with("engine: cannot load the engine library: "), "{error}");

    let mut password = settings(directory.path());
    password.password = Some(Password("two\nlines".to_owned()));
    let error = EmbeddedEngine::start(password).await.unwrap_err();
    assert!(matches!(error, StartError::Password), "{error}");

    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = EmbeddedEngine::start(settings(&file)).await.unwrap_err();
    assert!(error.to_string().starts_with("engine: cannot lock the data directory: "), "{error}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut port = settings(&directory.path().join("data"));
    port.port = taken.local_addr().unwrap().port();
    let error = EmbeddedEngine::start(port).await.unwrap_err();
    assert!(error.to_string().starts_with("engine: cannot listen on port "), "{error}");
}

#[test]
fn the_child_dies_with_its_parent() {
    let directory = tempfile::tempdir().unwrap();
    // A shell as the parent: it forks the child and waits; the test keeps the child's stdin open throughout.
    let mut parent = Command::new("sh")
        .args([
            "-c",
            "\"$0\" \"$@\" --parent $$; true",
            env!("CARGO_BIN_EXE_engine-child"),
            "engine",
            "--library",
        ])
        .arg(library())
        .arg("--data")
        .arg(directory.path())
        .args(["--port", "0", "--memory-bytes", "1000000000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = parent.stdin.take().unwrap();
    writeln!(stdin, "password").unwrap();
    let mut stdout = BufReader::new(parent.stdout.take().unwrap());
    let mut ready = String::new();
    stdout.read_line(&mut ready).unwrap();
    assert!(ready.starts_with("engine ready on port "), "{ready}");
    parent.kill().unwrap();
    parent.wait().unwrap();
    // The child holds the other end: this returns when it is gone.
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}
