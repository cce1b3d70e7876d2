//! Caps at the edge: by its own count, and by the core's.

use catalog::bootstrap::FIRST_WORKSPACE;
use catalog::{Cap, CapMetric, CapScope, CapWindow, OnExceed};
use eventlog::{NewRecord, Partition, ProducerUse, TopicSpec};
use schemas::cap::{CapCount, CapCounts, CapPlace};
use schemas::event::{Click, label};
use schemas::id::EdgeId;
use schemas::topic;
use schemas::wire::encode_cap_counts;

use crate::fixture::{NOW, SECRET};
use crate::harness::{SOON, TestEdge, post_json};

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
async fn clicks_beyond_a_cap_are_sent_elsewhere() {
    let mut edge = TestEdge::start().await;
    // The core labels what is beyond the first: it alone knows exactly.
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
    for (n, is_beyond) in [(1, false), (2, false), (3, false), (4, false), (5, true), (6, true)] {
        let (_, is_capped, is_fallback) = clicked(&edge, "/c/anna").await;
        assert_eq!((is_capped, is_fallback), (is_beyond, is_beyond), "click {n}");
    }
    // Those that were turned away used nothing up: a cap that is raised by two takes two more.
    edge.change_link("anna", |link| link.caps[1].value = 6).await;
    for is_beyond in [false, false, true] {
        assert_eq!(clicked(&edge, "/c/anna").await.2, is_beyond);
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
    for _ in 0..3 {
        assert!(!clicked(&edge, "/c/nobody").await.2, "nobody's clicks are no partner's");
    }
    let by_offer = format!("/click?offer={}&partner=anna", edge.fixture.offer);
    let (click, is_capped, is_fallback) = clicked(&edge, &by_offer).await;
    assert!(is_capped && is_fallback && click.choice.is_none());
}

#[tokio::test]
async fn without_a_fallback_a_click_goes_on() {
    let mut edge = TestEdge::start().await;
    edge.change_offer(|offer| offer.caps = vec![cap(CapMetric::Clicks, 1, OnExceed::Fallback)]).await;
    for _ in 0..2 {
        let (click, is_capped, _) = clicked(&edge, "/c/anna").await;
        assert!(!is_capped && click.destination_url.starts_with("https://shop.example/?cid="));
    }
}

const PLACE: Partition = Partition { topic: topic::CAPS, number: 0 };

/// Publishes this count of a cap on the fixture's offer, as the core does.
async fn publish(edge: &TestEdge, cap: &Cap, source: u64, total: u64, of_edges: Vec<(EdgeId, u64)>) {
    edge.log.ensure_topics(&[TopicSpec { name: topic::CAPS, partitions: 1 }]).await.unwrap();
    let place = CapPlace {
        cap: cap.key(edge.fixture.offer.bytes()),
        window_start: cap.window_start(NOW, "UTC"),
        ends_by: NOW,
        partner: None,
    };
    let count = CapCount { workspace: FIRST_WORKSPACE, place, total, of_edges };
    let payload = encode_cap_counts(&CapCounts { partition: 0, source, counts: vec![count] });
    let usage = ProducerUse { name: "test", deadline: SOON, max_pending_bytes: 64 << 20 };
    let producer = edge.log.producer(usage).unwrap();
    let record = NewRecord { key: bytes::Bytes::new(), payload };
    producer.append(PLACE, vec![record]).await.remove(0).unwrap();
}

/// Waits until clicks are turned away, or are not, and gives how many were let through.
async fn until_capped(edge: &TestEdge, wanted: bool) -> u64 {
    let waiting = async {
        let mut let_through = 1;
        while clicked(edge, "/c/anna").await.1 != wanted {
            let_through += 1;
        }
        let_through
    };
    tokio::time::timeout(SOON, waiting).await.expect("the edge learned nothing")
}

#[tokio::test]
async fn what_the_core_has_counted_is_added_to_the_edges_own() {
    let mut edge = TestEdge::start().await;
    let wide = cap(CapMetric::Clicks, 1_000_000, OnExceed::Fallback);
    let conversions = cap(CapMetric::Conversions, 10, OnExceed::Fallback);
    let caps = vec![wide.clone(), conversions.clone()];
    edge.change_offer(|offer| {
        offer.caps = caps;
        offer.fallback_url = Some(FALLBACK.into());
    })
    .await;
    assert!(!clicked(&edge, "/c/anna").await.1);
    let own = edge.only_event().await.mark.unwrap().edge;
    // Others have sent all that the cap takes.
    publish(&edge, &wide, 10, 1_000_001, vec![(own, 1)]).await;
    let sent = until_capped(&edge, true).await;
    // All of it was this edge's own, and only a part of what it has sent is counted: nothing is used up.
    publish(&edge, &wide, 11, 1, vec![(own, 1)]).await;
    until_capped(&edge, false).await;
    // Of older counts nothing is learned; newer ones leave room for one click.
    publish(&edge, &wide, 9, 1_000_001, vec![(own, 1)]).await;
    publish(&edge, &wide, 12, 1_000_000 + sent, vec![(own, sent + 1)]).await;
    until_capped(&edge, true).await;
    publish(&edge, &wide, 13, 0, vec![]).await;
    until_capped(&edge, false).await;
    // A cap of conversions that is reached sends clicks elsewhere.
    publish(&edge, &conversions, 14, 10, vec![]).await;
    until_capped(&edge, true).await;
    assert!(clicked(&edge, "/c/anna").await.2);
}

#[tokio::test]
async fn clicks_that_come_as_json_use_a_cap_up_and_are_never_turned_away() {
    let mut edge = TestEdge::start().await;
    let daily = cap(CapMetric::Clicks, 4, OnExceed::Fallback);
    let caps = vec![daily.clone()];
    edge.change_offer(|offer| {
        offer.caps = caps;
        offer.fallback_url = Some(FALLBACK.into());
    })
    .await;
    // What its sender says of the time chooses no window, and what does not count uses nothing up.
    let click = r#"{"link": "anna", "occurred_at": "2026-10-30T00:00:00Z"}"#;
    for body in [click, r#"{"link": "anna", "user_agent": "Googlebot/2.1"}"#] {
        assert_eq!(edge.send(post_json("/api/v1/track/click", SECRET, body)).await.status, 202);
    }
    let batch =
        r#"[{"type": "click", "link": "anna"}, {"type": "click", "offer": "none"}, {"type": "lead"}]"#;
    assert_eq!(edge.send(post_json("/api/v1/events/batch", SECRET, batch)).await.json()["accepted"], 2);
    for (n, is_beyond) in [(3, false), (4, false), (5, true)] {
        assert_eq!(clicked(&edge, "/c/anna").await.1, is_beyond, "click {n}");
    }
    assert_eq!(edge.send(post_json("/api/v1/track/click", SECRET, click)).await.status, 202);
    // The core has counted all of them: the cap stays used up.
    let own = edge.events().await[0].mark.unwrap().edge;
    publish(&edge, &daily, 20, 5, vec![(own, 5)]).await;
    edge.change_offer(|offer| offer.caps[0].value = 6).await;
    assert_eq!([clicked(&edge, "/c/anna").await.1, clicked(&edge, "/c/anna").await.1], [false, true]);
}

#[tokio::test]
async fn clicks_from_before_a_cap_turned_any_away_use_it_up() {
    let mut edge = TestEdge::start().await;
    let flagging = cap(CapMetric::Clicks, 1_000_000, OnExceed::Flag);
    let caps = vec![flagging.clone()];
    edge.change_offer(|offer| {
        offer.caps = caps;
        offer.fallback_url = Some(FALLBACK.into());
    })
    .await;
    for _ in 0..3 {
        assert!(!clicked(&edge, "/c/anna").await.1);
    }
    // The core has counted them, and the edge has not: none had anywhere else to go.
    let own = edge.events().await[0].mark.unwrap().edge;
    edge.change_offer(|offer| offer.caps[0].on_exceed = OnExceed::Fallback).await;
    publish(&edge, &flagging, 10, 1_000_000, vec![(own, 1_000_000)]).await;
    until_capped(&edge, true).await;
}
