//! One workspace with 1,000 offers, 500 partners and 50,000 links.

use bytes::Bytes;
use catalog::{
    Actor, ActorKind, Approval, Catalog, Change, Duplicates, Expected, Goal, Installation, IpStorage, Link,
    Meta, Offer, Partner, Payout, Privacy, Proposal, Resource, Revenue, Workspace,
};
use schemas::id::{Id, Kind, OfferId, PartnerId, WorkspaceNumber};
use schemas::money::{Currency, Percent};
use schemas::time::Timestamp;

use super::T0;

pub(crate) const WORKSPACE: WorkspaceNumber = match WorkspaceNumber::new(1) {
    Some(number) => number,
    None => WorkspaceNumber::NONE,
};
/// Links.
pub(crate) const LINKS: u32 = 50_000;
const OFFERS: u32 = 1_000;
const PARTNERS: u32 = 500;
/// Resources in one record of the catalog.
const PER_RECORD: usize = 1_000;

type Failure = Box<dyn std::error::Error>;

pub(crate) const fn id<K: Kind>(number: u32) -> Id<K> {
    let [a, b, c, d] = (number + 1).to_be_bytes();
    Id::from_bytes([1, 0x9a, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, a, b, c, d])
}

pub(crate) const fn offer_of(link: u32) -> OfferId {
    id(link % OFFERS)
}

pub(crate) const fn partner_of(link: u32) -> PartnerId {
    id(link % PARTNERS)
}

fn meta() -> Meta {
    Meta::new(Timestamp::from_micros(T0))
}

fn workspace() -> Resource {
    Resource::Workspace(Workspace {
        number: WORKSPACE,
        id: id(0),
        name: "W".into(),
        currency: Currency::USD,
        timezone: "UTC".into(),
        fallback_url: None,
        partition: 0,
        attribution: catalog::Attribution::default(),
        ip_storage: IpStorage::default(),
        privacy: Privacy::default(),
        meta: meta(),
    })
}

fn offer(number: u32) -> Result<Resource, Failure> {
    let ten = Percent::parse("10")?;
    Ok(Resource::Offer(Offer {
        id: id(number),
        workspace: WORKSPACE,
        name: format!("Offer {number}"),
        destination_url: "https://shop.example/?c={click_id}".into(),
        currency: Currency::USD,
        click_id_param: "click_id".into(),
        fallback_url: None,
        click_lookback_micros: None,
        view_lookback_micros: None,
        goals: vec![Goal {
            key: "sale".into(),
            payout: Payout::Percent(ten),
            revenue: Revenue::Postback,
            approval: Approval::Auto,
            hold_days: 0,
            duplicates: Duplicates::Ignore,
        }],
        allowed_hosts: Vec::new(),
        caps: Vec::new(),
        meta: meta(),
    }))
}

fn partner(number: u32) -> Resource {
    Resource::Partner(Partner {
        id: id(number),
        workspace: WORKSPACE,
        name: format!("Partner {number}"),
        slug: None,
        email: None,
        payouts: Vec::new(),
        coupons: Vec::new(),
        meta: meta(),
    })
}

fn link(number: u32) -> Resource {
    Resource::Link(Link {
        id: id(number),
        workspace: WORKSPACE,
        key: format!("l{number}"),
        domain: None,
        offer: offer_of(number),
        partner: Some(partner_of(number)),
        creative: None,
        destination_url: None,
        redirect_status: 302,
        fallback_url: None,
        expires_at: None,
        rules: Vec::new(),
        caps: Vec::new(),
        meta: meta(),
    })
}

/// The records of the topic `catalog`.
pub(crate) fn catalog_records() -> Result<Vec<Bytes>, Failure> {
    let first = vec![Resource::Installation(Installation { events_partitions: 1 }), workspace()];
    let mut others = (0..OFFERS).map(offer).collect::<Result<Vec<_>, _>>()?;
    others.extend((0..PARTNERS).map(partner));
    others.extend((0..LINKS).map(link));
    let mut records = vec![record(0, first)?];
    for (number, resources) in others.chunks(PER_RECORD).enumerate() {
        records.push(record(number as u32 + 1, resources.to_vec())?);
    }
    Ok(records)
}

fn record(number: u32, resources: Vec<Resource>) -> Result<Bytes, Failure> {
    let put = |resource| Change::Put { resource, expected: Expected::New };
    let proposal = Proposal {
        id: id(number),
        workspace: WORKSPACE,
        actor: Actor { kind: ActorKind::System, id: String::new() },
        request_id: String::new(),
        at: Timestamp::from_micros(T0),
        idempotency: None,
        changes: resources.into_iter().map(put).collect(),
    };
    Ok(catalog::record::encode(&proposal)?)
}

/// The catalog that these records give.
pub(crate) fn folded(records: &[Bytes]) -> Result<Catalog, Failure> {
    let mut catalog = Catalog::new();
    for (position, payload) in records.iter().enumerate() {
        let record = eventlog::Record {
            position: position as u64,
            log_time: Timestamp::from_micros(T0),
            key: Bytes::new(),
            payload: payload.clone(),
        };
        let folded = catalog.fold(&record)?;
        if let Err(refusal) = folded.verdict {
            return Err(format!("the catalog refuses record {position}: {refusal:?}").into());
        }
    }
    Ok(catalog)
}
