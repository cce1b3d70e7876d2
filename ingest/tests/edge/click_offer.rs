//! `/click`: an offer and a partner in the query, without a stored link.

use catalog::bootstrap::FIRST_WORKSPACE;
use catalog::{ExternalId, Meta, Offer, Resource, Workspace};
use schemas::event::label;

use crate::fixture::NOW;
use crate::harness::TestEdge;

#[tokio::test]
async fn an_offer_and_a_partner_make_a_click() {
    let edge = TestEdge::start().await;
    let (offer, partner) = (edge.fixture.offer, edge.fixture.partner);
    for (query, found) in [
        (format!("offer={offer}&partner=anna"), Some(partner)),
        (format!("offer={offer}&partner={partner}"), Some(partner)),
        (format!("offer={offer}&via=ext:crm:77&partner=nobody"), Some(partner)),
        (format!("offer={offer}"), None),
        (format!("offer={offer}&partner=nobody"), None),
        (format!("offer={offer}&via=left"), None),
    ] {
        let answer = edge.get(&format!("/click?{query}&sub1=blog&x=1&test=1")).await;
        assert_eq!(answer.status, 302, "{query}");
        for (name, value) in [
            ("cache-control", "no-store, private"),
            ("referrer-policy", "strict-origin-when-cross-origin"),
            ("x-robots-tag", "noindex"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{query}");
        }
        let click = edge.last_click().await;
        let location = format!("https://shop.example/?cid={}&s=blog&x=1", click.id);
        assert_eq!(answer.header("location"), Some(location.as_str()), "{query}");
        assert!(answer.header("x-receipt").is_some() && answer.header("set-cookie").is_some());
        assert_eq!((click.hit.link, click.hit.offer, click.hit.partner), (None, offer, found), "{query}");
        let is_unknown = click.hit.labels.iter().any(|label| label == label::UNKNOWN_PARTNER);
        assert_eq!(is_unknown, found.is_none() && query.contains('&'), "{query}");
        assert_eq!((click.hit.params.len(), click.hit.test), (1, true));
    }
}

#[tokio::test]
async fn an_offer_is_named_by_its_id_or_by_another_systems() {
    let mut edge = TestEdge::start().await;
    let external = ExternalId { source: "erp".into(), id: "o-1".into() };
    edge.change_offer(|offer| offer.meta.external = Some(external)).await;
    assert_eq!(edge.get("/click?offer=ext:erp:o-1").await.status, 302);
    assert_eq!(edge.last_click().await.hit.offer, edge.fixture.offer);
    // With a second workspace nobody can tell whose name it is.
    edge.second_workspace().await;
    assert_eq!(edge.get("/click?offer=ext:erp:o-1").await.status, 404);
    assert_eq!(edge.get(&format!("/click?offer={}", edge.fixture.offer)).await.status, 302);
}

#[tokio::test]
async fn without_an_offer_there_is_no_click() {
    let mut edge = TestEdge::start().await;
    for query in ["", "offer=", "partner=anna"] {
        let path = format!("/click?{query}");
        assert!(edge.get(&path).await.header("content-type").unwrap().starts_with("text/html"), "{query}");
        let field =
            edge.get_with(&path, &[("accept", "application/json")]).await.error(400, "validation_failed");
        assert_eq!(field.as_deref(), Some("offer"));
    }
    for offer in
        ["nonsense", "offer_01h455vb4pex5vsknk084sn02q", "ext:a:b", &edge.fixture.partner.to_string()]
    {
        let path = format!("/click?offer={offer}");
        edge.get_with(&path, &[("accept", "application/json")]).await.error(404, "not_found");
    }
    let workspace = edge.follower.read().workspace(FIRST_WORKSPACE).cloned().unwrap();
    let with_fallback = Workspace { fallback_url: Some("https://shop.example/home".into()), ..workspace };
    edge.put(vec![Resource::Workspace(with_fallback)]).await;
    assert_eq!(edge.get("/click?offer=nonsense").await.header("location"), Some("https://shop.example/home"));
    edge.change_offer(|offer| {
        offer.fallback_url = Some("https://shop.example/offer-gone".into());
        offer.meta.archived = true;
    })
    .await;
    let gone = edge.get(&format!("/click?offer={}", edge.fixture.offer)).await;
    assert_eq!(gone.header("location"), Some("https://shop.example/offer-gone"));
    assert_eq!(gone.header("x-receipt"), None);
    assert!(edge.events().await.is_empty());
}

#[tokio::test]
async fn a_foreign_offer_or_partner_is_unknown() {
    let mut edge = TestEdge::start().await;
    let second = edge.second_workspace().await;
    let stored = edge.follower.read().offer(FIRST_WORKSPACE, edge.fixture.offer).cloned().unwrap();
    let mut ids = schemas::id::IdGenerator::new(9);
    let id = ids.next(NOW.unix_ms(), second.number);
    let foreign = Offer { id, workspace: second.number, meta: Meta::new(NOW), ..stored };
    edge.put_into(second.number, vec![foreign.into()]).await;
    // The offer is the second workspace's, and so is the click; the first one's partner is a stranger there.
    assert_eq!(edge.get(&format!("/click?offer={id}&partner={}", edge.fixture.partner)).await.status, 302);
    let event = edge.only_event().await;
    assert_eq!(event.workspace, second.number);
    let schemas::event::Body::Click(click) = event.body else { panic!("no click") };
    assert_eq!((click.hit.offer, click.hit.partner), (id, None));
    assert!(click.hit.labels.contains(&label::UNKNOWN_PARTNER.to_owned()));
}
