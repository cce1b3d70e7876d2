//! `loadtest` as a customer uses it: a web server's log is replayed while everything is killed, and audited afterwards.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Output;

use schemas::id::EventId;
use serde_json::Value;

use crate::harness::{
    Engines, ImaginaryEdge, Stack, binary, first_workspace, now, on_both_engine_sets, wait_for,
};

on_both_engine_sets!(a_log_replayed_through_a_kill_is_audited_without_a_miss);

/// Requests of the log, and how many of them go out in a second: it lasts a few times as long as a start.
const REQUESTS: usize = 400;
const RATE: &str = "100";
/// When so many were answered, everything is killed.
const BEFORE_THE_KILL: usize = 100;

async fn a_log_replayed_through_a_kill_is_audited_without_a_miss(engines: Engines) {
    let mut stack = Stack::start(engines).await;
    let campaign = stack.campaign("audited").await;
    // The catalog is one sequence: an edge that knows the later link knows the earlier one.
    stack.campaign("later").await;
    stack.click("later").await;
    let [log, ledger, key] = ["access.log", "ledger", "key"].map(|name| stack.scratch(name));
    std::fs::write(&log, access_log()).unwrap();
    std::fs::write(&key, &stack.key).unwrap();

    let edge = stack.edge.clone();
    let mut replay = loadtest("replay");
    replay.arg(&log).args(["--target", &edge, "--link", "audited", "--rate", RATE]);
    replay.arg("--ledger").arg(&ledger).args(["--keep-going", "--json"]);
    let (sent, ()) = tokio::join!(replay.output(), async {
        wait_for("the replay", async || {
            let answered = entries(&ledger).len();
            if answered >= BEFORE_THE_KILL { Ok(()) } else { Err(format!("{answered} answered")) }
        })
        .await;
        stack.kill_all();
        stack.start_all();
    });
    let sent = sent.unwrap();
    assert!(sent.status.success(), "{}", said(&sent));
    let sums: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!((&sums["sent"], &sums["unsent"]), (&REQUESTS.into(), &0.into()), "{sums}");
    assert!(sums["refused"].as_u64() > Some(0), "no POST was refused: {sums}");
    assert!(sums["acknowledged"].as_u64() > Some(BEFORE_THE_KILL as u64), "none after the kill: {sums}");

    let audit = async |ledger: &Path, wait: &str| {
        let mut audit = loadtest("audit");
        audit.arg("--ledger").arg(ledger).args(["--api", &stack.api, "--link", &campaign.link]);
        audit.arg("--key-file").arg(&key).args(["--wait", wait]);
        audit.output().await.unwrap()
    };
    let exact = audit(&ledger, "60").await;
    assert_eq!(exact.status.code(), Some(0), "{sums}\n{}", said(&exact));
    assert_eq!((line(&exact, "missing"), line(&exact, "extra")), ("0".to_owned(), "0".to_owned()));

    let forged = stack.scratch("forged");
    let text = std::fs::read_to_string(&ledger).unwrap() + &never_sent(&ledger);
    std::fs::write(&forged, text).unwrap();
    let missed = audit(&forged, "1").await;
    assert_eq!(missed.status.code(), Some(1), "{}", said(&missed));
    assert_eq!((line(&missed, "missing"), line(&missed, "extra")), ("1".to_owned(), "0".to_owned()));
    stack.assert_balance().await;
}

/// A log in the combined format: browsers, now and then a program that only looks (HEAD) or that posts, which no link takes.
fn access_log() -> String {
    let mut text = String::new();
    for n in 0..REQUESTS {
        let method = match n % 50 {
            7 | 31 => "HEAD",
            13 => "POST",
            _ => "GET",
        };
        let (minute, second) = (n / 60, n % 60);
        let (a, b) = (n / 250, n % 250 + 1);
        writeln!(
            text,
            "10.1.{a}.{b} - - [17/May/2015:10:{minute:02}:{second:02} +0000] \"{method} /page/{n} HTTP/1.1\" 200 512 \
             \"https://blog.example/{n}\" \"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\""
        )
        .unwrap();
    }
    text
}

/// An acknowledgement of a click that nobody sent.
fn never_sent(ledger: &Path) -> String {
    let receipt: EventId = ImaginaryEdge::new().ids.next(now().unix_ms(), first_workspace());
    let acknowledged = entries(ledger).into_iter().find(|entry| entry["receipt"].is_string());
    let mut entry = acknowledged.unwrap();
    entry["receipt"] = receipt.to_string().into();
    format!("{entry}\n")
}

/// The ledger's entries so far.
fn entries(ledger: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(ledger).unwrap_or_default();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn loadtest(command: &str) -> tokio::process::Command {
    let mut loadtest = tokio::process::Command::new(binary("loadtest"));
    loadtest.arg(command).kill_on_drop(true);
    loadtest
}

/// What stands behind a name in the audit's result.
fn line(output: &Output, name: &str) -> String {
    let text = said(output);
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name:?} in {text}")).trim().to_owned()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}
