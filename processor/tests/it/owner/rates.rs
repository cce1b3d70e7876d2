//! Exchange rates that come while nothing else happens.

use std::time::{Duration, Instant};

use eventlog::Partition;
use processor::store::Committed as _;
use schemas::event::Status;
use schemas::fact::{Fact, Revision};
use schemas::money::{Currency, Money};
use schemas::topic;

use crate::scene::installation::rate_proposal;
use crate::scene::{id, usd};
use crate::site::{PATIENCE, Site};

const POLL: Duration = Duration::from_millis(20);

/// The last revision in the accepted chain.
async fn last_revision(site: &Site) -> Revision {
    let (chain, _) = site.chain().await;
    let facts = chain.into_iter().flat_map(|record| record.decisions).flat_map(|it| it.facts);
    let mut revisions = facts.filter_map(|fact| if let Fact::Revision(it) = fact { Some(*it) } else { None });
    revisions.next_back().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_reaches_what_waits_for_it_without_another_event() {
    let site = Site::start().await;
    let mut edge = site.edge(1);
    let store = site.store("state");
    let owner = site.owner(&store);
    site.send(&edge.conversion(0, |it| {
        it.amount = Some(Money { currency: Currency::from_code("EUR").unwrap(), ..usd(80) });
        (it.partner, it.offer) = (Some(id(1)), Some(id(1)));
    }))
    .await;
    site.decided(&store).await;
    assert_eq!(last_revision(&site).await.after.status, Status::Pending);
    let catalog = Partition { topic: topic::CATALOG, number: 0 };
    site.append(catalog, rate_proposal(2, "2026-11-10", "EUR", "1.5")).await;
    let begun = Instant::now();
    while last_revision(&site).await.version == 1 {
        assert!(begun.elapsed() < PATIENCE, "not in time");
        site.clock.advance(Duration::from_secs(1));
        tokio::time::sleep(POLL).await;
    }
    let revised = last_revision(&site).await;
    assert_eq!((revised.after.status, revised.after.payout_micros), (Status::Approved, 12_000_000));
    owner.stop().await.unwrap();
    let head = store.head().unwrap();
    assert_eq!((head.catalog.number, head.imbalance()), (3, 0));
}
