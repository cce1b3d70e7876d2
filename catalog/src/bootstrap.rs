//! The first start of an installation: its first workspace and the key to it.

use schemas::id::{IdGenerator, WorkspaceNumber};
use schemas::money::Currency;
use schemas::time::Timestamp;

use crate::error::ProposeError;
use crate::fold::Rejected;
use crate::follower::Follower;
use crate::key::{hash_secret, new_secret};
use crate::proposal::{Actor, ActorKind, Change, Expected, Proposal};
use crate::resource::{
    Attribution, Environment, Installation, IpStorage, Key, KeyKind, Meta, Privacy, Resource, Scope,
    Workspace,
};

/// The number of the first workspace; 0 is nobody's.
pub const FIRST_WORKSPACE: WorkspaceNumber = match WorkspaceNumber::new(1) {
    Some(number) => number,
    // One is below the limit; without this arm the constant could not be written.
    None => unreachable!(),
};

/// What the first start needs.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// How many partitions `events` and `facts` have.
    pub events_partitions: u32,
    /// The name of the first workspace.
    pub workspace_name: String,
    /// Its currency.
    pub currency: Currency,
    /// Its IANA time zone.
    pub timezone: String,
    /// The time now.
    pub now: Timestamp,
    /// The operating system's randomness: the admin key is made from it.
    pub seed: [u8; 32],
}

/// Creates the installation, its first workspace and that one's admin key, and answers with the key's secret, which is
/// shown this once; `None` if there is an installation already.
///
/// # Errors
/// [`ProposeError`] if the log does not take the record.
pub async fn bootstrap(follower: &Follower, bootstrap: Bootstrap) -> Result<Option<String>, ProposeError> {
    if follower.read().installation().is_some() {
        return Ok(None);
    }
    let (proposal, secret) = first_proposal(bootstrap);
    match follower.propose(proposal).await {
        Ok(_) => Ok(Some(secret)),
        // Another node was faster.
        Err(ProposeError::Rejected(Rejected::Exists { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The admin key's secret that [`bootstrap`] makes from a seed: a caller that keeps the seed until it has written the key
/// down cannot lose it to a crash.
pub fn admin_secret(seed: [u8; 32]) -> String {
    new_secret(KeyKind::Secret, Environment::Live, seed)
}

fn first_proposal(bootstrap: Bootstrap) -> (Proposal, String) {
    let Bootstrap { events_partitions, workspace_name, currency, timezone, now, seed } = bootstrap;
    // Ids are no secrets, and say nothing of the half of the seed that they grow from. The secret uses the whole of it.
    let mut ids = IdGenerator::new(u128::from_le_bytes(std::array::from_fn(|at| seed[at])));
    let secret = admin_secret(seed);
    let workspace = Workspace {
        number: FIRST_WORKSPACE,
        id: ids.next(now.unix_ms(), FIRST_WORKSPACE),
        name: workspace_name,
        currency,
        timezone,
        fallback_url: None,
        partition: 0,
        attribution: Attribution::default(),
        ip_storage: IpStorage::default(),
        privacy: Privacy::default(),
        meta: Meta::new(now),
    };
    let key = Key {
        id: ids.next(now.unix_ms(), FIRST_WORKSPACE),
        workspace: FIRST_WORKSPACE,
        name: "admin".to_owned(),
        sha256: hash_secret(&secret),
        previous: None,
        scopes: vec![Scope::Admin, Scope::Operator],
        environment: Environment::Live,
        kind: KeyKind::Secret,
        allowed_origins: Vec::new(),
        expires_at: None,
        revoked_at: None,
        meta: Meta::new(now),
    };
    let resources = [
        Resource::Installation(Installation { events_partitions }),
        Resource::Workspace(workspace),
        Resource::Key(key),
    ];
    let proposal = Proposal {
        id: ids.next(now.unix_ms(), FIRST_WORKSPACE),
        workspace: FIRST_WORKSPACE,
        actor: Actor { kind: ActorKind::System, id: String::new() },
        request_id: String::new(),
        at: now,
        idempotency: None,
        changes: resources.map(|resource| Change::Put { resource, expected: Expected::New }).into(),
    };
    (proposal, secret)
}
