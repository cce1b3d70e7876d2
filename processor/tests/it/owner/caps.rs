//! What the edges are told about caps.

use std::time::{Duration, Instant};

use eventlog::TopicSpec;
use schemas::cap::CapCounts;
use schemas::{topic, wire};

use crate::scene::{CAPPED_OFFER, Traffic, id};
use crate::site::{CAPS, PATIENCE, Site};

const POLL: Duration = Duration::from_millis(20);

/// Everything that was published, once the last of it says this total.
async fn published(site: &Site, total: u64, records: usize) -> Vec<CapCounts> {
    let begun = Instant::now();
    loop {
        let found: Vec<CapCounts> = site
            .read(CAPS)
            .await
            .into_iter()
            .map(|(_, payload)| wire::decode_cap_counts(payload).unwrap())
            .collect();
        if found.len() >= records && found.last().is_some_and(|last| last.counts[0].total == total) {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "not in time: {found:?}");
        tokio::time::sleep(POLL).await;
    }
}

async fn click(site: &Site, edge: &mut Traffic) {
    site.send(&edge.click(0, |it| it.offer = CAPPED_OFFER)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_moved_are_published_and_all_of_them_again_by_the_next_owner() {
    let site = Site::start().await;
    let mut edges = [site.edge(1), site.edge(2)];
    let store = site.store("state");
    let owner = site.owner(&store);
    // Traffic without a cap says nothing.
    site.send(&edges[0].click(0, |_| {})).await;
    for edge in &mut edges {
        click(&site, edge).await;
    }
    let last = published(&site, 2, 1).await.pop().unwrap();
    assert_eq!((last.partition, last.source, last.counts.len()), (0, 3, 1));
    assert_eq!(last.counts[0].of_edges, [(id(1), 1), (id(2), 1)]);
    click(&site, &mut edges[0]).await;
    let known = published(&site, 3, 2).await.len();
    owner.stop().await.unwrap();
    // The next owner begins with everything.
    let owner = site.owner(&store);
    let again = published(&site, 3, known + 1).await.pop().unwrap();
    assert_eq!(again.counts[0].of_edges, [(id(2), 1), (id(1), 2)]);
    owner.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_cannot_tell_decides_all_the_same_and_tells_later() {
    let site = Site::with_topics(&[topic::CATALOG, topic::EVENTS, topic::FACTS]).await;
    let mut edge = site.edge(1);
    let store = site.store("state");
    let owner = site.owner(&store);
    for _ in 0..2 {
        click(&site, &mut edge).await;
        let head = site.decided(&store).await;
        assert_eq!(head.imbalance(), 0);
    }
    site.log.ensure_topics(&[TopicSpec { name: topic::CAPS, partitions: 1 }]).await.unwrap();
    published(&site, 2, 1).await;
    owner.stop().await.unwrap();
}
