//! A real browser, from a tracking link over a shop on another site to the report.

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Engines, Stack, free_port, on_both_engine_sets, repository};

on_both_engine_sets!(a_browser_buys_and_the_report_says_so);

async fn a_browser_buys_and_the_report_says_so(engines: Engines) {
    let stack = Stack::start(engines).await;
    let port = free_port();
    let shop = format!("http://shop.localhost:{port}");
    let id = |answer: &Value| answer["id"].as_str().unwrap().to_owned();
    let offer = json!({
        "name": "Shoes",
        "destination_url": format!("{shop}/landing"),
        "goals": [{"key": "sale", "payout": {"type": "percent", "percent": "10"}}],
    });
    let offer = id(&stack.api(Method::POST, "/offers", Some(offer)).await);
    let partner = id(&stack.api(Method::POST, "/partners", Some(json!({"name": "Anna"}))).await);
    let link = json!({"offer": offer, "partner": partner, "key": "anna"});
    stack.api(Method::POST, "/links", Some(link)).await;
    let key = json!({"name": "shop", "kind": "publishable", "scopes": ["ingest"], "allowed_origins": [shop]});
    let key = stack.api(Method::POST, "/keys", Some(key)).await;

    let screenshot = stack.scratch("landing.png");
    let seen = browse(&[&stack.edge, key["key"].as_str().unwrap(), "anna", &port.to_string()], &screenshot);

    let click = seen["landing"].as_str().unwrap().split_once("click_id=").unwrap().1;
    assert_eq!(seen["title"], "Thank you");
    assert_eq!(seen["cookie"]["value"], click);
    assert_eq!(seen["cookie"]["domain"], "shop.localhost");
    let days = seen["cookie"]["days"].as_f64().unwrap();
    assert!((89.0..=90.0).contains(&days), "{seen}");
    assert_eq!(seen["sale"]["status"], 202, "{seen}");
    assert_eq!(seen["withPrivacyControl"], 0, "{seen}");
    assert_eq!(seen["consent"], json!({"before": 0, "after": 1, "withdrawn": 0}));
    assert!(seen["direct"]["cookie"].as_str().unwrap().starts_with("click_"), "{seen}");
    assert_eq!(seen["direct"]["cookie"], seen["direct"]["answer"]["click_id"]);
    assert!(std::fs::read(&screenshot).unwrap().starts_with(b"\x89PNG"));

    // The buyer's click, the one of the visitor who asked for privacy, and the one that the page reported.
    let wanted = json!({"clicks": 3, "conversions": 1, "revenue": "80.00", "payout": "8.00"});
    let report = stack.await_totals(&wanted).await;
    assert_eq!(report["items"][0]["partner"], json!({"id": partner, "name": "Anna"}), "{report}");
    let list = stack.api(Method::GET, "/conversions", None).await;
    assert_eq!(list["items"][0]["click_id"], click, "{list}");
    // Anybody can read a publishable key: somebody has to approve what it reports.
    assert_eq!(list["items"][0]["status"], "pending");
    stack.assert_balance().await;
}

/// What the browser saw; `deploy/browser.sh` gets it where it is not there yet.
fn browse(arguments: &[&str], screenshot: &std::path::Path) -> Value {
    let browser = Command::new(repository().join("deploy/browser.sh")).output().unwrap();
    assert!(browser.status.success(), "{}", String::from_utf8_lossy(&browser.stderr));
    let output = Command::new("node")
        .arg(repository().join("ingest/script/browser.mjs"))
        .arg(String::from_utf8(browser.stdout).unwrap().trim())
        .args(arguments)
        .arg(screenshot)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
