//! The catalog that every test starts with.

use catalog::key::hash_secret;
use catalog::{
    Approval, Environment, ExternalId, Goal, Key, KeyKind, Link, Meta, Offer, Partner, Payout, Resource,
    Revenue, Scope, Source, SourceAuth,
};
use schemas::id::{IdGenerator, OfferId, PartnerId, SourceId, WorkspaceNumber};
use schemas::money::{Currency, Percent};
use schemas::time::Timestamp;

/// 2026-11-01T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_793_491_200_000_000);
pub(crate) const SECRET: &str = "tb_live_ingest";
pub(crate) const TEST_SECRET: &str = "tb_test_ingest";
pub(crate) const READ_SECRET: &str = "tb_live_read";
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
    let mut ids = IdGenerator::new(1);
    let at = NOW.unix_ms();
    let offer = offer(ids.next(at, workspace), workspace);
    let old_offer = Offer {
        id: ids.next(at, workspace),
        name: "Old".into(),
        fallback_url: Some("https://shop.example/offer-gone".into()),
        meta: Meta { archived: true, ..Meta::new(NOW) },
        ..offer.clone()
    };
    let partner = Partner {
        id: ids.next(at, workspace),
        workspace,
        name: "Anna".into(),
        slug: Some("anna".into()),
        email: None,
        meta: Meta { external: Some(ExternalId { source: "crm".into(), id: "77".into() }), ..Meta::new(NOW) },
    };
    let left = Partner {
        id: ids.next(at, workspace),
        slug: Some("left".into()),
        meta: Meta { archived: true, ..Meta::new(NOW) },
        ..partner.clone()
    };
    let mut link = |key: &str, offer: OfferId| Link {
        id: ids.next(at, workspace),
        workspace,
        key: key.into(),
        offer,
        partner: Some(partner.id),
        creative: Some("banner-1".into()),
        destination_url: None,
        redirect_status: 302,
        fallback_url: None,
        expires_at: None,
        meta: Meta::new(NOW),
    };
    let links = [
        link("anna", offer.id),
        Link { partner: None, redirect_status: 307, ..link("nobody", offer.id) },
        Link {
            destination_url: Some("https://shop.example/plain?utm_source=stored&a=1#top".into()),
            ..link("plain", offer.id)
        },
        Link {
            expires_at: Some(NOW),
            fallback_url: Some("https://shop.example/late".into()),
            ..link("late", offer.id)
        },
        Link { expires_at: Some(NOW), ..link("late-without-fallback", offer.id) },
    ];
    let mut source = |name: &str, auth: SourceAuth| Source {
        id: ids.next(at, workspace),
        workspace,
        name: name.into(),
        auth,
        meta: Meta::new(NOW),
    };
    let open_source = source("open", SourceAuth::Open);
    let token_source = source("token", SourceAuth::Token { sha256: hash_secret(TOKEN) });
    let mut key =
        |secret: &str, scope: Scope, kind: KeyKind, environment: Environment, origins: &[&str]| Key {
            id: ids.next(at, workspace),
            workspace,
            name: secret.into(),
            sha256: hash_secret(secret),
            previous: None,
            scopes: vec![scope],
            environment,
            kind,
            allowed_origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            expires_at: None,
            revoked_at: None,
            meta: Meta::new(NOW),
        };
    let keys = [
        key(SECRET, Scope::Ingest, KeyKind::Secret, Environment::Live, &[]),
        key(TEST_SECRET, Scope::Admin, KeyKind::Secret, Environment::Test, &[]),
        key(READ_SECRET, Scope::Read, KeyKind::Secret, Environment::Live, &[]),
        key(PUBLISHABLE, Scope::Ingest, KeyKind::Publishable, Environment::Live, &[ORIGIN]),
        key(PUBLISHABLE_NOWHERE, Scope::Ingest, KeyKind::Publishable, Environment::Live, &[]),
    ];
    let (offer_id, partner_id) = (offer.id, partner.id);
    let (open_id, token_id) = (open_source.id, token_source.id);
    let mut resources: Vec<Resource> = vec![
        offer.into(),
        old_offer.into(),
        partner.into(),
        left.into(),
        open_source.into(),
        token_source.into(),
    ];
    resources.extend(links.map(Resource::from));
    resources.extend(keys.map(Resource::from));
    Fixture { resources, offer: offer_id, partner: partner_id, open_source: open_id, token_source: token_id }
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
        goals: vec![Goal {
            key: "sale".into(),
            payout: Payout::Percent(Percent::parse("10").unwrap()),
            revenue: Revenue::Postback,
            approval: Approval::Auto,
        }],
        meta: Meta::new(NOW),
    }
}
