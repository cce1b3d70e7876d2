//! The catalog that every test starts from.

use std::collections::BTreeMap;

use bytes::Bytes;
use catalog::{
    Actor, ActorKind, Approval, Cap, CapMetric, CapScope, CapWindow, Catalog, Change, Duplicates, Expected,
    Goal, Installation, IpStorage, Meta, Offer, OnExceed, Partner, PartnerPayout, Payout, Privacy,
    Projection, Proposal, Rate, RateStamp, Resource, Revenue, Source, SourceAuth, Workspace,
};
use schemas::id::{Id, Kind, OfferId, PartnerId, WorkspaceNumber};
use schemas::money::{Currency, ExchangeRate, Money, Percent};
use schemas::time::{Timestamp, parse_date};

use super::{DAY, T0};

pub(crate) const WORKSPACE: WorkspaceNumber = WorkspaceNumber::new(1).unwrap();
pub(crate) const OFFER: OfferId = id(1);
/// Looks back one day; [`OFFER`] looks back as the workspace, 30 days.
pub(crate) const OTHER_OFFER: OfferId = id(2);
/// Its amounts are in euros, the workspace's in dollars.
pub(crate) const EURO_OFFER: OfferId = id(3);
/// Takes 3 clicks a day, then the fallback, and 2 conversions a day, then they are pending.
pub(crate) const CAPPED_OFFER: OfferId = id(4);
/// Takes 1 conversion an hour from each partner and rejects the others.
pub(crate) const REJECTING_OFFER: OfferId = id(5);
pub(crate) const PARTNER: PartnerId = id(1);
/// A coupon of [`PARTNER`].
pub(crate) const COUPON: &str = "ANNA10";
/// For [`OFFER`] it has payouts of its own: 20 dollars for `sale`, 7 for `gift`, else 50 percent; nothing for the other's `lead`.
pub(crate) const FAVOURITE: PartnerId = id(3);

pub(crate) const fn id<K: Kind>(number: u8) -> Id<K> {
    let mut bytes = [0; 16];
    bytes[15] = number;
    Id::from_bytes(bytes)
}

pub(crate) fn usd(units: i64) -> Money {
    Money { micros: units * 1_000_000, currency: Currency::USD }
}

fn percent(text: &str) -> Percent {
    Percent::parse(text).unwrap()
}

fn meta() -> Meta {
    Meta::new(Timestamp::from_micros(T0))
}

/// `sale` pays 10 percent; `lead` pays 5 of 8 dollars; `review` waits for a person; `trial` pays nothing; `euro` pays euros; `held` is
/// approved after 14 days; of `last` the last report stands; of `each` each counts.
fn goals() -> Vec<Goal> {
    let goal = |key: &str, payout, revenue, approval| Goal {
        payout,
        revenue,
        approval,
        ..Goal::new(key.to_owned())
    };
    let percent_goal =
        |key: &str| goal(key, Payout::Percent(percent("10")), Revenue::Postback, Approval::Auto);
    let euros = Money { micros: 3_000_000, currency: Currency::from_code("EUR").unwrap() };
    vec![
        goal("sale", Payout::Percent(percent("10")), Revenue::Postback, Approval::Auto),
        goal("lead", Payout::Fixed(usd(5)), Revenue::Fixed(usd(8)), Approval::Auto),
        goal("review", Payout::Percent(percent("10")), Revenue::Percent(percent("50")), Approval::Manual),
        goal("trial", Payout::None, Revenue::Postback, Approval::Auto),
        goal("euro", Payout::Fixed(euros), Revenue::Postback, Approval::Auto),
        Goal { hold_days: 14, ..percent_goal("held") },
        Goal { duplicates: Duplicates::Revise, hold_days: 14, ..percent_goal("last") },
        Goal { duplicates: Duplicates::Count, ..percent_goal("each") },
        goal("share", Payout::Percent(percent("10000")), Revenue::Postback, Approval::Auto),
    ]
}

fn offer(id: OfferId, currency: Currency, lookback_micros: Option<i64>) -> Offer {
    Offer {
        id,
        workspace: WORKSPACE,
        name: "Shoes".into(),
        destination_url: "https://shop.example/?c={click_id}".into(),
        currency,
        click_id_param: "click_id".into(),
        fallback_url: None,
        click_lookback_micros: lookback_micros,
        view_lookback_micros: lookback_micros,
        goals: goals(),
        allowed_hosts: Vec::new(),
        caps: Vec::new(),
        meta: meta(),
    }
}

fn cap(metric: CapMetric, window: CapWindow, value: u64, on_exceed: OnExceed) -> Cap {
    Cap { metric, window, timezone: None, value, per: CapScope::All, on_exceed }
}

fn capped_offers() -> [Offer; 2] {
    let day = CapWindow::Day;
    let capped = vec![
        cap(CapMetric::Clicks, day, 3, OnExceed::Fallback),
        // Another limit of the same count.
        cap(CapMetric::Clicks, day, 100, OnExceed::Fallback),
        cap(CapMetric::Conversions, day, 2, OnExceed::Pending),
    ];
    let hourly = cap(CapMetric::Conversions, CapWindow::Hour, 1, OnExceed::Reject);
    let rejecting = vec![Cap { per: CapScope::Partner, ..hourly }];
    [(CAPPED_OFFER, capped), (REJECTING_OFFER, rejecting)]
        .map(|(id, caps)| Offer { caps, ..offer(id, Currency::USD, None) })
}

fn payouts() -> Vec<PartnerPayout> {
    let own =
        |offer, goal: Option<&str>, payout| PartnerPayout { offer, goal: goal.map(str::to_owned), payout };
    vec![
        own(OFFER, None, Payout::Percent(percent("50"))),
        own(OFFER, Some("sale"), Payout::Fixed(usd(20))),
        own(OFFER, Some("gift"), Payout::Fixed(usd(7))),
        own(OTHER_OFFER, Some("lead"), Payout::None),
    ]
}

fn partner(id: PartnerId, payouts: Vec<PartnerPayout>) -> Resource {
    Resource::Partner(Partner {
        id,
        workspace: WORKSPACE,
        name: "Anna".into(),
        slug: None,
        coupons: if id == PARTNER { vec![COUPON.to_owned()] } else { Vec::new() },
        email: None,
        payouts,
        meta: meta(),
    })
}

fn source() -> Resource {
    Resource::Source(Source {
        id: id(3),
        workspace: WORKSPACE,
        name: "shop".into(),
        auth: SourceAuth::Open,
        allowed_cidrs: Vec::new(),
        params: BTreeMap::new(),
        status_map: BTreeMap::new(),
        defaults: BTreeMap::new(),
        meta: meta(),
    })
}

/// The records of the topic `catalog`: the installation and its workspace, then the offers and partners.
pub(crate) fn proposals() -> Vec<Bytes> {
    proposals_with(|_| {})
}

fn proposals_with(edit: impl FnOnce(&mut Workspace)) -> Vec<Bytes> {
    let mut workspace = Workspace {
        number: WORKSPACE,
        id: id(1),
        name: "W".into(),
        currency: Currency::USD,
        timezone: "UTC".into(),
        fallback_url: None,
        partition: 0,
        attribution: catalog::Attribution::default(),
        ip_storage: IpStorage::default(),
        privacy: Privacy::default(),
        meta: meta(),
    };
    edit(&mut workspace);
    let installation = Resource::Installation(Installation { events_partitions: 1 });
    let first = vec![installation, Resource::Workspace(workspace)];
    let (dollar, euro) = (Currency::USD, Currency::from_code("EUR").unwrap());
    let offers =
        [offer(OFFER, dollar, None), offer(OTHER_OFFER, dollar, Some(DAY)), offer(EURO_OFFER, euro, None)];
    let mut second: Vec<Resource> = offers.into_iter().chain(capped_offers()).map(Resource::Offer).collect();
    second.extend([partner(PARTNER, Vec::new()), partner(id(2), Vec::new()), partner(FAVOURITE, payouts())]);
    second.push(source());
    [first, second].into_iter().enumerate().map(|(number, resources)| proposal(number, resources)).collect()
}

fn proposal(number: usize, resources: Vec<Resource>) -> Bytes {
    proposal_of(number, resources.into_iter().map(|resource| (resource, Expected::New)).collect())
}

fn proposal_of(number: usize, resources: Vec<(Resource, Expected)>) -> Bytes {
    let changes =
        resources.into_iter().map(|(resource, expected)| Change::Put { resource, expected }).collect();
    let proposal = Proposal {
        id: id(number as u8 + 1),
        workspace: WORKSPACE,
        actor: Actor { kind: ActorKind::System, id: String::new() },
        request_id: String::new(),
        at: Timestamp::from_micros(T0),
        idempotency: None,
        changes,
    };
    catalog::record::encode(&proposal).unwrap()
}

/// The catalog of every test.
pub(crate) fn catalog() -> Catalog {
    catalog_with(|_| {})
}

/// The catalog with a workspace of other terms.
pub(crate) fn catalog_with(edit: impl FnOnce(&mut Workspace)) -> Catalog {
    folded(proposals_with(edit))
}

/// The catalog that these records give.
pub(crate) fn folded(proposals: Vec<Bytes>) -> Catalog {
    let mut catalog = Catalog::new();
    for (position, payload) in proposals.into_iter().enumerate() {
        let record = eventlog::Record {
            position: position as u64,
            log_time: Timestamp::from_micros(T0),
            key: Bytes::new(),
            payload,
        };
        catalog.fold(&record).unwrap().verdict.unwrap();
    }
    catalog
}

/// The record of the catalog that says something of a generation.
pub(crate) fn projection_proposal(position: u64, projection: Projection) -> Bytes {
    proposal_of(position as usize, vec![(Resource::Projection(projection), Expected::Any)])
}

/// The record of the catalog that gives the workspace another lookback.
pub(crate) fn lookback_proposal(position: u64, click_lookback_micros: i64) -> Bytes {
    let edited =
        catalog_with(|workspace| workspace.attribution.click_lookback_micros = click_lookback_micros);
    let workspace = edited.workspace(WORKSPACE).unwrap().clone();
    proposal_of(position as usize, vec![(Resource::Workspace(workspace), Expected::Any)])
}

/// The record of the catalog that puts an exchange rate into dollars.
pub(crate) fn rate_proposal(position: u64, date: &str, from: &str, rate: &str) -> Bytes {
    let rate = Resource::Rate(Rate {
        workspace: WORKSPACE,
        date: parse_date(date).unwrap(),
        from: Currency::from_code(from).unwrap(),
        to: Currency::USD,
        rate: ExchangeRate::parse(rate).unwrap(),
        stamp: RateStamp::default(),
    });
    proposal_of(position as usize, vec![(rate, Expected::Any)])
}

/// Folds one more record, with an exchange rate into dollars.
pub(crate) fn put_rate(catalog: &mut Catalog, date: &str, from: &str, rate: &str) {
    let position = catalog.revision().number;
    let payload = rate_proposal(position, date, from, rate);
    let record =
        eventlog::Record { position, log_time: Timestamp::from_micros(T0), key: Bytes::new(), payload };
    assert!(catalog.fold(&record).unwrap().verdict.is_ok());
}
