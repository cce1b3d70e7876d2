//! What a customer does with an installation, and what must be true afterwards.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A person's browser; a client without a name would be taken for a program.
pub const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
/// How long a number may take to be right after everything was sent.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// How long an answer may take: longer than any deadline that an installation has.
const ANSWER_LIMIT: Duration = Duration::from_secs(45);
/// How often it is asked again.
pub const POLL: Duration = Duration::from_millis(100);
/// A report over everything.
const REPORT: &str =
    "/reports?from=2026-01-01&to=2035-01-01&group_by=partner&metrics=clicks,conversions,revenue,payout";
/// The longest page of a list.
const PAGE: usize = 200;

/// Asks again until the answer is there; panics with `what` and the last answer after the limit.
pub async fn wait_for<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(problem) => assert!(Instant::now() < deadline, "{what}: {problem}"),
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A client that looks at redirects instead of following them, and waits for no answer for ever.
pub fn http_client() -> reqwest::Client {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    builder.timeout(ANSWER_LIMIT).build().unwrap()
}

/// The answer, if there is one. A connection may be cut when a process is killed; an answer that never comes is a fault.
async fn answer(request: reqwest::RequestBuilder) -> Option<reqwest::Response> {
    match request.send().await {
        Ok(response) => Some(response),
        Err(error) => {
            assert!(!error.is_timeout(), "no answer within {ANSWER_LIMIT:?}: {error}");
            None
        }
    }
}

/// An offer, a partner and a link between them.
#[derive(Debug, Clone)]
pub struct Campaign {
    pub offer: String,
    pub partner: String,
    pub link: String,
}

/// A click that was acknowledged.
#[derive(Debug, Clone)]
pub struct Click {
    pub id: String,
    pub receipt: String,
}

/// Somebody outside: knows addresses and a key, nothing else.
#[derive(Debug, Clone)]
pub struct Customer {
    pub edge: String,
    pub api: String,
    pub key: String,
    pub http: reqwest::Client,
}

impl Customer {
    /// A call of the API with the admin key; panics unless it succeeds.
    pub async fn api(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.try_api(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }

    /// A call of the API with the admin key.
    pub async fn try_api(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request =
            self.http.request(method, format!("{}/api/v1{path}", self.api)).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    /// An offer that pays 10 percent of a sale, a partner, a link with this key.
    pub async fn campaign(&self, key: &str) -> Campaign {
        let offer = json!({
            "name": "Shoes",
            "destination_url": "https://shop.example/?cid={click_id}",
            "goals": [{"key": "sale", "payout": {"type": "percent", "percent": "10"}}],
        });
        let id = |answer: &Value| answer["id"].as_str().unwrap().to_owned();
        let offer = id(&self.api(Method::POST, "/offers", Some(offer)).await);
        let partner = id(&self.api(Method::POST, "/partners", Some(json!({"name": "Anna"}))).await);
        let link = json!({"offer": offer, "partner": partner, "key": key});
        let link = id(&self.api(Method::POST, "/links", Some(link)).await);
        Campaign { offer, partner, link }
    }

    /// Follows a link; `None` unless the click was acknowledged.
    pub async fn try_click(&self, path: &str) -> Option<Click> {
        let request = self.http.get(format!("{}/c/{path}", self.edge)).header("user-agent", BROWSER);
        let response = answer(request).await?;
        if response.status() != StatusCode::FOUND {
            return None;
        }
        let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let id = header("location")?.split_once("cid=")?.1.split('&').next()?.to_owned();
        Some(Click { id, receipt: header("x-receipt")? })
    }

    /// Follows a link; an edge that does not know it yet gets a moment.
    pub async fn click(&self, path: &str) -> Click {
        wait_for("click", async || {
            self.try_click(path).await.ok_or_else(|| format!("{path} not acknowledged"))
        })
        .await
    }

    /// Sends a conversion; the receipt, if it was acknowledged.
    pub async fn try_convert(&self, body: &Value) -> Option<String> {
        let request =
            self.http.post(format!("{}/api/v1/conversions", self.edge)).bearer_auth(&self.key).json(body);
        let response = answer(request).await?;
        if response.status() != StatusCode::ACCEPTED {
            return None;
        }
        Some(response.json::<Value>().await.ok()?["receipt"].as_str()?.to_owned())
    }

    /// Sends a conversion that must be acknowledged.
    pub async fn convert(&self, body: Value) -> String {
        self.try_convert(&body).await.unwrap_or_else(|| panic!("not acknowledged: {body}"))
    }

    /// What became of a request, once it is decided.
    pub async fn receipt(&self, receipt: &str) -> Value {
        wait_for("receipt", async || {
            let (status, answer) =
                self.try_api(Method::GET, &format!("/receipts/{receipt}?wait=1"), None).await;
            if status == StatusCode::OK && answer["status"] != "accepted" {
                Ok(answer)
            } else {
                Err(answer.to_string())
            }
        })
        .await
    }

    /// The totals of a report over everything, once they are as wanted.
    pub async fn await_totals(&self, wanted: &Value) -> Value {
        wait_for("totals", async || {
            let (_, answer) = self.try_api(Method::GET, REPORT, None).await;
            let totals = &answer["totals"];
            let same = wanted.as_object().unwrap().iter().all(|(metric, value)| {
                let found = &totals[metric];
                if found.is_object() { &found["amount"] == value } else { found == value }
            });
            if same { Ok(answer.clone()) } else { Err(format!("wanted {wanted}, found {answer}")) }
        })
        .await
    }

    /// How many clicks are in the report over everything.
    pub async fn reported_clicks(&self) -> Result<u64, String> {
        let (_, answer) = self.try_api(Method::GET, REPORT, None).await;
        answer["totals"]["clicks"].as_u64().ok_or_else(|| answer.to_string())
    }

    /// The receipts of all clicks in the list, page by page.
    pub async fn listed_clicks(&self) -> Result<Vec<String>, String> {
        let (mut receipts, mut cursor) = (Vec::new(), String::new());
        loop {
            // Ascending: what arrives meanwhile stands at the end.
            let path = format!("/clicks?take={PAGE}&sort=occurred_at{cursor}");
            let (_, page) = self.try_api(Method::GET, &path, None).await;
            let items = page["items"].as_array().ok_or_else(|| page.to_string())?;
            receipts.extend(items.iter().map(|click| click["receipt"].as_str().unwrap().to_owned()));
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(receipts),
            }
        }
    }
}
