//! The catalog that every test starts with.

use std::collections::BTreeMap;

use catalog::key::hash_secret;
use catalog::{
    Environment, ExternalId, Goal, Key, KeyKind, Link, Meta, Offer, Partner, Payout, Resource, Scope, Source,
    SourceAuth,
};
use schemas::id::{Id, IdGenerator, Kind, OfferId, PartnerId, SourceId, WorkspaceNumber};
use schemas::money::{Currency, Percent};
use schemas::time::Timestamp;

/// 2026-11-01T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_793_491_200_000_000);
pub(crate) const SECRET: &str = "tb_live_ingest";
pub(crate) const TEST_SECRET: &str = "tb_test_ingest";
pub(crate) const READ_SECRET: &str = "tb_live_read";
pub(crate) const OPERATOR: &str = "tb_live_operator";
pub(crate) const OPERATOR_ONLY: &str = "tb_live_operator_only";
pub(crate) const PUBLISHABLE: &str = "tb_pub_shop";
pub(crate) const PUBLISHABLE_NOWHERE: &str = "tb_pub_nowhere";
pub(crate) const TOKEN: &str = "tb_src_token";
pub(crate) const ORIGIN: &str = "https://shop.example";

/// The resources, and the ids of those that tests name.
pub(crate) struct Fixture {
    pub(crate) resources: Vec<Resource>,
    pub(crate) offer: OfferId,
    pub(crate) partner: PartnerId,
    pub(crate) open_source: SourceId,
    pub(crate) token_source: SourceId,
}

pub(crate) fn fixture(workspace: WorkspaceNumber) -> Fixture {
    let mut maker = Maker { ids: IdGenerator::new(1), workspace };
    let offer = offer(maker.id(), workspace);
    let partners = maker.partners();
    let sources = [
        maker.source("open", SourceAuth::Open),
        maker.source("token", SourceAuth::Token { sha256: hash_secret(TOKEN), previous: None }),
    ];
    let mut resources = vec![offer.clone().into()];
    resources.extend(partners.iter().cloned().map(Resource::from));
    resources.extend(sources.iter().cloned().map(Resource::from));
    resources.extend(maker.links(offer.id, partners[0].id).map(Resource::from));
    resources.extend(maker.keys().map(Resource::from));
    Fixture {
        resources,
        offer: offer.id,
        partner: partners[0].id,
        open_source: sources[0].id,
        token_source: sources[1].id,
    }
}

/// Makes resources of one workspace.
struct Maker {
    ids: IdGenerator,
    workspace: WorkspaceNumber,
}

impl Maker {
    fn id<K: Kind>(&mut self) -> Id<K> {
        self.ids.next(NOW.unix_ms(), self.workspace)
    }

    /// Anna, and one who has left.
    fn partners(&mut self) -> [Partner; 2] {
        let external = ExternalId { source: "crm".into(), id: "77".into() };
        let anna = Partner {
            id: self.id(),
            workspace: self.workspace,
            name: "Anna".into(),
            slug: Some("anna".into()),
            coupons: Vec::new(),
            email: None,
            payouts: Vec::new(),
            meta: Meta { external: Some(external), ..Meta::new(NOW) },
        };
        let left = Partner {
            id: self.id(),
            slug: Some("left".into()),
            coupons: Vec::new(),
            meta: Meta { archived: true, ..Meta::new(NOW) },
            ..anna.clone()
        };
        [anna, left]
    }

    fn links(&mut self, offer: OfferId, partner: PartnerId) -> [Link; 5] {
        let mut link = |key: &str| Link {
            id: self.id(),
            workspace: self.workspace,
            key: key.into(),
            offer,
            partner: Some(partner),
            creative: Some("banner-1".into()),
            destination_url: None,
            redirect_status: 302,
            fallback_url: None,
            expires_at: None,
            domain: None,
            rules: Vec::new(),
            caps: Vec::new(),
            meta: Meta::new(NOW),
        };
        let plain = "https://shop.example/plain?utm_source=stored&a=1#top".to_owned();
        let late = "https://shop.example/late".to_owned();
        [
            link("anna"),
            Link { partner: None, redirect_status: 307, ..link("nobody") },
            Link { destination_url: Some(plain), ..link("plain") },
            Link { expires_at: Some(NOW), fallback_url: Some(late), ..link("late") },
            Link { expires_at: Some(NOW), ..link("late-without-fallback") },
        ]
    }

    fn source(&mut self, name: &str, auth: SourceAuth) -> Source {
        Source {
            id: self.id(),
            workspace: self.workspace,
            name: name.into(),
            auth,
            allowed_cidrs: Vec::new(),
            params: BTreeMap::new(),
            status_map: BTreeMap::new(),
            defaults: BTreeMap::new(),
            meta: Meta::new(NOW),
        }
    }

    fn keys(&mut self) -> [Key; 7] {
        let mut key = |secret: &str, scope: Scope| Key {
            id: self.id(),
            workspace: self.workspace,
            name: secret.into(),
            sha256: hash_secret(secret),
            previous: None,
            scopes: vec![scope],
            environment: Environment::Live,
            kind: KeyKind::Secret,
            allowed_origins: Vec::new(),
            expires_at: None,
            revoked_at: None,
            meta: Meta::new(NOW),
        };
        let allowed_origins = vec![ORIGIN.to_owned()];
        [
            key(SECRET, Scope::Ingest),
            Key { environment: Environment::Test, ..key(TEST_SECRET, Scope::Admin) },
            key(READ_SECRET, Scope::Read),
            Key { scopes: vec![Scope::Ingest, Scope::Operator], ..key(OPERATOR, Scope::Ingest) },
            key(OPERATOR_ONLY, Scope::Operator),
            Key { kind: KeyKind::Publishable, allowed_origins, ..key(PUBLISHABLE, Scope::Ingest) },
            Key { kind: KeyKind::Publishable, ..key(PUBLISHABLE_NOWHERE, Scope::Ingest) },
        ]
    }
}

fn offer(id: OfferId, workspace: WorkspaceNumber) -> Offer {
    Offer {
        id,
        workspace,
        name: "Shoes".into(),
        destination_url: "https://shop.example/?cid={click_id}&s={sub1}".into(),
        currency: Currency::from_code("EUR").unwrap(),
        click_id_param: "click_id".into(),
        fallback_url: None,
        click_lookback_micros: None,
        view_lookback_micros: None,
        goals: vec![Goal {
            payout: Payout::Percent(Percent::parse("10").unwrap()),
            ..Goal::new("sale".into())
        }],
        allowed_hosts: Vec::new(),
        caps: Vec::new(),
        meta: Meta::new(NOW),
    }
}
