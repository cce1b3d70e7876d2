//! What every case needs: an installation with one of each resource, a client that follows nothing, and a list of what
//! is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Instant;

use reqwest::{Method, StatusCode};
use schemas::event::label;
use serde_json::{Value, json};

use crate::harness::{BROWSER, Engines, POLL, SETTLE_LIMIT, Stack, wait_for};

/// The origin of the pages that may use the publishable key and the pixel.
pub const ORIGIN: &str = "https://shop.example";

/// An answer of the edge.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The receipt, in the body or the header.
    pub fn receipt(&self) -> Option<String> {
        let header = self.header("x-receipt");
        if header.is_empty() {
            self.json()["receipt"].as_str().map(str::to_owned)
        } else {
            Some(header.to_owned())
        }
    }
}

/// A request to the edge.
#[derive(Debug, Clone)]
pub struct Ask {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Ask {
    /// A GET by a browser, from an address of its own if `header` names none.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), headers: Vec::new(), body: Vec::new() }
            .header("user-agent", BROWSER)
    }

    /// A POST of JSON.
    pub fn json(path: impl Into<String>, body: &Value) -> Self {
        Self::post(path, "application/json", body.to_string())
    }

    pub fn post(path: impl Into<String>, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let ask = Self::get(path).header("content-type", content_type);
        Self { method: Method::POST, body: body.into(), ..ask }
    }

    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets a header; an empty value takes it away.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.headers.retain(|(other, _)| other != name);
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value));
        }
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.header("authorization", format!("Bearer {key}"))
    }
}

/// One of everything.
pub struct World {
    pub stack: Stack,
    pub offer: String,
    pub partner: String,
    pub pixel: String,
    /// By their auth: id and secret.
    pub open: String,
    pub token: (String, String),
    pub signed: (String, String),
    pub publishable: String,
    pub test_key: String,
    pub read_key: String,
    /// The codes of the errors that were given.
    pub errors: BTreeSet<String>,
    labels: BTreeSet<String>,
    problems: Vec<String>,
    clients: u32,
}

impl World {
    pub async fn create(engines: Engines) -> Self {
        let stack = Stack::start(engines).await;
        let make = async |resource: &str, body: Value| {
            stack.api(Method::POST, &format!("/{resource}"), Some(body)).await
        };
        let id = |answer: Value| answer["id"].as_str().unwrap().to_owned();
        let text = |answer: &Value, field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        let goals = json!([
            {"key": "sale", "payout": {"type": "percent", "percent": "10"}},
            {"key": "lead", "payout": {"type": "fixed", "amount": "2.00"}},
        ]);
        let offer = id(make(
            "offers",
            json!({
                "name": "Shoes", "goals": goals, "allowed_hosts": ["shop.example", "*.shop.example"],
                "destination_url": "https://shop.example/?cid={click_id}&s={sub1}&c={sub2|default:none}",
            }),
        )
        .await);
        let other = json!({
            "name": "Hats", "destination_url": "https://hats.example/", "goals": goals, "click_id_param": "hat",
        });
        let other_offer = id(make("offers", other).await);
        let partner = id(make("partners", json!({"name": "Anna", "slug": "anna"})).await);
        links(&stack, [&offer, &other_offer, &partner]).await;
        let pixel =
            id(make("pixels", json!({"offer": offer, "goal": "sale", "allowed_origins": [ORIGIN]})).await);
        let open = id(make("sources", json!({"name": "Open", "auth": "open"})).await);
        let words = json!({"banked": "approved"});
        let source = |name: &str, auth: &str| json!({"name": name, "auth": auth, "status_map": words, "params": {"their_click": "click_id"}});
        let token = make("sources", source("Token", "token")).await;
        let token = (text(&token, "id"), text(&token, "token"));
        let signed = make("sources", source("Signed", "signed")).await;
        let signed = (text(&signed, "id"), text(&signed, "secret"));
        let key = async |body: Value| text(&make("keys", body).await, "key");
        let page = json!({
            "name": "Page", "scopes": ["ingest"], "kind": "publishable", "allowed_origins": [ORIGIN],
        });
        let publishable = key(page).await;
        let test_key = key(json!({"name": "Test", "scopes": ["ingest"], "environment": "test"})).await;
        let read_key = key(json!({"name": "Read", "scopes": ["read"]})).await;
        Self {
            stack,
            offer,
            partner,
            pixel,
            open,
            token,
            signed,
            publishable,
            test_key,
            read_key,
            errors: BTreeSet::new(),
            labels: BTreeSet::new(),
            problems: Vec::new(),
            clients: 0,
        }
    }

    /// Sends a request, each from another client address.
    pub async fn ask(&mut self, ask: Ask) -> Answer {
        self.clients += 1;
        let address = format!("10.9.{}.{}", self.clients / 250, self.clients % 250 + 1);
        let own = ask.headers.iter().any(|(name, _)| name == "x-forwarded-for");
        let ask = if own { ask } else { ask.header("x-forwarded-for", address) };
        let mut request =
            self.stack.http.request(ask.method, format!("{}{}", self.stack.edge, ask.path)).body(ask.body);
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        let headers = response.headers().iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let (status, headers) = (response.status().as_u16(), headers.collect());
        Answer { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    /// A click on a link, which must be recorded; its id and its receipt.
    pub async fn click(&mut self, path: &str) -> (String, String) {
        let answer = self.ask(Ask::get(path)).await;
        let id = answer.header("location").split_once("cid=").map(|(_, rest)| rest.split('&').next());
        let id = id.flatten().unwrap_or_default().to_owned();
        (id, answer.receipt().unwrap_or_default())
    }

    /// Notes what is wrong, unless it is right.
    pub fn check(&mut self, case: &str, is_right: bool, found: impl Display) {
        if !is_right {
            self.problems.push(format!("{case}: {found}"));
        }
    }

    /// Notes an answer that has another status.
    pub fn check_status(&mut self, case: &str, answer: &Answer, wanted: u16) {
        let found =
            format!("{} {:?} {}", answer.status, answer.headers, String::from_utf8_lossy(&answer.body));
        self.check(case, answer.status == wanted, format!("wanted {wanted}, found {found}"));
    }

    /// Waits until a receipt is decided, and notes another outcome than the wanted one.
    pub async fn check_receipt(
        &mut self,
        case: &str,
        answer: &Answer,
        wanted: &str,
        reason: Option<&str>,
    ) -> Value {
        let Some(receipt) = answer.receipt() else {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            self.check(case, false, format!("no receipt: {} {:?} {body}", answer.status, answer.headers));
            return Value::Null;
        };
        let settled = self.stack.receipt(&receipt).await;
        let is_right =
            settled["status"] == wanted && (reason.is_none() || settled["reason"].as_str() == reason);
        self.check(case, is_right, format!("wanted {wanted} {reason:?}, found {settled}"));
        settled
    }

    /// The items of a list whose `field` is one of the wanted values, once all of them are there.
    pub async fn listed(&mut self, path: &str, field: &str, wanted: &[&str]) -> BTreeMap<String, Value> {
        let stack = &self.stack;
        let look = async || -> Result<BTreeMap<String, Value>, String> {
            let (mut found, mut cursor) = (BTreeMap::new(), String::new());
            loop {
                let separator = if path.contains('?') { '&' } else { '?' };
                let (status, page) =
                    stack.try_api(Method::GET, &format!("{path}{separator}take=200{cursor}"), None).await;
                if status != StatusCode::OK {
                    return Err(format!("{path}: {status} {page}"));
                }
                for item in page["items"].as_array().into_iter().flatten() {
                    found.insert(item[field].as_str().unwrap_or_default().to_owned(), item.clone());
                }
                match page["nextCursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => return Ok(found),
                }
            }
        };
        // What was acknowledged is in the list a cut later; what is still not there then is told case by case.
        let patience = Instant::now() + SETTLE_LIMIT;
        while Instant::now() < patience {
            if let Ok(found) = look().await
                && wanted.iter().all(|value| found.contains_key(*value))
            {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
        wait_for(path, look).await
    }

    /// Notes the labels of an item, and whether they are others than wanted: those that the core adds, for a cap, a goal or a
    /// partner, follow from the case as those of the edge do.
    pub fn check_labels(&mut self, case: &str, item: Option<&Value>, wanted: &[&str]) {
        let Some(item) = item else {
            return self.check(case, false, "it is not in the list");
        };
        let labels: BTreeSet<String> = item["labels"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|label| label.as_str().map(str::to_owned))
            .collect();
        let is_right = labels.iter().eq(BTreeSet::from_iter(wanted));
        self.check(case, is_right, format!("wanted the labels {wanted:?}, found {labels:?}"));
        self.labels.extend(labels);
    }

    /// Every label of the contract was on something that the desk lists.
    pub fn every_label_was_seen(&mut self) {
        // Of a catalog whose log was away `outages.rs` tells: here the log is there.
        for label in label::ALL.iter().filter(|label| **label != label::STALE_CATALOG) {
            let is_seen = self.labels.contains(*label);
            self.check("labels", is_seen, format!("{label} was on nothing"));
        }
    }

    /// Panics with everything that was wrong.
    pub fn tell(self) {
        let count = self.problems.len();
        assert!(self.problems.is_empty(), "{count} problems:\n{}", self.problems.join("\n"));
    }
}

/// The links of the cases, one on a domain of its own.
async fn links(stack: &Stack, [offer, other_offer, partner]: [&String; 3]) {
    let make = async |path: &str, body: Value| stack.api(Method::POST, path, Some(body)).await;
    let id = |answer: Value| answer["id"].as_str().unwrap().to_owned();
    let link = |key: &str, more: Value| {
        let mut body = json!({"offer": offer, "partner": partner, "key": key});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    make("/links", link("plain", json!({}))).await;
    make("/links", link("kept", json!({"redirect_status": 307}))).await;
    let cap = json!({"metric": "clicks", "window": "total", "value": 2, "per": "all", "on_exceed": "flag"});
    make("/links", link("capped", json!({"caps": [cap]}))).await;
    let full = |metric: &str, page: &str| {
        let cap =
            json!({"metric": metric, "window": "total", "value": 1, "per": "all", "on_exceed": "fallback"});
        json!({"caps": [cap], "fallback_url": format!("https://full.example/{page}")})
    };
    make("/links", link("spent", full("clicks", "spent"))).await;
    make("/links", link("sold", full("conversions", "sold"))).await;
    let mobile = json!({"field": "device", "op": "eq", "value": ["mobile"]});
    let rules = json!([
        {"when": mobile, "to": [{"offer": other_offer, "weight": 1}]},
        {"when": {"not": mobile}, "to": [
            {"destination_url": "https://shop.example/a?cid={click_id}", "weight": 1},
            {"destination_url": "https://shop.example/b?cid={click_id}", "weight": 1},
        ]},
    ]);
    make("/links", link("smart", json!({"rules": rules}))).await;
    let domain = id(make("/domains", json!({"hostname": "go.shop.example", "role": "tracking"})).await);
    make("/links", link("own", json!({"domain": domain}))).await;
}
