use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use eventlog::embedded::{EmbeddedLog, EmbeddedSettings};
use schemas::id::{Id, IdGenerator, WorkspaceNumber};
use schemas::money::Currency;
use schemas::time::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::bootstrap::{Bootstrap, FIRST_WORKSPACE, bootstrap};
use crate::proposal::{Actor, ActorKind, Expected, Idempotency};
use crate::resource::{Meta, Partner, Resource, Scope};

mod from_copy;

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);
const LIMIT: Duration = Duration::from_secs(10);

fn open(dir: &Path) -> Arc<dyn EventLog> {
    let settings = EmbeddedSettings::new(Arc::new(|| NOW));
    Arc::new(EmbeddedLog::open(dir, settings).unwrap())
}

async fn start(log: &Arc<dyn EventLog>) -> Follower {
    Follower::start(Arc::clone(log), FollowerSettings::default()).await.unwrap()
}

/// A log with an installation in it, and its first follower.
async fn installed() -> (TempDir, Arc<dyn EventLog>, Follower) {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let follower = start(&log).await;
    bootstrap(&follower, first()).await.unwrap().unwrap();
    (dir, log, follower)
}

fn first() -> Bootstrap {
    Bootstrap {
        events_partitions: 4,
        workspace_name: "Main".into(),
        currency: Currency::USD,
        timezone: "Europe/Berlin".into(),
        now: NOW,
        seed: [7; 32],
    }
}

/// Proposals of one node; every node has its own seed.
struct Proposer(IdGenerator);

impl Proposer {
    fn partner(&mut self, slug: &str) -> Proposal {
        let partner = Partner {
            id: self.0.next(NOW.unix_ms(), FIRST_WORKSPACE),
            workspace: FIRST_WORKSPACE,
            name: "Anna".into(),
            slug: Some(slug.into()),
            email: None,
            coupons: Vec::new(),
            payouts: Vec::new(),
            meta: Meta::new(NOW),
        };
        Proposal {
            id: self.0.next(NOW.unix_ms(), FIRST_WORKSPACE),
            workspace: FIRST_WORKSPACE,
            actor: Actor { kind: ActorKind::Key, id: "key_1".into() },
            request_id: "req_1".into(),
            at: NOW,
            idempotency: None,
            changes: vec![Change::Put { resource: partner.into(), expected: Expected::New }],
        }
    }
}

async fn end_of(log: &Arc<dyn EventLog>) -> u64 {
    log.bounds(PARTITION).await.unwrap().end
}

/// The embedded log, with a count of the looks for its end and a number of failures before it can be reached.
struct Unsteady {
    log: Arc<dyn EventLog>,
    looks: AtomicUsize,
    failures: AtomicUsize,
    is_away: AtomicBool,
    /// Who holds it for writing keeps the log from telling its end.
    gate: tokio::sync::RwLock<()>,
    /// Who holds it for writing keeps the log from answering the first question of a start from a copy.
    silence: tokio::sync::RwLock<()>,
}

impl Unsteady {
    fn new(log: Arc<dyn EventLog>, failures: usize, is_away: bool) -> Arc<Self> {
        let (failures, is_away) = (AtomicUsize::new(failures), AtomicBool::new(is_away));
        Arc::new(Self {
            log,
            looks: AtomicUsize::new(0),
            failures,
            is_away,
            gate: tokio::sync::RwLock::default(),
            silence: tokio::sync::RwLock::default(),
        })
    }

    fn there(&self) -> Result<(), eventlog::Error> {
        let is_away = self.is_away.load(Ordering::SeqCst);
        if is_away { Err(eventlog::Error::Unavailable("away".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl EventLog for Unsteady {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), eventlog::Error> {
        let left = self.failures.load(Ordering::SeqCst);
        if left > 0 {
            self.failures.store(left - 1, Ordering::SeqCst);
            return Err(eventlog::Error::Unavailable("not yet".into()));
        }
        self.log.ensure_topics(topics).await
    }

    async fn partitions(&self, topic: &'static str) -> Result<Option<u32>, eventlog::Error> {
        let _open = self.silence.read().await;
        self.there()?;
        self.log.partitions(topic).await
    }

    fn producer(&self, usage: ProducerUse) -> Result<Box<dyn Producer>, eventlog::Error> {
        self.log.producer(usage)
    }

    async fn subscribe(
        &self,
        from: &[(Partition, eventlog::Position)],
    ) -> Result<Box<dyn eventlog::Subscription>, eventlog::Error> {
        self.log.subscribe(from).await
    }

    async fn bounds(&self, partition: Partition) -> Result<eventlog::Bounds, eventlog::Error> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        let _open = self.gate.read().await;
        self.there()?;
        self.log.bounds(partition).await
    }

    async fn delete_below(
        &self,
        partition: Partition,
        position: eventlog::Position,
    ) -> Result<(), eventlog::Error> {
        self.log.delete_below(partition, position).await
    }

    async fn close(&self, deadline: Duration) {
        self.log.close(deadline).await;
    }
}

#[tokio::test]
async fn a_log_that_is_not_there_yet_is_waited_for_and_looked_at_sparingly() {
    let (_dir, log, first) = installed().await;
    let unsteady = Unsteady::new(log, 2, false);
    let follower = start(&(Arc::clone(&unsteady) as Arc<dyn EventLog>)).await;
    assert_eq!(follower.revision(), first.revision());
    assert_eq!(unsteady.failures.load(Ordering::SeqCst), 0);

    let before = unsteady.looks.load(Ordering::SeqCst);
    // A hundred requests with unknown link keys at once.
    let mut misses = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let follower = follower.clone();
        misses.spawn(async move { follower.catch_up(LIMIT).await.map(|reached| reached.number) });
    }
    while let Some(reached) = misses.join_next().await {
        assert_eq!(reached.unwrap().unwrap(), first.revision().number);
    }
    // Whoever came before a look began shares it. How many looks that makes depends on the scheduler, so the bound is wide.
    let looks = unsteady.looks.load(Ordering::SeqCst) - before;
    assert!((1..=10).contains(&looks), "{looks} looks");
}

#[tokio::test]
async fn a_caller_that_leaves_spoils_no_look_for_the_others() {
    let (_dir, log, first) = installed().await;
    let unsteady = Unsteady::new(log, 0, false);
    let follower = start(&(Arc::clone(&unsteady) as Arc<dyn EventLog>)).await;
    let slow = unsteady.gate.write().await;
    let impatient = follower.catch_up(Duration::from_millis(20)).await;
    assert!(matches!(impatient, Err(FollowError::Timeout)), "{impatient:?}");
    drop(slow);
    first.propose(Proposer(IdGenerator::new(1)).partner("anna")).await.unwrap();
    let reached = follower.catch_up(LIMIT).await.unwrap();
    assert_eq!(reached, first.revision());
}

#[tokio::test]
async fn the_first_start_alone_makes_an_installation() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let (one, other) = (start(&log).await, start(&log).await);
    let secret = bootstrap(&one, first()).await.unwrap().unwrap();
    // The other node may not have folded it yet: then the log refuses it.
    assert_eq!(bootstrap(&other, Bootstrap { seed: [8; 32], ..first() }).await.unwrap(), None);
    let catalog = one.read();
    assert_eq!(catalog.installation().unwrap().events_partitions, 4);
    assert_eq!(catalog.workspace(FIRST_WORKSPACE).unwrap().timezone, "Europe/Berlin");
    let key = catalog.key_by_secret(&secret, NOW).unwrap();
    assert_eq!(key.scopes, [Scope::Admin, Scope::Operator]);
    assert_eq!(catalog.keys(FIRST_WORKSPACE).count(), 1);
}

#[tokio::test]
async fn two_nodes_cannot_take_one_slug() {
    let (_dir, log, one) = installed().await;
    let other = start(&log).await;
    let (mut ids, mut other_ids) = (Proposer(IdGenerator::new(1)), Proposer(IdGenerator::new(2)));
    for round in 0..20 {
        let slug = format!("anna{round}");
        let verdicts = tokio::join!(one.propose(ids.partner(&slug)), other.propose(other_ids.partner(&slug)));
        let winner = match verdicts {
            (Ok(accepted), Err(ProposeError::Rejected(Rejected::Exists { field: "slug", .. })))
            | (Err(ProposeError::Rejected(Rejected::Exists { field: "slug", .. })), Ok(accepted)) => accepted,
            verdicts => panic!("round {round}: {verdicts:?}"),
        };
        for node in [&one, &other] {
            node.catch_up(LIMIT).await.unwrap();
            let found = node.read().partner_by_slug(FIRST_WORKSPACE, &slug).cloned().map(Resource::Partner);
            assert_eq!(winner.resources, [found.unwrap()]);
        }
    }
    assert_eq!(one.revision(), other.revision());
    assert_eq!(one.revision().number, end_of(&log).await);
}

#[tokio::test]
async fn an_idempotency_key_holds_on_every_node() {
    let (_dir, log, one) = installed().await;
    let other = start(&log).await;
    let (mut ids, mut other_ids) = (Proposer(IdGenerator::new(1)), Proposer(IdGenerator::new(2)));
    let with_key = |mut proposal: Proposal, payload| {
        proposal.idempotency = Some(Idempotency { key: "k".into(), payload_sha256: [payload; 32] });
        proposal
    };
    let first = one.propose(with_key(ids.partner("anna"), 1)).await.unwrap();
    let again = other.propose(with_key(other_ids.partner("anna"), 1)).await.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.resources, again.resources);
    let conflict = other.propose(with_key(other_ids.partner("bert"), 2)).await;
    assert!(matches!(conflict, Err(ProposeError::Rejected(Rejected::IdempotencyConflict))), "{conflict:?}");
}

#[tokio::test]
async fn catching_up_shows_what_another_node_wrote_before() {
    let (_dir, log, one) = installed().await;
    let other = start(&log).await;
    let mut ids = Proposer(IdGenerator::new(1));
    for round in 0..10 {
        let accepted = one.propose(ids.partner(&format!("anna{round}"))).await.unwrap();
        let misses = (0..8).map(|_| {
            let other = other.clone();
            async move { other.catch_up(LIMIT).await.unwrap() }
        });
        // They share looks, and each of them sees what was there when it came.
        let mut tasks = tokio::task::JoinSet::new();
        misses.for_each(|miss| drop(tasks.spawn(miss)));
        while let Some(reached) = tasks.join_next().await {
            assert!(reached.unwrap().number >= accepted.revision.number);
        }
        assert!(other.read().partner_by_slug(FIRST_WORKSPACE, &format!("anna{round}")).is_some());
    }
}

#[tokio::test]
async fn a_restart_folds_the_same_catalog() {
    let (dir, log, follower) = installed().await;
    let mut ids = Proposer(IdGenerator::new(1));
    for round in 0..5 {
        follower.propose(ids.partner(&format!("anna{round}"))).await.unwrap();
    }
    let before = follower.read().clone();
    follower.shutdown().await;
    let stopped = follower.propose(ids.partner("late")).await;
    assert!(matches!(stopped, Err(ProposeError::Halted(_))), "{stopped:?}");
    drop(follower);
    log.close(LIMIT).await;
    drop(log);
    let again = start(&open(dir.path())).await;
    assert_eq!(*again.read(), before);
}

#[tokio::test]
async fn a_proposal_with_faults_is_not_appended() {
    let (_dir, log, follower) = installed().await;
    let before = end_of(&log).await;
    let invalid = follower.propose(Proposer(IdGenerator::new(1)).partner("a slug")).await;
    match invalid {
        Err(ProposeError::Invalid(faults)) => assert_eq!(faults[0].field, "slug"),
        other => panic!("{other:?}"),
    }
    let mut beyond_time = Proposer(IdGenerator::new(1)).partner("anna");
    if let [Change::Put { resource: Resource::Partner(partner), .. }] = beyond_time.changes.as_mut_slice() {
        partner.meta.created_at = Timestamp::from_micros(i64::MAX);
    }
    let unwritable = follower.propose(beyond_time).await;
    assert!(matches!(unwritable, Err(ProposeError::Unwritable(_))), "{unwritable:?}");
    assert_eq!(end_of(&log).await, before);
}

#[tokio::test]
async fn a_record_of_another_build_halts_the_follower_and_its_start() {
    let (_dir, log, follower) = installed().await;
    let revision = follower.revision();
    let usage = ProducerUse { name: "test", deadline: LIMIT, max_pending_bytes: MAX_PENDING_BYTES };
    let record = NewRecord { key: Bytes::new(), payload: Bytes::from_static(b"\x08\x63") };
    let answers = log.producer(usage).unwrap().append(PARTITION, vec![record]).await;
    assert_eq!(answers, [Ok(revision.number)]);
    let caught_up = follower.catch_up(LIMIT).await;
    assert!(matches!(caught_up, Err(FollowError::Catalog(_))), "{caught_up:?}");
    assert!(matches!(follower.status().halted.as_deref(), Some(FollowError::Catalog(_))));
    assert_eq!(follower.revision(), revision, "a halted copy still answers");
    let proposed = follower.propose(Proposer(IdGenerator::new(1)).partner("anna")).await;
    assert!(matches!(proposed, Err(ProposeError::Halted(_))), "{proposed:?}");
    let started = Follower::start(log, FollowerSettings::default()).await;
    assert!(matches!(started, Err(FollowError::Catalog(_))));
}

#[test]
fn the_first_workspace_has_the_number_one() {
    assert_eq!(Some(FIRST_WORKSPACE), WorkspaceNumber::new(1));
    let id: Id<schemas::id::PartnerKind> = IdGenerator::new(1).next(0, FIRST_WORKSPACE);
    assert_eq!(id.workspace(), FIRST_WORKSPACE);
}
