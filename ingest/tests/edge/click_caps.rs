//! Caps at the edge: by its own count, and by the core's.

use catalog::{Cap, CapMetric, CapScope, CapWindow, OnExceed};
use schemas::event::{Click, label};

use crate::harness::TestEdge;

const FALLBACK: &str = "https://shop.example/full";

fn cap(metric: CapMetric, value: u64, on_exceed: OnExceed) -> Cap {
    Cap { metric, window: CapWindow::Day, timezone: None, value, per: CapScope::All, on_exceed }
}

async fn clicked(edge: &TestEdge, uri: &str) -> (Click, bool, bool) {
    let answer = edge.get(uri).await;
    assert!(answer.header("x-receipt").is_some(), "{uri}");
    let click = edge.last_click().await;
    assert_eq!(answer.header("location"), Some(click.destination_url.as_str()));
    let is_capped = click.hit.labels.iter().any(|known| known == label::CAP);
    let is_fallback = click.destination_url == FALLBACK;
    (click, is_capped, is_fallback)
}

#[tokio::test]
async fn clicks_beyond_a_cap_are_labelled_or_sent_elsewhere() {
    let mut edge = TestEdge::start().await;
    let caps =
        [cap(CapMetric::Clicks, 2, OnExceed::Flag), cap(CapMetric::Clicks, 4, OnExceed::Fallback)].to_vec();
    edge.change_link("anna", |link| {
        link.caps = caps;
        link.fallback_url = Some(FALLBACK.into());
    })
    .await;
    // What does not count uses nothing up.
    for _ in 0..5 {
        edge.get_with("/c/anna", &[("sec-purpose", "prefetch")]).await;
        edge.get("/c/anna?test=1").await;
    }
    for (n, capped, fallback) in
        [(1, false, false), (2, false, false), (3, true, false), (4, true, false), (5, true, true)]
    {
        let (_, is_capped, is_fallback) = clicked(&edge, "/c/anna").await;
        assert_eq!((is_capped, is_fallback), (capped, fallback), "click {n}");
    }
    // Another link has a count of its own, and the next day starts again.
    assert!(!clicked(&edge, "/c/nobody").await.1);
    edge.clock.advance(std::time::Duration::from_secs(24 * 60 * 60));
    assert!(!clicked(&edge, "/c/anna").await.1);
}

#[tokio::test]
async fn an_offers_cap_covers_all_its_links_or_each_partner() {
    let mut edge = TestEdge::start().await;
    let per_partner = Cap { per: CapScope::Partner, ..cap(CapMetric::Clicks, 1, OnExceed::Fallback) };
    edge.change_offer(|offer| {
        offer.caps = vec![per_partner];
        offer.fallback_url = Some(FALLBACK.into());
    })
    .await;
    assert!(!clicked(&edge, "/c/anna").await.2);
    assert!(clicked(&edge, "/c/plain").await.2, "the same partner by another link");
    assert!(!clicked(&edge, "/c/nobody").await.2, "nobody's clicks are counted apart");
    let by_offer = format!("/click?offer={}&partner=anna", edge.fixture.offer);
    let (click, _, is_fallback) = clicked(&edge, &by_offer).await;
    assert!(is_fallback && click.choice.is_none());
}

#[tokio::test]
async fn without_a_fallback_a_click_goes_on_with_its_label() {
    let mut edge = TestEdge::start().await;
    edge.change_offer(|offer| offer.caps = vec![cap(CapMetric::Clicks, 0, OnExceed::Fallback)]).await;
    let (click, is_capped, _) = clicked(&edge, "/c/anna").await;
    assert!(is_capped && click.destination_url.starts_with("https://shop.example/?cid="));
}
