//! One edge on one embedded log in a folder of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use catalog::bootstrap::{Bootstrap, FIRST_WORKSPACE, bootstrap};
use catalog::follower::FollowerSettings;
use catalog::seal::Sealer;
use catalog::{Actor, ActorKind, Change, Expected, Follower, Link, Offer, Proposal, Resource, Workspace};
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings};
use eventlog::{EventLog, Partition, TopicSpec};
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use ingest::{Door, Edge, IngestSettings, Parts};
use prometheus::Registry;
use schemas::event::{Body as EventBody, Click, Conversion, Event, Hit};
use schemas::id::{Id, IdGenerator, Kind, WorkspaceNumber};
use schemas::money::Currency;
use schemas::topic;
use schemas::wire::decode_event;
use service::clock::ManualClock;
use service::lifecycle::{Shutdown, Tasks};
use tempfile::TempDir;

use crate::fixture::{Fixture, NOW, fixture};

/// Longer than anything here may take.
pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const PARTITIONS: u32 = 2;
/// A person's browser.
pub(crate) const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
/// The other end of every connection that a test does not say more of.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4_000);
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

pub(crate) struct TestEdge {
    pub(crate) door: Door,
    pub(crate) edge: Edge,
    pub(crate) follower: Follower,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) fixture: Fixture,
    pub(crate) shutdown: Shutdown,
    pub(crate) tasks: Tasks,
    ids: IdGenerator,
    dir: TempDir,
}

/// What the edge answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that it is an error in the contract's shape, and gives the field.
    pub(crate) fn error(&self, status: u16, code: &str) -> Option<String> {
        let body = self.json();
        assert_eq!((self.status.as_u16(), body["error"].as_str()), (status, Some(code)), "{body}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{body}");
        assert_eq!(self.header("x-receipt"), None);
        body["field"].as_str().map(str::to_owned)
    }
}

pub(crate) async fn answer(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MAX_ANSWER_BYTES).await.unwrap().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// What clicks and impressions have in common.
pub(crate) fn hit_of(event: Event) -> Hit {
    match event.body {
        EventBody::Click(click) => click.hit,
        EventBody::Impression(impression) => impression.hit,
        body @ (EventBody::Conversion(_)
        | EventBody::Refund(_)
        | EventBody::Command(_)
        | EventBody::Delayed(_)
        | EventBody::Tick) => {
            panic!("no hit: {body:?}")
        }
    }
}

/// A request from a browser at 203.0.113.77 behind a proxy on this machine.
pub(crate) fn request(method: &str, uri: &str) -> http::request::Builder {
    Request::builder().method(method).uri(uri).header("x-forwarded-for", "203.0.113.77")
}

/// Deadlines that a test does not set are long: the machine may be busy.
fn patient(mut settings: IngestSettings) -> IngestSettings {
    let usual = IngestSettings::default();
    if settings.append_deadline_ms == usual.append_deadline_ms {
        settings.append_deadline_ms = SOON.as_millis() as u64;
    }
    if settings.spool_deadline_ms == usual.spool_deadline_ms {
        settings.spool_deadline_ms = SOON.as_millis() as u64;
    }
    settings
}

impl TestEdge {
    pub(crate) async fn start() -> Self {
        Self::start_with(IngestSettings::default(), |log| log).await
    }

    /// An edge with these settings, whose log is what `wrap` makes of the real one.
    pub(crate) async fn start_with(
        settings: IngestSettings,
        wrap: impl FnOnce(Arc<dyn EventLog>) -> Arc<dyn EventLog>,
    ) -> Self {
        let dir = TempDir::new().unwrap();
        let log_settings = EmbeddedSettings::new(Arc::new(|| NOW));
        let real: Arc<dyn EventLog> =
            Arc::new(EmbeddedLog::open(&dir.path().join("log"), log_settings).unwrap());
        real.ensure_topics(&[TopicSpec { name: topic::EVENTS, partitions: PARTITIONS }]).await.unwrap();
        let log = wrap(Arc::clone(&real));
        let follower = Follower::start(Arc::clone(&real), FollowerSettings::default()).await.unwrap();
        let first = Bootstrap {
            events_partitions: PARTITIONS,
            workspace_name: "Main".into(),
            currency: Currency::USD,
            timezone: "UTC".into(),
            now: NOW,
            seed: [7; 32],
        };
        bootstrap(&follower, first).await.unwrap().unwrap();
        let clock = ManualClock::at(NOW.micros());
        let mut this = Self::launch(settings, (log, real), follower, clock, dir).await;
        let resources = this.fixture.resources.clone();
        this.put(resources).await;
        this
    }

    /// Another life of this edge, whose log is what `wrap` makes of the real one, with what lies in `dir`.
    pub(crate) async fn reborn(
        &self,
        settings: IngestSettings,
        dir: TempDir,
        wrap: impl FnOnce(Arc<dyn EventLog>) -> Arc<dyn EventLog>,
    ) -> Self {
        let logs = (wrap(Arc::clone(&self.log)), Arc::clone(&self.log));
        Self::launch(settings, logs, self.follower.clone(), Arc::clone(&self.clock), dir).await
    }

    /// An edge on the first of these logs, whose truth is the second.
    pub(crate) async fn launch(
        settings: IngestSettings,
        (log, real): (Arc<dyn EventLog>, Arc<dyn EventLog>),
        follower: Follower,
        clock: Arc<ManualClock>,
        dir: TempDir,
    ) -> Self {
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone());
        let parts = Parts {
            settings: patient(settings),
            log,
            follower: follower.clone(),
            sealer: sealer(),
            clock: clock.clone(),
            registry: Registry::new(),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
            spool_dir: dir.path().join("spool"),
        };
        let edge = Edge::start(parts).await.unwrap();
        Self {
            door: ingest::door(edge.clone()),
            edge,
            follower,
            log: real,
            clock,
            fixture: fixture(FIRST_WORKSPACE),
            shutdown,
            tasks,
            ids: IdGenerator::new(2),
            dir,
        }
    }

    /// The directory of its spool.
    pub(crate) fn spool_dir(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    /// Creates or replaces these in the catalog, by way of the edge's own follower.
    pub(crate) async fn put(&mut self, resources: Vec<Resource>) {
        let proposal = self.proposal(resources);
        self.follower.propose(proposal).await.unwrap();
    }

    /// Changes the installation's link with this key.
    pub(crate) async fn change_link(&mut self, key: &str, change: impl FnOnce(&mut Link)) {
        let mut link = self.follower.read().link_by_key(None, key).cloned().unwrap();
        change(&mut link);
        self.put(vec![link.into()]).await;
    }

    /// Changes the fixture's offer.
    pub(crate) async fn change_offer(&mut self, change: impl FnOnce(&mut Offer)) {
        let mut offer = self.follower.read().offer(FIRST_WORKSPACE, self.fixture.offer).cloned().unwrap();
        change(&mut offer);
        self.put(vec![offer.into()]).await;
    }

    /// An id of the first workspace.
    pub(crate) fn new_id<K: Kind>(&mut self) -> Id<K> {
        self.ids.next(NOW.unix_ms(), FIRST_WORKSPACE)
    }

    /// The last click of the log's first partition.
    pub(crate) async fn last_click(&self) -> Click {
        let event = self.events().await.pop().unwrap();
        let EventBody::Click(click) = event.body else { panic!("no click: {event:?}") };
        *click
    }

    /// Another workspace, as an operator makes it.
    pub(crate) async fn second_workspace(&mut self) -> Workspace {
        let first = self.follower.read().workspace(FIRST_WORKSPACE).cloned().unwrap();
        let number = WorkspaceNumber::new(FIRST_WORKSPACE.get() + 1).unwrap();
        let id = self.ids.next(NOW.unix_ms(), number);
        let partition = (first.partition + 1) % PARTITIONS;
        let second = Workspace { number, id, name: "Second".into(), partition, ..first };
        self.put(vec![Resource::Workspace(second.clone())]).await;
        second
    }

    /// Creates or replaces these in another workspace's catalog.
    pub(crate) async fn put_into(&mut self, workspace: WorkspaceNumber, resources: Vec<Resource>) {
        let proposal = Proposal { workspace, ..self.proposal(resources) };
        self.follower.propose(proposal).await.unwrap();
    }

    pub(crate) fn proposal(&mut self, resources: Vec<Resource>) -> Proposal {
        let changes = resources.into_iter().map(|resource| Change::Put { resource, expected: Expected::Any });
        Proposal {
            id: self.ids.next(NOW.unix_ms(), FIRST_WORKSPACE),
            workspace: FIRST_WORKSPACE,
            actor: Actor { kind: ActorKind::System, id: String::new() },
            request_id: String::new(),
            at: NOW,
            idempotency: None,
            changes: changes.collect(),
        }
    }

    /// Sends it, by a browser unless it says otherwise.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Answer {
        let peer = request.extensions_mut().remove::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(PEER, |ConnectInfo(peer)| peer);
        request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(BROWSER));
        let response = tokio::time::timeout(SOON, Arc::new(self.door.clone()).answer(request, peer)).await;
        answer(response.expect("the edge did not answer")).await
    }

    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.send(request("GET", uri).body(Body::empty()).unwrap()).await
    }

    /// A GET with these headers.
    pub(crate) async fn get_with(&self, uri: &str, headers: &[(&str, &str)]) -> Answer {
        let mut builder = request("GET", uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        self.send(builder.body(Body::empty()).unwrap()).await
    }

    /// A conversion as JSON, with this key.
    pub(crate) async fn report(&self, key: &str, body: impl Into<Body>) -> Answer {
        let builder = request("POST", "/api/v1/conversions")
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json");
        self.send(builder.body(body.into()).unwrap()).await
    }

    /// Every event on the log that somebody sent, by partition, in order.
    pub(crate) async fn events(&self) -> Vec<Event> {
        self.log_events().await.into_iter().filter(|event| event.body.is_delivery()).collect()
    }

    /// Every event on the log, by partition, in order.
    pub(crate) async fn log_events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for number in 0..PARTITIONS {
            let partition = Partition { topic: topic::EVENTS, number };
            let end = self.log.bounds(partition).await.unwrap().end;
            let mut subscription = self.log.subscribe(&[(partition, 0)]).await.unwrap();
            let mut read = 0;
            while read < end {
                let batch =
                    subscription.next(1_000, SOON).await.unwrap().expect("fewer records than the log says");
                read += batch.records.len() as u64;
                events.extend(batch.records.into_iter().map(|record| decode_event(record.payload).unwrap()));
            }
        }
        events
    }

    /// The only event on the log.
    pub(crate) async fn only_event(&self) -> Event {
        let mut events = self.events().await;
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    pub(crate) async fn only_click(&self) -> (Event, Click) {
        let event = self.only_event().await;
        let EventBody::Click(click) = event.body.clone() else { panic!("no click: {event:?}") };
        (event, *click)
    }

    pub(crate) async fn only_conversion(&self) -> Conversion {
        let event = self.only_event().await;
        let EventBody::Conversion(conversion) = event.body else { panic!("no conversion: {event:?}") };
        *conversion
    }

    /// The value of a metric's line.
    pub(crate) async fn metric(&self, line: &str) -> Option<f64> {
        let text = String::from_utf8(self.get("/metrics").await.body).unwrap();
        let found =
            text.lines().find_map(|other| other.strip_prefix(line)?.strip_prefix(' ').map(str::to_owned));
        found.map(|value| value.parse().unwrap())
    }

    /// Clicks that were redirected and, for this reason, not recorded.
    pub(crate) async fn unrecorded(&self, reason: &str) -> Option<f64> {
        self.metric(&format!("ingest_unrecorded_total{{reason=\"{reason}\",route=\"click\"}}")).await
    }
}

/// A POST of JSON with this key.
pub(crate) fn post_json(uri: &str, key: &str, body: &str) -> Request<Body> {
    let builder = request("POST", uri).header("x-api-key", key).header("content-type", "application/json");
    builder.body(Body::from(body.to_owned())).unwrap()
}

/// Seals and opens the secrets of signed sources in tests.
pub(crate) fn sealer() -> Sealer {
    Sealer::new(&[7; catalog::seal::KEY_BYTES])
}
