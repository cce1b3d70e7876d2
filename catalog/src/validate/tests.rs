use std::collections::BTreeMap;

use schemas::id::{Id, WorkspaceNumber};
use schemas::money::{Currency, ExchangeRate, Money};
use schemas::time::Timestamp;

use super::*;
use crate::resource::{
    DEFAULT_CLICK_ID_PARAM, DomainRole, Environment, ExternalId, Partner, PartnerPayout, RateStamp, Source,
    SourceAuth,
};

fn offer() -> Offer {
    Offer {
        id: Id::from_bytes([1; 16]),
        workspace: WorkspaceNumber::new(1).unwrap(),
        name: "Shoes".into(),
        destination_url: "https://shop.example/?c={click_id}".into(),
        currency: Currency::USD,
        click_id_param: DEFAULT_CLICK_ID_PARAM.into(),
        fallback_url: None,
        click_lookback_micros: None,
        view_lookback_micros: None,
        goals: Vec::new(),
        allowed_hosts: Vec::new(),
        caps: Vec::new(),
        meta: Meta::new(Timestamp::default()),
    }
}

fn goal(key: &str) -> Goal {
    Goal::new(key.into())
}

fn fields(resource: impl Into<Resource>) -> Vec<String> {
    faults(&resource.into()).into_iter().map(|fault| fault.field).collect()
}

#[test]
fn a_rate_is_between_two_currencies_on_a_day_that_events_can_have() {
    let rate = |date: &str, to: &str| Rate {
        workspace: WorkspaceNumber::new(1).unwrap(),
        date: schemas::time::parse_date(date).unwrap(),
        from: Currency::USD,
        to: Currency::from_code(to).unwrap(),
        rate: ExchangeRate::ONE,
        stamp: RateStamp::default(),
    };
    assert_eq!(fields(rate("1970-01-01", "EUR")), [""; 0]);
    assert_eq!(fields(rate("1969-12-31", "USD")), ["date", "to"]);
}

fn destination_is_taken(url: &str) -> bool {
    let faults = fields(Offer { destination_url: url.into(), ..offer() });
    assert!(faults.iter().all(|field| field == "destination_url"), "{faults:?}");
    faults.is_empty()
}

#[test]
fn destinations_are_plain_web_addresses_with_a_fixed_host() {
    for good in [
        "https://shop.example",
        "http://shop.example:8080/a/{sub1}?c={click_id}&x={sub2|default:0}",
        "https://shop.example?{sub1|raw}",
        "https://xn--mller-kva.example/#{click_id}",
        "https://[2001:db8::1]/x",
    ] {
        assert!(destination_is_taken(good), "{good}");
    }
    for bad in [
        "",
        "shop.example",
        "/relative",
        "ftp://shop.example/",
        "javascript:alert(1)//{click_id}",
        "data://shop.example/",
        "https:shop.example",
        "https://",
        "https://user@shop.example/",
        "https://user:pass@shop.example/",
        "https://@shop.example/",
        "https://shop.example/\r\nX: y",
        "https://shop.example/a b",
        "https://shop.example\\@evil.example/",
        "https://müller.example/",
        "https://{sub1}/",
        "https://{sub1}.shop.example/",
        "https://shop.example{sub1}",
        "{sub1}",
        "https://shop.example/{clickid}",
        "https://shop.example/{click_id",
    ] {
        assert!(!destination_is_taken(bad), "{bad}");
    }
    assert!(!destination_is_taken(&format!("https://shop.example/{}", "x".repeat(MAX_URL_BYTES))));
}

#[test]
fn every_fault_is_found_and_named() {
    let mut bad = Offer {
        name: " ".into(),
        destination_url: "nowhere".into(),
        click_id_param: "a b".into(),
        fallback_url: Some("https://shop.example/{click_id}".into()),
        click_lookback_micros: Some(0),
        goals: vec![goal("sale"), goal(""), goal("sale")],
        ..offer()
    };
    bad.meta.tags = vec!["ok".into(), String::new()];
    bad.meta.external = Some(ExternalId { source: "a:b".into(), id: String::new() });
    bad.meta.metadata.insert("x".into(), "y".repeat(MAX_METADATA_BYTES).into());
    assert_eq!(
        fields(bad),
        [
            "name",
            "external_id",
            "external_source",
            "tags[1]",
            "metadata",
            "destination_url",
            "click_id_param",
            "fallback_url",
            "click_lookback",
            "goals[1].key",
            "goals[2].key",
        ]
    );
    assert_eq!(fields(offer()), [""; 0]);
}

#[test]
fn names_are_counted_in_characters() {
    let named = |name: String| fields(Offer { name, ..offer() });
    assert!(named("ü".repeat(MAX_NAME_CHARS)).is_empty());
    assert_eq!(named("ü".repeat(MAX_NAME_CHARS + 1)), ["name"]);
    assert_eq!(named("a\u{0}b".into()), ["name"]);
}

#[test]
fn links_partners_and_sources_have_their_own_rules() {
    let meta = Meta::new(Timestamp::default());
    let workspace = WorkspaceNumber::new(1).unwrap();
    let link = Link {
        id: Id::from_bytes([1; 16]),
        workspace,
        key: "a/b".into(),
        offer: Id::from_bytes([1; 16]),
        partner: None,
        creative: Some(String::new()),
        destination_url: Some("https://{sub1}".into()),
        redirect_status: 301,
        fallback_url: None,
        expires_at: None,
        domain: None,
        rules: Vec::new(),
        caps: Vec::new(),
        meta: meta.clone(),
    };
    for key in EDGE_ROUTES {
        let link = Link {
            key: key.into(),
            creative: None,
            destination_url: None,
            redirect_status: 302,
            domain: Some(Id::from_bytes([1; 16])),
            ..link.clone()
        };
        assert_eq!(fields(link.clone()), ["key"], "{key}");
        assert_eq!(fields(Link { domain: None, ..link }), [""; 0], "{key}");
    }
    assert_eq!(fields(link), ["key", "creative", "destination_url", "redirect_status"]);
    let partner = Partner {
        id: Id::from_bytes([1; 16]),
        workspace,
        name: "Anna".into(),
        slug: Some("part_1".into()),
        coupons: Vec::new(),
        email: Some("anna".into()),
        payouts: Vec::new(),
        meta: meta.clone(),
    };
    assert_eq!(fields(partner), ["slug", "email"]);
    let source = Source {
        id: Id::from_bytes([1; 16]),
        workspace,
        name: String::new(),
        auth: SourceAuth::Open,
        allowed_cidrs: Vec::new(),
        params: BTreeMap::new(),
        status_map: BTreeMap::new(),
        defaults: BTreeMap::new(),
        meta,
    };
    assert_eq!(fields(source), ["name"]);
}

#[test]
fn a_partner_has_one_payout_for_an_offer_and_goal() {
    let own = |offer: u8, goal: Option<&str>, micros| PartnerPayout {
        offer: Id::from_bytes([offer; 16]),
        goal: goal.map(str::to_owned),
        payout: Payout::Fixed(Money { micros, currency: Currency::USD }),
    };
    let partner = |payouts| Partner {
        id: Id::from_bytes([1; 16]),
        workspace: WorkspaceNumber::new(1).unwrap(),
        name: "Anna".into(),
        slug: None,
        coupons: Vec::new(),
        email: None,
        payouts,
        meta: Meta::new(Timestamp::default()),
    };
    let distinct = vec![own(1, None, 1), own(1, Some("sale"), 1), own(1, Some("lead"), 0), own(2, None, 1)];
    assert_eq!(fields(partner(distinct)), [""; 0]);
    let twice = vec![own(1, None, 1), own(1, None, 2), own(1, Some("sale"), 1), own(1, Some("sale"), 1)];
    assert_eq!(fields(partner(twice)), ["payouts[1].offer", "payouts[3].offer"]);
    let wrong = vec![own(1, Some(""), 1), own(1, Some("a b"), 1), own(1, None, -1)];
    assert_eq!(fields(partner(wrong)), ["payouts[0].goal", "payouts[1].goal", "payouts[2].amount"]);
    let many = |count| (0..count).map(|n| own(1, Some(&format!("g{n}")), 1)).collect();
    assert_eq!(fields(partner(many(MAX_PAYOUTS))), [""; 0]);
    assert_eq!(fields(partner(many(MAX_PAYOUTS + 1))), ["payouts"]);
}

#[test]
fn a_partners_coupons_are_plain_and_differ() {
    let partner = |coupons: &[&str]| Partner {
        id: Id::from_bytes([1; 16]),
        workspace: WorkspaceNumber::new(1).unwrap(),
        name: "Anna".into(),
        slug: None,
        email: None,
        coupons: coupons.iter().copied().map(str::to_owned).collect(),
        payouts: Vec::new(),
        meta: Meta::new(Timestamp::default()),
    };
    assert_eq!(fields(partner(&["ANNA10", "Sommer 2026", "ÄÖ"])), [""; 0]);
    let long = "x".repeat(65);
    let wrong = partner(&["anna", "ANNA", "", " a", "a\nb", &long]);
    assert_eq!(fields(wrong), ["coupons[1]", "coupons[2]", "coupons[3]", "coupons[4]", "coupons[5]"]);
}

#[test]
fn a_publishable_key_can_only_ingest() {
    let key = |kind, scopes: &[Scope], origins: &[&str]| Key {
        id: Id::from_bytes([1; 16]),
        workspace: WorkspaceNumber::new(1).unwrap(),
        name: "k".into(),
        sha256: [0; 32],
        previous: None,
        scopes: scopes.to_vec(),
        environment: Environment::Live,
        kind,
        allowed_origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
        expires_at: None,
        revoked_at: None,
        meta: Meta::new(Timestamp::default()),
    };
    let page = "https://shop.example";
    assert!(fields(key(KeyKind::Publishable, &[Scope::Ingest], &[page, "http://localhost:3000"])).is_empty());
    assert_eq!(fields(key(KeyKind::Publishable, &[Scope::Ingest, Scope::Read], &[])), ["scopes"]);
    assert_eq!(fields(key(KeyKind::Secret, &[], &[page])), ["scopes", "allowed_origins"]);
    assert_eq!(fields(key(KeyKind::Secret, &[Scope::Read, Scope::Read], &[])), ["scopes"]);
    for origin in
        ["shop.example", "https://shop.example/", "https://shop.example/x", "*", "https://*.shop.example"]
    {
        let faults = fields(key(KeyKind::Publishable, &[Scope::Ingest], &[origin]));
        assert_eq!(faults, ["allowed_origins[0]"], "{origin}");
    }
}

#[test]
fn metadata_has_a_depth() {
    let nested = |depth: usize| {
        let mut value = serde_json::Value::from(1);
        for _ in 1..depth {
            value = serde_json::json!({ "x": value });
        }
        let mut offer = offer();
        offer.meta.metadata.insert("x".into(), value);
        fields(offer)
    };
    assert!(nested(MAX_METADATA_DEPTH).is_empty());
    assert_eq!(nested(MAX_METADATA_DEPTH + 1), ["metadata"]);
    assert_eq!(nested(100), ["metadata"]);
}

#[test]
fn hosts_are_saved_in_their_one_spelling() {
    let allowed = |hosts: &[&str]| {
        fields(Offer { allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(), ..offer() })
    };
    assert_eq!(allowed(&["shop.example", "*.shop.example", "myapp:"]), [""; 0]);
    assert_eq!(
        allowed(&["Shop.example", "*.com", "data:"]),
        ["allowed_hosts[0]", "allowed_hosts[1]", "allowed_hosts[2]"]
    );
    assert_eq!(allowed(&vec!["shop.example"; MAX_ALLOWED_HOSTS + 1]), ["allowed_hosts"]);
    let domain = |hostname: &str, fallback_url: &str| {
        fields(Domain {
            id: Id::from_bytes([1; 16]),
            workspace: WorkspaceNumber::new(1).unwrap(),
            hostname: hostname.into(),
            role: DomainRole::Tracking,
            fallback_url: Some(fallback_url.into()),
            meta: Meta::new(Timestamp::default()),
        })
    };
    assert_eq!(domain("t.shop.example", "https://shop.example/"), [""; 0]);
    assert_eq!(domain("T.shop.example", "nowhere"), ["hostname", "fallback_url"]);
    assert_eq!(domain("127.0.0.1", "https://shop.example/"), ["hostname"]);
    let pixel = Pixel {
        id: Id::from_bytes([1; 16]),
        workspace: WorkspaceNumber::new(1).unwrap(),
        offer: Id::from_bytes([1; 16]),
        goal: Some("a b".into()),
        allowed_origins: vec!["https://shop.example".into(), "shop.example".into()],
        meta: Meta::new(Timestamp::default()),
    };
    assert_eq!(fields(pixel), ["goal", "allowed_origins[1]"]);
}
