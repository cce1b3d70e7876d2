//! The commands against a small server that counts for itself what it has acknowledged.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};

use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use service::lifecycle::{ServeSettings, Shutdown, Tasks, serve};
use tokio::net::TcpListener;

/// What the server has, and which faults it shows.
#[derive(Default)]
struct Book {
    receipts: HashSet<String>,
    requests: u64,
    agents: HashSet<String>,
    /// The number of the request that is counted and then not answered.
    breaks_at: Option<u64>,
    /// The number of the request that is acknowledged and then forgotten.
    forgets: Option<u64>,
    /// Clicks that nobody sent.
    invented: u64,
}

type Shared = Arc<Mutex<Book>>;

async fn click(State(book): State<Shared>, method: Method, headers: HeaderMap) -> Response {
    let mut book = book.lock().unwrap();
    if !matches!(method, Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, "{\"error\":\"method_not_allowed\"}").into_response();
    }
    assert!(headers.contains_key("x-forwarded-for"));
    if let Some(agent) = headers.get(header::USER_AGENT) {
        book.agents.insert(agent.to_str().unwrap().to_owned());
    }
    book.requests += 1;
    let receipt = format!("evt_{}", book.requests);
    if book.forgets != Some(book.requests) {
        book.receipts.insert(receipt.clone());
    }
    let breaks = book.breaks_at == Some(book.requests);
    drop(book);
    assert!(!breaks, "the test wants this connection to break");
    let location = format!("https://shop.example/?cid=click_{}", receipt.trim_start_matches("evt_"));
    (StatusCode::FOUND, [("x-receipt", receipt), ("location", location)]).into_response()
}

async fn receipt(State(book): State<Shared>, headers: HeaderMap, UrlPath(id): UrlPath<String>) -> Response {
    if headers.get(header::AUTHORIZATION).is_none_or(|key| key != "Bearer tb_test_key") {
        return (StatusCode::UNAUTHORIZED, "{\"error\":\"unauthorized\"}").into_response();
    }
    match book.lock().unwrap().receipts.contains(&id) {
        true => Json(serde_json::json!({"id": id, "status": "recorded"})).into_response(),
        false => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn report(State(book): State<Shared>) -> Json<serde_json::Value> {
    let book = book.lock().unwrap();
    let clicks = book.receipts.len() as u64 + book.invented;
    Json(
        serde_json::json!({"items": [], "totals": {"clicks": clicks}, "data_through": "2999-01-01T00:00:00Z"}),
    )
}

struct Server {
    address: SocketAddr,
    tasks: Tasks,
}

impl Server {
    async fn start(book: &Shared, address: &str) -> Self {
        let router = Router::new()
            .route("/c/anna", any(click))
            .route("/api/v1/receipts/{id}", get(receipt))
            .route("/api/v1/reports", get(report))
            .with_state(Arc::clone(book));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new(Shutdown::new());
        let make_request_id = Arc::new(|| "req_made".to_owned());
        let served =
            serve(listener, router, ServeSettings::default(), make_request_id, tasks.shutdown().clone());
        tasks.spawn("server", served);
        Self { address, tasks }
    }

    async fn stop(&self) {
        self.tasks.shutdown().trigger();
        self.tasks.join_all(std::time::Duration::from_secs(20)).await.unwrap();
    }
}

async fn loadtest(arguments: &[&str]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).output().await.unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn write_log(path: &Path) {
    let line = |n: u32, method: &str| {
        format!(
            "10.0.0.{n} - - [17/May/2015:10:05:{:02} +0000] \"{method} / HTTP/1.1\" 200 1 \"-\" \"agent {n}\"\n",
            n % 60
        )
    };
    let mut text: String = (0..100).map(|n| line(n, if n % 10 == 0 { "HEAD" } else { "GET" })).collect();
    text.push_str("not a request\n");
    text.push_str(&line(100, "POST"));
    std::fs::write(path, text).unwrap();
}

/// Replays the log and audits it; the sums of the run and the result of the audit.
async fn replay_and_audit(book: &Shared) -> (serde_json::Value, Output) {
    let folder = tempfile::tempdir().unwrap();
    let (log, ledger) = (folder.path().join("access.log"), folder.path().join("ledger"));
    write_log(&log);
    let server = Server::start(book, "127.0.0.1:0").await;
    let url = format!("http://{}", server.address);
    let (log, ledger) = (log.to_str().unwrap(), ledger.to_str().unwrap());
    let sent = [
        "replay",
        log,
        "--target",
        &url,
        "--link",
        "anna",
        "--ledger",
        ledger,
        "--json",
        "--connections",
        "4",
    ];
    let run = json(&loadtest(&sent).await);
    let asked = ["audit", "--ledger", ledger, "--api", &url, "--key", "tb_test_key", "--wait", "0", "--json"];
    let audited = loadtest(&asked).await;
    server.stop().await;
    (run, audited)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_replayed_and_every_request_accounted_for() {
    let book = Shared::default();
    let (run, audited) = replay_and_audit(&book).await;
    assert_eq!((&run["sent"], &run["acknowledged"], &run["refused"]), (&101.into(), &100.into(), &1.into()));
    assert_eq!((&run["bad_lines"], &run["unknown"]), (&1.into(), &0.into()));
    assert_eq!(run["statuses"], serde_json::json!({"302": 100, "405": 1}));
    assert_eq!(book.lock().unwrap().agents.len(), 100);
    let verdict = json(&audited);
    assert!(audited.status.success(), "{verdict}");
    assert_eq!(
        (&verdict["expected"], &verdict["reported"], &verdict["checked"]),
        (&100.into(), &100.into(), &100.into())
    );
    assert_eq!(verdict["outcomes"], serde_json::json!({"recorded": 100}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_request_is_unknown_and_nothing_else_suffers() {
    let book = Shared::default();
    book.lock().unwrap().breaks_at = Some(50);
    let (run, audited) = replay_and_audit(&book).await;
    assert_eq!((&run["sent"], &run["acknowledged"], &run["unknown"]), (&101.into(), &99.into(), &1.into()));
    let verdict = json(&audited);
    assert!(audited.status.success(), "{verdict}");
    assert_eq!((&verdict["expected"], &verdict["reported"]), (&99.into(), &100.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_and_an_invented_click_fail_the_audit() {
    let book = Shared::default();
    book.lock().unwrap().forgets = Some(7);
    let (_, audited) = replay_and_audit(&book).await;
    let verdict = json(&audited);
    assert_eq!(audited.status.code(), Some(1), "{verdict}");
    assert_eq!((&verdict["missing"], &verdict["missing_named"][0]), (&1.into(), &"evt_7".into()));

    let book = Shared::default();
    book.lock().unwrap().invented = 2;
    let (_, audited) = replay_and_audit(&book).await;
    let verdict = json(&audited);
    assert_eq!(audited.status.code(), Some(1), "{verdict}");
    assert_eq!((&verdict["missing"], &verdict["extra"]), (&0.into(), &2.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_and_started_again_is_driven_through() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let book = Shared::default();
    let first = Server::start(&book, "127.0.0.1:0").await;
    let address = first.address.to_string();
    let url = format!("http://{address}");
    let restart = async {
        let under_way = || book.lock().unwrap().requests >= 100;
        while !under_way() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        first.stop().await;
        Server::start(&book, &address).await
    };
    let ledger = ledger.to_str().unwrap();
    let clicks =
        ["clicks", "--target", &url, "--link", "anna", "--rate", "400", "--duration", "2", "--keep-going"];
    let arguments = [&clicks[..], &["--ledger", ledger, "--json", "--connections", "8"]].concat();
    let (run, second) = tokio::join!(loadtest(&arguments), restart);
    let run = json(&run);
    assert_eq!((&run["sent"], &run["unsent"]), (&800.into(), &0.into()), "{run}");
    let written = std::fs::read_to_string(ledger).unwrap();
    assert_eq!(written.lines().count(), 800);
    assert!(written.contains("\"click_id\":\"click_1\""), "{}", written.lines().next().unwrap());
    let asked = ["audit", "--ledger", ledger, "--api", &url, "--key", "tb_test_key", "--wait", "0"];
    let audited = loadtest(&asked).await;
    let text = String::from_utf8(audited.stdout).unwrap();
    assert!(audited.status.success() && text.contains("missing       0\nextra         0\n"), "{text}");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_in_one_line() {
    let failing: [(&[&str], &str); 4] = [
        (
            &["replay", "/nowhere.log", "--target", "http://127.0.0.1:1", "--link", "anna"],
            "/nowhere.log: No such file",
        ),
        (
            &["clicks", "--target", "http://127.0.0.1:1", "--link", "a", "--rate", "1", "--duration", "1"],
            "cannot connect to 127.0.0.1:1: ",
        ),
        (&["clicks", "--target", "ftp://x", "--link", "a", "--rate", "1", "--duration", "1"], "only http://"),
        (
            &["audit", "--ledger", "/nowhere", "--api", "http://127.0.0.1:1", "--key", "k"],
            "/nowhere: No such file",
        ),
    ];
    for (arguments, expected) in failing {
        let output = loadtest(arguments).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.starts_with("loadtest: ") && error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let entry = "{\"n\":0,\"scheduled\":1,\"sent\":1,\"ended\":2,\"method\":\"GET\",\"status\":302,\"receipt\":\"evt_1\"}\n";
    std::fs::write(&ledger, entry).unwrap();
    let server = Server::start(&Shared::default(), "127.0.0.1:0").await;
    let url = format!("http://{}", server.address);
    let output =
        loadtest(&["audit", "--ledger", ledger.to_str().unwrap(), "--api", &url, "--key", "wrong"]).await;
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("401 Unauthorized"), "{error}");
    server.stop().await;
}
