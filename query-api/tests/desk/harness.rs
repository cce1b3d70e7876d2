//! One desk on an engine, a log and a catalog of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use catalog::bootstrap::{Bootstrap, bootstrap};
use catalog::follower::FollowerSettings;
use catalog::{
    Actor, ActorKind, Change, Expected, Follower, IpStorage, Key, Meta, Partner, Privacy, Proposal, Resource,
    Scope, Workspace,
};
use catalog::{Environment, KeyKind};
use eventlog::embedded::EmbeddedLog;
use eventlog::{EventLog, TopicSpec};
use query_api::{Desk, Edge, Parts, QueryApiSettings};
use schemas::id::{Id, IdGenerator, Kind, PartnerId, WorkspaceId, WorkspaceNumber};
use schemas::money::Currency;
use schemas::time::Timestamp;
use schemas::topic;
use serde_json::Value;
use service::clock::ManualClock;
use service::lifecycle::{Shutdown, Tasks};
use tower::ServiceExt;
use warehouse::Sink;
use warehouse::embedded::{EmbeddedEngine, EmbeddedSettings};

/// 2026-11-20T13:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_795_179_600_000_000);
/// The version that the other crates pin.
const ENGINE: &str = ".cache/engine/26.7.3-stable.1/libchdb.so";
const ENGINE_MEMORY_BYTES: u64 = 1 << 30;
pub(crate) const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// More than any answer of these tests has.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// A desk with two workspaces on the same log partition.
pub(crate) struct Harness {
    pub(crate) router: Router,
    pub(crate) desk: Desk,
    pub(crate) sink: Sink,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) first: Tenant,
    pub(crate) second: Tenant,
    pub(crate) follower: Follower,
    /// What the rest of the process has to complain about.
    pub(crate) problems: Arc<Mutex<Vec<String>>>,
    engine: EmbeddedEngine,
    tasks: Tasks,
    pub(crate) log: Arc<dyn EventLog>,
    ids: IdGenerator,
    _dir: tempfile::TempDir,
}

/// A workspace, its keys and its partners.
#[derive(Clone)]
pub(crate) struct Tenant {
    pub(crate) number: WorkspaceNumber,
    pub(crate) id: WorkspaceId,
    pub(crate) admin: String,
    pub(crate) partners: Vec<PartnerId>,
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body, which must be JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    /// The body of a 200.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.json()
    }

    /// The error's code and field, after a check that it has the contract's shape.
    pub(crate) fn refused(self) -> (u16, String, Option<String>) {
        let body = self.json();
        let request_id = self.headers["x-request-id"].to_str().unwrap();
        assert_eq!(body["request_id"], request_id, "{body}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
        let code = body["error"].as_str().unwrap().to_owned();
        (self.status.as_u16(), code, body["field"].as_str().map(str::to_owned))
    }
}

fn library() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = root.ancestors().map(|dir| dir.join(ENGINE)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("no engine library: {ENGINE} is missing, fetch it with deploy/engine/fetch.sh")
    })
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::start_with(QueryApiSettings::default()).await
    }

    pub(crate) async fn start_with(settings: QueryApiSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut engine_settings =
            EmbeddedSettings::new(library(), dir.path().join("engine"), ENGINE_MEMORY_BYTES);
        engine_settings.program = Some(env!("CARGO_BIN_EXE_query-api-engine").into());
        let engine = EmbeddedEngine::start(engine_settings).await.unwrap();
        let migrations: Vec<_> = schemas::table::MIGRATIONS.iter().map(Into::into).collect();
        warehouse::migrate(&engine.endpoint(), &migrations).await.unwrap();
        let (sink, reader) = warehouse::connect(&engine.endpoint());

        let log_settings = eventlog::embedded::EmbeddedSettings::new(Arc::new(|| NOW));
        let log: Arc<dyn EventLog> =
            Arc::new(EmbeddedLog::open(&dir.path().join("log"), log_settings).unwrap());
        let topics = [topic::EVENTS, topic::RESULTS].map(|name| TopicSpec { name, partitions: 1 });
        log.ensure_topics(&topics).await.unwrap();
        let follower = Follower::start(Arc::clone(&log), FollowerSettings::default()).await.unwrap();
        let admin = bootstrap(&follower, first_start()).await.unwrap().unwrap();
        let number = WorkspaceNumber::new(1).unwrap();
        let id = follower.read().workspace(number).unwrap().id;
        let clock = ManualClock::at(NOW.micros());
        let problems = Arc::new(Mutex::new(Vec::new()));
        let tasks = Tasks::new(Shutdown::new());
        let found = Arc::clone(&problems);
        let desk = Desk::new(Parts {
            settings,
            catalog: follower.clone(),
            sealer: catalog::seal::Sealer::new(&[7; catalog::seal::KEY_BYTES]),
            log: Arc::clone(&log),
            tasks: tasks.clone(),
            warehouse: reader,
            clock: clock.clone(),
            registry: prometheus::Registry::new(),
            problems: Arc::new(move || found.lock().unwrap().clone()),
            seed: 42,
        })
        .unwrap();
        let first = Tenant { number, id, admin, partners: Vec::new() };
        let mut harness = Self {
            router: query_api::router(desk.clone(), Edge::Elsewhere),
            desk,
            sink,
            clock,
            second: first.clone(),
            first,
            follower,
            problems,
            engine,
            tasks,
            log,
            ids: IdGenerator::new(7),
            _dir: dir,
        };
        harness.first.partners = harness.add_partners(number, &["Anna", "Ben", "Cleo"]).await;
        harness.second = harness.add_workspace(2).await;
        harness
    }

    /// Where the tables of the first generation are.
    pub(crate) fn endpoint(&self) -> warehouse::Endpoint {
        self.engine.endpoint()
    }

    /// A new id for a thing of this workspace, made at this instant.
    pub(crate) fn id<K: Kind>(&mut self, at: Timestamp, workspace: WorkspaceNumber) -> Id<K> {
        self.ids.next(at.unix_ms(), workspace)
    }

    /// Puts resources into the catalog.
    pub(crate) async fn put(&mut self, workspace: WorkspaceNumber, resources: Vec<Resource>) {
        let changes = resources.into_iter().map(|resource| Change::Put { resource, expected: Expected::New });
        let proposal = Proposal {
            id: self.id(NOW, workspace),
            workspace,
            actor: Actor { kind: ActorKind::System, id: String::new() },
            request_id: String::new(),
            at: NOW,
            idempotency: None,
            changes: changes.collect(),
        };
        self.follower.propose(proposal).await.unwrap();
    }

    async fn add_partners(&mut self, workspace: WorkspaceNumber, names: &[&str]) -> Vec<PartnerId> {
        let mut partners = Vec::new();
        for name in names {
            let id = self.id(NOW, workspace);
            let slug = Some(name.to_lowercase());
            let partner = Partner {
                id,
                workspace,
                name: (*name).to_owned(),
                slug,
                email: None,
                coupons: Vec::new(),
                payouts: Vec::new(),
                meta: Meta::new(NOW),
            };
            self.put(workspace, vec![Resource::Partner(partner)]).await;
            partners.push(id);
        }
        partners
    }

    async fn add_workspace(&mut self, number: u32) -> Tenant {
        let number = WorkspaceNumber::new(number).unwrap();
        let id = self.id(NOW, number);
        let workspace = Workspace {
            number,
            id,
            name: "Rival".to_owned(),
            currency: Currency::from_code("EUR").unwrap(),
            timezone: "Europe/Berlin".to_owned(),
            fallback_url: None,
            partition: 0,
            attribution: catalog::Attribution::default(),
            ip_storage: IpStorage::default(),
            privacy: Privacy::default(),
            meta: Meta::new(NOW),
        };
        self.put(number, vec![Resource::Workspace(workspace)]).await;
        let admin = self.add_key(number, &[Scope::Admin], KeyKind::Secret).await;
        let partners = self.add_partners(number, &["Rita"]).await;
        Tenant { number, id, admin, partners }
    }

    /// A new key with these scopes; answers with its secret.
    pub(crate) async fn add_key(
        &mut self,
        workspace: WorkspaceNumber,
        scopes: &[Scope],
        kind: KeyKind,
    ) -> String {
        let id = self.id(NOW, workspace);
        let mut random = [9; 32];
        random[..16].copy_from_slice(id.bytes());
        let secret = catalog::key::new_secret(kind, Environment::Live, random);
        let key = Key {
            id,
            workspace,
            name: "made by a test".to_owned(),
            sha256: catalog::key::hash_secret(&secret),
            previous: None,
            scopes: scopes.to_vec(),
            environment: Environment::Live,
            kind,
            allowed_origins: Vec::new(),
            expires_at: None,
            revoked_at: None,
            meta: Meta::new(NOW),
        };
        self.put(workspace, vec![Resource::Key(key)]).await;
        secret
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        self.send_owned(request).await
    }

    /// The same, to be waited for while something else happens.
    pub(crate) fn send_owned(&self, request: Request<Body>) -> impl Future<Output = Answer> + use<> {
        let router = self.router.clone();
        async move {
            let response: Response<Body> = router.oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let bytes = axum::body::to_bytes(body, MAX_ANSWER_BYTES).await.unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            Answer { status: parts.status, headers: parts.headers, text }
        }
    }

    /// A GET with the first workspace's admin key.
    pub(crate) async fn get(&self, address: &str) -> Answer {
        self.get_with(&self.first.admin, address).await
    }

    pub(crate) async fn get_with(&self, key: &str, address: &str) -> Answer {
        let request = Request::get(address).header("authorization", format!("Bearer {key}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn stop(self) {
        self.tasks.shutdown().trigger();
        self.tasks.join_all(STOP_DEADLINE).await.unwrap();
        self.follower.shutdown().await;
        self.log.close(STOP_DEADLINE).await;
        self.engine.stop(STOP_DEADLINE).await;
    }

    /// Stops the engine alone.
    pub(crate) async fn without_engine(self) -> (Router, Tenant) {
        let Self { router, first, engine, .. } = self;
        engine.stop(STOP_DEADLINE).await;
        (router, first)
    }
}

fn first_start() -> Bootstrap {
    Bootstrap {
        events_partitions: 1,
        workspace_name: "Shoes".to_owned(),
        currency: Currency::USD,
        timezone: "America/New_York".to_owned(),
        now: NOW,
        seed: [3; 32],
    }
}
