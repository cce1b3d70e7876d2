//! A real browser, from a tracking link over a shop on another site to the report.

use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Engines, Stack, free_port, on_both_engine_sets, repository};

on_both_engine_sets!(a_browser_buys_and_the_report_says_so);

/// What the browser of `browser.mjs` reports as leads, each with the labels that it deserves.
const LEADS: [(&str, &[&str]); 7] = [
    ("L-private", &["gpc"]),
    ("L-asked", &["no_consent"]),
    ("L-agreed", &[]),
    ("L-withdrawn", &["no_consent"]),
    ("L-fetched", &[]),
    ("L-renewed", &[]),
    ("L-own", &[]),
];
/// What the screenshot shows: the whole window.
const WINDOW: [u32; 2] = [800, 500];

async fn a_browser_buys_and_the_report_says_so(engines: Engines) {
    let stack = Stack::start(engines).await;
    let port = free_port();
    let shop = format!("http://shop.localhost:{port}");
    let own_shop = format!("http://www.shop.localhost:{port}");
    let id = |answer: &Value| answer["id"].as_str().unwrap().to_owned();
    let offer = json!({
        "name": "Shoes",
        "destination_url": format!("{shop}/landing"),
        "goals": [
            {"key": "sale", "payout": {"type": "percent", "percent": "10"}},
            {"key": "lead", "payout": {"type": "fixed", "amount": "2.00"}},
        ],
    });
    let offer = id(&stack.api(Method::POST, "/offers", Some(offer)).await);
    let partner = id(&stack.api(Method::POST, "/partners", Some(json!({"name": "Anna"}))).await);
    let link = json!({"offer": offer, "partner": partner, "key": "anna"});
    stack.api(Method::POST, "/links", Some(link)).await;
    let key = json!({
        "name": "shop", "kind": "publishable", "scopes": ["ingest"], "allowed_origins": [shop, own_shop],
    });
    let key = stack.api(Method::POST, "/keys", Some(key)).await;

    let kept = kept(engines);
    let screenshot = kept.join("landing-page.png");
    let seen = browse(&[&stack.edge, key["key"].as_str().unwrap(), "anna", &port.to_string()], &screenshot);

    let click = seen["landing"].as_str().unwrap().split_once("click_id=").unwrap().1;
    check_buyer(&seen, click);
    check_others(&seen, click, &stack.edge);
    assert_eq!(size(&std::fs::read(&screenshot).unwrap()), Some(WINDOW));

    // The buyer's click, the one of the visitor who asked for privacy, and the one that the page reported; a sale and leads.
    // The lead of somebody who is forgotten is nobody's, and pays nobody.
    let conversions = 1 + LEADS.len() + 1;
    let payout = format!("{}.00", 8 + 2 * LEADS.len());
    let wanted = json!({"clicks": 3, "conversions": conversions, "revenue": "80.00", "payout": payout});
    let report = stack.await_totals(&wanted).await;
    assert_eq!(report["items"][0]["partner"], json!({"id": partner, "name": "Anna"}), "{report}");
    let list = stack.api(Method::GET, "/conversions", None).await;
    let conversion = |transaction: &str| {
        let items = list["items"].as_array().unwrap();
        let found = items.iter().find(|item| item["transaction_id"] == transaction);
        found.unwrap_or_else(|| panic!("no {transaction} in {list}"))
    };
    assert_eq!(conversion("B-1")["click_id"], click, "{list}");
    // Anybody can read a publishable key: somebody has to approve what it reports.
    assert_eq!(conversion("B-1")["status"], "pending");
    for (transaction, labels) in LEADS {
        let by = if transaction == "L-private" { seen["private"]["click"].as_str().unwrap() } else { click };
        let lead = conversion(transaction);
        assert!(lead["click_id"] == by && lead["labels"] == json!(labels), "{lead}");
    }
    let line = kept.join("report.json");
    std::fs::write(&line, serde_json::to_string_pretty(&report["items"][0]).unwrap()).unwrap();
    #[expect(clippy::print_stdout, reason = "whoever wants to see them has to know where they are")]
    {
        println!("the landing page: {}\nthe report line: {}", screenshot.display(), line.display());
    }
    stack.assert_balance().await;
}

/// The way of most: a link, the landing page, the thank-you page.
fn check_buyer(seen: &Value, click: &str) {
    assert_eq!(seen["title"], "Thank you");
    assert_eq!(seen["cookie"]["value"], click);
    assert_eq!(seen["cookie"]["domain"], "shop.localhost");
    assert!(is_fresh(&seen["cookie"]["days"]), "{seen}");
    let sale = &seen["sale"];
    assert_eq!((&sale["status"], &sale["by"]), (&json!(202), &json!("ping")), "{sale}");
    // As text no browser asks the edge beforehand.
    assert_eq!(sale["type"], "text/plain;charset=UTF-8", "{sale}");
    assert_eq!(sale["body"]["click_id"], click, "{sale}");
    assert!(seen["direct"]["cookie"].as_str().unwrap().starts_with("click_"), "{seen}");
    assert_eq!(seen["direct"]["cookie"], seen["direct"]["answer"]["click_id"]);
}

/// Those who refuse, who come back, whose browser is another, and whose page is.
fn check_others(seen: &Value, click: &str, edge: &str) {
    let private = &seen["private"];
    assert_eq!(private["cookies"], 0, "{private}");
    // The click of the page's own address, and nothing else of the visitor. What the browser asks for, its header says.
    assert_eq!(private["lead"]["body"]["click_id"], private["click"], "{private}");
    assert_eq!(private["lead"]["body"]["consent"], Value::Null, "{private}");
    let step = |cookies: u32, consent: Value| json!({"cookies": cookies, "consent": consent, "click": click});
    let refused = || step(0, json!("0"));
    assert_eq!(seen["consent"], json!([refused(), step(1, Value::Null), refused()]));
    for lead in [&private["lead"], &seen["fetched"], &seen["renewed"]["lead"], &seen["own"]["lead"]] {
        assert_eq!((&lead["taken"], &lead["status"]), (&json!(true), &json!(202)), "{lead}");
        assert_eq!(lead["to"], edge, "{lead}");
    }
    assert_eq!(seen["fetched"]["by"], "fetch", "{seen}");
    assert_eq!(seen["private"]["lead"]["by"], "ping", "{seen}");
    let renewed = &seen["renewed"];
    assert_eq!(renewed["lead"]["body"]["click_id"], click, "{renewed}");
    let days = renewed["days"].as_array().unwrap();
    assert!(days.len() == 1 && is_fresh(&days[0]), "{renewed}");
    assert_eq!(seen["forgotten"], json!({"click": null, "cookies": 0}), "{seen}");
    // With a dot in front it is every host's below it.
    assert_eq!(seen["own"]["cookies"], json!([{"value": click, "domain": ".shop.localhost"}]));
    assert_eq!(seen["own"]["lead"]["body"]["click_id"], click, "{seen}");
}

/// Whether a cookie was set today.
fn is_fresh(days: &Value) -> bool {
    days.as_f64().is_some_and(|days| (89.0..=90.0).contains(&days))
}

/// Where the screenshot and the report's line stay after the test: below the folder of what is built.
fn kept(engines: Engines) -> PathBuf {
    let engines = match engines {
        Engines::Embedded => "embedded",
        Engines::Cluster => "cluster",
    };
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("browser").join(engines);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Width and height of a PNG.
fn size(image: &[u8]) -> Option<[u32; 2]> {
    let header = image.strip_prefix(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR")?;
    let number = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
    Some([number(0)?, number(4)?])
}

/// What the browser saw; `deploy/browser.sh` gets it where it is not there yet.
fn browse(arguments: &[&str], screenshot: &Path) -> Value {
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
