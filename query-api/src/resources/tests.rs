//! The catalog's routes through the desk's own router, on a log in a directory of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use catalog::bootstrap::{Bootstrap, bootstrap};
use catalog::follower::FollowerSettings;
use catalog::seal::{KEY_BYTES, Sealer};
use catalog::{Follower, Scope};
use eventlog::EventLog;
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings};
use http::{Method, Request, StatusCode};
use schemas::money::Currency;
use schemas::time::Timestamp;
use serde_json::{Value, json};
use service::clock::ManualClock;
use service::lifecycle::{Shutdown, Tasks};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::state::Parts;
use crate::{Desk, Edge, QueryApiSettings, StartError, router};

mod credentials;
mod limits;
mod offers;
mod payouts;
mod places;
mod rates;
mod rules;
mod smart_links;
mod workspaces;

const NOW_MICROS: i64 = 1_790_000_000_000_000;
const BODY_LIMIT: usize = 1024 * 1024;

/// A log and the desks on it.
struct Installation {
    log: Arc<dyn EventLog>,
    clock: Arc<ManualClock>,
    admin_key: String,
    _dir: TempDir,
}

/// One node's desk and a key to it.
struct TestDesk {
    router: Router,
    follower: Follower,
    key: String,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: Value,
    replayed: bool,
}

impl Installation {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let clock = ManualClock::at(NOW_MICROS);
        let settings = EmbeddedSettings::new(Arc::new(|| Timestamp::from_micros(NOW_MICROS)));
        let log: Arc<dyn EventLog> = Arc::new(EmbeddedLog::open(dir.path(), settings).unwrap());
        let follower = Follower::start(Arc::clone(&log), FollowerSettings::default()).await.unwrap();
        let first = Bootstrap {
            events_partitions: 1,
            workspace_name: "Main".into(),
            currency: Currency::USD,
            timezone: "UTC".into(),
            now: Timestamp::from_micros(NOW_MICROS),
            seed: [7; 32],
        };
        let admin_key = bootstrap(&follower, first).await.unwrap().unwrap();
        Self { log, clock, admin_key, _dir: dir }
    }

    /// A node with the admin key; every node has its own seed.
    async fn desk(&self, seed: u128) -> TestDesk {
        self.desk_with(seed, QueryApiSettings::default()).await.unwrap()
    }

    async fn desk_with(&self, seed: u128, settings: QueryApiSettings) -> Result<TestDesk, StartError> {
        self.desk_of(seed, settings, sealer()).await
    }

    async fn desk_of(
        &self,
        seed: u128,
        settings: QueryApiSettings,
        sealer: Sealer,
    ) -> Result<TestDesk, StartError> {
        let follower = Follower::start(Arc::clone(&self.log), FollowerSettings::default()).await.unwrap();
        // Nothing listens there: the catalog's routes need no warehouse.
        let endpoint = warehouse::Endpoint::new("http://127.0.0.1:1", "u", "p", "d");
        let parts = Parts {
            settings,
            catalog: follower.clone(),
            sealer,
            log: Arc::clone(&self.log),
            tasks: Tasks::new(Shutdown::new()),
            warehouse: warehouse::connect(&endpoint).1,
            clock: self.clock.clone(),
            registry: prometheus::Registry::new(),
            problems: Arc::new(Vec::new),
            seed,
        };
        let router = router(Desk::new(parts)?, Edge::Elsewhere);
        Ok(TestDesk { router, follower, key: self.admin_key.clone() })
    }
}

fn sealer() -> Sealer {
    Sealer::new(&[7; KEY_BYTES])
}

async fn desk() -> (Installation, TestDesk) {
    let installation = Installation::new().await;
    let desk = installation.desk(1).await;
    (installation, desk)
}

impl TestDesk {
    fn with_key(&self, key: &str) -> Self {
        Self { router: self.router.clone(), follower: self.follower.clone(), key: key.to_owned() }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let replayed = response.headers().contains_key("idempotent-replayed");
        let bytes = axum::body::to_bytes(response.into_body(), BODY_LIMIT).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status, body, replayed }
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Request<Body> {
        let builder = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {}", self.key));
        match body {
            None => builder.body(Body::empty()).unwrap(),
            Some(body) => {
                builder.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
            }
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.send(self.request(method, path, body.as_ref())).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, Some(body)).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    async fn post_once(&self, path: &str, key: &str, body: Value) -> Answer {
        let mut request = self.request(Method::POST, path, Some(&body));
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        self.send(request).await
    }

    /// Makes a resource and answers with it.
    async fn made(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.body
    }

    async fn offer(&self) -> String {
        let offer = self.made(
            "/offers",
            json!({"name": "Shoes", "destination_url": "https://shop.example/?cid={click_id}"}),
        );
        text(&offer.await["id"])
    }

    /// A key of these scopes, ready to be used.
    async fn key(&self, scopes: &[Scope]) -> Self {
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        let key = self.made("/keys", json!({"name": "k", "scopes": scopes})).await;
        self.with_key(key["key"].as_str().unwrap())
    }

    async fn catch_up(&self) {
        self.follower.catch_up(Duration::from_secs(10)).await.unwrap();
    }
}

impl Answer {
    /// The answer is this error, about this field.
    #[track_caller]
    fn is(&self, status: u16, error: &str, field: &str) {
        let field = if field.is_empty() { Value::Null } else { json!(field) };
        let found = (self.status.as_u16(), &self.body["error"], &self.body["field"]);
        assert_eq!(found, (status, &json!(error), &field), "{}", self.body);
        assert!(self.body["request_id"].as_str().is_some_and(|id| id.starts_with("req_")), "{}", self.body);
    }

    /// The body of an answer that went well.
    #[track_caller]
    fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.body
    }

    /// The fields that are wrong.
    fn fields(&self) -> Vec<String> {
        let details = self.body["details"].as_array().cloned().unwrap_or_default();
        details.iter().map(|fault| text(&fault["field"])).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The values of one field over all items of a list.
fn column(page: &Value, field: &str) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| text(&item[field])).collect()
}
