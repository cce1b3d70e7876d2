use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use schemas::money::Currency;

use super::*;
use crate::proposal::{Actor, ActorKind, Expected};
use crate::resource::*;

mod domains;
mod laws;
mod payouts;
mod projections;
mod rates;

const DAY: i64 = 24 * 60 * 60 * 1_000_000;

fn workspace_number(number: u32) -> WorkspaceNumber {
    WorkspaceNumber::new(number).unwrap()
}

fn id<K: schemas::id::Kind>(number: u8) -> Id<K> {
    let mut bytes = [0; 16];
    bytes[15] = number;
    Id::from_bytes(bytes)
}

fn meta() -> Meta {
    Meta::new(Timestamp::from_micros(0))
}

fn workspace(number: u32) -> Resource {
    Resource::Workspace(Workspace {
        number: workspace_number(number),
        id: id(number as u8),
        name: "W".into(),
        currency: Currency::USD,
        timezone: "UTC".into(),
        fallback_url: None,
        partition: 0,
        attribution: Attribution::default(),
        ip_storage: IpStorage::default(),
        privacy: Privacy::default(),
        meta: meta(),
    })
}

fn offer(workspace: u32, number: u8) -> Offer {
    Offer {
        id: id(number),
        workspace: workspace_number(workspace),
        name: "Shoes".into(),
        destination_url: "https://shop.example/?c={click_id}".into(),
        currency: Currency::USD,
        click_id_param: DEFAULT_CLICK_ID_PARAM.into(),
        fallback_url: None,
        click_lookback_micros: None,
        view_lookback_micros: None,
        goals: vec![Goal { payout: Payout::Percent("10".parse_percent()), ..Goal::new("sale".into()) }],
        allowed_hosts: Vec::new(),
        caps: Vec::new(),
        meta: meta(),
    }
}

trait ParsePercent {
    fn parse_percent(&self) -> schemas::money::Percent;
}

impl ParsePercent for str {
    fn parse_percent(&self) -> schemas::money::Percent {
        schemas::money::Percent::parse(self).unwrap()
    }
}

fn partner(workspace: u32, number: u8, slug: Option<&str>) -> Partner {
    Partner {
        id: id(number),
        workspace: workspace_number(workspace),
        name: "Anna".into(),
        slug: slug.map(str::to_owned),
        coupons: Vec::new(),
        email: None,
        payouts: Vec::new(),
        meta: meta(),
    }
}

fn link(workspace: u32, number: u8, key: &str, offer: u8, partner: Option<u8>) -> Link {
    Link {
        id: id(number),
        workspace: workspace_number(workspace),
        key: key.into(),
        offer: id(offer),
        partner: partner.map(id),
        creative: None,
        destination_url: None,
        redirect_status: DEFAULT_REDIRECT_STATUS,
        fallback_url: None,
        expires_at: None,
        domain: None,
        rules: Vec::new(),
        caps: Vec::new(),
        meta: meta(),
    }
}

fn pixel(workspace: u32, number: u8, offer: u8) -> Pixel {
    Pixel {
        id: id(number),
        workspace: workspace_number(workspace),
        offer: id(offer),
        goal: None,
        allowed_origins: Vec::new(),
        meta: meta(),
    }
}

fn domain(workspace: u32, number: u8, hostname: &str) -> Domain {
    Domain {
        id: id(number),
        workspace: workspace_number(workspace),
        hostname: hostname.into(),
        role: DomainRole::Tracking,
        fallback_url: None,
        meta: meta(),
    }
}

fn key(workspace: u32, number: u8, secret: &str) -> Key {
    Key {
        id: id(number),
        workspace: workspace_number(workspace),
        name: "k".into(),
        sha256: hash_secret(secret),
        previous: None,
        scopes: vec![Scope::Read],
        environment: Environment::Live,
        kind: KeyKind::Secret,
        allowed_origins: vec![],
        expires_at: None,
        revoked_at: None,
        meta: meta(),
    }
}

fn put(resource: impl Into<Resource>, expected: Expected) -> Change {
    Change::Put { resource: resource.into(), expected }
}

fn proposal(at: i64, changes: Vec<Change>) -> Proposal {
    Proposal {
        id: id(9),
        workspace: workspace_number(1),
        actor: Actor { kind: ActorKind::Key, id: "key_1".into() },
        request_id: "req_1".into(),
        at: Timestamp::from_micros(at),
        idempotency: None,
        changes,
    }
}

fn fold(catalog: &mut Catalog, proposal: &Proposal) -> Result<Accepted, Rejected> {
    let payload = record::encode(proposal).unwrap();
    catalog.fold(&record_at(catalog.revision().number, payload)).unwrap().verdict
}

fn record_at(position: u64, payload: Bytes) -> eventlog::Record {
    eventlog::Record { position, log_time: Timestamp::default(), key: Bytes::new(), payload }
}

fn first_records() -> Proposal {
    let installation = Resource::Installation(Installation { events_partitions: 1 });
    let resources = [installation, workspace(1), workspace(2)];
    proposal(1, resources.map(|resource| put(resource, Expected::New)).into())
}

/// Two workspaces; in the first the offer 1 and the partner 1.
fn catalog() -> Catalog {
    let mut catalog = Catalog::new();
    fold(&mut catalog, &first_records()).unwrap();
    let changes = vec![put(offer(1, 1), Expected::New), put(partner(1, 1, Some("anna")), Expected::New)];
    fold(&mut catalog, &proposal(2, changes)).unwrap();
    catalog
}

fn try_one(catalog: &mut Catalog, change: Change) -> Result<Accepted, Rejected> {
    fold(catalog, &proposal(10, vec![change]))
}

#[test]
fn version_and_times_are_set_by_the_fold() {
    let mut catalog = catalog();
    let mut changed = offer(1, 1);
    changed.meta.version = 77;
    changed.meta.created_at = Timestamp::from_micros(5);
    let accepted = try_one(&mut catalog, put(changed, Expected::Version(1))).unwrap();
    assert_eq!(accepted.revision, catalog.revision());
    let stored = catalog.offer(workspace_number(1), id(1)).unwrap();
    assert_eq!(accepted.resources, [Resource::Offer(stored.clone())]);
    assert_eq!(stored.meta.version, 2);
    let times = (stored.meta.created_at.micros(), stored.meta.updated_at.micros());
    assert_eq!(times, (2, 10));
}

#[test]
fn of_two_proposals_for_one_link_key_one_is_accepted() {
    let mut catalog = catalog();
    let before = try_one(&mut catalog, put(link(1, 1, "anna", 1, Some(1)), Expected::New));
    assert!(before.is_ok());
    let second = try_one(&mut catalog, put(link(1, 2, "anna", 1, None), Expected::New));
    let taken = Rejected::Exists {
        kind: ResourceKind::Link,
        field: "key",
        id: id::<schemas::id::LinkKind>(1).to_string(),
    };
    assert_eq!(second, Err(taken));
    assert_eq!(catalog.link_by_key(None, "anna").unwrap().id, id(1));
    assert_eq!(catalog.links(workspace_number(1)).count(), 1);
    // Of a foreign link not even the id is told.
    let changes = vec![put(offer(2, 2), Expected::New), put(link(2, 3, "anna", 2, None), Expected::New)];
    let foreign = fold(&mut catalog, &proposal(11, changes));
    assert_eq!(foreign, Err(Rejected::Exists { kind: ResourceKind::Link, field: "key", id: String::new() }));
    assert_eq!(catalog.offer(workspace_number(2), id(2)), None, "the offer of a rejected proposal stayed");
}

#[test]
fn what_needs_the_catalog_is_judged_by_the_fold() {
    let unknown = |field| Err(Rejected::UnknownReference { field });
    let mut archived = catalog();
    let mut gone = offer(1, 1);
    gone.meta.archived = true;
    try_one(&mut archived, put(link(1, 1, "old", 1, None), Expected::New)).unwrap();
    try_one(&mut archived, put(gone, Expected::Any)).unwrap();
    assert_eq!(try_one(&mut archived, put(link(1, 2, "new", 1, None), Expected::New)), unknown("offer"));
    let old = try_one(&mut archived, put(link(1, 1, "old2", 1, None), Expected::Version(1)));
    assert!(old.is_ok(), "an old reference outlives its target's archiving");

    let mut catalog = catalog();
    let mut check = |change: Change, verdict: Result<(), Rejected>| {
        assert_eq!(try_one(&mut catalog, change).map(drop), verdict);
    };
    check(put(link(1, 1, "a", 7, None), Expected::New), unknown("offer").map(drop));
    check(put(link(1, 1, "a", 1, Some(7)), Expected::New), unknown("partner").map(drop));
    check(put(link(2, 1, "a", 1, None), Expected::New), unknown("offer").map(drop));
    check(put(offer(3, 4), Expected::New), unknown("workspace").map(drop));
    let missing =
        Rejected::NotFound { kind: ResourceKind::Offer, id: id::<schemas::id::OfferKind>(4).to_string() };
    check(put(offer(1, 4), Expected::Version(1)), Err(missing));
    let stolen =
        Rejected::NotFound { kind: ResourceKind::Offer, id: id::<schemas::id::OfferKind>(1).to_string() };
    check(put(offer(2, 1), Expected::Any), Err(stolen));
    check(put(offer(1, 1), Expected::Version(2)), Err(Rejected::VersionConflict { current: 1 }));
    let slug = Rejected::Exists {
        kind: ResourceKind::Partner,
        field: "slug",
        id: id::<schemas::id::PartnerKind>(1).to_string(),
    };
    check(put(partner(1, 2, Some("anna")), Expected::New), Err(slug));
    check(put(partner(2, 2, Some("anna")), Expected::New), Ok(()));
    let coupons = |workspace, number, coupon: &str| Partner {
        coupons: vec![coupon.to_owned()],
        ..partner(workspace, number, None)
    };
    check(put(coupons(1, 3, "ANNA10"), Expected::New), Ok(()));
    let coupon = Rejected::Exists {
        kind: ResourceKind::Partner,
        field: "coupons",
        id: id::<schemas::id::PartnerKind>(3).to_string(),
    };
    check(put(coupons(1, 4, "anna10"), Expected::New), Err(coupon));
    check(put(coupons(2, 4, "anna10"), Expected::New), Ok(()));
    let mut moved = workspace(1);
    if let Resource::Workspace(workspace) = &mut moved {
        workspace.currency = Currency::from_code("EUR").unwrap();
    }
    check(put(moved, Expected::Any), Err(Rejected::Immutable { field: "currency" }));
}

#[test]
fn an_idempotency_key_holds_for_a_day() {
    let mut catalog = catalog();
    let with_key = |at, number, payload| {
        let mut proposal = proposal(at, vec![put(offer(1, number), Expected::New)]);
        proposal.idempotency = Some(Idempotency { key: "k".into(), payload_sha256: [payload; 32] });
        proposal
    };
    let first = fold(&mut catalog, &with_key(10, 2, 1)).unwrap();
    assert!(!first.replayed);
    // The desk gave the repetition a new id; the answer is the first one's, whatever has changed since.
    try_one(&mut catalog, put(offer(1, 2), Expected::Version(1))).unwrap();
    let again = fold(&mut catalog, &with_key(11, 3, 1)).unwrap();
    assert_eq!(again, Accepted { replayed: true, ..first });
    assert_eq!(catalog.offer(workspace_number(1), id(3)), None);
    assert_eq!(fold(&mut catalog, &with_key(12, 3, 2)), Err(Rejected::IdempotencyConflict));
    let mut elsewhere = with_key(12, 5, 2);
    elsewhere.workspace = workspace_number(2);
    assert!(!fold(&mut catalog, &elsewhere).unwrap().replayed, "the key is another one in another workspace");
    assert!(!fold(&mut catalog, &with_key(10 + DAY, 4, 2)).unwrap().replayed);
    assert!(fold(&mut catalog, &with_key(11 + DAY, 4, 2)).unwrap().replayed);
}

#[test]
fn a_key_is_found_by_its_secret_while_it_is_good() {
    let mut catalog = catalog();
    let now = Timestamp::from_micros;
    let mut rotated = key(1, 1, "new");
    rotated.previous = Some(PreviousSecret { sha256: hash_secret("old"), valid_until: now(100) });
    rotated.expires_at = Some(now(200));
    try_one(&mut catalog, put(rotated.clone(), Expected::New)).unwrap();
    let found = |catalog: &Catalog, secret: &str, at| catalog.key_by_secret(secret, now(at)).is_some();
    assert!(found(&catalog, "new", 199) && !found(&catalog, "new", 200));
    assert!(found(&catalog, "old", 99) && !found(&catalog, "old", 100));
    assert!(!found(&catalog, "other", 0));
    let same = try_one(&mut catalog, put(key(2, 2, "old"), Expected::New));
    assert_eq!(same, Err(Rejected::Exists { kind: ResourceKind::Key, field: "key", id: String::new() }));
    rotated.revoked_at = Some(now(20));
    try_one(&mut catalog, put(rotated, Expected::Version(1))).unwrap();
    assert!(!found(&catalog, "new", 0) && !found(&catalog, "old", 0));
}

#[test]
fn a_publishable_key_is_found_by_the_origins_of_its_pages_while_it_is_good() {
    let mut catalog = catalog();
    let mut page = key(1, 1, "page");
    page.kind = KeyKind::Publishable;
    page.allowed_origins = vec!["https://Shop.example/".into(), "https://b.example".into()];
    let other = Key { allowed_origins: vec!["https://b.example".into()], ..page.clone() };
    let other = Key { id: id(2), sha256: hash_secret("other"), ..other };
    for new in [page.clone(), other] {
        try_one(&mut catalog, put(new, Expected::New)).unwrap();
    }
    let found = |catalog: &Catalog, origin: &str| catalog.keys_by_origin(origin).count();
    let origins = ["https://shop.example", "https://b.example", "https://c.example", "null", ""];
    assert_eq!(origins.map(|origin| found(&catalog, origin)), [1, 2, 0, 0, 0]);
    page.allowed_origins = vec!["https://c.example".into()];
    try_one(&mut catalog, put(page.clone(), Expected::Version(1))).unwrap();
    assert_eq!(origins.map(|origin| found(&catalog, origin)), [0, 1, 1, 0, 0]);
    page.revoked_at = Some(Timestamp::from_micros(20));
    try_one(&mut catalog, put(page, Expected::Version(2))).unwrap();
    assert_eq!(origins.map(|origin| found(&catalog, origin)), [0, 1, 0, 0, 0]);
}

#[test]
fn a_record_out_of_turn_or_of_another_build_halts() {
    let mut catalog = catalog();
    let before = catalog.clone();
    let next = catalog.revision().number;
    let payload = record::encode(&proposal(3, vec![])).unwrap();
    let skipped = catalog.fold(&record_at(next + 1, payload.clone()));
    assert_eq!(skipped, Err(CatalogError::Position { expected: next, found: next + 1 }));
    let mut longer = payload.to_vec();
    longer.extend([0x9a, 0x06, 0x01, 0x00]);
    let newer = catalog.fold(&record_at(next, longer.into()));
    let reason = crate::error::RecordError::UnknownField;
    assert_eq!(newer, Err(CatalogError::Broken { position: next, reason }));
    assert_eq!(catalog, before);
    assert!(catalog.fold(&record_at(next, payload)).is_ok());
}

#[test]
fn the_hash_covers_every_record_in_its_place() {
    let fold_all = |names: [&str; 2]| {
        let mut catalog = catalog();
        for (at, name) in names.into_iter().enumerate() {
            let mut row = partner(1, at as u8 + 2, None);
            row.name = name.into();
            try_one(&mut catalog, put(row, Expected::New)).unwrap();
        }
        catalog.revision()
    };
    assert_eq!(fold_all(["a", "b"]), fold_all(["a", "b"]));
    assert_ne!(fold_all(["a", "b"]).hash, fold_all(["b", "a"]).hash);
}
